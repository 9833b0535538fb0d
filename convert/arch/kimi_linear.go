package arch

// Kimi Linear: delta attention (KDA) in most layers, DeepSeek's attention over a latent in the others.
//
// Peculiar: layers are numbered from one in linear_attn_config; layers of delta attention are written with no key-value head;
// convolutions get two dimensions of size one, the decay is -exp(A_log).
//
// Source: llama.cpp v0.5.0, conversion/kimi_linear.py: KimiLinearModel.

import (
	"quern/convert/fault"
	"quern/convert/view"
	"quern/convert/vocab"
)

// deltaRules are the tensors of delta attention under the names that the tables know.
func deltaRules(decay Transform) Rules {
	return Rules{
		On("*.{q|k|v}_conv1d.weight", View("convolution as [1, rows, 1, width]", deltaConv)),
		On("*.A_log", decay),
		Rename("*.dt_bias", "dt_bias=>dt_proj.bias"),
	}
}

// deltaConv takes [rows, width] or [rows, 1, width]; other ranks pass.
func deltaConv(_ *Build, _ Item, v view.Tensor) (view.Tensor, error) {
	if n := len(v.Shape); n != 2 && (n != 3 || v.Shape[1] != 1) {
		return v, nil
	}
	return view.Reshape(v, 1, v.Shape[0], 1, v.RowLen())
}

// latentLayers are the layers with attention over a latent.
var latentLayers = Fn("layers among linear_attn_config.full_attn_layers", func(e *Env) (any, error) {
	linear, _ := e.Config.Object("linear_attn_config")
	full, ok := linear.Ints("full_attn_layers")
	if !ok {
		return nil, &fault.Invalid{On: "config.json: linear_attn_config.full_attn_layers", Says: "a list of layers is needed, not " + show(linear["full_attn_layers"])}
	}
	out := make([]bool, e.Blocks)
	for _, n := range full {
		if n > 0 && n <= int64(len(out)) {
			out[n-1] = true
		}
	}
	return out, nil
})

// kimiExperts are stacked in the order of their roles: gate, down, up.
func kimiExperts(count Expr) Rules {
	const members = "model.layers.{b}.block_sparse_moe.experts.{x}.{w}.weight"
	return Rules{Stack(members, count, "blk.{b}.ffn_{w}_exps.weight", "w1:gate", "w2:down", "w3:up")}
}

func linearAttn(key string) Expr { return In("linear_attn_config", Opt(key)) }

var (
	linearKVRank = Cfg("kv_lora_rank", "n_lora_kv")
	linearRotary = Cfg("qk_rope_head_dim", "n_rot")
)

var _ = Register(Arch{
	HF:    []string{"KimiLinearModel", "KimiLinearForCausalLM"},
	GGUF:  "kimi-linear",
	Names: TextNames,
	Tensors: deltaRules(NegExp).Also(kimiExperts(Cfg("num_local_experts", "num_experts")),
		latentSplit(Cfg("num_key_value_heads"), Cfg("qk_nope_head_dim"), Cfg("n_embd_head_v_mla", "v_head_dim"))),
	Keys: Keys{Let("num_key_value_heads", 1)}.Also(TextKeys).Then(
		Set("vocab_size", Cfg("vocab_size")),
		Set("attention.head_count_kv", ByLayer(latentLayers, 1, 0)),
		Set("ssm.conv_kernel", linearAttn("short_conv_kernel_size")),
		Set("kda.head_dim", linearAttn("head_dim")),
		Set("attention.q_lora_rank", Opt("q_lora_rank", "n_lora_q")),
		Set("attention.kv_lora_rank", linearKVRank),
		Set("rope.dimension_count", linearRotary),
		Set("attention.key_length", Add(linearKVRank, linearRotary)),
		Set("attention.key_length_mla", Else(Opt("n_embd_head_k_mla"), Choose(Null(Opt("qk_nope_head_dim")), nil, Add(Opt("qk_nope_head_dim"), linearRotary)))),
		Set("attention.value_length_mla", Else(Opt("n_embd_head_v_mla"), Opt("v_head_dim"))),
		Set("expert_feed_forward_length", Cfg("moe_intermediate_size")),
		Set("expert_shared_count", Cfg("num_shared_experts")),
		Set("leading_dense_block_count", Cfg("first_k_dense_replace")),
		Set("expert_weights_scale", Cfg("routed_scaling_factor")),
	),
	Vocab:  vocab.KimiLinear,
	Odd:    []string{"attn_q", "attn_k", "attn_v", "attn_out"}, // the keys state the absorbed form
	Uneven: true,                                               // two kinds of attention
})
