package arch

// GLM 4 to 5 and Solar Open.
//
// Peculiar: with multimodal rope GLM 4 moves the rotary rows of each head from pairs to halves (llama.cpp's multimodal rope knows
// halves only); GLM 4.7 Flash and 5 have DeepSeek's attention over a latent; prediction layers are kept. ChatGLM and
// the first GLM-4 have a file of their own.
//
// Source: llama.cpp v0.5.0, conversion/glm.py: Glm4Model, GlmOCRModel, Glm4MoeModel, SolarOpenModel, Glm4MoeLiteModel,
// GlmMoeDsaModel.

import (
	"fmt"

	"quern/convert/fault"
	"quern/convert/view"
	"quern/convert/vocab"
)

// partialRope is the number of rotary dimensions where half of a head is rotated unless the configuration says otherwise.
var halfRope = Set("rope.dimension_count", Trunc(Mul(HeadDim, RopeAll(CfgOr("partial_rotary_factor", 0.5)))))

var glm4 = Register(Arch{
	HF:    []string{"Glm4ForCausalLM", "Glm4vForConditionalGeneration"},
	GGUF:  "glm4",
	Names: TextNames,
	Tensors: Given(RopeAll(Has("mrope_section")),
		On("*{q|k}_proj.{weight|bias}", View("rotary rows of each head from pairs to halves", pairsToHalves)),
	),
	Keys:  TextKeys.Then(halfRope),
	Vocab: vocab.GLMEdge,
	Odd:   []string{"ffn_up"}, // gate and up in one
})

var _ = Register(Arch{
	Base:  glm4,
	HF:    []string{"GlmOcrForConditionalGeneration"},
	NextN: appended,
	Keys:  glm4.Keys.Then(appendedKey),
})

// pairsToHalves orders the rows of a query or key projection, or its bias, for the rope of llama.cpp that rotates halves.
// Source: conversion/glm.py, Glm4Model.normal_to_neox.
func pairsToHalves(b *Build, it Item, v view.Tensor) (view.Tensor, error) {
	dim, err := b.Int(HeadDim)
	if err != nil {
		return v, err
	}
	rotary, err := b.Int(Trunc(Mul(HeadDim, RopeAll(CfgOr("partial_rotary_factor", 0.5)))))
	if err != nil {
		return v, err
	}
	if rotary < 0 || rotary%2 != 0 || rotary > dim || dim > maxHeadDim {
		return v, &fault.Invalid{On: it.Source, Says: fmt.Sprintf("%d rotary dimensions in heads of %d", rotary, dim)}
	}
	index := make([]int64, 0, dim)
	for from := range int64(2) {
		for i := from; i < rotary; i += 2 {
			index = append(index, i)
		}
	}
	for i := rotary; i < dim; i++ {
		index = append(index, i)
	}
	shape := v.Shape
	if v, err = view.Reshape(v, append([]int64{-1, dim}, shape[1:]...)...); err != nil {
		return v, err
	}
	if v, err = view.Gather(v, 1, index); err != nil {
		return v, err
	}
	return view.Reshape(v, shape...)
}

var glm4moeBase = Arch{
	GGUF:    "glm4moe",
	NextN:   appended,
	Names:   TextNames.Then(NextNRule(appended)),
	Tensors: Rules{deepseekExperts},
	Keys: TextKeys.Then(
		halfRope,
		Set("expert_count", Opt("n_routed_experts")),
		Set("expert_feed_forward_length", Opt("moe_intermediate_size")),
		Set("expert_shared_count", Opt("n_shared_experts")),
		Set("leading_dense_block_count", Opt("first_k_dense_replace")),
		Set("expert_gating_func", gatingFuncs["sigmoid"]),
		Set("expert_weights_scale", Opt("routed_scaling_factor")),
		Set("expert_weights_norm", Opt("norm_topk_prob")),
		appendedKey,
	),
}

var _ = Register(Arch{
	Base:  &glm4moeBase,
	HF:    []string{"Glm4MoeForCausalLM", "Glm4vMoeForConditionalGeneration"},
	MTP:   true,
	Vocab: vocab.GLM,
})

var _ = Register(Arch{Base: &glm4moeBase, HF: []string{"SolarOpenForCausalLM"}, Vocab: vocab.Solar})

var _ = Register(Arch{
	Base:    &deepseekBase,
	HF:      []string{"Glm4MoeLiteForCausalLM"},
	NextN:   appended,
	MTP:     true,
	Names:   deepseekBase.Names.Then(NextNRule(appended)),
	Tensors: Given(Not(Opt("num_nextn_predict_layers")), dropNextN).Also(mlaWithNextN),
	Keys:    mlaKeys.Then(Set("nextn_predict_layers", NextNCount(Or(Opt("num_nextn_predict_layers"), Const(nil))))),
	Vocab:   vocab.GLM,
})

var _ = Register(Arch{
	Base:    &deepseekBase,
	HF:      []string{"GlmMoeDsaForCausalLM"},
	GGUF:    "glm-dsa",
	NextN:   appended,
	MTP:     true,
	Names:   deepseekBase.Names.Then(NextNRule(appended)),
	Tensors: mlaWithNextN,
	Keys: mlaKeys.Then(
		Set("rope.dimension_count", Trunc(Mul(Cfg("qk_rope_head_dim"), RopeAll(CfgOr("partial_rotary_factor", 1.0))))),
		appendedKey,
	).Also(indexerKeys, When(Not(Null(Opt("indexer_types"))), Set("attention.indexer.types", LayersOf("indexer_types", "full")))),
	Vocab: vocab.GLM,
})
