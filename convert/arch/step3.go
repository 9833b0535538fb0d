package arch

// Step 3.5 and 3.7 Flash; Step3-VL's text model is a Qwen 3.
//
// Peculiar: norms are stored minus one; heads, key-value heads and rope differ between layers with and without a window, the two rope
// bases stand in one list; llama3 rope scaling covers the rotated part of a head, the rest is filled up with ones; the prediction
// layers' shared head has a name of its own.
//
// Source: llama.cpp v0.5.0, conversion/step3.py: Step3VLTextModel, Step35Model.

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"quern/convert/config"
	"quern/convert/fault"
	"quern/convert/vocab"
)

var _ = Register(Arch{Base: qwen3, HF: []string{"StepVLForConditionalGeneration"}})

// padded is a list of the configuration, cut or filled up to the number of blocks.
func padded(key string, fill any) Expr {
	return Fn(key+" for each block", func(e *Env) (any, error) {
		v, _ := e.value(key)
		list, _ := v.([]any)
		out := slices.Repeat([]any{fill}, int(e.Blocks))
		copy(out, list)
		return out, nil
	})
}

// stepWindow are the layers with a window.
var stepWindow = Fn("layers with sliding_attention", func(e *Env) (any, error) {
	v, err := padded("layer_types", "full_attention").Eval(e)
	list, _ := v.([]any)
	out := make([]bool, len(list))
	for i, kind := range list {
		out[i] = kind == "sliding_attention"
	}
	return out, err
})

// stepRotary are the rotated parts of a head that follow from the kinds of layers.
var stepRotary = ByLayer(stepWindow, 1.0, 0.5)

// stepHeads is a number of heads by layer; attention_other_setting has that of layers with a window.
func stepHeads(key string) Expr {
	return ByLayer(stepWindow, Else(In("attention_other_setting", Opt(key)), Cfg(key)), Cfg(key))
}

// clamps are limits by layer, 0 for none; nil where the configuration has no list.
func clamps(key string) Expr {
	return Choose(Null(Opt(key)), nil, Fn(key+", 0 where null", func(e *Env) (any, error) {
		v, err := padded(key, 0.0).Eval(e)
		list, _ := v.([]any)
		out := make([]float64, len(list))
		for i, x := range list {
			f, ok := number(x)
			if x != nil && !ok {
				return nil, &fault.Invalid{On: "config.json: " + key, Says: show(x) + " is no number"}
			}
			out[i] = f
		}
		return out, err
	}))
}

var _ = Register(Arch{
	HF:    []string{"Step3p5ForCausalLM", "Step3p7ForConditionalGeneration"},
	GGUF:  "step35",
	NextN: appended,
	MTP:   true,
	Names: TextNames.Then(Rename("*.moe.router_bias", "+.bias"), NextNRule(appended)).Also(Given(behindTrunk(appended),
		Rename("model.layers.#.transformer.*", ".transformer.=>."),
		Rename("model.layers.#.*shared_head.output*", "shared_head.output=>shared_head.head"),
	)),
	Extra: []Generate{{Doc: "rope_freqs of llama3 rope scaling, for the rotated part of a head", If: Llama3Freqs.If, Make: stepFreqs}},
	Tensors: Rules{
		On("*norm.weight", Plus(1.0)),
		On("*.self_attn.g_proj.weight|*.moe.{gate|up_proj|gate_proj|down_proj}.weight", SqueezeAll),
	},
	Keys: Keys{Do("two rope bases from one list", stepBases)}.Also(TextKeys).Then(
		Fail(Not(Fn("partial_rotary_factors fit layer_types", func(e *Env) (any, error) {
			want, err := stepRotary.Eval(e)
			have, _ := padded("partial_rotary_factors", 0.5).Eval(e)
			return slices.EqualFunc(want.([]any), have.([]any), equal), err
		})), "partial_rotary_factors other than 1 for layers with a window and 0.5 for others"),
		Set("attention.head_count", stepHeads("num_attention_heads")),
		Set("attention.head_count_kv", stepHeads("num_attention_groups")),
		Set("attention.sliding_window", Cfg("sliding_window")),
		Set("attention.sliding_window_pattern", stepWindow),
		Set("attention.value_length", Cfg("head_dim")),
		Set("expert_count", Cfg("moe_num_experts")),
		Set("expert_used_count", Cfg("moe_top_k")),
		Set("expert_feed_forward_length", Cfg("moe_intermediate_size")),
		Set("expert_shared_feed_forward_length", Cfg("share_expert_dim")),
		Set("expert_weights_scale", Opt("moe_router_scaling_factor")),
		Set("expert_weights_norm", Opt("norm_expert_weight")),
		Set("leading_dense_block_count", firstMoE),
		Set("moe_every_n_layers", Trunc(CfgOr("moe_every_n_layer", 1))),
		Set("attention.layer_norm_rms_epsilon", CfgOr("rms_norm_eps", 1e-5)),
		Set("swiglu_clamp_exp", clamps("swiglu_limits")),
		Set("swiglu_clamp_shexp", clamps("swiglu_limits_shared")),
		Set("nextn_predict_layers", NextNCount(Or(Opt("num_nextn_predict_layers"), Const(nil)))),
	),
	Vocab:  vocab.GPT2,
	Uneven: true, // dense layers
})

// stepBases puts the two bases of a list where the general keys look for them.
func stepBases(m *Meta) error {
	list, ok := m.Config["rope_theta"].([]any)
	if !ok {
		return nil
	}
	if len(list) < 2 {
		return &fault.Invalid{On: "config.json: rope_theta", Says: "a list of one"}
	}
	full, ok := number(list[0])
	window, too := number(list[1])
	if !ok || !too {
		return &fault.Invalid{On: "config.json: rope_theta", Says: show(m.Config["rope_theta"]) + " is no list of numbers"}
	}
	c := *m.Env
	c.Rope = m.Rope.Merge(config.Object{"rope_theta": full, "sliding_attention": config.Object{"rope_theta": window}})
	m.Env = &c
	return nil
}

// firstMoE is the first layer with experts, 0 where none is listed.
var firstMoE = Fn("first of moe_layers_enum", func(e *Env) (any, error) {
	text, _ := e.Config.String("moe_layers_enum")
	first := int64(math.MaxInt64)
	for word := range strings.SplitSeq(strings.TrimSpace(text), ",") {
		if text = strings.TrimSpace(word); text == "" {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return nil, &fault.Invalid{On: "config.json: moe_layers_enum", Says: show(word) + " is no layer"}
		}
		first = min(first, n)
	}
	if first == math.MaxInt64 {
		return int64(0), nil
	}
	return max(0, first), nil
})

// stepFreqs are the factors in double precision but for the frequencies. Source: conversion/step3.py, generate_extra_tensors.
func stepFreqs(b *Build) ([]Item, error) {
	dim, err := b.Int(Trunc(HeadDim))
	if err != nil {
		return nil, err
	}
	base, factor, low, high, old := CfgOr("rope_theta", 10000.0), Rope(CfgOr("factor", 8.0)), Rope(CfgOr("low_freq_factor", 1.0)),
		Rope(CfgOr("high_freq_factor", 4.0)), Trunc(Rope(CfgOr("original_max_position_embeddings", 8192)))
	if _, ok := b.Config["rope_theta"].([]any); ok {
		base = At(Cfg("rope_theta"), 0)
	}
	var v [5]float64
	for i, x := range []Expr{base, factor, low, high, old} {
		if v[i], err = b.Float(x); err != nil {
			return nil, err
		}
	}
	rotary, err := b.stepRotated(dim)
	if err != nil {
		return nil, err
	}
	values := slices.Repeat([]float32{1}, int(max(dim, rotary)/2))
	for i := int64(0); i < rotary; i += 2 {
		wave := 2 * math.Pi / float64(invFreq(v[0], i, rotary))
		switch f := v[1]; {
		case wave < v[4]/v[3]:
		case wave > v[4]/v[2]:
			values[i/2] = float32(f)
		default:
			smooth := (v[4]/wave - v[2]) / (v[3] - v[2])
			values[i/2] = float32(1 / (float64((1-smooth)/f) + smooth))
		}
	}
	return b.Generated("rope_freqs", values)
}

// stepRotated is how many dimensions of a head of layers without a window are rotated.
func (b *Build) stepRotated(dim int64) (int64, error) {
	kinds, _ := b.Config.List("layer_types")
	parts, _ := b.Config.List("partial_rotary_factors")
	for i := range min(len(kinds), len(parts), int(b.Blocks)) {
		if kinds[i] != "full_attention" {
			continue
		}
		part, ok := number(parts[i])
		if !ok || part < 0 || part > 1 || dim < 0 || dim > maxHeadDim {
			break
		}
		return int64(float64(dim) * part), nil
	}
	return 0, &fault.Invalid{On: "config.json: partial_rotary_factors", Says: "no part between 0 and 1 for a layer with full_attention"}
}
