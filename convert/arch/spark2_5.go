package arch

// Spark-X 2.5.
//
// Peculiar: query, key and value are stored in one; each head has a gate; layers with a window rotate another part of the head.
//
// Source: llama.cpp v0.5.0, conversion/spark2_5.py: Spark2_5Model.

import (
	"slices"

	"quern/convert/vocab"
)

var sparkDim = func(kind string) Expr {
	return Trunc(Mul(Cfg("head_dim"), RopeAll(In(kind, Cfg("partial_rotary_factor")))))
}

var _ = Register(Arch{
	HF:    []string{"Spark2_5ForCausalLM"},
	GGUF:  "spark2_5",
	Names: TextNames,
	Tensors: Rules{
		Rename("*.self_attn.q_k_v_proj.weight", "@attn_qkv"),
		On("*.self_attn.g_proj.weight", rowsAre(Cfg("num_attention_heads"))),
	},
	Keys: TextKeys.Then(
		Fail(Not(sparkLayers), "layer_types that do not say for each layer whether it has a window"),
		Fail(Not(All(Is(Opt("gate_attn_act_mode"), "sigmoid"), Opt("headwise_attn_output_gate"))), "attention without a sigmoid gate for each head"),
		Fail(Not(Is(Opt("hidden_act"), "gelu")), "an activation other than gelu"),
		Set("vocab_size", Cfg("vocab_size")),
		Set("attention.sliding_window", Cfg("sliding_window")),
		Set("attention.sliding_window_pattern", slidingLayers),
		Set("rope.dimension_count", sparkDim("full_attention")),
		Set("rope.dimension_count_swa", sparkDim("sliding_attention")),
	),
	Vocab: vocab.GPT2,
})

// sparkLayers holds where every layer is of one of the two kinds.
var sparkLayers = Fn("layer_types are sliding_attention or full_attention, one for each layer", func(e *Env) (any, error) {
	v, err := LayersOf("layer_types", "sliding_attention", "full_attention").Eval(e)
	known, _ := v.([]bool)
	return int64(len(known)) == e.Blocks && !slices.Contains(known, false), err
})
