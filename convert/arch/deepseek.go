package arch

// DeepSeek V2 and V3: attention over a latent, mixtures of experts with shared ones.
//
// Peculiar: the joint projection of key and value becomes two stacks of matrices by head, the key's transposed (llama.cpp
// absorbs it); written as one key-value head, in metadata only; lm_head of a tied model is dropped.

import "quern/convert/vocab"

// mlaSplit takes the latent's joint projection apart, [heads x (nope + v), rank] into [heads, rank, nope] and [heads, v, rank].
var mlaSplit = Rules{
	On("*kv_b_proj.weight", Reshape(Cfg("num_key_value_heads"), Add(Cfg("qk_nope_head_dim"), Cfg("v_head_dim")), -1)),
	Split("*kv_b_proj.weight", 1,
		Part{To: "kv_b_proj=>k_b_proj", Size: Cfg("qk_nope_head_dim"), Then: []Transform{Transposed}},
		Part{To: "kv_b_proj=>v_b_proj", Size: Cfg("v_head_dim")}),
}

var (
	dropTiedHead = Given(CfgOr("tie_word_embeddings", false), Drop("lm_head.weight|model.lm_head.weight", "the embedding stands for it"))[0]
	kvRank       = CfgOr("kv_lora_rank", 512)
	hasExperts   = Not(Null(Opt("n_routed_experts")))
)

var mlaKeys = Keys{
	Let("num_key_value_heads", 1),
	Let("rms_norm_eps", CfgOr("rms_norm_eps", 1e-6)),
}.Also(TextKeys).Then(
	Set("leading_dense_block_count", Else(Opt("first_k_dense_replace"), Choose(hasExperts, 0, Cfg("num_hidden_layers")))),
	Set("vocab_size", Cfg("vocab_size")),
	Set("attention.q_lora_rank", Opt("q_lora_rank")),
	Set("attention.kv_lora_rank", kvRank),
	Set("attention.key_length", Add(kvRank, Cfg("qk_rope_head_dim"))),
	Set("attention.value_length", kvRank),
	Set("attention.key_length_mla", Add(Cfg("qk_nope_head_dim"), Cfg("qk_rope_head_dim"))),
	Set("attention.value_length_mla", Cfg("v_head_dim")),
	Set("expert_feed_forward_length", Cfg("moe_intermediate_size", "intermediate_size")),
	Set("expert_count", Opt("n_routed_experts")),
	Set("expert_shared_count", CfgOr("n_shared_experts", 0)),
	Set("expert_weights_scale", Opt("routed_scaling_factor")),
).Also(When(Opt("norm_topk_prob"), Set("expert_weights_norm", true))).Then(
	Set("rope.dimension_count", Cfg("qk_rope_head_dim")),
	Set("rope.scaling.yarn_log_multiplier", Choose(Null(RopeAll(Opt("mscale_all_dim"))), nil, Mul(0.1, RopeAll(Opt("mscale_all_dim"))))),
)

// deepseek2 is the base of what has this attention; it has no class name yet.
var deepseek2 = Register(Arch{
	GGUF:    "deepseek2",
	Names:   Rules{Drop("*sam_model*|*qwen2_model*", "not part of the text model")}.Also(TextNames),
	Tensors: Rules{dropTiedHead, StackExperts("mlp.experts", Cfg("n_routed_experts"), "down_proj", "gate_proj", "up_proj")}.Also(mlaSplit),
	Keys:    mlaKeys,
	Vocab:   vocab.Kimi,
	Odd:     []string{"attn_q", "attn_k", "attn_v", "attn_out"}, // the keys state the absorbed form
})
