package vocab

import (
	"encoding/json"
	"io/fs"
	"slices"

	"quern/convert/config"
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

	special []int32       // ids of the tokens with a role
	config  config.Object // tokenizer_config.json
}

// load opens the tokenizer on first use.
func (b *builder) load() error {
	if b.hf != nil {
		return nil
	}
	t, err := tokenizer.LoadFolder(b.src)
	if err != nil {
		return err
	}
	for _, n := range t.Notes {
		b.warn("tokenizer_config.json against tokenizer.json: %s", n)
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
	if err := b.named(); err != nil {
		return err
	}
	return b.disagreements()
}

// roles are the attributes of a tokenizer that name special tokens. Source: transformers, SPECIAL_TOKENS_ATTRIBUTES.
var roles = []string{"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}

// classRoles are the defaults of the classes whose vocabularies ask for them, in the order of roles.
var classRoles = map[string][]any{
	"Llama":      {"<s>", "</s>", "<unk>"},
	"CodeLlama":  {"<s>", "</s>", "<unk>"},
	"Gemma":      {"<bos>", "<eos>", "<unk>", nil, "<pad>"},
	"XLMRoberta": {"<s>", "</s>", "<unk>", "</s>", "<pad>", "<s>", "<mask>"},
}

// named finds the ids of the tokens that tokenizer_config.json, in old checkpoints special_tokens_map.json, or the class
// calls special.
func (b *builder) named() error {
	tc, err := readObject(b.src, "tokenizer_config.json")
	if err != nil {
		return err
	}
	b.hf.config = tc
	if !tc.Has("added_tokens_decoder") {
		old, err := readObject(b.src, "special_tokens_map.json")
		if err != nil {
			return err
		}
		tc = tc.Merge(old) // the old file counts, whatever the newer one says
	}
	names, _ := tc.List("additional_special_tokens")
	names = slices.Clone(names)
	defaults := classRoles[b.hf.tok.Class]
	for i, role := range roles {
		if v, ok := tc[role]; ok {
			names = append(names, v)
		} else if i < len(defaults) {
			names = append(names, defaults[i])
		}
	}
	if extra, ok := tc.Object("extra_special_tokens"); ok {
		for _, v := range extra {
			names = append(names, v)
		}
	}
	for _, n := range names {
		text, ok := n.(string)
		if !ok {
			text, _ = member(n, "content").(string)
		}
		if id, ok := b.hf.tok.ID(text); ok && text != "" {
			b.hf.special = append(b.hf.special, id)
		}
	}
	return nil
}

// addsBOS tells whether the class has the attribute add_bos_token, and it is true.
func (e *engine) addsBOS() bool {
	switch e.tok.Class {
	case "Llama", "CodeLlama", "Gemma", "Cohere":
		v, ok := e.config["add_bos_token"]
		return !ok || config.Truth(v)
	case "GPTNeoX":
		return config.Truth(e.config["add_bos_token"])
	}
	return false
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

// baseSize is the number of tokens of the model, without added ones.
func (e *engine) baseSize() int { return e.tok.ModelSize() }

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
