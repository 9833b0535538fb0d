package arch

// DFlash: drafts that fill a block of tokens at once, from hidden states of their target.
//
// Peculiar: the vocabulary is the target's, read as the target's class reads it; most settings stand in dflash_config, or else
// beside it; layers of the target are counted from 1; the rows of checkpoints whose rotary embedding alternates are put in halves.
//
// Source: llama.cpp v0.5.0, conversion/qwen.py: DFlashModel.

import (
	"fmt"

	"quern/convert/config"
	"quern/convert/view"
)

var dflash = Register(Arch{
	Base: qwen3,
	HF:   []string{"DFlashDraftModel", "DFlash2DraftModel"},
	GGUF: "dflash",
	Names: Rules{
		Prefix("model."),
		Rename("*sink*", "+.weight").Except("*.weight"),
	}.Also(TextNames),
	Tensors: Given(Not(CfgOr("has_embed_tokens", true)), Drop("model.embed_tokens.weight", "the target's is used")).Also(
		alternating).Then(
		Rename("model.candidate_selector.{predecessor|successor}_codebook", "+.weight")),
	Keys: qwen3.Keys.Then(Set("block_size", draftKey("block_size", 16))).
		Also(When(In("dflash_config", Has("conv_kernel_size")),
			Set("conv_kernel_size", In("dflash_config", Trunc(Cfg("conv_kernel_size")))),
			Set("conv_group_size", In("dflash_config", Trunc(Cfg("conv_group_size")))),
			Set("selector_rank", In("dflash_config", Trunc(Cfg("selector_rank")))),
			Set("selector_top_k", In("dflash_config", Trunc(Cfg("selector_top_k")))),
		)).Then(
		Set("logit_scale", draftKey("output_multiplier", nil)),
		Set("final_logit_softcapping", positive(draftKey("final_logit_softcapping", nil))),
		Set("embedding_scale", draftKey("input_embedding_scale", nil)),
		Set("target_layers", draftTargets),
	).Also(When(All(Any(Opt("use_sliding_window"), draftWindowed), draftWindow),
		Set("attention.sliding_window", draftWindow),
		Set("attention.sliding_window_pattern", draftWindows),
	)).Then(
		Set("attention.causal", Else(Opt("is_causal"), In("dflash_config", Opt("causal")))),
		Set("rope.dimension_sections", draftSections),
	),
	VocabFrom: AsTarget,
	VocabLate: Keys{Set("tokenizer.ggml.mask_token_id", In("dflash_config", Opt("mask_token_id")))},
	Odd:       []string{"token_embd", "attn_q", "attn_k", "attn_v", "attn_out"},
})

// alternating puts rows in halves where the checkpoint's rotary embedding alternates.
var alternating = Given(Not(CfgOr("rope_is_neox_style", true)), On("*self_attn.{q|k}_{proj|norm}.weight", halves))

// draftKey is a setting of dflash_config, or beside it, or dflt. A null counts as a setting.
func draftKey(key string, dflt any) Expr {
	return Fn("dflash_config."+key+"|"+key, func(e *Env) (any, error) {
		inner, _ := e.Config.Object("dflash_config")
		if v, ok := inner[key]; ok {
			return v, nil
		}
		return CfgOr(key, dflt).Eval(e)
	})
}

// positive is x where it is greater than 0, else nil.
func positive(x Expr) Expr {
	return Fn(x.String()+" if positive", func(e *Env) (any, error) {
		v, err := x.Eval(e)
		if f, ok := number(v); !ok || f <= 0 {
			return nil, err
		}
		return v, err
	})
}

var draftTargets = plusEach(draftKey("target_layer_ids", nil), 1)

var (
	draftWindowed = In("dflash_config", Opt("use_swa"))
	draftWindow   = Or(In("dflash_config", Opt("swa_window_size")), Opt("sliding_window"))
)

// draftWindows are all layers, or those that the configuration tells.
var draftWindows = Fn("all layers if dflash_config.use_swa, else those of sliding_attention", func(e *Env) (any, error) {
	all, err := e.Truth(draftWindowed)
	if err != nil {
		return nil, err
	}
	if !all {
		if !e.Config.True("layer_types") {
			return nil, nil
		}
		return slidingLayers.Eval(e)
	}
	out := make([]bool, e.Blocks)
	for i := range out {
		out[i] = true
	}
	return out, nil
})

// draftSections rotate by time alone where the target rotates by time, height and width.
var draftSections = Fn("[head_dim / 2, 0, 0, 0] if the target has an mrope_section", func(e *Env) (any, error) {
	if e.Target == nil {
		return nil, nil
	}
	c := e.Target.Config.Raw
	if text, ok := c.Object("text_config"); ok {
		c = text
	}
	rope, _ := c.Object("rope_parameters")
	if !config.Truth(rope) {
		rope, _ = c.Object("rope_scaling")
	}
	if !rope.Has("mrope_section") {
		return nil, nil
	}
	dim, err := e.Int(Or(Opt("head_dim"), FloorDiv(Cfg("hidden_size"), Cfg("num_attention_heads"))))
	return []int64{dim / 2, 0, 0, 0}, err
})

// halves puts the even rows of every head before the odd ones.
var halves = View("even rows of a head, then odd ones", func(b *Build, _ Item, v view.Tensor) (view.Tensor, error) {
	dim, err := b.Int(Cfg("head_dim"))
	if err != nil || v.Elements() == 0 {
		return v, err
	}
	if dim <= 0 || v.Shape[0]%dim != 0 || dim%2 != 0 {
		return v, fmt.Errorf("no whole heads of %d rows", dim)
	}
	index := make([]int64, v.Shape[0])
	for i := range index {
		head, at := int64(i)/dim*dim, int64(i)%dim
		index[i] = head + at*2%dim + at*2/dim
	}
	return view.Gather(v, 0, index)
})
