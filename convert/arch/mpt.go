package arch

// MPT and SEA-LION.
//
// Peculiar: AWQ's scales of the activation are written; general.file_type is not.
//
// Source: llama.cpp v0.5.0, conversion/mpt.py: MPTModel.

import (
	"strings"

	"quern/convert/vocab"
)

var _ = Register(Arch{
	HF:    []string{"MPTForCausalLM"},
	GGUF:  "mpt",
	Odd:   feedForward, // the key states four times the width, whatever the configuration does
	Names: TextNames,
	Tensors: Rules{Code("*.scales", "scales of the activation, under llama.cpp's name for them", func(b *Build, it Item) ([]Item, error) {
		// The reference makes this name too, then looks for it among the checkpoint's and fails.
		_, name, ok := b.names.Map(it.Name, ".scales")
		if it.Final = ok; ok {
			it.Name = strings.ReplaceAll(name, "scales", "act.scales")
		}
		return []Item{it}, nil
	})},
	Keys: Keys{
		Set("context_length", Cfg("max_seq_len")),
		Set("embedding_length", Cfg("d_model")),
		Set("block_count", BlockCount),
		Set("feed_forward_length", Mul(4, Cfg("d_model"))),
		Set("attention.head_count", Cfg("n_heads")),
		Set("attention.head_count_kv", In("attn_config", Or(Opt("kv_n_heads"), Const(nil)))),
		Set("attention.layer_norm_epsilon", 1e-5),
		Set("attention.clamp_kqv", In("attn_config", Opt("clip_qkv"))),
		Set("attention.max_alibi_bias", In("attn_config", Choose(Cfg("alibi"), Cfg("alibi_bias_max"), 0.0))),
	},
	Vocab: vocab.MPT,
})
