package arch

// Granite 3 and 4 (IBM): dense, with experts, and with sliding windows. The hybrids with Mamba and the one with adapters inside
// have files of their own.
//
// Peculiar: four multipliers become scales, and one of 0 counts as none; head_dim is not looked at; experts and the network that
// they share keep gate and up in one matrix; the text model of a vision checkpoint takes image features in some layers.
//
// Source: llama.cpp v0.5.0, conversion/granite.py: GraniteModel, GraniteMoeModel, GraniteSWAModel, GraniteMoeSWAModel.

import (
	"fmt"
	"slices"

	"quern/convert/config"
	"quern/convert/fault"
)

var granite = Register(Arch{
	Base:  llama,
	HF:    []string{"GraniteForCausalLM"},
	GGUF:  "granite",
	Names: Rules{Drop("encoder.*|*image_*|*layerwise_projectors*|*spatial_projectors*", "not part of the text model")}.Also(llama.Names),
	Keys: Keys{Let("head_dim", Const(nil))}.Also(llama.Keys).Then(
		Set("attention.scale", nonZero("attention_multiplier")),
		Set("embedding_scale", nonZero("embedding_multiplier")),
		Set("residual_scale", nonZero("residual_multiplier")),
		Set("logit_scale", nonZero("logits_scaling")),
		Set("deepstack_mapping", deepstackMapping),
	),
})

// nonZero is the value of a key unless it is zero.
func nonZero(key string) Expr { return Or(Opt(key), Const(nil)) }

// sharedWidth is that of the network which all tokens take beside their experts.
var sharedWidth = Set("expert_shared_feed_forward_length", nonZero("shared_intermediate_size"))

// graniteExperts holds for Granites with experts; the same classes without any are dense.
var graniteExperts = Opt("num_local_experts")

var graniteMoE = Register(Arch{
	Base:    granite,
	HF:      []string{"GraniteMoeForCausalLM", "GraniteMoeSharedForCausalLM"},
	GGUF:    "granitemoe",
	Tensors: graniteMoERules.Also(llama.Tensors),
	Keys:    granite.Keys.Then(sharedWidth),
	Odd:     []string{"ffn_gate", "ffn_up", "ffn_down"}, // without experts as wide as shared_intermediate_size
})

var graniteMoERules = Rules{
	gateUp("*block_sparse_moe.input_linear.weight", "intermediate_size", "@ffn_gate_exp", "@ffn_up_exp"),
}.Also(
	Given(graniteExperts, gateUp("*shared_mlp.input_linear.weight", "shared_intermediate_size", "@ffn_gate_shexp", "@ffn_up_shexp")),
	Given(Not(graniteExperts),
		gateUp("*shared_mlp.input_linear.weight", "shared_intermediate_size", "@ffn_gate", "@ffn_up"),
		Rename("*shared_mlp.output_linear.weight", "@ffn_down")),
)

// gateUp takes gate and up apart, each as wide as the configuration says under key.
func gateUp(p Pattern, key, gate, up string) Rule {
	return Split(p, -2, Part{To: gate, Size: Cfg(key)}, Part{To: up, Size: Cfg(key)})
}

var graniteSWA = Register(Arch{
	Base:  granite,
	HF:    []string{"GraniteSWAForCausalLM"},
	GGUF:  "granite_swa",
	Names: Rules{Rename("*sinks", "+.weight")}.Also(granite.Names),
	Keys: granite.Keys.Then(
		Set("attention.sliding_window", CfgOr("sliding_window", 128)),
		Set("attention.sliding_window_pattern", Choose(Opt("layer_types"), slidingLayers, everyFourthNot)),
		Set("attention.rope_pattern", ropeLayers),
	),
})

var everyFourthNot = Fn("all layers but the first of four", func(e *Env) (any, error) {
	out := make([]bool, e.Blocks)
	for i := range out {
		out[i] = i%4 != 0
	}
	return out, nil
})

// ropeLayers tells where positions are rotary: no_rope_layers means the opposite of what it says.
var ropeLayers = Fn("truth of no_rope_layers", func(e *Env) (any, error) {
	v, _ := e.value("no_rope_layers")
	if !config.Truth(v) {
		return nil, nil
	}
	list, ok := v.([]any)
	if !ok {
		return nil, &fault.Invalid{On: "config.json: no_rope_layers", Says: "a list is needed, not " + show(v)}
	}
	out := make([]bool, len(list))
	for i, v := range list {
		out[i] = config.Truth(v)
	}
	return out, nil
})

// Here gate and up stay together: llama.cpp takes them so.
var _ = Register(Arch{
	Base: graniteSWA,
	HF:   []string{"GraniteMoeSWAForCausalLM"},
	Tensors: Rules{
		On("*block_sparse_moe.{experts.gate_up_proj|input_linear.weight}", Extent(-2, Mul(2, Cfg("intermediate_size")))),
		Rename("*block_sparse_moe.{experts.gate_up_proj|input_linear.weight}", "@ffn_gate_up_exp"),
		Rename("*block_sparse_moe.experts.down_proj", "@ffn_down_exp"),
		On("*shared_mlp.input_linear.weight", Extent(-2, Mul(2, CfgOr("shared_intermediate_size", Cfg("intermediate_size"))))),
		Rename("*shared_mlp.input_linear.weight", "@ffn_up_shexp"),
		Rename("*shared_mlp.output_linear.weight", "@ffn_down_shexp"),
	}.Also(llama.Tensors),
	Keys: graniteSWA.Keys.Then(sharedWidth),
})

// feature is a vision projector: the layers that it reads and writes, and what the checkpoint calls it.
type feature struct {
	vision, layer int64
	kind          string // layerwise or spatial
	index         int64  // among those of its kind
}

// deepstackMapping tells for each layer which projector's features it takes, -1 for none; the first projector, by layer, makes
// the embedding and is not among them. Source: conversion/granite.py, get_normalized_projector_map.
var deepstackMapping = Fn("layers that take image features", func(e *Env) (any, error) {
	pairs, _ := e.value("deepstack_layer_map")
	spatial, _ := e.value("spatial_target_layers")
	if !config.Truth(pairs) && !config.Truth(spatial) {
		return nil, nil
	}
	features, err := projectorFeatures(e, pairs, spatial)
	if err != nil {
		return nil, err
	}
	out := make([]int64, e.Blocks)
	for i := range out {
		out[i] = -1
	}
	for i, f := range features {
		at := f.layer
		if at < 0 { // counted from the end
			at += e.Blocks
		}
		if at < 0 || at >= e.Blocks {
			return nil, &fault.Invalid{On: "config.json", Says: fmt.Sprintf("image features go into layer %d of %d", f.layer, e.Blocks)}
		}
		if i > 0 {
			out[at] = int64(i)
		}
	}
	return out, nil
})

// projectorFeatures lists the projectors by the layer that they write: pairs by what they read, and those that all read the
// same layer.
func projectorFeatures(e *Env, pairs, spatial any) ([]feature, error) {
	layers, err := e.Int(In("text_config", Cfg("num_hidden_layers")))
	if err != nil {
		return nil, err
	}
	var out []feature
	list, _ := asList(pairs)
	for _, p := range list {
		pair, _ := asList(p)
		if len(pair) != 2 {
			return nil, &fault.Invalid{On: "config.json: deepstack_layer_map", Says: show(p) + " is no pair of layers"}
		}
		f, err := e.feature(pair[0], pair[1])
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b feature) int {
		if a.vision != b.vision {
			return int(a.vision - b.vision)
		}
		return int(a.layer - b.layer)
	})
	for i := range out {
		if out[i].layer < 0 {
			out[i].layer += layers
		}
		out[i].kind, out[i].index = "layerwise", int64(i)
	}
	read, err := CfgOr("spatial_vision_layer", -1).Eval(e)
	if err != nil {
		return nil, err
	}
	list, _ = asList(spatial)
	for i, layer := range list {
		f, err := e.feature(read, layer)
		if err != nil {
			return nil, err
		}
		f.kind, f.index = "spatial", int64(i)
		out = append(out, f)
	}
	slices.SortStableFunc(out, func(a, b feature) int { return int(a.layer - b.layer) })
	return out, nil
}

func (e *Env) feature(vision, layer any) (f feature, err error) {
	if f.vision, err = e.Int(Const(vision)); err == nil {
		f.layer, err = e.Int(Const(layer))
	}
	if err == nil && max(f.vision, -f.vision, f.layer, -f.layer) > maxBlocks {
		err = &fault.Invalid{On: "config.json", Says: fmt.Sprintf("image features of layer %d for layer %d", f.vision, f.layer)}
	}
	return f, err
}
