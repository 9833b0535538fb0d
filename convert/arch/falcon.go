package arch

// Falcon 7B, 40B and 11B.
//
// Peculiar: query, key and value are one tensor, grouped by key-value head; the configuration may count query heads as
// key-value heads where there is but one; the context is 2048, which no configuration states.
//
// Source: llama.cpp v0.5.0, conversion/falcon.py: FalconModel.

import "quern/convert/vocab"

// falconGroups is the number of key-value heads. transformers ignores num_kv_heads in the old architecture with multi-query
// attention, and fills it in with the number of query heads where it is absent, on which the reference fails.
// Source: modeling_falcon.py of transformers 4.57.6, FalconAttention.
var falconGroups = Choose(All(Opt("multi_query"), Not(Opt("new_decoder_architecture"))),
	1, Else(Opt("num_kv_heads"), CfgOr("n_head_kv", 1)))

var (
	falconHeads   = Else(Opt("num_attention_heads"), Cfg("n_head"))
	falconHeadDim = FloorDiv(Cfg("hidden_size"), falconHeads)
)

var _ = Register(Arch{
	HF:    []string{"FalconForCausalLM", "RWForCausalLM"},
	GGUF:  "falcon",
	Odd:   feedForward, // the key states four times the width, whatever the configuration does
	Names: TextNames,
	Tensors: Rules{
		Refuse("*query_key_value.bias", "llama.cpp has no Falcon with biases"),
		On("*query_key_value*", Ungroup(falconGroups, Mul(FloorDiv(falconHeads, falconGroups), falconHeadDim), falconHeadDim, falconHeadDim)),
	},
	Keys: Keys{
		Set("context_length", 2048),
		Set("tensor_data_layout", "jploski"),
		Set("embedding_length", Cfg("hidden_size")),
		Set("feed_forward_length", Mul(4, Cfg("hidden_size"))),
		Set("block_count", BlockCount),
		Set("attention.head_count", falconHeads),
		Set("attention.head_count_kv", falconGroups),
		Set("attention.layer_norm_epsilon", Cfg("layer_norm_epsilon")),
		FileTypeKey,
	},
	Vocab: vocab.GPT2,
})
