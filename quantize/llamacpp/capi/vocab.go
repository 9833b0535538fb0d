package capi

import (
	"fmt"
	"unsafe"
)

// Vocab is a llama_vocab, which belongs to its model.
type Vocab uintptr

// Token is an id of a vocabulary; negative: none.
type Token = int32

// VocabKind is enum llama_vocab_type.
type VocabKind int32

// Kinds of vocabularies.
const (
	VocabNone VocabKind = iota
	VocabSPM
	VocabBPE
	VocabWPM
	VocabUGM
	VocabRWKV
	VocabPLaMo2
)

// AttrNormal is the bit of a token that is ordinary text (LLAMA_TOKEN_ATTR_NORMAL).
const AttrNormal = 1 << 2

// vocabularies are the functions of a vocabulary.
type vocabularies struct {
	VocabKind  func(Vocab) VocabKind                                                                  `c:"llama_vocab_type"`
	TokenCount func(Vocab) int32                                                                      `c:"llama_vocab_n_tokens"`
	BOS        func(Vocab) Token                                                                      `c:"llama_vocab_bos"`
	EOS        func(Vocab) Token                                                                      `c:"llama_vocab_eos"`
	EOT        func(Vocab) Token                                                                      `c:"llama_vocab_eot"`
	SEP        func(Vocab) Token                                                                      `c:"llama_vocab_sep"`
	AddsBOS    func(Vocab) bool                                                                       `c:"llama_vocab_get_add_bos"`
	AddsEOS    func(Vocab) bool                                                                       `c:"llama_vocab_get_add_eos"`
	AddsSEP    func(Vocab) bool                                                                       `c:"llama_vocab_get_add_sep"`
	Ends       func(Vocab, Token) bool                                                                `c:"llama_vocab_is_eog"`
	TokenAttr  func(Vocab, Token) uint32                                                              `c:"llama_vocab_get_attr"`
	TokenText  func(Vocab, Token) string                                                              `c:"llama_vocab_get_text"`
	tokenize   func(v Vocab, text *byte, n int32, ids *Token, most int32, special, parse bool) int32  `c:"llama_tokenize"`
	detokenize func(v Vocab, ids *Token, n int32, text *byte, most int32, remove, unparse bool) int32 `c:"llama_detokenize"`
}

// maxTokens bounds the ids of one call: llama.cpp counts them in 32 bits.
const maxTokens = 1 << 30

// Tokenize is llama_tokenize over any bytes, NUL included: special adds the vocabulary's own first and last tokens,
// parse recognises special tokens in the text.
func (l *Library) Tokenize(v Vocab, text []byte, special, parse bool) ([]Token, error) {
	if len(text) > maxTokens-16 {
		return nil, fmt.Errorf("%d bytes of text are too many for one call", len(text))
	}
	ids := make([]Token, len(text)+16)
	for range 2 { // the second time with the length that the first one asked for
		n := l.tokenize(v, unsafe.SliceData(text), int32(len(text)), &ids[0], int32(len(ids)), special, parse)
		if n >= 0 {
			return ids[:n], nil
		}
		if -int64(n) <= int64(len(ids)) || -int64(n) > 64*int64(len(text)+16) {
			return nil, fmt.Errorf("llama.cpp does not tokenize %d bytes (%d)", len(text), n)
		}
		ids = make([]Token, -int64(n))
	}
	return nil, fmt.Errorf("llama.cpp does not tokenize %d bytes", len(text))
}

// Detokenize is llama_detokenize; the bytes need not be UTF-8. With render special tokens show as their text.
func (l *Library) Detokenize(v Vocab, ids []Token, render bool) ([]byte, error) {
	text := make([]byte, 8*len(ids)+64)
	for range 2 {
		n := l.detokenize(v, unsafe.SliceData(ids), int32(len(ids)), &text[0], int32(len(text)), false, render)
		if n >= 0 {
			return text[:n], nil
		}
		text = make([]byte, -int64(n))
	}
	return nil, fmt.Errorf("llama.cpp does not detokenize %d ids", len(ids))
}
