package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"

	"quern/convert/fault"
)

// roles are the special tokens by name, in the order in which transformers goes through them.
var roles = [7]string{"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}

// maxExtraIDs bounds T5's extra_ids.
const maxExtraIDs = 1 << 12

// specials are the tokens that a class is made with.
type specials struct {
	decoder []indexed // added_tokens_decoder, by index
	values  [7]*specialToken
	more    []specialToken // additional_special_tokens
}

type indexed struct {
	id int
	specialToken
}

// specialToken is a token as transformers holds it: a plain text, or a text with flags. What is not said of
// normalization follows from special in the end.
type specialToken struct {
	AddedToken
	flagged    bool // has flags
	normalized *bool
}

// tokenFlags is a token with flags as the configuration files write it.
type tokenFlags struct {
	Type       string `json:"__type"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized *bool  `json:"normalized"`
	Special    bool   `json:"special"`
}

// token is the flags as transformers holds them.
func (f tokenFlags) token() specialToken {
	return specialToken{AddedToken{Content: f.Content, SingleWord: f.SingleWord, LStrip: f.LStrip, RStrip: f.RStrip, Special: f.Special}, true, f.Normalized}
}

// resolved has Normalized set.
func (s specialToken) resolved() AddedToken {
	t := s.AddedToken
	t.ID, t.Declared = 0, 0
	if t.Normalized = !t.Special; s.normalized != nil {
		t.Normalized = *s.normalized
	}
	return t
}

// specials reads the special tokens from the configuration, the legacy files and the class.
func (f *folder) specials(t *Tokenizer, class *tokenizerClass, slow bool) (*specials, error) {
	s := &specials{}
	config := object{}
	for k, v := range f.config {
		config[k] = v
	}
	if raw, ok := config["added_tokens_decoder"]; ok {
		if err := s.readDecoder(raw); err != nil {
			return nil, err
		}
	} else if err := f.legacy(s, config, t, slow); err != nil {
		return nil, err
	}
	for i, role := range roles {
		raw, ok := config[role]
		if !ok {
			if d := class.special[i]; d != "" {
				s.values[i] = &specialToken{AddedToken: AddedToken{Content: d}}
			}
		} else if v, err := parseSpecial(role, raw); err != nil {
			return nil, err
		} else {
			s.values[i] = v
		}
		if v := s.values[i]; v != nil {
			// The decoder's flags win over those beside the role: transformers takes the token from there by its text.
			if d := s.decoded(v.Content); d != nil && ok {
				s.values[i] = d
			}
			// Classes with this trait let a mask that is given as a plain text take the blank before it along.
			if role == "mask_token" && class.does&maskLeft != 0 && !s.values[i].flagged {
				no := false
				s.values[i] = &specialToken{AddedToken{Content: v.Content, LStrip: true, Special: true}, true, &no}
			}
			// Slow classes make a token with flags of every role; the fast ones leave a text a text.
			if slow && !s.values[i].flagged {
				s.values[i].flagged, s.values[i].Special = true, true
			}
		}
	}
	return s, f.additional(s, config, class)
}

// parseSpecial reads a text, a token with flags, or null.
func parseSpecial(on string, raw json.RawMessage) (*specialToken, error) {
	if string(raw) == "null" {
		return nil, nil
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return &specialToken{AddedToken: AddedToken{Content: text}}, nil
	}
	var flags tokenFlags
	if err := json.Unmarshal(raw, &flags); err != nil {
		return nil, &fault.Invalid{On: "tokenizer_config.json", Says: on + " is neither a text nor a token", Err: err}
	}
	v := flags.token()
	return &v, nil
}

// readDecoder reads added_tokens_decoder, an object by id.
func (s *specials) readDecoder(raw json.RawMessage) error {
	var m map[string]tokenFlags
	if err := json.Unmarshal(raw, &m); err != nil {
		return &fault.Invalid{On: "tokenizer_config.json", Says: "added_tokens_decoder cannot be read", Err: err}
	}
	if len(m) > maxAdded {
		return &fault.Invalid{On: "tokenizer_config.json", Says: fmt.Sprintf("added_tokens_decoder holds %d tokens, at most %d are read", len(m), maxAdded)}
	}
	for key, flags := range m {
		id, err := strconv.Atoi(key)
		if err != nil {
			return &fault.Invalid{On: "tokenizer_config.json", Says: fmt.Sprintf("added_tokens_decoder has the id %.20q", key)}
		}
		s.decoder = append(s.decoder, indexed{id, flags.token()})
	}
	slices.SortFunc(s.decoder, func(a, b indexed) int { return a.id - b.id })
	return nil
}

// decoded is the entry of added_tokens_decoder with a text; of several the one with the highest id.
func (s *specials) decoded(content string) *specialToken {
	for i := len(s.decoder) - 1; i >= 0; i-- {
		if s.decoder[i].Content == content {
			v := s.decoder[i].specialToken
			return &v
		}
	}
	return nil
}

// legacy reads special_tokens_map.json and added_tokens.json, which count where added_tokens_decoder is not there.
func (f *folder) legacy(s *specials, config object, t *Tokenizer, slow bool) error {
	m := object{}
	if err := f.read("special_tokens_map.json", &m); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for key, raw := range m {
		var flags tokenFlags
		if len(raw) > 0 && raw[0] == '{' && json.Unmarshal(raw, &flags) == nil {
			flags.Special = true
			raw, _ = json.Marshal(flags)
		}
		config[key] = raw
	}
	var more map[string]int
	if err := f.read("added_tokens.json", &more); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for text, id := range more {
		special := false
		for _, role := range roles {
			v, err := parseSpecial(role, config[role])
			special = special || config.given(role) && err == nil && v.Content == text
		}
		normal := !special
		s.decoder = append(s.decoder, indexed{id, specialToken{AddedToken{Content: text, Special: special}, true, &normal}})
	}
	if !slow {
		for id, a := range t.added.byID {
			normal := a.Normalized
			s.decoder = append(s.decoder, indexed{int(id), specialToken{a, true, &normal}})
		}
	}
	slices.SortStableFunc(s.decoder, func(a, b indexed) int { return a.id - b.id })
	for i := len(s.decoder) - 1; i > 0; i-- { // of two tokens with one id the last read counts
		if s.decoder[i].id == s.decoder[i-1].id {
			s.decoder = slices.Delete(s.decoder, i-1, i)
		}
	}
	return nil
}

// additional reads additional_special_tokens; T5 and CodeLlama add their own.
func (f *folder) additional(s *specials, config object, class *tokenizerClass) error {
	var list []json.RawMessage
	if config.given("additional_special_tokens") {
		if err := json.Unmarshal(config["additional_special_tokens"], &list); err != nil {
			return &fault.Invalid{On: "tokenizer_config.json", Says: "additional_special_tokens cannot be read", Err: err}
		}
	}
	for _, raw := range list {
		v, err := parseSpecial("additional_special_tokens", raw)
		if err != nil {
			return err
		}
		if v != nil {
			s.more = append(s.more, *v)
		}
	}
	// What the file lists replaces the class's own, however short it is.
	own := class.extra
	if len(list) > 0 {
		own = nil
	}
	switch class.slow {
	case "T5":
		// The class's default, where the file says nothing.
		n := 100
		_ = json.Unmarshal(config["extra_ids"], &n)
		if n < 0 || n > maxExtraIDs {
			return &fault.Invalid{On: "tokenizer_config.json", Says: fmt.Sprintf("extra_ids is %d, it has to be within 0 and %d", n, maxExtraIDs)}
		}
		if !slices.ContainsFunc(s.more, func(v specialToken) bool { return len(v.Content) > 10 && v.Content[:10] == "<extra_id_" }) {
			for i := range n {
				own = append(own, fmt.Sprintf("<extra_id_%d>", i))
			}
		}
	case "CodeLlama":
		for _, d := range [][2]string{{"prefix_token", "▁<PRE>"}, {"middle_token", "▁<MID>"}, {"suffix_token", "▁<SUF>"}, {"eot_token", "▁<EOT>"}} {
			if text, ok := config.text(d[0]); ok {
				own = append(own, text)
			} else if _, there := config[d[0]]; !there {
				own = append(own, d[1])
			}
		}
	}
	for _, text := range own {
		s.more = append(s.more, specialToken{AddedToken: AddedToken{Content: text}})
	}
	return s.named(config["extra_special_tokens"])
}

// named reads extra_special_tokens, an object of a model's own roles (image_token, audio_token ...), in its order: a token that
// the vocabulary does not have gets the next free id. A list has the tokens alone: so transformers 5 writes what was
// additional_special_tokens, and 4.57 cannot load it.
func (s *specials) named(raw json.RawMessage) error {
	if raw == nil {
		return nil
	}
	fail := func(says string, err error) error {
		return &fault.Invalid{On: "tokenizer_config.json", Says: "extra_special_tokens " + says, Err: err}
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	open, err := d.Token()
	if err != nil || open != json.Delim('{') && open != json.Delim('[') {
		return fail("is neither an object nor a list", err)
	}
	for i := 0; d.More(); i++ {
		role := json.Token(i)
		if open == json.Delim('{') {
			if role, err = d.Token(); err != nil {
				return fail("cannot be read", err)
			}
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return fail("cannot be read", err)
		}
		v, err := parseSpecial(fmt.Sprintf("extra_special_tokens: %v", role), raw)
		if err != nil {
			return err
		}
		if v == nil {
			return fail(fmt.Sprintf("has null for %v", role), nil)
		}
		s.more = append(s.more, *v)
	}
	return nil
}

// toAdd are the tokens that transformers adds to a loaded tokenizer: those of added_tokens_decoder that it has not in
// the very same form, then special tokens that it has not, and all that carry flags of their own.
func (s *specials) toAdd(t *Tokenizer) []AddedToken {
	have, texts := map[AddedToken]bool{}, map[string]bool{}
	for _, a := range t.added.byID {
		have[a.bare()], texts[a.Content] = true, true
	}
	var add []specialToken
	for _, d := range s.decoder {
		if !have[d.resolved()] {
			add = append(add, d.specialToken)
			texts[d.Content] = true
		}
	}
	special, seen := map[string]bool{}, map[string]bool{}
	var all []specialToken
	for _, v := range s.values {
		if v != nil {
			all = append(all, *v)
		}
	}
	all = append(all, s.more...)
	for _, v := range all {
		special[v.Content] = true
	}
	pending := map[AddedToken]bool{}
	for _, a := range add {
		pending[a.resolved()] = true
	}
	for _, v := range all {
		if seen[v.Content] {
			continue
		}
		seen[v.Content] = true
		if v.flagged && !pending[v.resolved()] || !v.flagged && !texts[v.Content] {
			add = append(add, v)
		}
	}
	out := make([]AddedToken, 0, len(add))
	for _, a := range add {
		a.Special = a.Special || special[a.Content]
		out = append(out, a.resolved())
	}
	return out
}
