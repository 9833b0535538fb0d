package arch

// LLaDA and LLaDA-MoE: language models by diffusion.
//
// Peculiar: attention looks both ways, logits are not shifted; LLaDA has OLMo's names for its sizes and Llama's rows; the
// mask of LLaDA-MoE is in no file.
//
// Source: llama.cpp v0.5.0, conversion/llada.py: LLaDAModel, LLaDAMoEModel.

import "quern/convert/vocab"

var (
	lladaHeads    = CfgOr("num_attention_heads", Cfg("n_heads"))
	lladaKeyHeads = Else(CfgOr("num_key_value_heads", Opt("n_kv_heads")), lladaHeads)
)

var _ = Register(Arch{
	HF:    []string{"LLaDAModelLM"},
	GGUF:  "llada",
	Names: TextNames,
	Tensors: Rules{
		On("*q_proj.{weight|bias}", Rotary(lladaHeads)),
		On("*k_proj.{weight|bias}", Rotary(lladaKeyHeads)),
	},
	Keys: TextKeys.Then(
		PoolingKey,
		Set("vocab_size", Cfg("vocab_size")),
		Set("rope.dimension_count", Else(Opt("head_dim"), FloorDiv(CfgOr("hidden_size", Opt("d_model")), lladaHeads))),
		Set("context_length", CfgOr("max_sequence_length", 4096)),
		Set("embedding_length", CfgOr("d_model", 4096)),
		Set("feed_forward_length", CfgOr("mlp_hidden_size", 12288)),
		Set("attention.causal", false),
		Set("diffusion.shift_logits", false),
	),
	Vocab: vocab.LLaDA,
})

var _ = Register(Arch{
	HF:      []string{"LLaDAMoEModel", "LLaDAMoEModelLM"},
	GGUF:    "llada-moe",
	Names:   TextNames,
	Tensors: Rules{StackExperts("mlp.experts", Cfg("num_local_experts", "num_experts"), "down_proj", "gate_proj", "up_proj")},
	Keys: TextKeys.Then(
		Set("expert_feed_forward_length", Opt("expert_intermediate_size")),
		Set("tokenizer.ggml.mask_token_id", 156895),
		Set("attention.causal", false),
		Set("diffusion.shift_logits", false),
	),
	Vocab: vocab.GPT2,
})
