package arch

// Orion: Llama's names without its order of rows.
//
// Peculiar: rms_norm_eps of the configuration is the epsilon of an ordinary layer norm.
//
// Source: llama.cpp v0.5.0, conversion/orion.py: OrionModel.

import "quern/convert/vocab"

// metaLayout is what old converters called their order of the query's and key's rows.
var metaLayout = Set("tensor_data_layout", "Meta AI original pth")

var _ = Register(Arch{
	HF:    []string{"OrionForCausalLM"},
	GGUF:  "orion",
	Names: TextNames,
	Keys: Keys{
		FileTypeKey,
		metaLayout,
		Set("context_length", Cfg("max_sequence_length", "max_position_embeddings", "model_max_length")),
		Set("embedding_length", Cfg("hidden_size")),
		Set("block_count", BlockCount),
		Set("feed_forward_length", Cfg("intermediate_size")),
		Set("attention.head_count", Cfg("num_attention_heads")),
		Set("attention.head_count_kv", Cfg("num_key_value_heads", "num_attention_heads")),
		Set("attention.layer_norm_epsilon", Cfg("rms_norm_eps")),
	},
	Vocab: vocab.SPM,
})
