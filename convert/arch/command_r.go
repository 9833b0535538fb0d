package arch

// Command-R and Command-R7B (Cohere).
//
// Peculiar: logits are scaled; the first was trained on more context than max_position_embeddings says; biases of the second are
// all zero, and llama.cpp has no place for them.

import "quern/convert/vocab"

var noScaling = Set("rope.scaling.type", "none")

var _ = Register(Arch{
	HF:     []string{"CohereForCausalLM"},
	GGUF:   "command-r",
	Config: Keys{Let("max_position_embeddings", Cfg("model_max_length", "max_position_embeddings"))},
	Names:  TextNames,
	Keys:   TextKeys.Then(Set("logit_scale", Cfg("logit_scale")), noScaling),
	Vocab:  vocab.GPT2,
})

var _ = Register(Arch{
	HF:      []string{"Cohere2ForCausalLM"},
	GGUF:    "cohere2",
	Names:   TextNames,
	Tensors: Rules{DropZero("*.bias", "llama.cpp has no place for biases here")},
	Keys: TextKeys.Then(
		Set("logit_scale", Cfg("logit_scale")),
		Set("attention.sliding_window", Cfg("sliding_window")),
		Set("vocab_size", Cfg("vocab_size")),
		Set("rope.dimension_count", Trunc(Mul(Cfg("rotary_pct"), FloorDiv(Cfg("hidden_size"), Cfg("num_attention_heads"))))),
		noScaling,
	),
	Vocab: vocab.GPT2,
})
