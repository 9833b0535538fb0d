package vocab

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"quern/convert/fault"
)

// A SentencePiece vocabulary is the model file plus what checkpoints lay over it: added_tokens.json (the oldest),
// tokenizer_config.json and tokenizer.json. Families differ in which of these they read and in what a token becomes; the
// reference has a copy of the same loop for each, here each is a row of rules.
//
// Scores are ranks for BPE models and log probabilities for unigram ones. Added tokens have none: the large negative numbers
// keep llama.cpp from merging ordinary text into them.
//
// Source: conversion/base.py, _create_vocab_sentencepiece; conversion/{phi,internlm,arctic}.py.
// spmRules are the differences between the families that read a SentencePiece model by themselves.
type spmRules struct {
	sizes  []string   // keys of the configured size
	exact  bool       // the configured size must not exceed the model's: nothing is padded
	added  addedRule  // added_tokens.json
	config configRule // added_tokens_decoder of tokenizer_config.json
	file   bool       // added_tokens of tokenizer.json, by the same rule
}

// addedRule says where the tokens of added_tokens.json go.
type addedRule int

const (
	addedPlaced   addedRule = iota // by their ids; ids out of range are ignored
	addedAppended                  // after the model's pieces, whatever their ids
	addedIgnored
)

// configRule says what the tokens of tokenizer_config.json become.
type configRule int

const (
	configLooks  configRule = iota // control when special or when the text looks so; U+2581 in others becomes a blank
	configPlain                    // control when special
	configArctic                   // as plain, with unk_token unknown, and scores of 0 for special tokens, -10000 for others
	configIgnored
)

// Scores of tokens that no model scored. Source: conversion/base.py, _create_vocab_sentencepiece.
const (
	scorePadding = -10000
	scoreAdded   = -1000
)

var spmCommon = spmRules{sizes: []string{"vocab_size_per_layer_input", "vocab_size"}}

// spm writes a SentencePiece BPE vocabulary; false when the checkpoint has no tokenizer.model.
func (b *builder) spm(r spmRules) (bool, error) {
	list, _, err := b.spmTokens(r)
	if list == nil || err != nil {
		return false, err
	}
	b.write("llama", "default", list, true)
	return true, b.finish(specialOptions{tokens: len(list)})
}

// spmTokens reads tokenizer.model and lays the added tokens over it; nil when it is not there.
func (b *builder) spmTokens(r spmRules) ([]token, *pieceModel, error) {
	m, name, err := openPieces(b.src, "tokenizer.model")
	if m == nil || err != nil {
		return nil, nil, err
	}
	list, err := b.layPieces(m, name, r)
	return list, m, err
}

// layPieces fills the configured number of places: pieces first, then each file of added tokens over what is there. Later
// files win, which is how published checkpoints rename reserved pieces.
func (b *builder) layPieces(m *pieceModel, name string, r spmRules) ([]token, error) {
	size, ok, err := b.size(r.sizes...)
	if err != nil {
		return nil, err
	}
	if !ok || size == 0 {
		size = len(m.tokens)
	}
	if r.exact && size > len(m.tokens) {
		return nil, &fault.Invalid{On: name, Says: fmt.Sprintf("%d pieces, the configuration says %d", len(m.tokens), size)}
	}
	list := padding(size, scorePadding)
	if n := copy(list, m.tokens); n < len(m.tokens) {
		b.warn("%s: %d pieces, only the %d of the configuration are written", name, len(m.tokens), n)
	}
	if list, err = b.addedTokens(list, r.added); err != nil {
		return nil, err
	}
	if r.config != configIgnored {
		if err := b.configTokens(list, r.config); err != nil {
			return nil, err
		}
	}
	if r.file {
		if err := b.fileTokens(list); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// addedTokens reads the oldest of the files; its ids are trusted, except by the family that appends.
func (b *builder) addedTokens(list []token, rule addedRule) ([]token, error) {
	if rule == addedIgnored {
		return list, nil
	}
	added, err := readPairs(b.src, "added_tokens.json")
	if err != nil {
		return nil, err
	}
	for _, p := range added {
		t := token{p.key, scoreAdded, UserDefined}
		if rule == addedAppended {
			list = append(list, t)
			continue
		}
		id, err := strconv.ParseInt(string(p.value), 10, 64)
		if err != nil {
			return nil, &fault.Invalid{On: "added_tokens.json", Says: fmt.Sprintf("id of %q is %s", p.key, p.value)}
		}
		if b.inRange("added_tokens.json", id, list) {
			list[id] = t
		}
	}
	return list, nil
}

// inRange warns of ids that no row of the model stands for.
func (b *builder) inRange(file string, id int64, list []token) bool {
	if id >= 0 && id < int64(len(list)) {
		return true
	}
	b.warn("%s: token %d is out of range for %d tokens: ignored", file, id, len(list))
	return false
}

// addedToken is an added token as tokenizer_config.json and tokenizer.json spell it.
type addedToken struct {
	Content string `json:"content"`
	Special bool   `json:"special"`
}

// configTokens lays tokenizer_config.json's added tokens over the list, in file order.
func (b *builder) configTokens(list []token, rule configRule) error {
	raw, err := read(b.src, "tokenizer_config.json")
	if raw == nil || err != nil {
		return err
	}
	var config struct {
		Unknown any             `json:"unk_token"`
		Added   json.RawMessage `json:"added_tokens_decoder"`
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		return &fault.Invalid{On: "tokenizer_config.json", Says: "not the JSON of a tokenizer's configuration", Err: err}
	}
	for _, p := range pairs(config.Added) {
		var t addedToken
		id, err := strconv.ParseInt(strings.TrimSpace(p.key), 10, 64)
		if err == nil {
			err = json.Unmarshal(p.value, &t)
		}
		if err != nil {
			return &fault.Invalid{On: "tokenizer_config.json: added_tokens_decoder", Says: fmt.Sprintf("entry %q", p.key), Err: err}
		}
		if b.inRange("tokenizer_config.json", id, list) {
			list[id] = layAdded(t, rule, config.Unknown)
		}
	}
	return nil
}

// layAdded decides text, score and type of one added token.
func layAdded(t addedToken, rule configRule, unknown any) token {
	out := token{t.Content, scoreAdded, UserDefined}
	if rule == configArctic {
		out.score = scorePadding
	}
	switch {
	case t.Special && rule == configArctic:
		out.score, out.typ = 0, Control
		if unknown == t.Content {
			out.typ = Unknown
		}
	case t.Special, rule == configLooks && looksSpecial(t.Content):
		out.typ = Control
	case rule == configLooks:
		out.text = strings.ReplaceAll(t.Content, "\u2581", " ")
	}
	return out
}

// fileTokens lays tokenizer.json's added tokens over the list, last of all.
func (b *builder) fileTokens(list []token) error {
	raw, err := read(b.src, "tokenizer.json")
	if raw == nil || err != nil {
		return err
	}
	var file tokenizerFile
	if err := json.Unmarshal(raw, &file); err != nil {
		return &fault.Invalid{On: "tokenizer.json", Says: "not the JSON of a tokenizer", Err: err}
	}
	for _, a := range file.AddedTokens {
		if a.ID != nil && b.inRange("tokenizer.json", *a.ID, list) {
			list[*a.ID] = layAdded(addedToken{a.Content, a.Special}, configPlain, nil)
		}
	}
	return nil
}

// looksSpecial is the reference's guess at control tokens that a checkpoint forgot to mark.
// Source: conversion/base.py, does_token_look_special.
func looksSpecial(s string) bool {
	switch s {
	case "<pad>", "<mask>", "<2mass>", "[@BOS@]":
		return true
	}
	return strings.HasPrefix(s, "<|") && strings.HasSuffix(s, "|>") ||
		strings.HasPrefix(s, "<\uff5c") && strings.HasSuffix(s, "\uff5c>") ||
		strings.HasPrefix(s, "<unused") && strings.HasSuffix(s, ">")
}
