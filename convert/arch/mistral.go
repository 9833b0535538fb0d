package arch

// Mistral's own layout: params.json, consolidated*.safetensors and a tokenizer of mistral-common, as the reference reads it with
// --mistral-format.
//
// Peculiar: there is no class name, params.json tells experts and scaling; keys are Mistral's words, of which the common keys
// know the most; query and key rows are in llama.cpp's order already; models of experts have DeepSeek's attention.

import (
	"strings"

	"quern/convert/config"
	"quern/convert/vocab"
)

// MistralFormat is the entry of a checkpoint in Mistral's layout, by its params.json.
func MistralFormat(params config.Object) *Arch {
	switch {
	case params.Null("moe"):
		return mistralDense
	case params.Null("kv_lora_rank"):
		return mixtralNative
	}
	return mistralExperts
}

// mistralKeys are written at the end of both. Source: conversion/mistral.py, set_mistral_config.
var mistralKeys = When(Has("yarn"),
	Set("rope.scaling.type", "yarn"),
	Set("rope.scaling.factor", In("yarn", Cfg("factor"))),
	Set("rope.scaling.yarn_beta_fast", In("yarn", Cfg("beta"))),
	Set("rope.scaling.yarn_beta_slow", In("yarn", Cfg("alpha"))),
	Set("rope.scaling.yarn_log_multiplier", Choose(In("yarn", Cfg("apply_scale")), 0.0, 1.0)),
	Set("rope.scaling.original_context_length", In("yarn", Cfg("original_max_position_embeddings"))),
).Also(When(Not(Null(Opt("llama_4_scaling"))),
	Set("attention.temperature_scale", In("llama_4_scaling", Cfg("beta"))),
)).Then(Do("warn of a length that is not known", func(m *Meta) error {
	known, err := publishedLength.Eval(m.Env)
	if known == nil && err == nil && !m.Root.Has("max_position_embeddings", "max_seq_len", "yarn") {
		m.b.Warn("params.json does not say how long a context may be: 128000 is written; add max_position_embeddings if it is less")
	}
	return err
}))

// nativeLength is how long a context may be. params.json of most dense models does not say it in a word that the reference knows,
// which then writes no length, and llama.cpp does not load the file. The last resort is what the reference takes for the large model.
var nativeLength = Let("max_position_embeddings",
	Else(Opt("max_position_embeddings", "max_seq_len"), Else(publishedLength, Else(In("yarn", stretchedLength), 128000))))

// publishedLength is what config.json of the same repository says, where there is one.
var publishedLength = Fn("max_position_embeddings of config.json", func(e *Env) (any, error) {
	text, _ := e.File.Object("text_config")
	for _, o := range []config.Object{e.File, text} {
		if v, ok := o.Find("max_position_embeddings"); ok {
			return v, nil
		}
	}
	return nil, nil
})

var stretchedLength = Choose(Has("original_max_position_embeddings"),
	Trunc(Mul(Cfg("original_max_position_embeddings"), CfgOr("factor", 1))), nil)

// mistralLlama is a model from before the scaling, which is written as a plain llama.
var mistralLlama = Register(Arch{
	GGUF:    "llama",
	Names:   llamaBase.Names,
	Extra:   llamaBase.Extra,
	Config:  Keys{nativeLength},
	Tensors: llamaPlain,
	Keys: TextKeys.Then(
		Set("rope.dimension_count", Else(Opt("head_dim"), FloorDiv(Cfg("dim", "hidden_size"), Cfg("n_heads", "num_attention_heads")))),
	).Also(mistralKeys),
	Vocab: vocab.Mistral,
})

var mistralDense = Register(Arch{
	Base:   mistralLlama,
	GGUF:   "mistral3",
	Switch: []Case{{If: Not(Has("llama_4_scaling")), To: mistralLlama}},
})

// mixtralNative is Mixtral, whose experts have the attention of the dense models. The reference takes every model of experts for
// the large one.
var mixtralNative = Register(Arch{
	Base: mistralLlama,
	Note: "the reference takes every model of experts in this layout for Mistral Large 3",
	Config: Keys{
		nativeLength,
		Let("num_local_experts", In("moe", Cfg("num_experts"))),
		Let("num_experts_per_tok", In("moe", Cfg("num_experts_per_tok"))),
	},
	Tensors: Rules{Stack("layers.{b}.feed_forward.experts.{x}.{w}.weight", Cfg("num_local_experts"),
		"layers.{b}.feed_forward.experts.{w}.weight", "w1", "w2", "w3")},
})

// mistralExperts is DeepSeek's model of experts in Mistral's words.
var mistralExperts = Register(Arch{
	Base:   &deepseekBase,
	Config: mistralWords,
	Names: Given(Has("quantization_config"), // FP8 of the layout's own is known by its names
		Rename("*.qscale_act", ".qscale_act=>.input_scale"),
		Rename("*.qscale_weight", ".qscale_weight=>.weight_scale"),
	).Also(Rules{
		Rename("*.wkv_b.*", ".wkv_b.=>.kv_b_proj."),
		Code("*.experts.*", "name an expert's matrices as DeepSeek does", func(_ *Build, it Item) ([]Item, error) {
			it.Name = "model." + mistralExpert.Replace(it.Name)
			return []Item{it}, nil
		}),
	}, deepseekBase.Names),
	Keys: deepseekBase.Keys.Also(mistralKeys).Then(
		Set("attention.temperature_length", In("yarn", Cfg("original_max_position_embeddings"))),
		Set("rope.scaling.yarn_log_multiplier", 0.1), // llama.cpp wants a tenth here, for this architecture alone
	),
	Vocab: vocab.Mistral,
})

var mistralExpert = strings.NewReplacer(".experts.", ".mlp.experts.", ".w1.", ".gate_proj.", ".w2.", ".down_proj.", ".w3.", ".up_proj.")

// mistralWords gives the configuration the keys that DeepSeek's entry reads. Source: conversion/mistral.py, MistralMoeModel.
var mistralWords = func() Keys {
	var out Keys
	for _, k := range [][2]string{{"dim", "hidden_size"}, {"norm_eps", "rms_norm_eps"}, {"n_kv_heads", "num_key_value_heads"},
		{"n_layers", "num_hidden_layers"}, {"n_heads", "num_attention_heads"}, {"hidden_dim", "intermediate_size"}} {
		out = out.Also(When(Has(k[0]), Let(k[1], Opt(k[0]))))
	}
	out = out.Then(
		Let("tie_word_embeddings", CfgOr("tied_embeddings", false)),
		Let("max_position_embeddings", CfgOr("max_position_embeddings", 128000)),
	)
	for _, k := range [][2]string{{"first_k_dense_replace", "first_k_dense_replace"}, {"num_experts_per_tok", "num_experts_per_tok"},
		{"num_experts", "n_routed_experts"}, {"expert_hidden_dim", "moe_intermediate_size"}, {"routed_scale", "routed_scaling_factor"},
		{"num_shared_experts", "n_shared_experts"}, {"num_expert_groups", "n_group"}, {"num_expert_groups_per_tok", "topk_group"}} {
		out = out.Also(When(In("moe", Has(k[0])), Let(k[1], In("moe", Opt(k[0])))))
	}
	return out.Then(Let("norm_topk_prob", true), Let("scoring_func", "softmax"))
}()
