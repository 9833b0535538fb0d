package vocab

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"unicode"

	"quern/convert/config"
	"quern/convert/fault"
)

// Special tokens have up to four sources, and the first that gives a kind its id wins:
//
//	tokenizer_config.json   a token's text, looked up among tokenizer.json's added tokens (no tokenizer.json: no id)
//	post-processor          what it sets around a text, where tokenizer_config.json names nothing
//	config.json             <kind>_token_id at the root, then in text_config; a list gives nothing
//	the family              ids that its published files get wrong or leave out
//
// The flags add_bos_token and the like come from the post-processor; tokenizer_config.json may overrule them.
// baseTypes are the kinds of special token that every vocabulary looks for, in the order in which they are written.
var baseTypes = []string{"bos", "eos", "unk", "sep", "pad", "cls", "mask"}

// specialOptions say what one reading of the special tokens takes.
type specialOptions struct {
	types  []string    // nil: baseTypes
	merges bool        // take the merges too
	read   [][2]string // the merges of tokenizer.json, where they are read already
	tokens int         // ids from here on are out of range; 0 = any id is in range
}

// specials is what the checkpoint's small files say about special tokens, merges and chat templates.
// Maps with an order: what is set first is written first. Source of the rules: gguf-py/gguf/vocab.py, SpecialVocab.
type specials struct {
	opt      specialOptions
	ids      ordered[int64]
	adds     ordered[bool]
	merges   []string
	template chatTemplate
	listed   int // added_tokens of tokenizer.json
	lower    *bool
	strip    *bool
	warn     func(string, ...any)
}

// ordered is a small map that keeps the order of first insertion.
type ordered[V any] struct {
	keys []string
	vals map[string]V
}

// set keeps the place of a key that is there.
func (o *ordered[V]) set(k string, v V) {
	if o.vals == nil {
		o.vals = map[string]V{}
	}
	if _, ok := o.vals[k]; !ok {
		o.keys = append(o.keys, k)
	}
	o.vals[k] = v
}

// has tells whether a key was set.
func (o *ordered[V]) has(k string) bool { _, ok := o.vals[k]; return ok }

// tokenizerFile is what the reference reads of tokenizer.json beside the tokens themselves.
type tokenizerFile struct {
	Model struct {
		Merges json.RawMessage `json:"merges"`
	} `json:"model"`
	Normalizer    json.RawMessage `json:"normalizer"`
	PostProcessor json.RawMessage `json:"post_processor"`
	AddedTokens   []addedEntry    `json:"added_tokens"`
}

// addedEntry is one of tokenizer.json's added tokens; without an id it names none.
type addedEntry struct {
	ID      *int64 `json:"id"`
	Content string `json:"content"`
	Special bool   `json:"special"`
}

// part parses a member of tokenizer.json; nil where it is missing.
func part(name string, raw json.RawMessage) (any, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	return config.Parse(name, raw)
}

// loadSpecials reads tokenizer.json, tokenizer_config.json, the chat template files, config.json and merges.txt.
// root stands for config.json as it is in the checkpoint, nothing completed; nil = there is none.
func loadSpecials(src fs.FS, root config.Object, opt specialOptions, warn func(string, ...any)) (*specials, error) {
	s := &specials{opt: opt, warn: warn}
	if s.opt.types == nil {
		s.opt.types = baseTypes
	}
	if err := s.fromTokenizer(src); err != nil {
		return nil, err
	}
	for _, typ := range s.opt.types {
		id := root[typ+"_token_id"]
		if id == nil {
			id = member(root, "text_config", typ+"_token_id")
		}
		s.setID(typ, id)
	}
	if s.opt.merges && len(s.merges) == 0 {
		text, _, err := readText(src, "merges.txt")
		if err != nil {
			return nil, err
		}
		s.merges = mergesText(text)
	}
	return s, nil
}

// fromTokenizer takes merges, normalizer flags and the frame of the post-processor from tokenizer.json, then the
// tokens and templates of tokenizer_config.json.
func (s *specials) fromTokenizer(src fs.FS) error {
	b, err := read(src, "tokenizer.json")
	if err != nil {
		return err
	}
	var tok tokenizerFile
	if b != nil {
		if err := json.Unmarshal(b, &tok); err != nil {
			return &fault.Invalid{On: "tokenizer.json", Says: "not the JSON of a tokenizer", Err: err}
		}
		if s.opt.merges {
			if s.merges, err = mergesJSON(tok.Model.Merges, s.opt.read, s.warn); err != nil {
				return err
			}
		}
		n, err := part("tokenizer.json: normalizer", tok.Normalizer)
		if err != nil {
			return err
		}
		s.normalizer(n, 0)
	}
	s.listed = len(tok.AddedTokens)
	tc, err := readObject(src, "tokenizer_config.json")
	if err != nil {
		return err
	}
	if b != nil {
		post, err := part("tokenizer.json: post_processor", tok.PostProcessor)
		if err != nil {
			return err
		}
		s.frame(post, tc)
	}
	if len(tc) == 0 {
		return nil
	}
	if s.template, err = loadTemplate(src, tc, s.warn); err != nil {
		return err
	}
	s.fromConfig(tc, tok.AddedTokens)
	return nil
}

// fromConfig looks the texts that tokenizer_config.json names up among tokenizer.json's added tokens.
func (s *specials) fromConfig(tc config.Object, added []addedEntry) {
	for _, typ := range s.opt.types {
		if v, ok := tc["add_"+typ+"_token"].(bool); ok {
			s.adds.set(typ, v)
		}
		text, ok := tc[typ+"_token"].(string)
		if !ok {
			if text, ok = member(tc[typ+"_token"], "content").(string); !ok {
				continue
			}
		}
		for _, a := range added {
			if a.Content == text {
				if a.ID != nil {
					s.setID(typ, *a.ID)
				}
				break
			}
		}
	}
}

// setID takes an id unless the kind has one: the first source wins. What is no integer, or out of range, is dropped.
func (s *specials) setID(typ string, id any) {
	n, ok := integer(id)
	switch {
	case !ok:
	case n < 0:
		s.warn("special token %s has the id %d: dropped (the reference refuses it)", typ, n)
	case n > 1<<32-1 || s.opt.tokens > 0 && n >= int64(s.opt.tokens):
		s.warn("special token %s has the id %d, out of range for %d tokens: dropped", typ, n, s.opt.tokens)
	case !s.ids.has(typ):
		s.ids.set(typ, n)
	}
}

// write adds the entries in the reference's order.
func (s *specials) write(e *entries) {
	e.set(keyMerges, s.merges)
	for _, typ := range s.ids.keys {
		if key, ok := specialKeys[typ]; ok {
			e.set(key, uint32(s.ids.vals[typ]))
		}
	}
	for _, typ := range s.adds.keys {
		if key, ok := addKeys[typ]; ok {
			e.set(key, s.adds.vals[typ])
		}
	}
	s.template.write(e)
	if s.lower != nil {
		e.set(keyLowercase, *s.lower)
	}
	if s.strip != nil {
		e.set(keyStripAccents, *s.strip)
	}
}

// maxDepth bounds nested normalizer sequences.
const maxDepth = 64

// normalizer reads the two flags that llama.cpp keeps of a normalizer.
func (s *specials) normalizer(v any, depth int) {
	t, yes := true, func(p **bool, v any) {
		if b, ok := v.(bool); ok {
			*p = &b
		}
	}
	switch member(v, "type") {
	case "Lowercase":
		s.lower = &t
	case "StripAccents":
		s.strip = &t
	case "BertNormalizer":
		m := v.(config.Object)
		if v, ok := m["lowercase"]; ok {
			s.lower = nil
			yes(&s.lower, v)
		}
		if v, ok := m["strip_accents"]; ok {
			s.strip = nil
			yes(&s.strip, v)
		}
	case "Sequence":
		list, _ := member(v, "normalizers").([]any)
		for _, n := range list {
			if depth < maxDepth {
				s.normalizer(n, depth+1)
			}
		}
	}
}

// mergesJSON reads the merges of tokenizer.json, "a b" or ["a", "b"]; a blank inside a part becomes U+0120. Where they are
// read already, they are taken from there, unless a header line stands among them, which the tokenizer leaves out.
func mergesJSON(raw json.RawMessage, read [][2]string, warn func(string, ...any)) ([]string, error) {
	if len(read) == 0 || len(raw) == 0 || bytes.Contains(raw, []byte(`"#version`)) {
		var texts []string
		if len(raw) == 0 || raw[0] != '[' || json.Unmarshal(raw, &texts) == nil {
			return texts, nil
		}
		var pairs [][]string
		if err := json.Unmarshal(raw, &pairs); err != nil {
			return nil, &fault.Invalid{On: "tokenizer.json: model.merges", Says: "neither texts nor pairs of texts", Err: err}
		}
		read = make([][2]string, len(pairs))
		for i, p := range pairs {
			if len(p) != 2 {
				return nil, &fault.Invalid{On: "tokenizer.json: model.merges", Says: fmt.Sprintf("merge %d has %d parts, want 2", i, len(p))}
			}
			read[i] = [2]string(p)
		}
	}
	texts := make([]string, len(read))
	spaces := false
	for i, p := range read {
		spaces = spaces || strings.Contains(p[0], " ") || strings.Contains(p[1], " ")
		texts[i] = strings.ReplaceAll(p[0], " ", "\u0120") + " " + strings.ReplaceAll(p[1], " ", "\u0120")
	}
	if spaces {
		warn("merges with blanks inside: written with U+0120 in their place")
	}
	return texts, nil
}

// mergesText reads merges.txt: a first line that begins with # is a header, lines of other than two words are skipped.
func mergesText(text string) []string {
	var out []string
	for i, line := range strings.Split(text, "\n") {
		words := strings.FieldsFunc(line, pythonSpace)
		if i == 0 && strings.HasPrefix(strings.TrimFunc(line, pythonSpace), "#") || len(words) != 2 {
			continue
		}
		out = append(out, words[0]+" "+words[1])
	}
	return out
}

// pythonSpace is str.isspace: Unicode white space and the four ASCII separators.
func pythonSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }
