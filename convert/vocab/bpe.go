package vocab

import (
	"fmt"
	"slices"
	"strings"

	"quern/convert/fault"
	"quern/convert/tokenizer"
)

// A byte-level vocabulary goes into the file by id. Three things decide what llama.cpp makes of it later:
//
//   - Every id below the configured size has a token: the embedding has that many rows, and llama.cpp counts them.
//   - Added tokens are found in the text before anything else runs, so they are written as they look in a text, not as the
//     vocabulary spells them.
//   - The type tells which of them a chat may not contain (control) and which it may (user defined).
//
// Source: conversion/base.py, get_vocab_base and _set_vocab_gpt2.
// bpeRules are the differences between the families that write a byte-level vocabulary.
type bpeRules struct {
	raw    bool   // added tokens as they are spelled: no round trip, no guess at control tokens (Dream, LLaDA)
	spaces bool   // U+2581 stays in user defined tokens (Intern-S1)
	pinned string // name of the pre-tokenizer, whatever the tokenizer is
}

// bpeTokens lists the vocabulary of a byte-level or WordPiece tokenizer; its pre-tokenizer is decided in the end.
// Ids 0 to the configured size; holes are padding.
func (b *builder) bpeTokens(r bpeRules) ([]token, string, error) {
	if err := b.load(); err != nil {
		return nil, "", err
	}
	size, ok, err := b.size("vocab_size")
	if err != nil {
		return nil, "", err
	}
	if !ok {
		size = b.hf.count
	}
	if top := b.hf.topID(); top >= size {
		return nil, "", &fault.Invalid{On: "tokenizer", Says: fmt.Sprintf("the highest token id is %d (%q), the configuration says %d tokens", top, b.hf.texts[top], size),
			Next: "vocab_size in config.json must be greater than every token id"}
	}
	pre := r.pinned
	if pre == "" {
		pre, b.undecided = pending, true
	}
	list := padding(size, 0)
	for id, known := range b.hf.known {
		if known {
			list[id] = token{b.hf.texts[id], 0, Normal}
		}
	}
	for _, a := range b.hf.added {
		if list[a.ID], err = b.addedType(a, r); err != nil {
			return nil, "", err
		}
	}
	for i := range list {
		if slices.Contains(b.in.Controls, list[i].text) {
			list[i].typ = Control
		}
	}
	return list, pre, nil
}

// addedType spells an added token as llama.cpp expects it: control and user defined tokens are matched before any
// normalizer runs, so a token that Hugging Face matches in the raw text goes once through the tokenizer.
func (b *builder) addedType(a tokenizer.AddedToken, r bpeRules) (token, error) {
	text := a.Content
	if !a.Normalized && !r.raw {
		var err error
		if text, err = b.hf.roundTrip(text); err != nil {
			return token{}, err
		}
	}
	switch {
	case a.Special, !r.raw && looksSpecial(text):
		return token{text, 0, Control}, nil
	case !r.raw && !r.spaces:
		text = strings.ReplaceAll(text, "\u2581", " ")
	}
	return token{text, 0, UserDefined}, nil
}

// bpe writes a byte-level vocabulary with its merges.
func (b *builder) bpe(r bpeRules) error {
	list, pre, err := b.bpeTokens(r)
	if err != nil {
		return err
	}
	for _, c := range b.in.Codec {
		list = append(list, token{c, 0, Control})
	}
	model := "gpt2"
	if r.pinned != "" {
		model = r.pinned
	}
	b.write(model, pre, list, false)
	return b.finish(specialOptions{merges: true})
}

// wordPiece writes a BERT vocabulary: pieces that begin a word get U+2581, continuations lose their ##.
func (b *builder) wordPiece() error {
	list, pre, err := b.bpeTokens(bpeRules{})
	if err != nil {
		return err
	}
	b.typeCount()
	for i, t := range list {
		if t.typ == Control {
			continue
		}
		if rest, ok := strings.CutPrefix(t.text, "##"); ok {
			list[i].text = rest
		} else {
			list[i].text = "\u2581" + t.text
		}
	}
	b.write("bert", pre, list, false)
	return b.finish(specialOptions{tokens: len(list)})
}

// typeCount writes the number of token types (segments) of a BERT-like model.
func (b *builder) typeCount() {
	n := int64(1)
	if v, ok := integer(b.in.Config["type_vocab_size"]); ok {
		n = v
	}
	b.kv.set(keyTypeCount, uint32(n))
}
