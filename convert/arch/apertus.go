package arch

// Apertus: Llama without a gate, under the activation xIELU, whose rows stay.
//
// Peculiar: the four parameters of the activation are tensors in the checkpoint and lists in the metadata, one value a layer.
// They stand right after general.architecture, in the order in which the last layer's came.
//
// Source: llama.cpp v0.5.0, conversion/llama.py: ApertusModel.

import (
	"fmt"
	"strings"

	"quern/convert/fault"
)

var _ = Register(Arch{
	Base:    llama,
	HF:      []string{"ApertusForCausalLM"},
	GGUF:    "apertus",
	Tensors: Rules{Code("*.act_fn.{alpha_n|alpha_p|beta|eps}", "a value of xielu.* in the metadata", xielu)}.Also(llamaPlain),
})

// xielu collects the parameter of a layer. Source: conversion/llama.py, ApertusModel.
func xielu(b *Build, it Item) ([]Item, error) {
	key := "xielu." + it.Name[strings.LastIndexByte(it.Name, '.')+1:]
	values, err := b.Floats(it.View)
	if err != nil {
		return nil, err
	}
	if len(values) != 1 || it.Block < 0 || it.Block >= b.Blocks {
		return nil, &fault.Invalid{On: it.Source, Says: fmt.Sprintf("%d values for layer %d of %d, want one", len(values), it.Block, b.Blocks)}
	}
	byBlock, _ := b.Scratch[key].(map[int64]float64)
	if byBlock == nil {
		byBlock = map[int64]float64{}
		b.Scratch[key] = byBlock
		b.Last(func() error {
			if n := int64(len(byBlock)); n != b.Blocks {
				return &fault.Invalid{On: "checkpoint", Says: fmt.Sprintf("%d values of %s for %d layers", n, key, b.Blocks)}
			}
			return nil
		})
	}
	byBlock[it.Block] = float64(values[0])
	if int64(len(byBlock)) < b.Blocks {
		return nil, nil
	}
	list := make([]float64, b.Blocks)
	for i := range list {
		list[i] = byBlock[int64(i)]
	}
	return nil, b.early.set(b.GGUF, key, list)
}
