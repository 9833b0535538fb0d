package arch

// Mellum 2 (JetBrains): a mixture of experts with windows in some layers.
//
// Source: llama.cpp v0.5.0, conversion/mellum.py: MellumModel.

import "quern/convert/vocab"

var _ = Register(Arch{
	HF:      []string{"MellumForCausalLM"},
	GGUF:    "mellum",
	Names:   TextNames,
	Tensors: Rules{StackExperts("mlp.experts", Cfg("num_local_experts", "num_experts"), "down_proj", "gate_proj", "up_proj")},
	Keys: TextKeys.Then(Set("expert_feed_forward_length", Opt("moe_intermediate_size"))).
		Also(When(All(Not(isFalse("use_sliding_window")), Not(Null(Opt("sliding_window")))),
			Set("attention.sliding_window", Cfg("sliding_window")),
			Set("attention.sliding_window_pattern", slidingLayers),
		)),
	Vocab: vocab.GPT2,
})
