package arch

// PLM: a small model with DeepSeek's latent attention, whose joint projection stays whole.
//
// Source: llama.cpp v0.5.0, conversion/plm.py: PLMModel.

import "quern/convert/vocab"

var _ = Register(Arch{
	HF:    []string{"PLMForCausalLM"},
	GGUF:  "plm",
	Names: TextNames,
	Keys: TextKeys.Then(
		Set("vocab_size", Cfg("vocab_size")),
		Set("attention.kv_lora_rank", Cfg("kv_lora_rank")),
		Set("attention.key_length", Add(Cfg("qk_nope_head_dim"), Cfg("qk_rope_head_dim"))),
		Set("attention.value_length", Cfg("v_head_dim")),
		Set("rope.dimension_count", Cfg("qk_rope_head_dim")),
	),
	Vocab: vocab.GPT2,
})
