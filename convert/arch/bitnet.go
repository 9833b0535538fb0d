package arch

// BitNet b1.58.
//
// Peculiar: the matrices are trained to be -1, 0 and 1 times a scale, and stored as they were before rounding; the conversion
// rounds them. The scale is the mean of the absolute values, in torch's order of summation.
//
// Source: llama.cpp v0.5.0, conversion/bitnet.py: BitnetModel.

import (
	"context"
	"math"

	"quern/convert/safetensors"
	"quern/convert/view"
	"quern/convert/vocab"
)

// ternary rounds a matrix to -1, 0 and 1 times its scale. Source: conversion/bitnet.py, weight_quant.
var ternary = View("-1, 0 or 1 times the mean of absolute values", func(_ *Build, _ Item, v view.Tensor) (view.Tensor, error) {
	v, err := wide(v)
	if err != nil {
		return v, err
	}
	return view.Deferred(v.Name, v.DType, v.Shape, func(ctx context.Context) (view.Tensor, error) {
		all, err := torchTotal(ctx, v, func(x float32) float32 { return float32(math.Abs(float64(x))) })
		if err != nil {
			return v, err
		}
		inverse := 1 / max(all/float32(v.Elements()), 1e-5)
		full, err := view.Cast(v, safetensors.F32)
		if err != nil {
			return v, err
		}
		full, err = view.Map(full, func(w []float32) {
			for i, x := range w {
				w[i] = max(-1, min(1, float32(math.RoundToEven(float64(x*inverse))))) / inverse
			}
		})
		if err != nil {
			return v, err
		}
		return view.Cast(full, v.DType)
	}), nil
})

var _ = Register(Arch{
	HF:    []string{"BitnetForCausalLM", "BitNetForCausalLM"},
	GGUF:  "bitnet",
	Names: TextNames,
	Tensors: Rules{
		Named,
		On("*.{attn_q|attn_k|attn_v|attn_output|ffn_up|ffn_down|ffn_gate}.weight", ternary),
	},
	Keys: TextKeys.Then(
		Set("rope.scaling.type", "linear"),
		Set("rope.scaling.factor", 1.0),
	),
	Vocab: vocab.SPM,
})
