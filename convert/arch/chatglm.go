package arch

// ChatGLM 3, the first GLM-4 and GLM Edge.
//
// Peculiar: nothing but the file type comes from the general keys; the context is seq_length, else the model's width, and the rope
// base 10000 times rope_ratio, whatever other keys say; ChatGLM 3's vocabulary is told by the checkpoint's name.
//
// Source: llama.cpp v0.5.0, conversion/chatglm.py: ChatGLMModel.

import (
	"strings"

	"quern/convert/vocab"
)

var chatglmHeads = Cfg("n_head", "num_attention_heads")

var _ = Register(Arch{
	HF:   []string{"GlmForCausalLM", "ChatGLMModel", "ChatGLMForConditionalGeneration"},
	GGUF: "chatglm",
	Names: Rules{
		Drop("*.rotary_pos_emb.inv_freq", "computed at run time"),
		Strip("transformer."),
	}.Also(TextNames),
	Keys: Keys{
		Set("context_length", CfgOr("seq_length", Cfg("hidden_size", "n_embed"))),
		Set("embedding_length", Cfg("hidden_size", "n_embed")),
		Set("feed_forward_length", CfgOr("ffn_hidden_size", CfgOr("intermediate_size", Mul(4, Cfg("hidden_size", "n_embed"))))),
		Set("block_count", BlockCount),
		Set("attention.head_count", chatglmHeads),
		Set("attention.head_count_kv", CfgOr("multi_query_group_num", CfgOr("num_key_value_heads", chatglmHeads))),
		Set("attention.layer_norm_rms_epsilon", CfgOr("layernorm_epsilon", 1e-5)),
		FileTypeKey,
		Set("rope.dimension_count", Trunc(Mul(chatglmHead, RopeAll(CfgOr("partial_rotary_factor", 0.5))))),
		Set("tokenizer.ggml.add_bos_token", false),
		Set("rope.freq_base", Mul(10000, CfgOr("rope_ratio", 1))),
	},
	Vocab: vocab.ChatGLM,
	VocabCases: []VocabCase{{Kind: vocab.ChatGLM3, If: Fn("_name_or_path names THUDM/chatglm3-6b", func(e *Env) (any, error) {
		name, _ := e.Config.String("_name_or_path")
		return strings.Contains(name, "THUDM/chatglm3-6b"), nil
	})}},
	Odd: []string{"ffn_up"}, // gate and up in one
})

// chatglmHead is the size of a head as far as rope is concerned.
var chatglmHead = Choose(Has("attention_dim"), Opt("attention_dim"), FloorDiv(Cfg("hidden_size"), Cfg("num_attention_heads")))
