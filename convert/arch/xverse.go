package arch

// XVERSE: Llama with a vocabulary that is read from tokenizer.json.
//
// Peculiar: where key-value heads are grouped, the reference takes the size of a group for their number when it orders the
// key's rows. That is kept: files are the same.
//
// Source: llama.cpp v0.5.0, conversion/xverse.py: XverseModel.

import "quern/convert/vocab"

// groupedHeads is what the reference takes for the number of key-value heads. Source: conversion/xverse.py, _reverse_hf_permute.
var groupedHeads = Choose(Is(Sub(xverseGroups, Cfg("num_attention_heads")), 0),
	Cfg("num_attention_heads"), FloorDiv(Cfg("num_attention_heads"), xverseGroups))

// xverseGroups is the number of key-value heads; absent or null they are not grouped.
var xverseGroups = Else(Opt("num_key_value_heads"), Cfg("num_attention_heads"))

// metaKeys are the keys of Llama's earliest descendants.
var metaKeys = TextKeys.Then(metaLayout, Set("rope.dimension_count", FloorDiv(Cfg("hidden_size"), Cfg("num_attention_heads"))))

var _ = Register(Arch{
	HF:   []string{"XverseForCausalLM"},
	GGUF: "xverse",
	Config: When(Not(Is(Sub(groupedHeads, Cfg("num_attention_heads")), 0)), Do("a warning about grouped heads", func(m *Meta) error {
		m.b.Warn("the rows of the keys are ordered as the reference orders them, for another number of key-value heads than the model has")
		return nil
	})),
	Names: TextNames,
	Tensors: Rules{
		On("*q_proj.weight", Rotary(Cfg("num_attention_heads"))),
		On("*k_proj.weight", Rotary(groupedHeads)),
	},
	Keys:  metaKeys,
	Vocab: vocab.XVerse,
})
