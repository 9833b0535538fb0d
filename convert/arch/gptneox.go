package arch

// GPT-NeoX, Pythia and their relatives.
//
// Peculiar: query, key and value are one tensor, grouped by head; general.file_type is not written.
//
// Source: llama.cpp v0.5.0, conversion/gptneox.py: GPTNeoXModel.

import "quern/convert/vocab"

var (
	neoxHeads = Cfg("n_head", "num_attention_heads")
	neoxHead  = FloorDiv(Cfg("hidden_size", "n_embed"), neoxHeads)
)

var _ = Register(Arch{
	HF:      []string{"GPTNeoXForCausalLM"},
	GGUF:    "gptneox",
	Names:   TextNames,
	Tensors: Rules{On("gpt_neox.layers.#.attention.query_key_value.{weight|bias}", Ungroup(neoxHeads, neoxHead, neoxHead, neoxHead))},
	Keys: Keys{
		Set("context_length", Cfg("max_position_embeddings")),
		Set("embedding_length", Cfg("hidden_size")),
		Set("block_count", BlockCount),
		Set("feed_forward_length", Cfg("intermediate_size")),
		Set("rope.dimension_count", Trunc(Mul(Cfg("rotary_pct"), FloorDiv(Cfg("hidden_size"), Cfg("num_attention_heads"))))),
		Set("attention.head_count", Cfg("num_attention_heads")),
		Set("use_parallel_residual", FlagOr("use_parallel_residual", true)),
		Set("attention.layer_norm_epsilon", Cfg("layer_norm_eps")),
	},
	Vocab: vocab.GPT2,
})
