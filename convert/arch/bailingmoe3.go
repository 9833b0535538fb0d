package arch

// Ling 3: delta attention in most layers, DeepSeek's attention over a latent in every n-th and in prediction layers.
//
// Peculiar: a name stands for different tensors in the two kinds of layers; the decay is exp(A_log), with its sign left to
// llama.cpp; only the variants that llama.cpp computes are taken.
//
// Source: llama.cpp v0.5.0, conversion/bailingmoe3.py: BailingMoeV3Model.

import (
	"quern/convert/config"
	"quern/convert/fault"
	"quern/convert/vocab"
)

// lingLatent holds in layers with attention over a latent; what is left over behind the last whole group has it too.
var lingLatent = Fn("layer has attention over a latent", func(e *Env) (any, error) {
	n, err := e.Int(Cfg("num_hidden_layers"))
	if err != nil {
		return nil, err
	}
	size, err := e.Int(Cfg("layer_group_size"))
	if err == nil && size <= 0 {
		err = &fault.Invalid{On: "config.json: layer_group_size", Says: show(size) + ", at least 1 is needed"}
	}
	return err == nil && (e.block >= n || (e.block+1)%size == 0 || e.block >= n/size*size), err
})

// eachBlock evaluates a condition for every block.
func eachBlock(cond Expr) Expr {
	return Fn("["+cond.String()+"]", func(e *Env) (any, error) {
		out := make([]bool, e.Blocks)
		for i := range out {
			c := *e
			c.block = int64(i)
			v, err := cond.Eval(&c)
			if err != nil {
				return nil, err
			}
			out[i] = config.Truth(v)
		}
		return out, nil
	})
}

var lingNext = &NextN{Layers: Or(Opt("num_nextn_predict_layers"), 0), Shared: []string{"model.word_embeddings.weight", "model.norm.weight", "lm_head.weight"}}

var _ = Register(Arch{
	HF:    []string{"BailingMoeV3ForCausalLM"},
	GGUF:  "bailingmoe3",
	NextN: lingNext,
	MTP:   true,
	Names: Rules{Rename("*.expert_bias", "+.bias")}.Also(TextNames).Then(NextNRule(lingNext)),
	Tensors: deltaRules(Exp).Then(
		On("*.A_log", Reshape(-1, 1)),
	).Also(Given(lingLatent,
		Refuse("*.attention.f_proj.weight", "a decay in a layer with attention over a latent"),
		Rename("*.attention.g_proj.weight", "@attn_gate"),
	)).Then(
		Rename("*.attention.f_proj.weight", "@ssm_f_a"),
		Rename("*.attention.g_proj.weight", "@ssm_g_a"),
		StackExperts("mlp.experts", Cfg("num_experts"), "down_proj", "gate_proj", "up_proj"),
	).Also(latentSplit(Cfg("num_attention_heads"), Cfg("qk_nope_head_dim"), Cfg("v_head_dim"))),
	Keys: Keys{
		Fail(Not(Opt("no_kda_lora")), "low-rank projections of delta attention"),
		Fail(Not(Opt("kda_safe_gate")), "delta attention without the safe gate"),
		Fail(Not(Is(Opt("gated_attention_proj_granularity_type"), "head_wise")), "gates of the attention that are not head-wise"),
		Let("num_key_value_heads", 1),
	}.Also(TextKeys).Then(
		Set("attention.head_count_kv", ByLayer(eachBlock(lingLatent), 1, 0)),
		Set("vocab_size", Cfg("vocab_size")),
		Set("ssm.conv_kernel", Cfg("short_conv_kernel_size")),
		Set("kda.head_dim", Cfg("head_dim")),
		Set("kda.safe_gate", Flag("kda_safe_gate")),
		Set("kda.gate_lower_bound", Cfg("kda_lower_bound")),
		Set("attention.q_lora_rank", Opt("q_lora_rank")),
		Set("attention.kv_lora_rank", Cfg("kv_lora_rank")),
		Set("rope.dimension_count", Cfg("qk_rope_head_dim")),
		Set("attention.key_length", Add(Cfg("kv_lora_rank"), Cfg("qk_rope_head_dim"))),
		Set("attention.key_length_mla", Add(Cfg("qk_nope_head_dim"), Cfg("qk_rope_head_dim"))),
		Set("attention.value_length_mla", Cfg("v_head_dim")),
		Set("expert_feed_forward_length", Cfg("moe_intermediate_size")),
		Set("expert_shared_feed_forward_length", Cfg("moe_shared_expert_intermediate_size")),
		Set("expert_shared_count", Cfg("num_shared_experts")),
		Set("leading_dense_block_count", Cfg("first_k_dense_replace")),
		Set("expert_weights_scale", Cfg("routed_scaling_factor")),
		Set("expert_weights_norm", Flag("norm_topk_prob")),
		Set("swiglu_clamp_exp", clamps("expert_swiglu_limit_list")),
		Set("swiglu_clamp_shexp", clamps("share_expert_swiglu_limit_list")),
		Set("nextn_predict_layers", NextNCount(Or(Opt("num_nextn_predict_layers"), Const(nil)))),
	),
	Vocab:  vocab.GPT2,
	Odd:    []string{"attn_q", "attn_k", "attn_v", "attn_out"}, // the keys state the absorbed form
	Uneven: true,                                               // two kinds of attention
})
