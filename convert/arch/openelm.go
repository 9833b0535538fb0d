package arch

// OpenELM (Apple).
//
// Peculiar: heads and the width of the feed-forward network differ by layer; gate and up are one matrix; there are no tokenizer
// files in the makers' checkpoints.
//
// Source: llama.cpp v0.5.0, conversion/openelm.py: OpenELMModel.

import (
	"fmt"

	"quern/convert/fault"
	"quern/convert/vocab"
)

// elmWidths are the multipliers of the width, rounded to a multiple. Source: conversion/openelm.py, _make_divisible.
var elmWidths = Fn("widths by ffn_multipliers, in multiples of ffn_dim_divisor", func(e *Env) (any, error) {
	width, err := e.Float(Cfg("model_dim"))
	if err != nil {
		return nil, err
	}
	step, err := e.Int(Cfg("ffn_dim_divisor"))
	if err != nil {
		return nil, err
	}
	list, _ := asList(e.Config["ffn_multipliers"])
	out := make([]int64, len(list))
	for i, v := range list {
		m, ok := number(v)
		v := m * width
		if !ok || step <= 0 || !(v >= 0 && v < 1<<31) {
			return nil, &fault.Invalid{On: "config.json: ffn_multipliers", Says: fmt.Sprintf("%v times %v in multiples of %d is no width", m, width, step)}
		}
		n := max(step, int64(v+float64(step)/2)/step*step)
		if float64(n) < 0.9*v { // rounded down by more than a tenth
			n += step
		}
		out[i] = n
	}
	return out, nil
})

// elmLayers holds where a list has an element for every layer.
func elmLayers(list Expr) Expr {
	return Fn("one of "+list.String()+" for each layer", func(e *Env) (any, error) {
		v, err := list.Eval(e)
		values, _ := asList(v)
		return int64(len(values)) == e.Blocks, err
	})
}

var _ = Register(Arch{
	HF:     []string{"OpenELMForCausalLM"},
	GGUF:   "openelm",
	Blocks: Cfg("num_transformer_layers"),
	Names:  TextNames,
	Tensors: Rules{Split("transformer.layers.#.ffn.proj_1.weight", 0,
		Part{To: "@ffn_gate", Size: AtBlock(elmWidths)}, Part{To: "@ffn_up"})},
	Keys: Keys{
		Fail(Not(All(elmLayers(Cfg("num_kv_heads")), elmLayers(Cfg("num_query_heads")), elmLayers(elmWidths))), "heads or widths that are not stated for each layer"),
		Set("block_count", BlockCount),
		Set("context_length", Cfg("max_context_length")),
		Set("embedding_length", Cfg("model_dim")),
		Set("feed_forward_length", elmWidths),
		Set("attention.head_count", Cfg("num_query_heads")),
		Set("attention.head_count_kv", Cfg("num_kv_heads")),
		Set("rope.freq_base", Cfg("rope_freq_constant")),
		Set("attention.layer_norm_rms_epsilon", 1e-6),
		Set("rope.dimension_count", Trunc(Cfg("head_dim"))),
		Set("attention.key_length", Cfg("head_dim")),
		Set("attention.value_length", Cfg("head_dim")),
		FileTypeKey,
	},
	Vocab: vocab.OpenELM,
})
