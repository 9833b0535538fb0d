package vocab

import (
	"encoding/json"
	"io/fs"
	"slices"

	"quern/convert/fault"
	"quern/convert/tokenizer"
)

// engine is the checkpoint's tokenizer as AutoTokenizer runs it, with its tables in the forms that vocabularies need.
type engine struct {
	tok   *tokenizer.Tokenizer
	texts []string // by id; added tokens over the model's
	known []bool   // by id
	count int      // of ids that have a token
	added []tokenizer.AddedToken
	all   []int32
}

// load opens the tokenizer on first use.
func (b *builder) load() error {
	if b.hf != nil {
		return nil
	}
	raw, err := read(b.src, "tokenizer.json")
	if err != nil {
		return err
	}
	if raw == nil {
		return &fault.Unsupported{On: "tokenizer.json", Says: "not in the checkpoint"}
	}
	t, err := tokenizer.Load(raw)
	if err != nil {
		return err
	}
	e := &engine{tok: t}
	e.texts, e.known = t.Vocab()
	for id, ok := range e.known {
		if ok {
			e.count++
		}
		if a, ok := t.AddedByID(int32(id)); ok {
			e.added = append(e.added, a)
		}
	}
	b.hf = e
	return b.namedSpecials()
}

// specialNames are the attributes of a tokenizer that name special tokens. Source: transformers, SPECIAL_TOKENS_ATTRIBUTES.
var specialNames = []string{"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}

// namedSpecials finds the ids of the tokens that tokenizer_config.json, or special_tokens_map.json in old checkpoints,
// names as special.
func (b *builder) namedSpecials() error {
	tc, err := readObject(b.src, "tokenizer_config.json")
	if err != nil {
		return err
	}
	if !tc.Has("added_tokens_decoder") {
		old, err := readObject(b.src, "special_tokens_map.json")
		if err != nil {
			return err
		}
		tc = old.Merge(tc)
	}
	var names []any
	for _, n := range specialNames {
		names = append(names, tc[n])
	}
	more, _ := tc.List("additional_special_tokens")
	if extra, ok := tc.Object("extra_special_tokens"); ok {
		for _, v := range extra {
			names = append(names, v)
		}
	}
	for _, n := range append(names, more...) {
		text, ok := n.(string)
		if !ok {
			text, _ = member(n, "content").(string)
		}
		if id, ok := b.hf.tok.ID(text); ok {
			b.hf.all = append(b.hf.all, id)
		}
	}
	return nil
}

// topID is the highest id that has a token.
func (e *engine) topID() int {
	for id := len(e.known) - 1; id >= 0; id-- {
		if e.known[id] {
			return id
		}
	}
	return -1
}

// text is the token of an id.
func (e *engine) text(id int) (string, bool) {
	if id < 0 || id >= len(e.known) || !e.known[id] {
		return "", false
	}
	return e.texts[id], true
}

// addedID is the id of an added token.
func (e *engine) addedID(text string) (int32, bool) {
	i := slices.IndexFunc(e.added, func(a tokenizer.AddedToken) bool { return a.Content == text })
	if i < 0 {
		return 0, false
	}
	return e.added[i].ID, true
}

// roundTrip encodes and decodes a token's text.
func (e *engine) roundTrip(text string) (string, error) {
	ids, err := e.tok.Encode(text, false)
	if err != nil {
		return "", err
	}
	return e.tok.Decode(ids, true)
}

func (e *engine) specialIDs() []int32 { return e.all }
func (e *engine) baseSize() int       { return e.tok.ModelSize() }
func (e *engine) addsBOS() bool       { return true }
func (e *engine) prefixSpace() bool   { return false }
func (e *engine) cleansUp() bool      { return true }

// preTokenizerType is the type that tokenizer.json gives its pre-tokenizer; empty without one.
func preTokenizerType(src fs.FS) (string, error) {
	raw, err := read(src, "tokenizer.json")
	if raw == nil || err != nil {
		return "", err
	}
	var file struct {
		Split struct {
			Type string `json:"type"`
		} `json:"pre_tokenizer"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return "", &fault.Invalid{On: "tokenizer.json", Says: "not the JSON of a tokenizer", Err: err}
	}
	return file.Split.Type, nil
}
