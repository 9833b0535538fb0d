package arch

// GPT-2 and ruGPT3XL, which has GPT-2's architecture under Llama-like names.
//
// Peculiar: GPT-2 keeps its matrices transposed (Conv1D); ruGPT3XL keeps query, key and value apart.
//
// Source: llama.cpp v0.5.0, conversion/gpt2.py: GPT2Model, RuGPT3XLModel.

import "quern/convert/vocab"

var _ = Register(Arch{
	HF:    []string{"GPT2LMHeadModel"},
	GGUF:  "gpt2",
	Odd:   feedForward, // the key states four times the width, whatever the configuration does
	Names: TextNames,
	Tensors: Rules{
		Drop("*.attn.bias|*.attn.masked_bias", "the causal mask, computed at run time"),
		On("*.c_attn.weight|*.c_proj.weight|*.c_fc.weight", Transposed),
	},
	Keys: Keys{
		Set("block_count", BlockCount),
		Set("context_length", Cfg("n_ctx")),
		Set("embedding_length", Cfg("n_embd")),
		Set("feed_forward_length", Mul(4, Cfg("n_embd"))),
		Set("attention.head_count", Cfg("n_head")),
		Set("attention.layer_norm_epsilon", Cfg("layer_norm_epsilon")),
		FileTypeKey,
	},
	Vocab: vocab.GPT2,
})

var _ = Register(Arch{
	HF:    []string{"RuGPT3XLForCausalLM"},
	GGUF:  "gpt2",
	Names: TextNames,
	Tensors: Rules{
		Concat("model.layers.{b}.self_attn.{w}_proj.weight", "@attn_qkv", "q", "k", "v"),
		Concat("model.layers.{b}.self_attn.{w}_proj.bias", "@attn_qkv", "q", "k", "v"),
	},
	Keys:  TextKeys,
	Vocab: vocab.GPT2,
})
