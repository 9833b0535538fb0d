package arch

// Gemma 3n: Gemma 3 with four parallel streams (AltUp), an embedding for each layer, and shared key-value layers.
//
// Peculiar: norms are stored as they are; both embeddings are padded to the vocabulary, which counts images and sounds; AltUp's
// projections are stacked; the sparsity of an activation is written as the quantile of the normal distribution, -inf for 0.
//
// Source: llama.cpp v0.5.0, conversion/gemma.py: Gemma3NModel.

import (
	"fmt"
	"math"

	"quern/convert/fault"
	"quern/convert/vocab"
)

var _ = Register(Arch{
	Base:   gemma3,
	HF:     []string{"Gemma3nForCausalLM", "Gemma3nForConditionalGeneration"},
	GGUF:   "gemma3n",
	Config: Keys{Fail(Not(Is(Cfg("altup_num_inputs"), 4)), "altup_num_inputs other than 4")},
	Names:  Rules{Rename("*_scale", "+.weight")}.Also(TextNames),
	Tensors: Rules{
		On("*embed_tokens.weight*|*embed_tokens_per_layer*", PadRows(CfgOr("vocab_size", 262400))),
		Stack("model.altup_unembed_projections.{x}.weight", 3, "model.altup_unembed_projections.weight"),
		Stack("model.altup_projections.{x}.weight", 3, "model.altup_projections.weight"),
	},
	Keys: gemma3.Keys.Then(
		Set("altup.active_idx", Cfg("altup_active_idx")),
		Set("altup.num_inputs", Cfg("altup_num_inputs")),
		Set("embedding_length_per_layer_input", Cfg("hidden_size_per_layer_input")),
		Set("attention.shared_kv_layers", Cfg("num_kv_shared_layers")),
		Set("activation_sparsity_scale", sparsityScale),
		Set("attention.sliding_window_pattern", slidingLayers),
	),
	VocabInput: func(e *Env, in *vocab.Input) error { // not that of the embeddings by layer
		// The reference takes the smaller size out of the way only where it is a number: its null stays, is found first, and
		// leaves the tokenizer's own size.
		if v, has := e.value("vocab_size_per_layer_input"); has && v == nil || !e.Config.Has("vocab_size") {
			return nil
		}
		n, err := e.Int(Cfg("vocab_size"))
		in.VocabSize = n
		return err
	},
})

// sparsityScale is the quantile in float32, step by step as torch's Normal.icdf has it.
var sparsityScale = Fn("normal quantiles of activation_sparsity_pattern", func(e *Env) (any, error) {
	v, _ := e.value("activation_sparsity_pattern")
	list, ok := v.([]any)
	if !ok {
		return nil, &fault.Invalid{On: "config.json: activation_sparsity_pattern", Says: "a list is needed, not " + show(v)}
	}
	out := make([]float64, len(list))
	for i, v := range list {
		p, ok := number(v)
		if !ok || p < 0 || p > 1 {
			return nil, &fault.Invalid{On: "config.json: activation_sparsity_pattern", Says: fmt.Sprintf("element %d is %s, want a part of 1", i, show(v))}
		}
		twice := float32(2 * float32(p))
		out[i] = float64(float32(math.Erfinv(float64(twice-1))) * float32(math.Sqrt2))
	}
	return out, nil
})
