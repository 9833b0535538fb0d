package arch

// Bloom and BloomZ.
//
// Peculiar: query, key and value are one tensor, grouped by head; names with and without "transformer."; without seq_length
// the context is as long as the model is wide.
//
// Source: llama.cpp v0.5.0, conversion/bloom.py: BloomModel.

import "quern/convert/vocab"

var (
	bloomHeads = Cfg("n_head", "num_attention_heads")
	bloomWidth = Cfg("hidden_size", "n_embed")
	bloomHead  = FloorDiv(bloomWidth, bloomHeads)
)

var _ = Register(Arch{
	HF:    []string{"BloomForCausalLM", "BloomModel"},
	GGUF:  "bloom",
	Odd:   feedForward, // the key states four times the width, whatever the configuration does
	Names: TextNames,
	Tensors: Rules{
		Rename("*transformer.*", "transformer.=>"),
		On("h.#.self_attention.query_key_value.{weight|bias}", Ungroup(bloomHeads, bloomHead, bloomHead, bloomHead)),
	},
	Keys: Keys{
		Set("context_length", CfgOr("seq_length", bloomWidth)),
		Set("embedding_length", bloomWidth),
		Set("feed_forward_length", Mul(4, bloomWidth)),
		Set("block_count", BlockCount),
		Set("attention.head_count", bloomHeads),
		Set("attention.head_count_kv", bloomHeads),
		Set("attention.layer_norm_epsilon", Cfg("layer_norm_epsilon")),
		FileTypeKey,
	},
	Vocab: vocab.GPT2,
})
