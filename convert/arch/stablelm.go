package arch

// StableLM Zephyr, StableLM 2 and StableLM Epoch.
//
// Peculiar: the 12B model has a norm for each query and key head, one tensor each. llama.cpp wants them stacked; the reference
// gathers them and then loses them, so that it refuses the checkpoint.
//
// Source: llama.cpp v0.5.0, conversion/stablelm.py: StableLMModel.

import "quern/convert/vocab"

var _ = Register(Arch{
	HF:    []string{"StableLmForCausalLM", "StableLMEpochForCausalLM", "LlavaStableLMEpochForCausalLM"},
	GGUF:  "stablelm",
	Names: TextNames,
	Tensors: Rules{
		Stack("model.layers.{b}.self_attn.q_layernorm.norms.{x}.weight", Cfg("num_attention_heads"), "model.layers.{b}.self_attn.q_layernorm.weight"),
		Stack("model.layers.{b}.self_attn.k_layernorm.norms.{x}.weight", Cfg("num_key_value_heads"), "model.layers.{b}.self_attn.k_layernorm.weight"),
	},
	Keys: Keys{
		Set("context_length", Cfg("max_position_embeddings")),
		Set("embedding_length", Cfg("hidden_size")),
		Set("block_count", BlockCount),
		Set("feed_forward_length", Cfg("intermediate_size")),
		Set("rope.dimension_count", Trunc(Mul(RopeAll(Cfg("partial_rotary_factor")), FloorDiv(Cfg("hidden_size"), Cfg("num_attention_heads"))))),
		Set("attention.head_count", Cfg("num_attention_heads")),
		Set("attention.head_count_kv", Cfg("num_key_value_heads")),
		Set("use_parallel_residual", FlagOr("use_parallel_residual", true)),
		Set("attention.layer_norm_epsilon", Cfg("layer_norm_eps", "norm_eps")),
		FileTypeKey,
	},
	Vocab: vocab.StableLM,
})
