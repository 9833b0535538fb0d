package arch

// Gemma 4, its unified model, and the assistants that draft for it.
//
// Peculiar: layers that see everything have heads of another size and number than those with a window, and rotate a part of
// each head only: generated factors of 1e30 switch the rest off; experts are stacked already, gate and up in one tensor; the
// router's scales keep names that no table has; norms are stored as they are.
//
// Source: llama.cpp v0.5.0, conversion/gemma.py: Gemma4Model, Gemma4UnifiedModel, Gemma4AssistantModel.

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"quern/convert/config"
	"quern/convert/dequant"
	"quern/convert/fault"
	"quern/convert/view"
	"quern/convert/vocab"
)

var gemma4 = Register(Arch{
	Base: gemma3,
	HF:   []string{"Gemma4ForConditionalGeneration", "Gemma4ForCausalLM"},
	GGUF: "gemma4",
	Names: Rules{
		Rename("*per_dim_scale|*layer_scalar", "+.weight"),
		Code("*.experts.*", "name +.weight for stacks of experts", func(_ *Build, it Item) ([]Item, error) {
			if !hasSuffix(it.Name, ".weight", ".weight_scale", ".weight_scale_2", ".input_scale") {
				it.Name += ".weight"
			}
			return []Item{it}, nil
		}),
	}.Also(TextNames),
	Extra: []Generate{{Doc: "rope_freqs that switch dimensions off in layers without a window", Make: partialRope}},
	Tensors: Rules{
		scaleOf("*router.scale", "ffn_gate_inp"),
		scaleOf("*.per_expert_scale*", "ffn_down_exp"),
		cutEmbedding,
	},
	Dequantize: foldExpertScale,
	Keys: gemma3.Keys.Then(
		Set("attention.shared_kv_layers", Cfg("num_kv_shared_layers")),
		Set("embedding_length_per_layer_input", Or(Opt("hidden_size_per_layer_input"), 0)),
		Set("attention.sliding_window_pattern", slidingLayers),
		Set("attention.key_length", fullHeadDim),
		Set("attention.value_length", fullHeadDim),
		Set("attention.key_length_swa", Cfg("head_dim")),
		Set("attention.value_length_swa", Cfg("head_dim")),
		Set("expert_feed_forward_length", Opt("expert_intermediate_size", "moe_intermediate_size")),
	).Also(When(Opt("use_double_wide_mlp"), Set("feed_forward_length", doubleWide))).Then(
		Set("attention.head_count_kv", gemma4KeyHeads),
		Set("rope.dimension_count", Trunc(fullHeadDim)),
		Set("rope.dimension_count_swa", Trunc(Mul(Cfg("head_dim"), RopeAll(CfgOr("partial_rotary_factor", 1.0))))),
	),
	Vocab:  vocab.Gemma4,
	Odd:    []string{"attn_q", "attn_k", "attn_v", "attn_out"}, // the keys state the layers without a window
	Uneven: true,                                               // layers that share keys and values, or take keys for values
})

var _ = Register(Arch{
	Base: gemma4,
	HF:   []string{"Gemma4UnifiedForConditionalGeneration"},
	Keys: gemma4.Keys.Then(Set("tokenizer.ggml.suppress_tokens", suppressTokens)),
})

var _ = Register(Arch{
	Base:  gemma4,
	HF:    []string{"Gemma4AssistantForCausalLM", "Gemma4UnifiedAssistantForCausalLM"},
	GGUF:  "gemma4-assistant",
	Names: Rules{Drop("*masked_embedding*", "llama.cpp computes all logits")}.Also(gemma4.Names),
	Keys: gemma4.Keys.Then(
		Set("embedding_length_out", Cfg("backbone_hidden_size")),
		Set("nextn_predict_layers", BlockCount),
	),
})

// scaleOf writes scales as they are, under the name of the role whose weights they scale.
func scaleOf(p Pattern, role string) Rule {
	return Code(p, "name @"+role+" with .scale", func(b *Build, it Item) ([]Item, error) {
		name, ok := b.names.Of(role, it.Block)
		if !ok {
			return nil, &fault.Unsupported{On: it.Source, Says: b.GGUF + " has no " + role}
		}
		it.Name, it.Final = name+".scale", true
		return []Item{it}, nil
	})
}

// fullLayer is a number of the layers without a window: stated for all of them, or in per_layer_config for the first that has it.
func fullLayer(all, each string) Expr {
	return Fn(all+", or "+each+" of per_layer_config", func(e *Env) (any, error) {
		byLayer, ok := e.Config.Object("per_layer_config")
		if v, _ := e.value(all); v != nil || !ok {
			return v, nil
		}
		kinds, _ := e.Config.List("layer_types")
		for i, kind := range kinds {
			layer, _ := byLayer.Object(strconv.Itoa(i))
			if v, ok := layer[each]; ok && kind == "full_attention" {
				return v, nil
			}
		}
		return nil, nil
	})
}

var (
	fullHeadDim  = Else(fullLayer("global_head_dim", "head_dim"), Cfg("global_head_dim"))
	fullKeyHeads = fullLayer("num_global_key_value_heads", "num_key_value_heads")
)

// gemma4KeyHeads is a list of key-value heads by layer, nil where all layers have the same.
var gemma4KeyHeads = Fn("key-value heads by layer", func(e *Env) (any, error) {
	full, err := fullKeyHeads.Eval(e)
	window, _ := e.value("num_key_value_heads")
	if full == nil || window == nil || err != nil {
		return nil, err
	}
	v, err := slidingLayers.Eval(e)
	sliding, _ := v.([]bool)
	out := make([]any, len(sliding))
	for i, s := range sliding {
		if out[i] = full; s {
			out[i] = window
		}
	}
	return out, err
})

// doubleWide is the width by layer where layers that share keys and values have twice as wide a network.
var doubleWide = Fn("intermediate_size, twice in layers that share keys and values", func(e *Env) (any, error) {
	width, err := e.Int(Cfg("intermediate_size"))
	if err != nil {
		return nil, err
	}
	shared, err := e.Int(Cfg("num_kv_shared_layers"))
	out := make([]int64, e.Blocks)
	for i := range out {
		if out[i] = width; int64(i) >= e.Blocks-shared {
			out[i] *= 2
		}
	}
	return out, err
})

// partialRope makes the factors: 1 for the dimensions that rotate, 1e30 for the others.
// Source: conversion/gemma.py, Gemma4Model.generate_extra_tensors.
func partialRope(b *Build) ([]Item, error) {
	rope, _ := b.Config.Object("rope_parameters")
	full, ok := rope.Object("full_attention")
	if kind := full["rope_type"]; !ok || kind != "proportional" {
		return nil, &fault.Unsupported{On: "config.json: rope_parameters", Says: "full_attention of the type " + show(full["rope_type"]) + ", want proportional"}
	}
	dim, err := b.Float(fullHeadDim)
	if err != nil {
		return nil, err
	}
	part, ok := number(full["partial_rotary_factor"])
	if !ok || part < 0 || part > 1 || dim < 0 || dim > maxHeadDim {
		return nil, &fault.Invalid{On: "config.json: rope_parameters", Says: "partial_rotary_factor " + show(full["partial_rotary_factor"]) + " of a head of " + show(dim)}
	}
	return b.rotatedPart(dim, part)
}

// rotatedPart are the factors of a head of which a part rotates.
func (b *Build) rotatedPart(dim, part float64) ([]Item, error) {
	rotated := int(dim * part / 2)
	return b.Generated("rope_freqs", slices.Concat(slices.Repeat([]float32{1}, rotated), slices.Repeat([]float32{1e30}, int(dim/2)-rotated)))
}

// suppressTokens are ids that generation_config.json never wants to see.
var suppressTokens = Fn("suppress_tokens of generation_config.json", func(e *Env) (any, error) {
	if !e.hasFile("generation_config.json") {
		return nil, nil
	}
	v, err := e.readJSON("generation_config.json")
	o, _ := v.(config.Object)
	return o["suppress_tokens"], err
})

// foldExpertScale multiplies the scale of each expert's second matrix by what the router gives the expert, where the matrices are
// NVFP4: both scale the expert's output, and the file has one place for it.
func foldExpertScale(b *Build, s *dequant.Set) (bool, error) {
	experts, err := b.expertCount()
	if err != nil || !b.quantized.nvfp4 {
		return false, err
	}
	if err := modeloptNames(s); err != nil {
		return false, err
	}
	for _, name := range s.Names() {
		before, ok := strings.CutSuffix(name, "router.per_expert_scale")
		if _, there := s.Find(before + "experts.0.down_proj.weight_scale_2"); !ok || !there {
			continue
		}
		router, _ := s.Find(name)
		factors, err := b.Floats(router.View)
		if err != nil {
			return false, err
		}
		if int64(len(factors)) != experts {
			return false, &fault.Invalid{On: name, Says: fmt.Sprintf("%d scales for %d experts", len(factors), experts)}
		}
		for i, f := range factors {
			t, ok := s.Find(fmt.Sprintf("%sexperts.%d.down_proj.weight_scale_2", before, i))
			if !ok {
				return false, &fault.Invalid{On: name, Says: fmt.Sprintf("expert %d is not NVFP4, others of its layer are", i)}
			}
			if t.View, err = wide(t.View); err == nil {
				t.View, err = view.Scale(t.View, f)
			}
			if err != nil {
				return false, err
			}
		}
		s.Take(name)
	}
	return false, nil
}
