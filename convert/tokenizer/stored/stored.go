// Package stored runs the vocabulary of a GGUF file as llama.cpp v0.5.0 runs it: six kinds of tokenizers that resemble
// Hugging Face's and are none of them. Where a checkpoint's own tokenizer is gone, this is what its file still says.
//
// Held by tests: the ids that libllama gave for the conformance corpus (package vocab, TestStored).
package stored

import (
	"fmt"
	"slices"
	"strings"

	"quern/convert/fault"
)

// None is the id of a token that a vocabulary does not have.
const None = int32(-1)

// Type is the type of a token as the file states it. Source: gguf-py/gguf/constants.py, TokenType.
type Type = int32

// The types.
const (
	Normal      Type = 1
	Unknown     Type = 2
	Control     Type = 3
	UserDefined Type = 4
	Unused      Type = 5
	Byte        Type = 6
)

// Definition is what a file says of its vocabulary, with llama.cpp's defaults for what it does not say.
type Definition struct {
	Model  string // llama, gpt2, gemma4, bert, t5, rwkv, plamo2
	Tokens []string
	Types  []Type    // by id; shorter lists leave the rest Normal
	Scores []float32 // by id; may be empty
	Merges []string  // two tokens with a blank between

	Splits       []string // of byte-level models: expressions, applied one after the other
	Raw          bool     // words stay UTF-8, and their bytes are <0xNN>
	IgnoreMerges bool     // a word that is a token is taken whole
	WholeBreaks  bool     // so is one of line feeds alone

	BOS, EOS, UNK, SEP     int32
	AddBOS, AddEOS, AddSEP bool

	SpacePrefix       bool
	EscapeSpaces      bool // blanks become U+2581 before anything is looked up
	RemoveExtraSpaces bool
	Charsmap          []byte
	Lowercase         bool
	StripAccents      bool

	Found          []int32 // tokens that are looked for in texts whatever their type
	LStrip, RStrip []int32 // special tokens that take the blanks before or after them along
}

// Vocabulary encodes texts. It is safe for concurrent use.
type Vocabulary struct {
	def     *Definition
	ids     map[string]int32
	special []special // longest text first
	run     session
}

// session encodes a stretch of text between special tokens.
type session interface {
	// encode appends the ids of text; first: nothing, or a special token, stands before it.
	encode(text string, first bool, to []int32) ([]int32, error)
}

// special is a token that is looked for in the text as it is.
type special struct {
	text           string
	id             int32
	lstrip, rstrip bool
}

// New checks a definition and builds what encoding needs. A kind of model that is not run here is a *fault.Unsupported.
func New(d *Definition) (*Vocabulary, error) {
	v := &Vocabulary{def: d, ids: make(map[string]int32, len(d.Tokens))}
	for i, t := range d.Tokens {
		if t == "" {
			t = fmt.Sprintf("[EMPTY_%d]", i)
		}
		v.ids[t] = int32(i)
		if k := d.typ(i); k == Control || k == UserDefined || k == Unknown || slices.Contains(d.Found, int32(i)) {
			v.special = append(v.special, special{t, int32(i), slices.Contains(d.LStrip, int32(i)), slices.Contains(d.RStrip, int32(i))})
		}
	}
	slices.SortStableFunc(v.special, func(a, b special) int { return len(b.text) - len(a.text) })
	for _, at := range []struct {
		name string
		id   int32
	}{{"bos", d.BOS}, {"eos", d.EOS}, {"unknown", d.UNK}, {"sep", d.SEP}} {
		if int(at.id) >= len(d.Tokens) {
			return nil, &fault.Invalid{On: "vocabulary", Says: fmt.Sprintf("the %s token is %d, and there are %d tokens", at.name, at.id, len(d.Tokens))}
		}
	}
	var err error
	switch d.Model {
	case "llama":
		v.run = &scored{v}
	case "gpt2", "gemma4":
		v.run, err = newMerging(v)
	case "bert":
		v.run = newWordPiece(v)
	case "t5":
		v.run, err = newUnigram(v)
	case "rwkv":
		v.run, err = newRWKV(v)
	case "plamo2":
		v.run, err = newPlamo(v)
	default:
		err = &fault.Unsupported{On: "vocabulary", Says: fmt.Sprintf("model %q is not run by quern's own engine", d.Model)}
	}
	if err != nil {
		return nil, err
	}
	return v, nil
}

// With is New for a definition that differs from this vocabulary's in where words are cut, and in nothing that is looked up: the
// tables, which take most of the time to make, are shared.
func (v *Vocabulary) With(d *Definition) (*Vocabulary, error) {
	m, ok := v.run.(*merging)
	if !ok {
		return New(d)
	}
	w := &Vocabulary{def: d, ids: v.ids, special: v.special}
	var err error
	w.run, err = cutting(w, m.ranks)
	return w, err
}

// typ is a token's type.
func (d *Definition) typ(id int) Type {
	if id >= len(d.Types) {
		return Normal
	}
	return d.Types[id]
}

// score is a token's score.
func (d *Definition) score(id int32) float32 {
	if int(id) >= len(d.Scores) {
		return 0
	}
	return d.Scores[id]
}

// id is a token's id by its text.
func (v *Vocabulary) id(text string) int32 {
	if id, ok := v.ids[text]; ok {
		return id
	}
	return None
}

// Encode gives the ids of a text, texts of special tokens recognised; special: with the tokens that the model adds
// around it. Bytes that are not UTF-8 count as U+FFFD.
func (v *Vocabulary) Encode(text string, special bool) ([]int32, error) {
	var ids []int32
	var err error
	if special {
		if ids, err = v.begin(); err != nil {
			return nil, err
		}
	}
	first := true
	for _, p := range v.partition(strings.ToValidUTF8(text, "\uFFFD")) {
		if p.id >= 0 {
			ids, first = append(ids, p.id), true
			continue
		}
		if ids, err = v.run.encode(p.text, first, ids); err != nil {
			return nil, err
		}
		first = false
	}
	if special {
		return v.end(ids)
	}
	return ids, nil
}

// begin is the token before a text. WordPiece models have one whatever the file says of it.
func (v *Vocabulary) begin() ([]int32, error) {
	switch d := v.def; {
	case d.bare() || d.Model != "bert" && !d.AddBOS:
		return nil, nil
	case d.BOS < 0:
		return nil, v.lacks("bos")
	default:
		return []int32{d.BOS}, nil
	}
}

// bare tells the kinds that set nothing around a text, whatever the file says.
func (d *Definition) bare() bool { return d.Model == "rwkv" || d.Model == "plamo2" }

// end adds the token after a text.
func (v *Vocabulary) end(ids []int32) ([]int32, error) {
	id, name := v.def.EOS, "eos"
	switch d := v.def; {
	case d.Model == "bert":
		id, name = d.SEP, "sep"
	case d.bare() || !d.AddEOS:
		return ids, nil
	}
	if id < 0 {
		return nil, v.lacks(name)
	}
	return append(ids, id), nil
}

// lacks refuses a vocabulary that wants a token which it does not have; llama.cpp ends the process there.
func (v *Vocabulary) lacks(token string) error {
	return &fault.Invalid{On: "vocabulary", Says: fmt.Sprintf("a %s token belongs around a text, and the file names none", token)}
}

// part is a stretch of a text: a special token, or what stands between two.
type part struct {
	text string
	id   int32 // None: text
}

// partition cuts special tokens out, one token after the other: a longer one anywhere goes before a shorter one that
// stands further left.
func (v *Vocabulary) partition(text string) []part {
	if text == "" {
		return nil
	}
	parts := []part{{text, None}}
	for _, s := range v.special {
		if !strings.Contains(text, s.text) {
			continue
		}
		var next []part
		for _, p := range parts {
			if p.id >= 0 {
				next = append(next, p)
				continue
			}
			next = s.cut(p.text, next)
		}
		parts = next
	}
	return parts
}

// blanks are those of C's isspace.
const blanks = " \t\n\v\f\r"

// cut cuts one token out of a text.
func (s special) cut(text string, to []part) []part {
	for text != "" {
		before, after, found := strings.Cut(text, s.text)
		if !found {
			return append(to, part{text, None})
		}
		if s.lstrip {
			before = strings.TrimRight(before, blanks)
		}
		if s.rstrip {
			after = strings.TrimLeft(after, blanks)
		}
		if before != "" {
			to = append(to, part{before, None})
		}
		to, text = append(to, part{s.text, s.id}), after
	}
	return to
}
