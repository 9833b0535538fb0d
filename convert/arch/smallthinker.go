package arch

// SmallThinker.
//
// Peculiar: experts have keys of their own in the configuration, and are scored by a sigmoid unless it says softmax; the window is
// written where at least one layer has it.
//
// Source: llama.cpp v0.5.0, conversion/smallthinker.py: SmallThinkerModel.

import (
	"slices"

	"quern/convert/config"
	"quern/convert/vocab"
)

var _ = Register(Arch{
	HF:    []string{"SmallThinkerForCausalLM"},
	GGUF:  "smallthinker",
	Names: TextNames,
	Tensors: Rules{StackExperts("block_sparse_moe.experts", Or(Opt("moe_num_primary_experts"), Cfg("num_local_experts", "num_experts")),
		"down", "gate", "up")},
	Keys: TextKeys.Then(
		Set("expert_count", Opt("moe_num_primary_experts")),
		Set("expert_used_count", Opt("moe_num_active_primary_experts")),
		Set("expert_feed_forward_length", Opt("moe_ffn_hidden_size")),
		Set("feed_forward_length", Opt("moe_ffn_hidden_size")),
		Set("expert_gating_func", Choose(Opt("moe_primary_router_apply_softmax"), gatingFuncs["softmax"], gatingFuncs["sigmoid"])),
	).Also(When(anyWindow, Set("attention.sliding_window", nonZero("sliding_window_size")))),
	Vocab: vocab.GPT2,
})

var anyWindow = Fn("sliding_window_layout has a layer", func(e *Env) (any, error) {
	list, _ := asList(e.Config["sliding_window_layout"])
	return slices.ContainsFunc(list, config.Truth), nil
})
