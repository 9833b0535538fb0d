package arch

// Ling and Ring (BailingMoE) 1 and 2, Sarvam.
//
// Peculiar: query, key and value are one matrix, in 1 with the order of Hugging Face's rotary embedding; with norm_head the head's
// columns are brought to length 1; Sarvam's expert biases lose their mean.
//
// Source: llama.cpp v0.5.0, conversion/bailingmoe.py: BailingMoeModel, BailingMoeV2Model, SarvamMoEModel.

import (
	"context"
	"math"

	"quern/convert/safetensors"
	"quern/convert/view"
	"quern/convert/vocab"
)

var bailingExperts = StackExperts("mlp.experts", Cfg("num_local_experts", "num_experts"), "down_proj", "gate_proj", "up_proj")

var _ = Register(Arch{
	HF:    []string{"BailingMoeForCausalLM"},
	GGUF:  "bailingmoe",
	Names: TextNames,
	Tensors: Rules{
		Rename("*attention.dense.weight", "@attn_out"),
		Split("*query_key_value.weight", -2,
			Part{To: "@attn_q", Size: Mul(Cfg("num_attention_heads"), HeadDim), Then: []Transform{Rotary(Cfg("num_attention_heads"))}},
			Part{To: "@attn_k", Size: Mul(Cfg("num_key_value_heads"), HeadDim), Then: []Transform{Rotary(Cfg("num_key_value_heads"))}},
			Part{To: "@attn_v", Size: Mul(Cfg("num_key_value_heads"), HeadDim)}),
		bailingExperts,
	}.Also(Given(Opt("norm_head"), On("lm_head.weight", View("columns to length 1", unitColumns)))),
	Keys: TextKeys.Then(
		ropeDim,
		Set("leading_dense_block_count", Cfg("first_k_dense_replace")),
		Set("vocab_size", Cfg("vocab_size")),
		Set("expert_feed_forward_length", Cfg("moe_intermediate_size")),
		Set("expert_weights_scale", 1.0),
		Set("expert_shared_count", Cfg("num_shared_experts")),
		Set("expert_weights_norm", Flag("norm_topk_prob")),
	),
	Vocab: vocab.GPT2,
})

// unitColumns divides each column by its length plus 1e-7. The sum runs down the rows in float32, as torch's does.
// Source: conversion/bailingmoe.py:95.
func unitColumns(_ *Build, _ Item, v view.Tensor) (view.Tensor, error) {
	v, err := view.Cast(v, safetensors.F32)
	if err != nil {
		return v, err
	}
	return view.Deferred(v.Name, safetensors.F32, v.Shape, func(ctx context.Context) (view.Tensor, error) {
		length := make([]float32, v.RowLen()) // one row: bounded as rows are
		err := view.Each(ctx, v, func(_ int64, values []float32) error {
			for i, x := range values {
				length[i%len(length)] += float32(x * x)
			}
			return nil
		})
		for i, x := range length {
			length[i] = float32(math.Sqrt(float64(x))) + 1e-7
		}
		if err != nil {
			return v, err
		}
		return view.Map(v, func(values []float32) {
			for i := range values {
				values[i] /= length[i%len(length)]
			}
		})
	}), nil
}

var bailingmoe2 = Register(Arch{
	HF:      []string{"BailingMoeV2ForCausalLM"},
	GGUF:    "bailingmoe2",
	NextN:   appended,
	Names:   Rules{Rename("*.expert_bias", "+.bias")}.Also(TextNames),
	Tensors: Rules{bailingExperts},
	Keys: TextKeys.Then(
		halfRope,
		Set("leading_dense_block_count", Cfg("first_k_dense_replace")),
		Set("vocab_size", Cfg("vocab_size")),
		Set("expert_feed_forward_length", Cfg("moe_intermediate_size")),
		Set("expert_shared_feed_forward_length", CfgOr("moe_shared_expert_intermediate_size", Mul(Cfg("moe_intermediate_size"), Cfg("num_shared_experts")))),
		Set("expert_weights_scale", Cfg("routed_scaling_factor")),
		Set("expert_shared_count", Cfg("num_shared_experts")),
		Set("expert_weights_norm", Flag("norm_topk_prob")),
		appendedKey,
	),
	Vocab: vocab.GPT2,
})

var _ = Register(Arch{
	Base:    bailingmoe2,
	HF:      []string{"SarvamMoEForCausalLM", "modeling_sarvam_moe.SarvamMoEForCausalLM"},
	Tensors: Rules{On("*.expert_bias.bias", View("minus the mean", withoutMean))}.Also(bailingmoe2.Tensors),
	Keys:    bailingmoe2.Keys.Then(ropeDim),
})

// withoutMean subtracts the mean, in the tensor's own precision, as torch does before anything is widened.
func withoutMean(_ *Build, _ Item, v view.Tensor) (view.Tensor, error) {
	return view.Deferred(v.Name, v.DType, v.Shape, func(ctx context.Context) (view.Tensor, error) {
		total, err := torchTotal(ctx, v, func(x float32) float32 { return x })
		if err != nil {
			return v, err
		}
		mean := []float32{total / float32(v.Elements())}
		view.Round(mean, v.DType)
		return view.AddScalar(v, -mean[0])
	}), nil
}
