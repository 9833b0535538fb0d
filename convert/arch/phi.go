package arch

// Phi 1 to 4 and Phi-3.5-MoE.
//
// Peculiar: Phi 3's long rope becomes two generated tensors of factors, for short and for long texts, and a factor of the
// attention, which the reference sets while it reads tensors; a window of 0 tells Phi 4 from Phi 3.
//
// Source: llama.cpp v0.5.0, conversion/phi.py: Phi2Model, Phi3MiniModel, PhiMoeModel.

import (
	"fmt"
	"math"
	"strings"

	"quern/convert/fault"
	"quern/convert/vocab"
)

var (
	phiWidth   = Cfg("hidden_size", "n_embd")
	phiHeads   = Cfg("num_attention_heads", "n_head")
	phiContext = Cfg("n_positions", "max_position_embeddings")
)

// phiRope is the number of rotary dimensions: a part of the model's width, divided by the heads.
func phiRope(part Expr) Expr { return FloorDiv(Trunc(Mul(part, phiWidth)), phiHeads) }

var _ = Register(Arch{
	HF:    []string{"PhiForCausalLM"},
	GGUF:  "phi2",
	Odd:   feedForward, // the key states four times the width, whatever the configuration does
	Names: TextNames,
	Keys: Keys{
		Set("context_length", phiContext),
		Set("embedding_length", phiWidth),
		Set("feed_forward_length", Mul(4, phiWidth)),
		Set("block_count", BlockCount),
		Set("attention.head_count", phiHeads),
		Set("attention.head_count_kv", phiHeads),
		Set("attention.layer_norm_epsilon", Cfg("layer_norm_epsilon", "layer_norm_eps")),
		Set("rope.dimension_count", phiRope(RopeAll(Cfg("partial_rotary_factor")))),
		FileTypeKey,
		Set("tokenizer.ggml.add_bos_token", false),
	},
	Vocab: vocab.GPT2,
})

var (
	phi3Rope     = phiRope(RopeAll(CfgOr("partial_rotary_factor", 1.0)))
	phi3Original = RopeAll(Cfg("original_max_position_embeddings"))
)

var phi3 = Register(Arch{
	HF:    []string{"Phi3ForCausalLM", "Phi4ForCausalLMV"},
	GGUF:  "phi3",
	Names: TextNames,
	Extra: []Generate{{Doc: "rope_factors_long and rope_factors_short of long rope", If: longFactors, Make: longRope(phi3Rope)}},
	Early: When(longFactors, Set("rope.scaling.attn_factor", longAttention)),
	Keys: Keys{
		Set("context_length", phiContext),
		Set("rope.scaling.original_context_length", phi3Original),
		Set("embedding_length", phiWidth),
		Set("feed_forward_length", Cfg("intermediate_size")),
		Set("block_count", BlockCount),
		Set("attention.head_count", phiHeads),
		Set("attention.head_count_kv", Cfg("num_key_value_heads", "n_head_kv")),
		Set("attention.layer_norm_rms_epsilon", Cfg("rms_norm_eps")),
		Set("rope.dimension_count", phi3Rope),
		Set("rope.freq_base", Rope(Cfg("rope_theta"))),
		FileTypeKey,
		Set("attention.sliding_window", Else(Opt("sliding_window"), 0)),
	},
	Vocab: vocab.Phi3,
	Odd:   []string{"ffn_up"}, // gate and up in one
})

var _ = Register(Arch{
	Base:    phi3,
	HF:      []string{"PhiMoEForCausalLM"},
	GGUF:    "phimoe",
	Tensors: Rules{StackExperts("block_sparse_moe.experts", Cfg("num_local_experts", "num_experts"), "w1", "w2", "w3")},
	Keys: phi3.Keys.Then(
		Set("expert_used_count", Cfg("num_experts_per_tok", "num_experts_per_token")),
		Set("expert_count", Cfg("num_local_experts", "num_experts")),
	),
})

// longFactors holds where the checkpoint has factors for long texts.
var longFactors = RopeAll(Opt("long_factor"))

// longRope makes the two tensors of factors for a rope of so many dimensions. Source: conversion/phi.py, generate_extra_tensors.
func longRope(dims Expr) func(*Build) ([]Item, error) {
	return func(b *Build) ([]Item, error) {
		n, err := b.Int(dims)
		if err != nil {
			return nil, err
		}
		var out []Item
		for _, p := range [][2]string{{"rope_factors_long", "long_factor"}, {"rope_factors_short", "short_factor"}} {
			values, err := b.ropeFactors(p[1], n)
			if err != nil {
				return nil, err
			}
			items, err := b.Generated(p[0], values)
			if err != nil {
				return nil, err
			}
			out = append(out, items...)
		}
		return out, nil
	}
}

// ropeFactors are the factors under key, one for each pair of dimensions.
func (b *Build) ropeFactors(key string, dims int64) ([]float32, error) {
	list, _ := asList(b.Rope[key])
	if 2*int64(len(list)) != dims {
		return nil, &fault.Invalid{On: "config.json: " + key, Says: fmt.Sprintf("%d factors for %d rotary dimensions, want half as many", len(list), dims)}
	}
	values := make([]float32, len(list))
	for i, v := range list {
		f, ok := number(v)
		if !ok {
			return nil, &fault.Invalid{On: "config.json: " + key, Says: show(v) + " is no number"}
		}
		values[i] = float32(f)
	}
	return values, nil
}

// longAttention is the factor of the attention that goes with the stretched context. Source: the same function.
var longAttention = Fn("attention factor of the stretched context", func(e *Env) (any, error) {
	scale, err := e.Float(Div(phiContext, phi3Original))
	if err != nil {
		return nil, err
	}
	original, err := e.Float(phi3Original)
	if err != nil {
		return nil, err
	}
	kind, _ := e.Rope["rope_type"].(string)
	switch kind = strings.ToLower(kind); {
	case kind != "su" && kind != "longrope" && kind != "yarn":
		return nil, &fault.Unsupported{On: "config.json: rope_scaling", Says: "long_factor with the type " + show(e.Rope["rope_type"])}
	case scale <= 1:
		return 1.0, nil
	case kind == "yarn":
		return 0.1*math.Log(scale) + 1, nil
	}
	return math.Sqrt(1 + math.Log(scale)/math.Log(original)), nil
})
