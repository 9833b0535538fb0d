package arch

// Arcee's Trinity: Llama's keys and vocabulary, rows as they are stored, experts behind dense layers.
//
// Source: llama.cpp v0.5.0, conversion/afmoe.py: AfmoeModel.

var _ = Register(Arch{
	Base:    &llamaBase,
	HF:      []string{"AfmoeForCausalLM"},
	GGUF:    "afmoe",
	Names:   Rules{Rename("*.expert_bias", "+.bias")}.Also(llamaBase.Names),
	Tensors: Rules{StackExperts("mlp.experts", Cfg("num_local_experts", "num_experts"), "gate_proj", "up_proj", "down_proj")},
	Keys: llamaBase.Keys.Then(
		Set("expert_shared_count", Opt("num_shared_experts")),
		Set("expert_feed_forward_length", Opt("moe_intermediate_size")),
		Set("leading_dense_block_count", Opt("num_dense_layers")),
		Set("expert_weights_norm", Opt("route_norm")),
		Set("expert_weights_scale", Opt("route_scale")),
		Set("attention.sliding_window", Opt("sliding_window")),
	),
	Uneven: true, // dense layers
})
