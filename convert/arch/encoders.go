package arch

// Encoders beside the line of BERT: Nomic, NeoBERT, EuroBERT and Jina 5, ModernBERT.
//
// Peculiar: Nomic is what its configuration makes it, dense or of experts, WordPiece or XLM-R, and was trained for shorter texts
// than it states; NeoBERT states a feed-forward width of which two thirds are there; ModernBERT's activation is written, since
// its descendants have another.
//
// Source: llama.cpp v0.5.0, conversion/bert.py: NomicBertModel, NeoBert, EuroBertModel, ModernBertModel.

import (
	"fmt"

	"quern/convert/config"
	"quern/convert/fault"
	"quern/convert/vocab"
)

// A mixture of experts has biases, the others have none.
var nomicMoE = Opt("moe_every_n_layers")

func unlessMoE(key string) Key {
	return Fail(Not(Choose(nomicMoE, Cfg(key), Not(Cfg(key)))), key+" is not what it is in published models")
}

var nomic = inherit(Arch{
	GGUF: "nomic-bert",
	Config: bert.Config.Also(When(nomicUnigram, fewerPositions...)).Then(
		Fail(Not(All(Is(Cfg("n_positions"), 8192, 2048), Is(CfgOr("max_trained_positions", 2048), 2048))),
			"n_positions and max_trained_positions are not those of a published model"),
		Let("n_positions", Choose(Is(Cfg("n_positions"), 8192), 2048, 512)), // what it was trained for
		Fail(All(nomicMoE, Not(Is(Cfg("activation_function"), "gelu"))), "experts with another activation than gelu"),
		Fail(Not(isFalse("causal")), "causal attention"),
		unlessMoE("qkv_proj_bias"), unlessMoE("mlp_fc1_bias"), unlessMoE("mlp_fc2_bias"),
		Fail(Not(isFalse("prenorm")), "norms before the layers"),
		Fail(Not(All(Is(Cfg("rotary_emb_fraction"), 1), isFalse("rotary_emb_interleaved"), Null(Opt("rotary_emb_scale_base")))),
			"rotary positions of another kind than the published ones"),
	),
	Names: Rules{Drop("*mlp.experts.bias*", "llama.cpp has no place for it")}.Also(bertNames),
	Tensors: Rules{
		On("*mlp.experts.mlp.w1*|*mlp.experts.mlp.w2*", Reshape(Cfg("num_local_experts", "num_experts"), Cfg("n_inner"), Cfg("n_embd"))),
		On("*mlp.experts.mlp.w2*", Transposed),
		Rename("*mlp.experts.mlp.w1*|*mlp.experts.mlp.w2*", "+.weight"),
	}.Also(bert.Tensors),
	VocabCases: []VocabCase{{If: nomicUnigram, Kind: vocab.XLMRoberta}},
}, bert)

var _ = Register(Arch{Base: &nomic, HF: []string{"NomicBertModel"}, Switch: []Case{{If: nomicMoE, To: nomicOfExperts}}})

// nomicOfExperts takes over when the configuration's steps are done.
var nomicOfExperts = Register(Arch{
	Base:   &nomic,
	GGUF:   "nomic-bert-moe",
	Config: Keys{},
	Keys: bert.Keys.Then(
		Set("moe_every_n_layers", Cfg("moe_every_n_layers")),
		Set("expert_used_count", Cfg("moe_top_k")),
	),
	VocabCases: []VocabCase{{If: nomicUnigram, Kind: vocab.NomicMoE}},
})

// nomicUnigram holds for a tokenizer like XLM-R's. Source: conversion/bert.py, _is_tokenizer_xlmroberta.
var nomicUnigram = Fn("tokenizer.json is of unigrams", func(e *Env) (any, error) {
	v, err := e.readJSON("tokenizer.json")
	if err != nil {
		return nil, err
	}
	file, _ := v.(config.Object)
	model, _ := file.Object("model")
	switch kind := model["type"]; kind {
	case "Unigram":
		return true, nil
	case "WordPiece":
		return false, nil
	default:
		return nil, &fault.Unsupported{On: "tokenizer.json", Says: fmt.Sprintf("a tokenizer of the type %s, want Unigram or WordPiece", show(kind))}
	}
})

var _ = Register(Arch{
	Base:  bert,
	HF:    []string{"NeoBERT", "NeoBERTLMHead", "NeoBERTForSequenceClassification"},
	GGUF:  "neo-bert",
	Names: Rules{Drop("decoder.*", "only used in training"), Strip("model.")}.Also(bertNames),
	Keys: bert.Keys.Then(
		Set("feed_forward_length", Trunc(Div(Mul(2, Cfg("intermediate_size")), 3))),
		Set("rope.freq_base", 10000.0),
		Set("rope.scaling.type", "none"),
		Set("attention.layer_norm_rms_epsilon", CfgOr("norm_eps", 1e-6)),
		Set("pooling_type", poolingTypes["cls"]), // as its makers say
	),
	Odd: []string{"ffn_up"}, // gate and up in one
})

var _ = Register(Arch{
	HF:    []string{"EuroBertModel", "JinaEmbeddingsV5Model"},
	GGUF:  "eurobert",
	Names: Rules{Strip("model.")}.Also(TextNames),
	Keys:  TextKeys.Then(Set("attention.causal", false), Set("rope.scaling.type", "none"), PoolingKey),
	Vocab: vocab.EuroBERT,
})

var _ = Register(Arch{
	Base:  bert,
	HF:    []string{"ModernBertModel", "ModernBertForMaskedLM", "ModernBertForSequenceClassification"},
	GGUF:  "modern-bert",
	Names: Rules{Strip("model."), Drop("decoder.*", "only used in training")}.Also(bertNames),
	Keys: bert.Keys.Then(
		Set("attention.sliding_window", Cfg("local_attention")),
		Set("attention.sliding_window_pattern", Opt("global_attn_every_n_layers")),
		Set("rope.scaling.type", "none"),
		Set("vocab_size", Cfg("vocab_size")),
		Set("hidden_activation", Or(Opt("hidden_activation"), Const(nil))),
	),
	Vocab: vocab.ModernBERT,
	Odd:   []string{"ffn_up"}, // gate and up in one
})
