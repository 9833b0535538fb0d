package arch

// Gemma 1, 2 and 3 and EmbeddingGemma. Gemma 3n and Gemma 4 have files of their own.
//
// Peculiar: norms are stored as their difference from 1; lm_head is the embedding and is left out; Gemma 3's embedding is cut
// to the tokens that the tokenizer has; EmbeddingGemma's window is that of the file, which transformers halves, and its dense
// modules are written when asked for.
//
// Source: llama.cpp v0.5.0, conversion/gemma.py: GemmaModel, Gemma2Model, Gemma3Model, EmbeddingGemma.

import (
	"encoding/json"

	"quern/convert/config"
	"quern/convert/fault"
	"quern/convert/vocab"
)

var gemma = Register(Arch{
	HF:      []string{"GemmaForCausalLM"},
	GGUF:    "gemma",
	Names:   Rules{Drop("lm_head.weight", "the embedding stands for it")}.Also(TextNames),
	Tensors: Rules{normPlusOne},
	Keys: Keys{
		Set("context_length", Cfg("max_position_embeddings")),
		Set("embedding_length", Cfg("hidden_size")),
		Set("block_count", BlockCount),
		Set("feed_forward_length", Cfg("intermediate_size")),
		Set("attention.head_count", Cfg("num_attention_heads")),
		Set("attention.head_count_kv", Cfg("num_key_value_heads", "num_attention_heads")),
		Set("attention.layer_norm_rms_epsilon", Cfg("rms_norm_eps")),
		Set("attention.key_length", Cfg("head_dim")),
		Set("attention.value_length", Cfg("head_dim")),
		FileTypeKey,
	},
	Vocab: vocab.Gemma,
})

// normPlusOne makes norms what they multiply by.
var normPlusOne = On("*norm.weight", Plus(1))

var _ = Register(Arch{
	Base: gemma,
	HF:   []string{"Gemma2ForCausalLM"},
	GGUF: "gemma2",
	Keys: gemma.Keys.Then(
		Set("attn_logit_softcapping", Cfg("attn_logit_softcapping")),
		Set("final_logit_softcapping", Cfg("final_logit_softcapping")),
		Set("attention.sliding_window", Cfg("sliding_window")),
	),
	Vocab: vocab.Gemma2,
})

// gemma3Keys are the keys that Gemma 3 and later begin with, where the checkpoint may leave defaults out.
var gemma3Keys = TextKeys.Then(
	Set("context_length", CfgOr("max_position_embeddings", 131072)),
	Set("attention.head_count", CfgOr("num_attention_heads", 8)),
	Set("attention.layer_norm_rms_epsilon", CfgOr("rms_norm_eps", 1e-6)),
	Set("attention.key_length", CfgOr("head_dim", 256)),
	Set("attention.value_length", CfgOr("head_dim", 256)),
	Set("rope.freq_base", Rope(CfgOr("rope_theta", 1000000.0))),
	Fail(Not(Null(Opt("attn_logit_softcapping"))), "attn_logit_softcapping, which Gemma 3 does not have"),
	Set("final_logit_softcapping", Or(Opt("final_logit_softcapping"), Const(nil))),
).Also(When(Not(Is(Opt("sliding_window_pattern"), 1)), Set("attention.sliding_window", Cfg("sliding_window")))).Then(
	Set("attention.head_count_kv", CfgOr("num_key_value_heads", 4)),
)

// cutEmbedding drops the rows behind the last token.
var cutEmbedding = On("*embed_tokens.weight*", FirstRows(realTokens))

var gemma3 = Register(Arch{
	HF:      []string{"Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"},
	GGUF:    "gemma3",
	Names:   TextNames,
	Tensors: Rules{cutEmbedding, normPlusOne},
	Keys:    gemma3Keys,
	Vocab:   vocab.Gemma3,
})

var _ = Register(Arch{
	Base:  gemma3,
	HF:    []string{"Gemma3TextModel"},
	GGUF:  "gemma-embedding",
	Extra: []Generate{denseModules},
	Keys: gemma3.Keys.Then(
		Fail(Null(fileKey("sliding_window")), "no sliding_window in config.json"),
		Set("attention.sliding_window", fileKey("sliding_window")),
		denseKeys,
		PoolingKey,
	),
})

// realTokens is the number of tokens that count as real. A token that tokenizer.json has both in its vocabulary and among
// its added tokens counts twice. Source: conversion/gemma.py, Gemma3Model.modify_tensors.
var realTokens = Fn("number of tokens that the tokenizer has", func(e *Env) (any, error) {
	if e.hasFile("tokenizer.model") {
		return Or(Opt("vocab_size_per_layer_input", "vocab_size"), vocabularySize).Eval(e)
	}
	data, err := config.ReadFile(e.Source, "tokenizer.json")
	if err != nil {
		return nil, err
	}
	var file struct {
		Model struct{ Vocab json.RawMessage }
		Added []json.RawMessage `json:"added_tokens"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, &fault.Invalid{On: "tokenizer.json", Says: "not the JSON of a tokenizer", Err: err}
	}
	var byText map[string]json.RawMessage
	if json.Unmarshal(file.Model.Vocab, &byText) == nil {
		return int64(len(byText) + len(file.Added)), nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(file.Model.Vocab, &list); err != nil {
		return nil, &fault.Invalid{On: "tokenizer.json: model.vocab", Says: "neither an object nor a list", Err: err}
	}
	return int64(len(list) + len(file.Added)), nil
})

var vocabularySize = Fn("number of tokens that are written", func(e *Env) (any, error) {
	v, err := e.Vocabulary()
	if err != nil {
		return nil, err
	}
	return int64(v.Tokens), nil
})
