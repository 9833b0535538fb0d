package arch

// Maple.
//
// Peculiar: gate and up of the experts are clamped at 7; what llama.cpp takes for granted is checked.
//
// Source: llama.cpp v0.5.0, conversion/maple.py: MapleModel.

import "quern/convert/vocab"

var _ = Register(Arch{
	HF:      []string{"MapleForCausalLM"},
	GGUF:    "maple",
	Names:   TextNames,
	Tensors: Rules{StackExperts("mlp.experts", Cfg("num_experts"), "down_proj", "gate_proj", "up_proj")},
	Keys: TextKeys.Then(
		Fail(Not(Is(Cfg("hidden_act"), "silu")), "an activation other than silu"),
		Fail(Not(Is(CfgOr("num_shared_experts", 0), 0)), "shared experts"),
		Fail(Not(CfgOr("norm_topk_prob", true)), "weights of experts that are not normalized"),
		Fail(Not(CfgOr("nope_on_global_attention", false)), "positions in layers without a window"),
		Set("vocab_size", Cfg("vocab_size")),
		Set("rope.dimension_count", Trunc(Mul(CfgOr("head_dim", FloorDiv(Cfg("hidden_size"), Cfg("num_attention_heads"))),
			RopeAll(CfgOr("partial_rotary_factor", 1.0))))),
		Set("attention.sliding_window", Cfg("sliding_window")),
		Set("attention.sliding_window_pattern", slidingLayers),
		Set("expert_feed_forward_length", Cfg("moe_intermediate_size")),
		Set("swiglu_clamp_exp", Repeat(7.0)),
	),
	Vocab: vocab.GPT2,
})
