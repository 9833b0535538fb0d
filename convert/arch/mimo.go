package arch

// MiMo V2.
//
// Peculiar: three prediction layers, which no key counts; in FP8 the rows of the joint projection of query, key and value stand by rank
// of the tensor-parallel machines that it was made on, each rank with blocks of its own; experts may be MXFP4 under FP8's name.
//
// Source: llama.cpp v0.5.0, conversion/mimo.py: MimoV2Model.

import (
	"fmt"
	"slices"
	"strings"

	"quern/convert/dequant"
	"quern/convert/fault"
	"quern/convert/view"
	"quern/convert/vocab"
)

const mimoLayers = 3 // prediction layers

var mimoStored = mxExperts{
	members: "model.layers.{b}.mlp.experts.{x}.{w}_proj.weight",
	count:   Cfg("n_routed_experts"),
	words:   []string{"down", "gate", "up"},
	scale:   func(codes string) string { return codes + "_scale" },
}

// mimoPattern is hybrid_layer_pattern, with a window for the prediction layers.
var mimoPattern = Fn("hybrid_layer_pattern and the prediction layers", func(e *Env) (any, error) {
	list, ok := e.Config.List("hybrid_layer_pattern")
	if !ok {
		return nil, &fault.Invalid{On: "config.json: hybrid_layer_pattern", Says: "a list is needed"}
	}
	return append(slices.Clip(list), slices.Repeat([]any{int64(1)}, mimoLayers)...), nil
})

var mimoWindows = Fn("layers with a window", func(e *Env) (any, error) {
	v, err := mimoPattern.Eval(e)
	list, _ := v.([]any)
	out := make([]bool, len(list))
	for i := range list {
		out[i] = equal(list[i], int64(1))
	}
	return out, err
})

func sameInWindow(key string) Expr { return Equal(Cfg("swa_"+key), Cfg(key)) }

var _ = Register(Arch{
	HF:         []string{"MiMoV2FlashForCausalLM", "MiMoV2ForCausalLM"},
	GGUF:       "mimo2",
	NextN:      &NextN{Layers: Const(mimoLayers)},
	Names:      Rules{Rename("*attention_sink*", "+.weight").Except("*.weight")}.Also(TextNames),
	Dequantize: mimoRanks,
	Extra:      []Generate{{Doc: "experts in MXFP4, repacked", If: mimoMXFP4, Make: func(b *Build) ([]Item, error) { return nil, mimoExperts(b) }}},
	Tensors: Rules{Rename("model.mtp.layers.*", "model.mtp.=>mtp.")}.Also(mtpNames(Cfg("num_hidden_layers"), false)).Then(
		StackExperts("mlp.experts", Cfg("n_routed_experts"), "gate_proj", "up_proj", "down_proj"),
	),
	Keys: TextKeys.Then(
		Fail(Not(All(sameInWindow("head_dim"), sameInWindow("num_attention_heads"), sameInWindow("v_head_dim"))), "heads of another size or number in layers with a window"),
		Fail(Not(Is(Opt("topk_method"), "noaux_tc")), "a topk_method other than noaux_tc"),
		Set("attention.head_count_kv", ByLayer(mimoWindows, Cfg("swa_num_key_value_heads"), Cfg("num_key_value_heads"))),
		Set("attention.sliding_window", Cfg("sliding_window")),
		Set("attention.sliding_window_pattern", mimoPattern),
		Set("attention.value_length", Cfg("v_head_dim")),
		Set("expert_count", Cfg("n_routed_experts")),
		Set("expert_feed_forward_length", Cfg("moe_intermediate_size")),
		Set("rope.dimension_count", Trunc(Mul(Cfg("head_dim"), RopeAll(Cfg("partial_rotary_factor"))))),
		Set("attention.layer_norm_rms_epsilon", CfgOr("layernorm_epsilon", 1e-5)),
		Set("attention.value_scale", Opt("attention_value_scale")),
		Set("nextn_predict_layers", mimoLayers),
	),
	Vocab:  vocab.GPT2,
	Uneven: true, // dense layers
})

// mimoMXFP4 holds where experts are stored so.
var mimoMXFP4 = Is(In("quantization_config", Opt("store_dtype")), "mxfp4")

// mimoExperts repacks the experts. Nothing else may be MXFP4.
func mimoExperts(b *Build) error {
	if size := b.quantized.config["mxfp4_block_size"]; size != nil && !equal(size, int64(32)) {
		return &fault.Unsupported{On: "config.json: quantization_config", Says: "MXFP4 blocks of " + show(size) + ", llama.cpp's have 32 elements"}
	}
	if err := mimoStored.write(b, 0); err != nil {
		return err
	}
	b.Stored = &storedMXFP4
	for _, name := range b.sourceNames {
		if _, left := b.pending[name]; left && strings.HasSuffix(name, ".weight_scale") {
			return &fault.Unsupported{On: name, Says: "MXFP4 outside of the experts"}
		}
	}
	return nil
}

// mimoRanks widens the joint projections, rank by rank, into all queries, all keys, all values.
// Source: conversion/mimo.py, _tp_aware_qkv_dequant.
func mimoRanks(b *Build, s *dequant.Set) (bool, error) {
	if b.quantized.method != "fp8" {
		return false, nil
	}
	windows, err := b.bools(mimoWindows)
	if err != nil {
		return false, err
	}
	for _, name := range s.Names() {
		base, ok := strings.CutSuffix(name, "_scale_inv")
		if !ok || !Pattern("model.layers.#.self_attn.qkv_proj.weight").Match(base) {
			continue
		}
		w, has := s.Find(base)
		scale, _ := s.Find(name)
		block := blockOf(base)
		if !has || block >= int64(len(windows)) {
			continue // the general reading says what is missing
		}
		kv := "num_key_value_heads"
		if windows[block] {
			kv = "swa_" + kv
		}
		if w.View, err = b.byRank(w.View, scale.View, kv); err != nil {
			return false, err
		}
		w.FP8 = true
		s.Take(name)
	}
	return false, nil
}

// byRank finds the number of ranks by the blocks of the scale.
func (b *Build) byRank(w, scale view.Tensor, kv string) (view.Tensor, error) {
	sizes := make([]int64, 3)
	total := int64(0)
	for i, x := range []Expr{Mul(Cfg("num_attention_heads"), Cfg("head_dim")), Mul(Cfg(kv), Cfg("head_dim")), Mul(Cfg(kv), Cfg("v_head_dim"))} {
		n, err := b.Int(x)
		if err != nil {
			return w, err
		}
		sizes[i], total = n, total+n
	}
	const size = 128 // of a block
	for _, ranks := range []int64{8, 4} {
		each := total / ranks
		blocks := (each + size - 1) / size
		if len(w.Shape) != 2 || len(scale.Shape) != 2 || w.Shape[0] != total || total%ranks != 0 || scale.Shape[0] != ranks*blocks {
			continue
		}
		parts := make([][]view.Tensor, 3)
		for r := range ranks {
			rows, err := view.Rows(w, r*each, (r+1)*each)
			if err != nil {
				return w, err
			}
			factors, err := view.Rows(scale, r*blocks, (r+1)*blocks)
			if err != nil {
				return w, err
			}
			if rows, err = dequant.Scaled(rows, factors, []int64{size, size}); err != nil {
				return w, err
			}
			split, err := view.Split(rows, 0, sizes[0]/ranks, sizes[1]/ranks, sizes[2]/ranks)
			if err != nil {
				return w, err
			}
			for i := range split {
				parts[i] = append(parts[i], split[i])
			}
		}
		return view.Concat(0, slices.Concat(parts...)...)
	}
	return w, &fault.Unsupported{On: w.Name, Says: fmt.Sprintf("scales %v for %v rows of query, key and value: neither 4 nor 8 ranks", scale.Shape, sizes)}
}
