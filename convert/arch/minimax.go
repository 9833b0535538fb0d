package arch

// MiniMax 01, M1, M2 and M3.
//
// Peculiar: 01 and M1 name added tokens without an embedding, which no sampler may choose, so their rows are read while the file is
// planned; the reference replaces their chat template by a text of its own; M3's norms are stored minus one.
//
// Source: llama.cpp v0.5.0, conversion/minimax.py: MiniMaxText01Model, MiniMaxM2Model, MiniMaxM3Model.

import (
	"slices"

	"quern/convert/gguf"
	"quern/convert/view"
	"quern/convert/vocab"
)

var _ = Register(Arch{
	HF:      []string{"MiniMaxText01ForCausalLM", "MiniMaxM1ForCausalLM"},
	GGUF:    "minimax-01",
	Names:   TextNames,
	Tensors: Rules{mixtralExperts},
	Keys: TextKeys.Then(
		Do("tokenizer.ggml.suppress_tokens: added tokens whose embedding is zero", zeroTokens),
		Fail(Not(All(
			Equal(Cfg("layernorm_full_attention_alpha"), Cfg("layernorm_linear_attention_alpha"), Cfg("layernorm_mlp_alpha")),
			Equal(Const(1.0), Cfg("layernorm_full_attention_beta"), Cfg("layernorm_linear_attention_beta"), Cfg("layernorm_mlp_beta")),
		)), "factors of the norms that differ between attention and network, or betas other than 1"),
		Set("residual_scale", Cfg("layernorm_full_attention_alpha")),
		Set("rope.dimension_count", Cfg("rotary_dim")),
	),
	Vocab:  vocab.MiniMax,
	Odd:    []string{"attn_q", "attn_k", "attn_v", "attn_out"},
	Uneven: true, // layers of linear and of full attention
})

var minimaxM2 = Register(Arch{
	HF:      []string{"MiniMaxM2ForCausalLM"},
	GGUF:    "minimax-m2",
	Names:   TextNames,
	Tensors: Rules{StackExperts("block_sparse_moe.experts", Cfg("num_local_experts", "num_experts"), "w1", "w2", "w3")},
	Keys: TextKeys.Then(
		Set("expert_feed_forward_length", Cfg("intermediate_size")),
		Set("rope.dimension_count", Cfg("rotary_dim")),
	),
	Vocab: vocab.GPT2,
})

var _ = Register(Arch{
	Base:    minimaxM2,
	HF:      []string{"MiniMaxM3SparseForCausalLM", "MiniMaxM3SparseForConditionalGeneration"},
	GGUF:    "minimax-m3",
	Tensors: Rules{On("*norm.weight", Plus(1.0))}.Also(minimaxM2.Tensors),
	Force:   []Force{{Match: "*.indexer.*", Type: gguf.F32}},
	Keys: minimaxM2.Keys.Then(
		Set("expert_shared_count", Cfg("n_shared_experts")),
		Set("expert_weights_scale", Cfg("routed_scaling_factor")),
		Set("expert_weights_norm", true),
		Set("attention.indexer.head_count", In("sparse_attention_config", Cfg("sparse_num_index_heads"))),
		Set("attention.indexer.key_length", In("sparse_attention_config", Cfg("sparse_index_dim"))),
		Set("attention.indexer.top_k", In("sparse_attention_config", Cfg("sparse_topk_blocks"))),
		Set("attention.indexer.block_size", In("sparse_attention_config", Cfg("sparse_block_size"))),
		Set("attention.indexer.local_blocks", In("sparse_attention_config", Cfg("sparse_local_block"))),
		Set("leading_dense_block_count", Leading("moe_layer_freq", 0)),
	),
	Uneven: true, // dense layers, and layers without an index
})

// zeroTokens names added tokens whose rows of the embedding are zero. Source: conversion/minimax.py, _get_suppress_tokens.
func zeroTokens(m *Meta) error {
	i := slices.IndexFunc(m.Tensors, func(t view.Tensor) bool { return t.Name == "model.embed_tokens.weight" })
	if i < 0 {
		return nil
	}
	v, err := m.Vocabulary()
	if err != nil || v.Tokenizer == nil {
		return err
	}
	first := int64(v.Tokenizer.ModelSize())
	added, err := view.Rows(m.Tensors[i], min(first, m.Tensors[i].Rows()), m.Tensors[i].Rows())
	if err != nil {
		return err
	}
	var ids []int64
	err = view.Each(m.b.ctx, added, func(row int64, v []float32) error {
		for r := range slices.Chunk(v, int(added.RowLen())) {
			if !slices.ContainsFunc(r, func(x float32) bool { return x != 0 }) {
				ids = append(ids, first+row)
			}
			row++
		}
		return nil
	})
	if err != nil || len(ids) == 0 {
		return err
	}
	return m.Set("tokenizer.ggml.suppress_tokens", ids)
}
