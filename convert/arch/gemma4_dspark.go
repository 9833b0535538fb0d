package arch

// DSpark drafts for Gemma 4: DFlash with Gemma 4's block.
//
// Peculiar: every layer sees everything, and takes keys for values; norms have Gemma's names, one of which is another role for
// DFlash; without rope_parameters the positions are Gemma 4's; much of what Gemma 4 may be is refused.
//
// Source: llama.cpp v0.5.0, conversion/gemma.py: Gemma4DSparkModel.

import (
	"math"
	"strings"

	"quern/convert/config"
	"quern/convert/fault"
)

var _ = Register(Arch{
	Base: dflash,
	HF:   []string{"Gemma4DSparkModel"},
	Config: Keys{
		Fail(Not(Opt("attention_k_eq_v")), "a draft without attention_k_eq_v"),
		Fail(Not(onlyFull), "a draft with other layers than full_attention"),
		Fail(Not(Is(CfgOr("hidden_activation", gelu), gelu)), "a draft with another activation than "+gelu),
		Fail(Any(Opt("attention_bias"), Opt("enable_moe_block")), "a draft with biases or experts"),
		Fail(Not(Is(Sub(Or(Opt("draft_vocab_size"), Cfg("vocab_size")), Cfg("vocab_size")), 0)), "a draft that knows only a part of the vocabulary"),
		Fail(Not(Any(hasTensors("lm_head.weight"), isTrue("tie_word_embeddings"))), "a draft without lm_head whose embedding is not tied"),
		Fail(Not(Is(draftKey("markov_head_type", "vanilla"), "vanilla")), "another Markov head than vanilla"),
		gemma4DraftRope,
		Fail(Not(ropeIs("default", "proportional")), "rotary positions that are neither default nor proportional"),
		Fail(Null(draftKey("mask_token_id", nil)), "a draft without mask_token_id"),
		Fail(Not(draftKey("target_layer_ids", nil)), "a draft without target_layer_ids"),
		Fail(Opt("final_logit_softcapping"), "a draft that caps its logits"),
		Fail(All(draftWindowed, Null(positive(In("dflash_config", Opt("swa_window_size"))))), "a window that is not positive"),
	},
	Names: Rules{
		Prefix("model."),
		Rename("*.layer_scalar", "+.weight"),
		Rename("*model.confidence_proj.*", "model.confidence_proj.=>model.confidence_head.proj."),
	}.Also(dflash.Names),
	Extra: []Generate{{Doc: "rope_freqs that switch dimensions off", If: ropeIs("proportional"), Make: draftRope}},
	Tensors: Rules{
		Rename("*.post_attention_layernorm.weight", "@attn_post_norm"),
		Rename("*.pre_feedforward_layernorm.weight", "@ffn_norm"),
	}.Also(dflash.Tensors),
	Keys: dflash.Keys.Then(
		Set("attention.head_count_kv", Cfg("num_global_key_value_heads")),
		Set("attention.key_length", Trunc(Cfg("global_head_dim"))),
		Set("attention.value_length", Trunc(Cfg("global_head_dim"))),
		Set("rope.dimension_count", Trunc(Cfg("global_head_dim"))),
		Set("embedding_scale", Fn("square root of hidden_size", func(e *Env) (any, error) {
			f, err := e.Float(Cfg("hidden_size"))
			return math.Sqrt(f), err
		})),
		Set("attention.scale", 1.0),
		Set("hidden_activation", gelu),
		Set("sample_from_anchor", FlagOr("sample_from_anchor", true)),
		Set("has_confidence_head", hasTensors("confidence_head.proj", "confidence_proj.")),
	),
	VocabLate: Keys{Set("tokenizer.ggml.mask_token_id", draftKey("mask_token_id", nil))},
})

const gelu = "gelu_pytorch_tanh"

var onlyFull = Fn("layer_types are full_attention, one for each layer", func(e *Env) (any, error) {
	n, err := e.Int(defaultBlocks)
	list, _ := e.Config.List("layer_types")
	for _, kind := range list {
		if kind != "full_attention" {
			return false, err
		}
	}
	return int64(len(list)) == n, err
})

// hasTensors holds where the name of a tensor contains one of the texts.
func hasTensors(texts ...string) Expr {
	return Fn("has a tensor *"+strings.Join(texts, "*|*")+"*", func(e *Env) (any, error) {
		for i := range e.Tensors {
			for _, t := range texts {
				if strings.Contains(e.Tensors[i].Name, t) {
					return true, nil
				}
			}
		}
		return false, nil
	})
}

func isTrue(key string) Expr {
	return Fn(key+" is true", func(e *Env) (any, error) {
		v, _ := e.Config[key].(bool)
		return v, nil
	})
}

// gemma4DraftRope takes the rope parameters of full attention for all, and Gemma 4's where there are none.
// Source: conversion/gemma.py, Gemma4DSparkModel.
var gemma4DraftRope = Do("the rope parameters of full attention, Gemma 4's without any", func(m *Meta) error {
	c := *m.Env
	if c.Rope = c.rope(); !m.Config.True("rope_parameters") {
		c.Rope = config.Object{"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1e6}
	}
	m.Env = &c
	return nil
})

func draftRope(b *Build) ([]Item, error) {
	dim, err := b.Int(Trunc(Cfg("global_head_dim")))
	if err != nil {
		return nil, err
	}
	part, err := b.Float(RopeAll(CfgOr("partial_rotary_factor", 0.25)))
	if err != nil {
		return nil, err
	}
	rotated := float64(dim) * part
	if dim > maxHeadDim || part <= 0 || part > 1 || rotated != 2*math.Trunc(rotated/2) {
		return nil, &fault.Invalid{On: "config.json: partial_rotary_factor", Says: show(rotated) + " rotary dimensions, an even number is needed"}
	}
	return b.rotatedPart(float64(dim), part)
}
