package arch

// Hunyuan 4 (Hy4): DeepSeek's attention over a latent with hyper-connections, a gate and sinks, and an index that layers share.
//
// Peculiar: num_key_value_heads is wrong in the published configuration; experts are stacked already; the dense layers are told by
// two keys that must agree; which layers have an index of their own is told by one key, and must be so of the tensors.
//
// Source: llama.cpp v0.5.0, conversion/hy_v4.py: HYV4Model.

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"quern/convert/fault"
	"quern/convert/gguf"
)

var hyExperts = Cfg("moe_intermediate_size")

var _ = Register(Arch{
	Base:   &deepseekBase,
	HF:     []string{"HYV4ForCausalLM"},
	GGUF:   "hy_v4",
	Config: Keys{Let("num_key_value_heads", Cfg("num_attention_heads"))},
	Names:  Rules{Drop("model.mtp_layers.*", "llama.cpp does not run the prediction layers of this architecture")}.Also(deepseekBase.Names),
	Tensors: Rules{
		Split("*mlp.experts.gate_up_proj", 1, Part{To: "@ffn_gate_exp", Size: hyExperts}, Part{To: "@ffn_up_exp", Size: hyExperts}),
		Rename("*mlp.experts.down_proj|*.self_attn.learnable_sink_param", "+.weight"),
		Rename("*.hc_head.hc_head_{fn|base|scale}|*.hc_{attn|mlp}_layer.hc_pre.hc_{fn|base|scale}", "+.weight"),
		dropTiedHead, dropNextN,
	}.Also(mlaSplit),
	Force: []Force{
		{Match: "*hc_attn_fn.weight|*hc_ffn_fn.weight|*output_hc_fn.weight", Type: gguf.F32},
		{Match: "output.weight", If: CfgOr("enable_lm_head_fp32", false), Type: gguf.F32},
	},
	Keys: Keys{
		Do("one group of experts is none", func(m *Meta) error {
			if equal(m.Config["n_group"], int64(1)) && equal(m.Config["topk_group"], int64(1)) {
				m.Env = m.with("n_group", nil).with("topk_group", nil)
			}
			return nil
		}),
		Fail(All(Not(Null(Opt("mlp_layer_types"))), denseBehind), "dense layers behind those with experts"),
		Fail(All(Not(Null(Opt("mlp_layer_types"))), Not(Null(Opt("first_k_dense_replace"))), Not(Equal(Cfg("first_k_dense_replace"), hyDense))),
			"a first_k_dense_replace that contradicts mlp_layer_types"),
		Let("first_k_dense_replace", Else(Opt("first_k_dense_replace"), hyDense)),
	}.Also(mlaKeys).Then(
		Set("expert_gating_func", gatingFuncs["sigmoid"]),
	).Also(When(Opt("swiglu_limit"), Set("swiglu_clamp_exp", Repeat(Cfg("swiglu_limit"))))).Then(
		Set("hyper_connection.count", Cfg("hc_mult")),
		Set("hyper_connection.epsilon", Cfg("hc_eps")),
		Set("hyper_connection.magnitude", Cfg("hc_magnitude")),
	).Also(When(Not(Null(hyIndexers)), indexerKeys.Then(
		Set("attention.indexer.types", hyIndexers),
		Do("check the tensors of the index", checkIndexers),
	)...)),
})

var (
	hyDense     = Leading("mlp_layer_types", "dense")
	denseBehind = Fn("a dense layer behind others", func(e *Env) (any, error) {
		list, _ := e.Config.List("mlp_layer_types")
		n, err := e.Int(hyDense)
		return n < int64(len(list)) && slices.Contains(list[n:], any("dense")), err
	})
)

// hyIndexers tells which layers have an index of their own; nil where attention is not sparse. Older configurations tell it by
// the kinds of layers. Source: conversion/hy_v4.py, indexer_is_full.
var hyIndexers = Fn("layers with an index of their own", func(e *Env) (any, error) {
	key, full, other := "indexer_types", []any{"full"}, []any{"shared"}
	list, ok := e.Config.List(key)
	if !ok {
		key, full, other = "layer_types", []any{"sparse_attention", "deepseek_sparse_attention"}, nil
		list, _ = e.Config.List(key)
		if !slices.ContainsFunc(list, func(v any) bool { return slices.Contains(full, v) }) {
			return nil, nil
		}
	}
	if int64(len(list)) < e.Blocks {
		return nil, &fault.Invalid{On: "config.json: " + key, Says: fmt.Sprintf("%d elements for %d layers", len(list), e.Blocks)}
	}
	out := make([]bool, e.Blocks)
	for i := range out {
		out[i] = slices.Contains(full, list[i])
		if !out[i] && other != nil && (i == 0 || !slices.Contains(other, list[i])) {
			return nil, &fault.Invalid{On: "config.json: " + key, Says: fmt.Sprintf("layer %d is %s, want full, or shared behind one that is full", i, show(list[i]))}
		}
	}
	return out, nil
})

// indexTensors are what a layer with an index of its own has.
var indexTensors = []string{"k_norm.bias", "k_norm.weight", "weights_proj.weight", "wk.weight", "wq_b.weight"}

// checkIndexers compares the tensors with what the configuration says of each layer.
func checkIndexers(m *Meta) error {
	full, err := m.bools(hyIndexers)
	if err != nil {
		return err
	}
	have := make([]map[string]bool, len(full))
	for _, name := range m.b.sourceNames {
		_, part, ok := strings.Cut(name, ".self_attn.indexer.")
		if block := blockOf(name); ok && block >= 0 && block < int64(len(have)) {
			if have[block] == nil {
				have[block] = map[string]bool{}
			}
			have[block][part] = true
		}
	}
	for i, want := range full {
		names := slices.Sorted(maps.Keys(have[i]))
		if m.b.sourceNames != nil && (want && !slices.Equal(names, indexTensors) || !want && len(names) > 0) {
			return &fault.Invalid{On: fmt.Sprintf("layer %d", i), Says: fmt.Sprintf("the configuration makes it %v that it has an index of its own, its tensors are %v", want, names)}
		}
	}
	return nil
}
