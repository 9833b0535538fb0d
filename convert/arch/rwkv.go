package arch

// RWKV 6 and 7, and Qwen with their time mixing in place of attention (QRWKV6, ARWKV7).
//
// Peculiar: no context limit and no heads to count; the weights of the token shift become one tensor; RWKV 6 divides what it
// writes back by a power of two that grows with the depth; layer 0 of RWKV 7 has no value residual, and llama.cpp takes copies of
// its learning rate there.
//
// Source: llama.cpp v0.5.0, conversion/rwkv.py: Rwkv6Model, RWKV6Qwen2Model, Rwkv7Model, ARwkv7Model.

import (
	"math"

	"quern/convert/vocab"
)

// rescale is the divisor of a block.
var rescale = Fn("2^(block // rescale_every)", func(e *Env) (any, error) {
	n, err := e.Int(FloorDiv(Block, Cfg("rescale_every")))
	return math.Ldexp(1, int(n)), err
})

// addWeight gives names without an ending the usual one.
var addWeight = Rename("*", "+.weight").Except("*.weight|*.bias")

var rwkv6 = Register(Arch{
	HF:    []string{"Rwkv6ForCausalLM"},
	GGUF:  "rwkv6",
	Names: TextNames,
	Tensors: Rules{
		Named,
		addWeight,
		On("*time_mix_{w1|decay_w1|decay_w2}.weight", Transposed),
		On("*time_mix_w2.weight", Permute(0, 2, 1)),
		On("*time_mix_decay.weight|*lerp*", SqueezeAll),
		Given(Opt("rescale_every"), On("*{time_mix_output|channel_mix_value}.weight", Over(rescale)))[0],
		Concat("blk.{b}.time_mix_lerp_{w}.weight", "@time_mix_lerp_fused", "w", "k", "v", "r", "g"),
		On("*time_mix_lerp_fused.weight", Reshape(5, 1, 1, -1)),
	},
	Keys: Keys{
		Set("context_length", anyContext),
		Set("embedding_length", Cfg("hidden_size")),
		Set("block_count", BlockCount),
		Set("attention.layer_norm_epsilon", Cfg("layer_norm_epsilon")),
		Set("rescale_every_n_layers", Cfg("rescale_every")),
		Set("wkv.head_size", Cfg("head_size")),
		Set("time_mix_extra_dim", Choose(Is(Cfg("hidden_size"), 4096), 64, 32)),
		Set("time_decay_extra_dim", Choose(Is(Cfg("hidden_size"), 4096), 128, 64)),
		Set("feed_forward_length", Else(Opt("intermediate_size"), Mul(Trunc(FloorDiv(Mul(Cfg("hidden_size"), 3.5), 32)), 32))),
		FileTypeKey,
		Set("attention.head_count", 0),
	},
	Vocab: vocab.RWKV,
})

// QRWKV6 keeps the five parts of the token shift in the order r k v w g, RWKV 6 in the order w k v r g.
var _ = Register(Arch{
	Base: rwkv6,
	HF:   []string{"RWKV6Qwen2ForCausalLM"},
	GGUF: "rwkv6qwen2",
	Tensors: rwkv6.Tensors.Then(
		On("*time_mix_w1.weight", Reshape(5, -1, Cfg("hidden_size")), Take(0, 3, 1, 2, 0, 4), Reshape(-1, Cfg("hidden_size"))),
		On("*time_mix_w2.weight", Take(0, 3, 1, 2, 0, 4)),
	),
	Keys: Keys{
		Set("context_length", anyContext),
		Set("embedding_length", Cfg("hidden_size")),
		Set("block_count", BlockCount),
		Set("wkv.head_size", FloorDiv(Cfg("hidden_size"), Cfg("num_attention_heads"))),
		Set("time_mix_extra_dim", CfgOr("lora_rank_tokenshift", byWidth(64, 32))),
		Set("time_decay_extra_dim", CfgOr("lora_rank_decay", byWidth(128, 64))),
		Set("feed_forward_length", Cfg("intermediate_size")),
		FileTypeKey,
		Set("attention.layer_norm_rms_epsilon", Cfg("rms_norm_eps")),
		Set("token_shift_count", 1),
		Set("attention.head_count_kv", Cfg("num_key_value_heads")),
		Set("attention.head_count", 0),
	},
	Vocab: vocab.SPMOrGPT2,
})

// byWidth is large for models of 4096 and wider.
func byWidth(large, small int) Expr {
	return Choose(Is(FloorDiv(Cfg("hidden_size"), 4096), 0), small, large)
}

// rwkv7Names bring the spellings of three sources together.
var rwkv7Names = Rules{
	Rename("*blocks*", "blocks=>layers"),
	Rename("*ffn*", "ffn=>feed_forward"),
	Rename("*self_attn*", "self_attn=>attention"),
	Rename("*attn*", "attn=>attention"),
	Rename("*time_mixer.*", "time_mixer.=>"),
	Rename("*feed_forward_norm*", "feed_forward_norm=>ln2"),
	Rename("*g_norm*", "g_norm=>ln_x"),
}.Also(TextNames)

// gated holds where the output has a gate.
var gated = CfgOr("wkv_has_gate", true)

var rwkv7Rules = Rules{
	On("*", SqueezeAll).Except("*attention.x_*"),
	// fla stores the low-rank factors as matrices of Linear layers, others as they are multiplied
	On("*attention.{w|a|v|g}{1|2}|*attention.{w|a|v|g}{1|2}.weight", Transposed),
	Rename("*_lora.lora.0.weight*", "_lora.lora.0.weight=>1.weight"),
	Rename("*_lora.lora.2.weight*", "_lora.lora.2.weight=>2.weight"),
	Rename("*_lora.lora.2.bias*", "_lora.lora.2.bias=>0.weight"),
	Given(Is(Block, 0), Drop("*attention.v{0|1|2}*", "the first layer has no value residual"))[0],
	On("*attention.x_x*", Reshape(Choose(gated, 6, 5), 1, 1, -1)),
	Rename("*attention.x_x*", "@time_mix_lerp_fused"),
	On("*attention.x_{r|w|k|v|a|g}", Unsqueeze(0)),
	Given(gated, lerps("r", "w", "k", "v", "a", "g"))[0],
	Given(Not(gated), lerps("r", "w", "k", "v", "a"))[0],
	Named,
	addWeight,
	On("*r_k*", Reshape(-1)),
	Given(Is(Block, 0), Copy("*time_mix_a*", "time_mix_a=>time_mix_v"))[0],
}

// lerps joins the weights of the token shift under a new first axis.
func lerps(words ...string) Rule {
	return Concat("model.layers.{b}.attention.x_{w}", "@time_mix_lerp_fused", words...)
}

// rwkv7Ranks are the ranks of the low-rank factors: key, name in the configuration and in fla's, exponent and factor of the
// width that they follow where the configuration leaves them open. Source: conversion/rwkv.py, calc_lora_rank.
var rwkv7Ranks = []struct {
	key, name, fla   string
	exponent, factor float64
}{
	{"attention.decay_lora_rank", "lora_rank_decay", "decay_low_rank_dim", 0.5, 1.8},
	{"attention.iclr_lora_rank", "lora_rank_iclr", "a_low_rank_dim", 0.5, 1.8},
	{"attention.value_residual_mix_lora_rank", "lora_rank_value_residual_mix", "v_low_rank_dim", 0.5, 1.3},
	{"attention.gate_lora_rank", "lora_rank_gate", "gate_low_rank_dim", 0.8, 0.6},
}

func rwkv7RankKeys() Keys {
	var own []Expr
	for _, r := range rwkv7Ranks {
		own = append(own, Has(r.name))
	}
	var out Keys
	for _, r := range rwkv7Ranks {
		usual := Fn("by the width", func(e *Env) (any, error) {
			width, err := e.Float(Cfg("hidden_size"))
			return 32 * max(1, int64(math.RoundToEven(math.Pow(width, r.exponent)*r.factor/32))), err
		})
		given := Choose(All(own...), Opt(r.name), Choose(Has(r.fla), Opt(r.fla), Cfg(r.fla)))
		out = append(out, Set(r.key, Else(given, usual)))
	}
	return out
}

var rwkv7Own = All(Has("head_size"), Has("layer_norm_epsilon"))

var rwkv7 = Register(Arch{
	HF:      []string{"Rwkv7ForCausalLM", "RWKV7ForCausalLM"},
	GGUF:    "rwkv7",
	Names:   rwkv7Names,
	Tensors: rwkv7Rules,
	Keys: Keys{
		Set("context_length", anyContext),
		Set("embedding_length", Cfg("hidden_size")),
		Set("block_count", BlockCount),
		Set("attention.layer_norm_epsilon", Choose(rwkv7Own, Cfg("layer_norm_epsilon"), Cfg("norm_eps"))),
		Set("wkv.head_size", Choose(rwkv7Own, Cfg("head_size"), Cfg("head_dim"))),
	}.Also(rwkv7RankKeys()).Then(
		Set("feed_forward_length", Else(Opt("intermediate_size"), Mul(4, Cfg("hidden_size")))),
		FileTypeKey,
		Set("attention.head_count", 0),
	),
	Vocab: vocab.RWKV,
})

var _ = Register(Arch{
	Base: rwkv7,
	HF:   []string{"RwkvHybridForCausalLM"},
	GGUF: "arwkv7",
	Keys: Keys{
		Fail(Not(Is(Cfg("wkv_version"), 7)), "a version of wkv other than 7"),
		Set("context_length", anyContext),
		Set("embedding_length", Cfg("hidden_size")),
		Set("block_count", BlockCount),
		Set("attention.layer_norm_rms_epsilon", Cfg("rms_norm_eps")),
		Set("wkv.head_size", Cfg("head_size")),
		Set("attention.decay_lora_rank", 64),
		Set("attention.iclr_lora_rank", 64),
		Set("attention.value_residual_mix_lora_rank", 32),
		Set("attention.gate_lora_rank", Choose(Cfg("wkv_has_gate"), 128, 0)),
		Set("feed_forward_length", Cfg("intermediate_size")),
		FileTypeKey,
		Set("token_shift_count", 1),
		Set("attention.head_count", 0),
	},
	Vocab: vocab.SPMOrGPT2,
})
