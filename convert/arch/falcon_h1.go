package arch

// Falcon-H1: attention and Mamba 2 side by side in every layer.
//
// Peculiar: the multipliers of its parametrization go into the weights: one for each projection, five for the row ranges of
// Mamba's; its query and key rows stay.
//
// Source: llama.cpp v0.5.0, conversion/falcon_h1.py: FalconH1Model.

import "quern/convert/vocab"

var (
	falconInner  = Cfg(prefixed("mamba_d_ssm")...)
	falconMamba  = Cfg(prefixed("n_groups")...)
	falconInput  = Opt(prefixed("attention_in_multiplier")...)
	falconStates = Mul(Cfg("mamba_n_groups"), Cfg("mamba_d_state"))
)

// falconRange is a row range of in_proj with its multiplier.
func falconRange(i int, rows any) Part {
	return Part{Size: rows, Then: []Transform{Times(At(Cfg("ssm_multipliers"), i))}}
}

var _ = Register(Arch{
	HF:     []string{"FalconH1ForCausalLM"},
	GGUF:   "falcon-h1",
	Config: Keys{asWritten},
	Names:  mamba2Names.Also(TextNames),
	Tensors: Rules{
		On("*down_proj*", Times(At(Cfg("mlp_multipliers"), 1))),
		On("*gate_proj*", Times(At(Cfg("mlp_multipliers"), 0))),
		On("*k_proj*", Times(Cfg("key_multiplier")), Times(falconInput)),
		On("*q_proj*|*v_proj*", Times(falconInput)),
		On("*o_proj*", Times(Cfg("attention_out_multiplier"))),
		On("*out_proj*", Times(Cfg("ssm_out_multiplier"))),
		On("*in_proj*", Times(Cfg("ssm_in_multiplier")), Ranges(falconRange(0, Cfg("mamba_d_ssm")), falconRange(1, Cfg("mamba_d_ssm")),
			falconRange(2, falconStates), falconRange(3, falconStates), falconRange(4, nil))),
		On("*lm_head*", Times(Cfg("lm_head_multiplier"))),
		On("*embed_tokens*", Times(Cfg("embedding_multiplier"))),
	}.Also(mamba2Rules(falconInner, falconMamba)),
	Keys: Keys{
		Fail(Not(Is(Opt("hidden_act"), nil, "silu")), "an activation other than silu"),
		Fail(Not(divides(Cfg(prefixed("d_head")...), falconInner)), "an inner size that is no multiple of the head's"),
	}.Also(mamba2Keys(falconInner, falconMamba, prefixed)).Then(
		Set("vocab_size", Cfg("vocab_size")),
		Set("context_length", CfgOr("max_position_embeddings", 0)),
		Set("feed_forward_length", Cfg("intermediate_size")),
		Set("attention.head_count", Cfg("num_attention_heads")),
		Set("attention.head_count_kv", Cfg("num_key_value_heads")),
		Set("attention.key_length", Cfg("head_dim")),
		Set("attention.value_length", Cfg("head_dim")),
		Set("rope.freq_base", RopeAll(Cfg("rope_theta"))),
	),
	Vocab:   vocab.GPT2,
	Unfused: true,
})
