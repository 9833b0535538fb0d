package arch

// Jamba: layers of Mamba or attention, with or without experts.
//
// Peculiar: which layer is what follows from periods and offsets; a layer without experts may store its network as expert 0.
//
// Source: llama.cpp v0.5.0, conversion/jamba.py: JambaModel.

import "quern/convert/vocab"

var (
	jambaWidth = Cfg("hidden_size", "mamba_d_model")
	jambaMoE   = periodic("layers with experts", "expert_layer_period", "expert_layer_offset")
	jambaAttn  = periodic("layers of attention", "attn_layer_period", "attn_layer_offset")
)

var _ = Register(Arch{
	HF:    []string{"JambaForCausalLM"},
	GGUF:  "jamba",
	Names: TextNames,
	Tensors: Rules{
		Rename("*.moe.*", ".moe.=>.feed_forward."),
		Given(All(Not(Is(Block, -1)), Not(AtBlock(jambaMoE))), Rename("*.experts.0.*", ".experts.0.=>."))[0],
		Stack("model.layers.{b}.feed_forward.experts.{x}.{w}.weight", Cfg("num_local_experts", "num_experts"),
			"model.layers.{b}.mlp.experts.{w}.weight", "down_proj", "gate_proj", "up_proj"),
		On("*.A_log", NegExp),
		Named,
		On("*.ssm_conv1d.weight", SqueezeAll),
	},
	Keys: Keys{
		Set("block_count", BlockCount),
		Set("context_length", Cfg("max_position_embeddings", "n_ctx")),
		Set("embedding_length", jambaWidth),
		Set("feed_forward_length", Cfg("intermediate_size")),
		Set("attention.head_count", Cfg("num_attention_heads")),
		Set("attention.head_count_kv", ByLayer(jambaAttn, Cfg("num_key_value_heads"), 0)),
		Set("ssm.conv_kernel", Or(Opt("mamba_d_conv"), 4)),
		Set("ssm.inner_size", Mul(Cfg("mamba_expand"), jambaWidth)),
		Set("ssm.state_size", Or(Opt("mamba_d_state"), 16)),
		Set("ssm.time_step_rank", Or(Opt("mamba_dt_rank"), sixteenth(jambaWidth))),
		Set("attention.layer_norm_rms_epsilon", Or(Opt("layer_norm_epsilon", "rms_norm_eps"), 1e-6)),
		Set("expert_count", Cfg("num_local_experts", "num_experts")),
		Set("expert_used_count", Cfg("num_experts_per_tok", "num_experts_per_token")),
		FileTypeKey,
	},
	Vocab:   vocab.Jamba,
	Uneven:  true,
	Unfused: true,
})

// periodic tells for each layer whether it is one of those that come every so many, from an offset on.
func periodic(doc, period, offset string) Expr {
	return Fn(doc+" by "+period+" and "+offset, func(e *Env) (any, error) {
		every, err := e.Int(Cfg(period))
		if err != nil {
			return nil, err
		}
		first, err := e.Int(Cfg(offset))
		if err != nil {
			return nil, err
		}
		out := make([]bool, e.Blocks)
		for i := first; every > 0 && i < e.Blocks; i += every {
			if i >= 0 {
				out[i] = true
			}
		}
		return out, nil
	})
}
