package arch

// DeepSeek 1 to 3.2, and what is built on the attention over a latent (MLA) of 2 and 3: Kimi K2 and VL, Youtu, DeepSeek-OCR.
//
// Peculiar: the latent's joint projection of key and value becomes two stacks of matrices by head, the key's transposed
// (llama.cpp absorbs it); written as one key-value head, in metadata only; lm_head of a tied model is dropped; prediction layers
// are dropped but for 3.2. DeepSeek-OCR has ordinary attention and is told by the class of the whole checkpoint. DeepSeek 4 has
// a file of its own.
//
// Source: llama.cpp v0.5.0, conversion/deepseek.py: DeepseekModel, DeepseekV2Model, DeepseekV32Model.

import "quern/convert/vocab"

var _ = Register(Arch{
	HF:    []string{"DeepseekForCausalLM"},
	GGUF:  "deepseek",
	Names: TextNames,
	Tensors: Rules{
		On("*q_proj.{weight|bias}", Rotary(Cfg("num_attention_heads"))),
		On("*k_proj.{weight|bias}", Rotary(Else(Opt("num_key_value_heads"), Cfg("num_attention_heads")))),
		deepseekExperts,
	},
	Keys: TextKeys.Then(
		ropeDim,
		Set("rope.scaling.type", "none"),
		Set("leading_dense_block_count", Cfg("first_k_dense_replace")),
		Set("vocab_size", Cfg("vocab_size")),
		Set("expert_feed_forward_length", Cfg("moe_intermediate_size")),
		Set("expert_weights_scale", 1.0),
		Set("expert_count", Cfg("n_routed_experts")),
		Set("expert_shared_count", Cfg("n_shared_experts")),
	),
	Vocab: vocab.SPMOrGPT2,
})

var (
	deepseekExperts = StackExperts("mlp.experts", Cfg("n_routed_experts"), "down_proj", "gate_proj", "up_proj")
	dropTiedHead    = Given(CfgOr("tie_word_embeddings", false), Drop("lm_head.weight|model.lm_head.weight", "the embedding stands for it"))[0]
	dropPlainHead   = Given(CfgOr("tie_word_embeddings", false), Drop("lm_head.weight", "the embedding stands for it"))[0] // of families that look for no other name
)

// latentSplit takes the latent's joint projection apart, [heads x (nope + v), rank] into [heads, rank, nope] and [heads, v, rank].
func latentSplit(heads, nope, value Expr) Rules {
	return Rules{
		On("*kv_b_proj.weight", Reshape(heads, Add(nope, value), -1)),
		Split("*kv_b_proj.weight", 1,
			Part{To: "kv_b_proj=>k_b_proj", Size: nope, Then: []Transform{Transposed}},
			Part{To: "kv_b_proj=>v_b_proj", Size: value}),
	}
}

var mlaSplit = latentSplit(Cfg("num_key_value_heads"), Cfg("qk_nope_head_dim"), Cfg("v_head_dim"))

var (
	kvRank     = CfgOr("kv_lora_rank", 512)
	hasExperts = Not(Null(Opt("n_routed_experts")))
	sizeKeys   = Keys{
		Set("leading_dense_block_count", Else(Opt("first_k_dense_replace"), Choose(hasExperts, 0, Cfg("num_hidden_layers")))),
		Set("vocab_size", Cfg("vocab_size")),
		Set("attention.q_lora_rank", Opt("q_lora_rank")),
	}
	expertKeys = Keys{
		Set("expert_feed_forward_length", Cfg("moe_intermediate_size", "intermediate_size")),
		Set("expert_count", Opt("n_routed_experts")),
		Set("expert_shared_count", CfgOr("n_shared_experts", 0)),
		Set("expert_weights_scale", Opt("routed_scaling_factor")),
	}.Also(When(Opt("norm_topk_prob"), Set("expert_weights_norm", true))).Then(
		Set("rope.dimension_count", Cfg("qk_rope_head_dim")),
	)
	mscaleKey = Set("rope.scaling.yarn_log_multiplier", Choose(Null(RopeAll(Opt("mscale_all_dim"))), nil, Mul(0.1, RopeAll(Opt("mscale_all_dim")))))
	epsilon   = Let("rms_norm_eps", CfgOr("rms_norm_eps", 1e-6))
)

var mlaKeys = Keys{Let("num_key_value_heads", 1), epsilon}.Also(TextKeys, sizeKeys).Then(
	Set("attention.kv_lora_rank", kvRank),
	Set("attention.key_length", Add(kvRank, Cfg("qk_rope_head_dim"))),
	Set("attention.value_length", kvRank),
	Set("attention.key_length_mla", Add(Cfg("qk_nope_head_dim"), Cfg("qk_rope_head_dim"))),
	Set("attention.value_length_mla", Cfg("v_head_dim")),
).Also(expertKeys).Then(mscaleKey)

var deepseekBase = Arch{
	GGUF:    "deepseek2",
	Names:   Rules{Drop("*sam_model*|*qwen2_model*", "not part of the text model")}.Also(TextNames),
	Tensors: Rules{dropTiedHead, dropNextN, deepseekExperts}.Also(mlaSplit),
	Keys:    mlaKeys,
	Vocab:   vocab.Kimi,
	Odd:     []string{"attn_q", "attn_k", "attn_v", "attn_out"}, // the keys state the absorbed form
}

var deepseekOCR = Register(Arch{
	Base:    &deepseekBase,
	HF:      []string{"DeepseekOCRForCausalLM", "UnlimitedOCRForCausalLM"},
	GGUF:    "deepseek2-ocr",
	Opening: Keys{Set("tokenizer.chat_template", "{% for m in messages %}{{m['content']}}{% endfor %}")}, // unless the checkpoint has one
	Keys: Keys{epsilon}.Also(TextKeys, sizeKeys, expertKeys).Then(
		Set("attention.sliding_window", Or(Or(Opt("sliding_window_size"), Opt("sliding_window")), Const(nil))),
		mscaleKey,
	),
	Odd: []string{},
})

var deepseek2 = Register(Arch{
	Base: &deepseekBase,
	HF: []string{"DeepseekV2ForCausalLM", "DeepseekV3ForCausalLM", "KimiVLForConditionalGeneration", "KimiK25ForConditionalGeneration",
		"YoutuForCausalLM", "YoutuVLForConditionalGeneration"},
	Switch: []Case{{If: RootClass("DeepseekOCRForCausalLM", "DeepseekOCR2ForCausalLM", "UnlimitedOCRForCausalLM"), To: deepseekOCR}},
})

// The prediction layers of most families, and the index of sparse attention that DeepSeek 3.2 brought.
var (
	appended    = &NextN{Layers: CfgOr("num_nextn_predict_layers", 0)}
	appendedKey = Set("nextn_predict_layers", NextNCount(Opt("num_nextn_predict_layers")))
	indexerKeys = Keys{
		Set("attention.indexer.head_count", Cfg("index_n_heads")),
		Set("attention.indexer.key_length", Cfg("index_head_dim")),
		Set("attention.indexer.top_k", Cfg("index_topk")),
	}
	mlaWithNextN = Rules{dropTiedHead, deepseekExperts}.Also(mlaSplit)
)

var _ = Register(Arch{
	Base:    &deepseekBase,
	HF:      []string{"DeepseekV32ForCausalLM"},
	GGUF:    "deepseek32",
	NextN:   appended,
	MTP:     true,
	Names:   deepseekBase.Names.Then(NextNRule(appended)),
	Tensors: mlaWithNextN,
	Keys:    mlaKeys.Then(appendedKey).Also(indexerKeys),
	Vocab:   vocab.DeepSeekV32,
})
