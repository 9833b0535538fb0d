package arch

// Dream: Qwen 2.5 as a language model by diffusion. Attention looks both ways, and there is a token that masks.
//
// Source: llama.cpp v0.5.0, conversion/dream.py: DreamModel.

import "quern/convert/vocab"

var _ = Register(Arch{
	HF:    []string{"DreamModel"},
	GGUF:  "dream",
	Names: TextNames,
	Keys: TextKeys.Then(
		PoolingKey,
		Set("attention.causal", false),
		Set("tokenizer.ggml.mask_token_id", Opt("mask_token_id")),
	),
	Vocab: vocab.Dream,
})
