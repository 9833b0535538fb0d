package arch

// DSpark: DFlash with a head that looks at the token before (a Markov head), for Qwen, LFM 2, Ling and others. Those for
// Gemma 4 and DeepSeek 4 stand beside their families.
//
// Peculiar: settings stand outside of dflash_config, and in exports like EAGLE-3's under other names; a draft may know a part of
// the target's tokens only, with a table of differences as EAGLE-3 has it; a head over all of them is the target's.
//
// Source: llama.cpp v0.5.0, conversion/qwen.py: DSparkModel.

import (
	"fmt"

	"quern/convert/config"
	"quern/convert/fault"
)

var _ = Register(Arch{
	Base: dflash,
	HF:   []string{"Qwen3DSparkModel", "DSparkDraftModel", "DSparkSpeculator", "Lfm2DSparkDraftModel", "LingDSparkModel"},
	Config: Keys{
		// In exports like EAGLE-3's the first token of a block is the one behind the anchor.
		Let("dspark_from_anchor", CfgOr("sample_from_anchor", Not(Has("transformer_layer_config", "aux_hidden_state_layer_ids")))),
		Lift("transformer_layer_config"),
		Let("dflash_config", dsparkConfig),
		Fail(Not(Is(CfgOr("markov_head_type", "vanilla"), "vanilla")), "another Markov head than vanilla"),
		Fail(below(dsparkUnknown, 0), "a draft_vocab_size above vocab_size"),
		Fail(All(below(0, dsparkUnknown), Not(hasTensors("d2t"))), "a draft that knows a part of the tokens, without the table d2t"),
	},
	Names: Rules{Drop("t2d", "not used at run time")}.Also(dflash.Names),
	Tensors: Rules{
		Code("model.d2t", "differences become ids of the target, at the end of the file", func(b *Build, it Item) ([]Item, error) {
			b.Last(func() error { return dsparkTable(b, it) })
			return nil, nil
		}),
	}.Also(
		Given(Is(dsparkUnknown, 0), Drop("*lm_head.weight", "the target's is used")),
		alternating, // here and again in DFlash's rules: see dsparkTwice
		dflash.Tensors),
	Keys: dflash.Keys.Then(
		Set("sample_from_anchor", Flag("dspark_from_anchor")),
		Set("has_confidence_head", hasTensors("confidence_head.proj")),
	).Also(When(Not(CfgOr("rope_is_neox_style", true)), dsparkTwice)),
})

// dsparkUnknown is how many of the target's tokens the draft does not know.
var dsparkUnknown = Sub(Cfg("vocab_size"), Or(Opt("draft_vocab_size"), Cfg("vocab_size")))

// below holds where a is less than b.
func below(a, b any) Expr {
	x, y := asExpr(a), asExpr(b)
	return Fn(fmt.Sprintf("%s < %s", x, y), func(e *Env) (any, error) {
		v, err := e.Float(x)
		if err != nil {
			return nil, err
		}
		w, err := e.Float(y)
		return v < w, err
	})
}

// dsparkConfig is dflash_config, or one made of the keys that stand beside it. Source: conversion/qwen.py, DSparkModel.
var dsparkConfig = Fn("dflash_config, or the same settings outside of it", func(e *Env) (any, error) {
	if v, ok := e.value("dflash_config"); ok {
		return v, nil
	}
	out := config.Object{}
	if !e.Config.Has("aux_hidden_state_layer_ids") {
		for _, key := range []string{"target_layer_ids", "mask_token_id"} {
			if v, ok := e.value(key); ok {
				out[key] = v
			}
		}
		return out, nil
	}
	out["mask_token_id"], _ = e.value("mask_token_id")
	ids, ok := e.Config.Ints("aux_hidden_state_layer_ids")
	if !ok {
		return nil, &fault.Invalid{On: "config.json: aux_hidden_state_layer_ids", Says: "a list of integers is needed"}
	}
	layers := make([]any, len(ids))
	for i, id := range ids { // they count from the embedding, target_layer_ids from the first layer
		layers[i] = id - 1
	}
	out["target_layer_ids"] = layers
	return out, nil
})

// dsparkTable writes the table, which must have an entry for each of the draft's tokens.
func dsparkTable(b *Build, it Item) error {
	n, err := b.Int(Or(Opt("draft_vocab_size"), Cfg("vocab_size")))
	if err == nil && n != it.View.Elements() {
		err = &fault.Invalid{On: it.Source, Says: fmt.Sprintf("%d entries for a draft of %d tokens", it.View.Elements(), n)}
	}
	if err != nil {
		return err
	}
	return draftTokens(b, it, Cfg("vocab_size"))
}

// dsparkTwice says what the reference does to these rows: in its class and in the class that it is derived from.
var dsparkTwice = Do("warn that rows are put in halves twice", func(m *Meta) error {
	m.b.Warn("query and key rows are put in halves twice, as llama.cpp's converter does for this class of drafts: check the draft's acceptance rate")
	return nil
})
