package vocab

import (
	"encoding/json"
	"errors"
	"fmt"

	"quern/convert/fault"
)

// notLlama says that tokenizer.json is not that of a SentencePiece model: families that allow it go on to byte-level BPE.
type notLlama struct{ fault.Unsupported }

// fallsBack tells whether a family that has another way may take it.
func fallsBack(err error) bool { var n *notLlama; return errors.As(err, &n) }

// Unwrap makes the refusal visible as what it is when no family falls back.
func (n *notLlama) Unwrap() error { return &n.Unsupported }

// checkLlama wants BPE with byte fallback and a decoder that is a sequence.
func (b *builder) checkLlama() error {
	raw, err := read(b.src, "tokenizer.json")
	if err != nil {
		return err
	}
	refuse := func(says string) error { return &notLlama{fault.Unsupported{On: "tokenizer.json", Says: says}} }
	if raw == nil {
		return refuse("not in the checkpoint, nor is tokenizer.model")
	}
	var file struct {
		Model struct {
			Type     string `json:"type"`
			Fallback bool   `json:"byte_fallback"`
		} `json:"model"`
		Decoder struct {
			Type string `json:"type"`
		} `json:"decoder"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return &fault.Invalid{On: "tokenizer.json", Says: "not the JSON of a tokenizer", Err: err}
	}
	if file.Model.Type != "BPE" || !file.Model.Fallback || file.Decoder.Type != "Sequence" {
		return refuse(fmt.Sprintf("model %s, byte_fallback %t, decoder %q: not the conversion of a SentencePiece model", file.Model.Type, file.Model.Fallback, file.Decoder.Type))
	}
	return nil
}

// isByte tells whether a token stands for one byte, as <0x0A> does.
func isByte(s string) bool {
	if len(s) != 6 || s[:3] != "<0x" || s[5] != '>' {
		return false
	}
	hex := func(c byte) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }
	return hex(s[3]) && hex(s[4])
}

// llamaTokens lists a converted SentencePiece vocabulary: the base vocabulary without a hole, then the added tokens that
// lie behind it. Every score is the same, since tokenizer.json has none.
// Source: gguf-py/gguf/vocab.py, LlamaHfVocab.
func (b *builder) llamaTokens() ([]token, error) {
	if err := b.checkLlama(); err != nil {
		return nil, err
	}
	if err := b.load(); err != nil {
		return nil, err
	}
	special := map[int32]bool{}
	for _, id := range b.hf.special {
		special[id] = true
	}
	base := b.hf.baseSize()
	list := make([]token, 0, len(b.hf.texts))
	for id := range base {
		text, ok := b.hf.text(id)
		if !ok {
			return nil, &fault.Invalid{On: "tokenizer.json", Says: fmt.Sprintf("no token has the id %d, of %d", id, base)}
		}
		t := token{text, scoreAdded, Normal}
		switch {
		case isByte(text):
			t.typ = Byte
		case special[int32(id)]:
			t.typ = Control
		}
		list = append(list, t)
	}
	for _, a := range b.hf.added {
		if int(a.ID) < base {
			continue
		}
		t := token{a.Content, scoreAdded, UserDefined}
		if special[a.ID] {
			t.typ = Control
		}
		list = append(list, t)
	}
	return list, nil
}

// gemma4Visible are rendered always, so that a chat parser sees them. Source: conversion/gemma.py, Gemma4Model.set_vocab.
var gemma4Visible = map[string]bool{
	"<|channel>": true, "<channel|>": true, "<|tool_call>": true, "<tool_call|>": true,
	"<|tool_response>": true, "<tool_response|>": true, `<|"|>`: true,
}

// llamaHF writes the vocabulary of a SentencePiece model that is there as tokenizer.json only; Gemma 4's has merges and
// a model name of its own.
func (b *builder) llamaHF(gemma4 bool) error {
	list, err := b.llamaTokens()
	if err != nil {
		return err
	}
	if !gemma4 {
		b.write("llama", "default", list, true)
		return b.finish(specialOptions{tokens: len(list)})
	}
	for i := range list {
		if gemma4Visible[list[i].text] {
			list[i].typ = UserDefined
		}
	}
	b.write("gemma4", "", list, true)
	return b.then(b.finish(specialOptions{merges: true}), keySpacePrefix, false, keyAddBOS, true)
}

// xverse writes tokenizer.json as a SentencePiece vocabulary without scores.
func (b *builder) xverse() error {
	if err := b.load(); err != nil {
		return err
	}
	size, ok, err := b.size("vocab_size")
	if err != nil {
		return err
	}
	if !ok {
		size = b.hf.count
	}
	if top := b.hf.topID(); top >= size {
		return &fault.Invalid{On: "tokenizer.json", Says: fmt.Sprintf("the highest token id is %d, the configuration says %d tokens", top, size)}
	}
	list := make([]token, size)
	for id := range list {
		text, ok := b.hf.text(id)
		if !ok {
			return &fault.Invalid{On: "tokenizer.json", Says: fmt.Sprintf("no token has the id %d, of %d", id, size)}
		}
		list[id] = token{text, 0, Normal}
		switch {
		case text == "\x00":
			list[id] = token{"<b'\\x00'>", 0, Byte} // the reference writes Python's name of the byte string
		case isByte(text):
			list[id].typ = Byte
		}
	}
	for _, a := range b.hf.added {
		if t := &list[a.ID]; t.typ == Normal && t.text == a.Content {
			if t.typ = UserDefined; a.Special {
				t.typ = Control
			}
		}
	}
	b.write("llama", "default", list, false)
	return b.finish(specialOptions{tokens: len(list)})
}
