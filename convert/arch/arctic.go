package arch

// Snowflake Arctic: Llama with a mixture of experts beside each dense network.
//
// Source: llama.cpp v0.5.0, conversion/arctic.py: ArcticModel.

import "quern/convert/vocab"

var _ = Register(Arch{
	HF:      []string{"ArcticForCausalLM"},
	GGUF:    "arctic",
	Names:   TextNames,
	Tensors: unpermute.Then(mixtralExperts),
	Keys: TextKeys.Then(
		Set("vocab_size", Cfg("vocab_size")),
		Set("rope.dimension_count", FloorDiv(Cfg("hidden_size"), Cfg("num_attention_heads"))),
	),
	Vocab: vocab.Arctic,
})
