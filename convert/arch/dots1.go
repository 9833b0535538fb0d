package arch

// dots.llm1: Qwen 2 with experts, shared ones and dense layers at the beginning.
//
// Peculiar: the score function goes by the name of the way experts are chosen, noaux_tc, at which the reference gives up; it is
// the sigmoid.
//
// Source: llama.cpp v0.5.0, conversion/dots1.py: Dots1Model.

var _ = Register(Arch{
	Base:   qwen2moe,
	HF:     []string{"Dots1ForCausalLM"},
	GGUF:   "dots1",
	Config: Keys{Let("num_experts", Cfg("n_routed_experts"))}.Also(When(Is(Opt("scoring_func"), "noaux_tc"), Let("scoring_func", "sigmoid"))),
	Keys: qwen2moe.Keys.Then(
		Set("leading_dense_block_count", Cfg("first_k_dense_replace")),
		Set("expert_shared_count", Cfg("n_shared_experts")),
		Set("expert_weights_scale", Cfg("routed_scaling_factor")),
		Set("expert_weights_norm", Flag("norm_topk_prob")),
	),
})
