package arch

// DBRX.
//
// Peculiar: a layer's experts are one matrix, that of w2 the other way round in each expert; everything with two dimensions, the
// router too, has the file's type.
//
// Source: llama.cpp v0.5.0, conversion/dbrx.py: DbrxModel.

import "quern/convert/vocab"

func dbrxExperts(key string) Expr { return In("ffn_config", Cfg(key)) }

var _ = Register(Arch{
	HF:    []string{"DbrxForCausalLM"},
	GGUF:  "dbrx",
	Names: TextNames,
	Tensors: Rules{
		On("*ffn.experts.mlp.{w1|v1|w2}", Reshape(dbrxExperts("moe_num_experts"), dbrxExperts("ffn_hidden_size"), Cfg("d_model"))),
		On("*ffn.experts.mlp.w2", Transposed),
		Rename("*ffn.experts.mlp.{w1|v1|w2}", "+.weight"),
	},
	Force: []Force{{Match: "*", Follow: true}},
	Keys: Keys{
		Set("block_count", BlockCount),
		Set("context_length", Cfg("max_seq_len")),
		Set("embedding_length", Cfg("d_model")),
		Set("feed_forward_length", dbrxExperts("ffn_hidden_size")),
		Set("attention.head_count", Cfg("n_heads")),
		Set("attention.head_count_kv", In("attn_config", Cfg("kv_n_heads"))),
		Set("rope.freq_base", In("attn_config", Cfg("rope_theta"))),
		Set("attention.clamp_kqv", In("attn_config", Cfg("clip_qkv"))),
		Set("expert_count", dbrxExperts("moe_num_experts")),
		Set("expert_used_count", dbrxExperts("moe_top_k")),
		Set("attention.layer_norm_epsilon", 1e-5),
		FileTypeKey,
	},
	Vocab: vocab.GPT2,
})
