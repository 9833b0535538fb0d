package arch

// DeciLM and Llama Nemotron by architecture search (51B, Super, Ultra).
//
// Peculiar: every layer has its own number of key-value heads and its own width, or lacks attention or the whole layer; Llama's
// rotary order goes by that number; block_configs state widths as a multiple of two thirds of the model's.
//
// Source: llama.cpp v0.5.0, conversion/deci.py: DeciModel.

import (
	"fmt"

	"quern/convert/config"
	"quern/convert/fault"
	"quern/convert/vocab"
)

// deciLayer is what block_configs say of a layer.
type deciLayer struct{ heads, keyHeads, width int64 }

// deciLayers reads block_configs. A layer without heads in a group has no attention, or a linear one, which keeps its heads.
// Source: conversion/deci.py, DeciModel.__init__.
func deciLayers(e *Env) ([]deciLayer, error) {
	heads, err := e.Int(Cfg("num_attention_heads"))
	if err != nil {
		return nil, err
	}
	hidden, err := e.Int(Cfg("hidden_size"))
	if err != nil {
		return nil, err
	}
	list, _ := asList(e.Config["block_configs"])
	if int64(len(list)) != e.Blocks {
		return nil, &fault.Invalid{On: "config.json: block_configs", Says: fmt.Sprintf("%d of them for %d layers", len(list), e.Blocks)}
	}
	out := make([]deciLayer, len(list))
	for i, v := range list {
		o, _ := v.(config.Object)
		attention, _ := o.Object("attention")
		network, _ := o.Object("ffn")
		if attention == nil || network == nil {
			return nil, &fault.Invalid{On: "config.json: block_configs", Says: fmt.Sprintf("layer %d states no attention or no ffn", i)}
		}
		switch group, ok := attention.Int("n_heads_in_group"); {
		case ok && group > 0:
			out[i] = deciLayer{heads: heads, keyHeads: heads / group}
		case ok:
			return nil, &fault.Invalid{On: "config.json: block_configs", Says: fmt.Sprintf("layer %d has %d heads in a group", i, group)}
		case attention["replace_with_linear"] == true:
			out[i].heads = heads
		}
		factor, _ := number(network["ffn_mult"])
		const step = 256
		out[i].width = (int64(2*factor*float64(hidden)/3) + step - 1) / step * step
	}
	return out, nil
}

// deciList is one number of every layer.
func deciList(doc string, pick func(deciLayer) int64) Expr {
	return Fn(doc+" of block_configs", func(e *Env) (any, error) {
		layers, err := deciLayers(e)
		out := make([]int64, len(layers))
		for i, l := range layers {
			out[i] = pick(l)
		}
		return out, err
	})
}

var (
	deciSearched = Has("block_configs")
	deciOwnKeys  = Has("num_key_value_heads_per_layer")
	deciHeads    = deciList("heads", func(l deciLayer) int64 { return l.heads })
	deciKeyHeads = deciList("key-value heads", func(l deciLayer) int64 { return l.keyHeads })
	deciWidths   = deciList("widths", func(l deciLayer) int64 { return l.width })
	deciHeadDim  = FloorDiv(Cfg("hidden_size"), Cfg("num_attention_heads"))

	// the heads of a block's projections
	deciQuery = Choose(All(deciSearched, Not(deciOwnKeys)), AtBlock(deciHeads), Cfg("num_attention_heads"))
	deciKey   = Choose(deciOwnKeys, AtBlock(Cfg("num_key_value_heads_per_layer")),
		Choose(deciSearched, AtBlock(deciKeyHeads), Else(Opt("num_key_value_heads"), Cfg("num_attention_heads"))))
)

var _ = Register(Arch{
	HF:    []string{"DeciLMForCausalLM"},
	GGUF:  "deci",
	Names: TextNames,
	Extra: []Generate{Llama3Freqs},
	Tensors: Rules{
		On("*q_proj.{weight|bias}", Rotary(deciQuery)),
		On("*k_proj.{weight|bias}", Rotary(deciKey)),
	},
	Keys: When(deciSearched,
		Set("rope.freq_base", RopeAll(Opt("rope_theta"))),
		Set("attention.head_count_kv", deciKeyHeads),
		Set("attention.head_count", deciHeads),
		Set("feed_forward_length", deciWidths),
		Set("block_count", BlockCount),
		Set("context_length", Cfg("max_position_embeddings")),
		Set("embedding_length", Cfg("hidden_size")),
		Set("attention.layer_norm_rms_epsilon", Cfg("rms_norm_eps")),
		Set("attention.key_length", deciHeadDim),
		Set("attention.value_length", deciHeadDim),
		FileTypeKey,
	).Also(When(Not(deciSearched), TextKeys.Also(When(deciOwnKeys,
		Set("attention.head_count_kv", Cfg("num_key_value_heads_per_layer"))))...)).Then(
		Set("vocab_size", Cfg("vocab_size")),
		ropeDim,
	),
	Vocab:  vocab.Deci,
	Uneven: true,
})
