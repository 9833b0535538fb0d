package vocab

import (
	"encoding/json"
	"fmt"
	"strings"

	"quern/convert/fault"
	"quern/convert/tokenizer"
)

// Structure decides between names before any id is compared. Two tokenizers that cut texts alike may have no merge in
// common, and two that encode a corpus alike may yet cut elsewhere; so the cuts are compared first, by how the stages are
// spelled, and where the spelling is new by what they do (match.go). What llama.cpp then makes of the name is a matter of
// proof (prove.go).
// structure is what decides where a byte-level tokenizer cuts a text, spelled in one way: sequences are flat, defaults
// are filled in, and what changes no cut is left out.
type structure struct {
	normalizer string // kinds of the normalizers in their order, with their settings; empty: none
	stages     []stage
	merges     bool // ignore_merges
}

// stage is one pre-tokenizer of a sequence.
type stage struct {
	kind     string // split, digits, punctuation, bytes, or the file's name and settings of any other
	pattern  string // of split; an expression
	behavior string // of split and punctuation
	flag     bool   // split: inverted; digits: one by one; bytes: cut by GPT-2's expression too
	prefix   bool   // bytes: a blank is put before the text
}

// isolated is the most common stage: every match of the expression stands alone.
func isolated(pattern string) stage {
	return stage{kind: "split", pattern: pattern, behavior: "Isolated"}
}

var (
	byteStage = stage{kind: "bytes"}             // spells out bytes, cuts nothing
	gpt2Stage = stage{kind: "bytes", flag: true} // cuts by GPT-2's expression
	eachDigit = stage{kind: "digits", flag: true}
)

// equal compares spelling; alike compares behaviour.
func (s structure) equal(o structure) bool {
	if s.normalizer != o.normalizer || s.merges != o.merges || len(s.stages) != len(o.stages) {
		return false
	}
	for i := range s.stages {
		if s.stages[i] != o.stages[i] {
			return false
		}
	}
	return true
}

// String names the structure for a report.
func (s structure) String() string {
	parts := []string{}
	if s.normalizer != "" {
		parts = append(parts, s.normalizer)
	}
	for _, st := range s.stages {
		parts = append(parts, st.String())
	}
	if s.merges {
		parts = append(parts, "ignore_merges")
	}
	return strings.Join(parts, " + ")
}

// String names the stage for a report.
func (s stage) String() string {
	switch {
	case s.kind == "split":
		return fmt.Sprintf("split(%s, %s)", s.behavior, s.pattern)
	case s.kind == "punctuation":
		return "punctuation(" + s.behavior + ")"
	case s.kind == "digits" && s.flag:
		return "each digit"
	case s.kind == "bytes" && s.flag:
		return "GPT-2 words"
	}
	return s.kind
}

// structureOf reads the stages of a tokenizer.
func structureOf(t *tokenizer.Tokenizer) (structure, error) {
	s, raw := structure{merges: t.IgnoreMerges()}, t.Structure()
	names, err := normalizers(raw.Normalizer, 0)
	if err != nil {
		return s, err
	}
	s.normalizer = strings.Join(names, " + ")
	s.stages, err = stages(raw.PreTokenizer, 0)
	return s, err
}

// empty tells a missing member and a null from the others.
func empty(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// tooDeep refuses sequences in sequences that no tokenizer has.
func tooDeep(on string) error {
	return &fault.Invalid{On: "tokenizer.json: " + on, Says: fmt.Sprintf("nested deeper than %d", maxDepth)}
}

// normalizers lists the kinds; one that has settings is named with them.
func normalizers(raw json.RawMessage, depth int) ([]string, error) {
	if empty(raw) {
		return nil, nil
	}
	if depth > maxDepth {
		return nil, tooDeep("normalizer")
	}
	var n struct {
		Type        string            `json:"type"`
		Normalizers []json.RawMessage `json:"normalizers"`
	}
	if err := json.Unmarshal(raw, &n); err != nil {
		return nil, &fault.Invalid{On: "tokenizer.json: normalizer", Says: "cannot be read", Err: err}
	}
	if n.Type != "Sequence" {
		name, err := settings(raw)
		return []string{name}, err
	}
	var out []string
	for _, r := range n.Normalizers {
		more, err := normalizers(r, depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	return out, nil
}

// settings spells a component as its type alone, or with its other members in the order of their names.
func settings(raw json.RawMessage) (string, error) {
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		return "", &fault.Invalid{On: "tokenizer.json", Says: "a component is no object", Err: err}
	}
	name, _ := m["type"].(string)
	delete(m, "type")
	if len(m) == 0 {
		return name, nil
	}
	var out strings.Builder
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	err := e.Encode(m)
	return name + strings.TrimSpace(out.String()), err
}

// splitShape holds the members of the pre-tokenizers that byte-level tokenizers use.
type splitShape struct {
	Type          string            `json:"type"`
	PreTokenizers []json.RawMessage `json:"pretokenizers"`
	Pattern       struct {
		Regex  *string `json:"Regex"`
		String *string `json:"String"`
	} `json:"pattern"`
	Behavior   string `json:"behavior"`
	Invert     bool   `json:"invert"`
	Individual bool   `json:"individual_digits"`
	Prefix     bool   `json:"add_prefix_space"`
	UseRegex   *bool  `json:"use_regex"`
}

// stages lists the pre-tokenizers. Settings that move offsets only (trim_offsets) are left out, and so is the blank before
// the first word where the file does not ask for one.
func stages(raw json.RawMessage, depth int) ([]stage, error) {
	if empty(raw) {
		return nil, nil
	}
	if depth > maxDepth {
		return nil, tooDeep("pre_tokenizer")
	}
	var p splitShape
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, &fault.Invalid{On: "tokenizer.json: pre_tokenizer", Says: "cannot be read", Err: err}
	}
	switch {
	case p.Type == "Sequence":
		var out []stage
		for _, r := range p.PreTokenizers {
			more, err := stages(r, depth+1)
			if err != nil {
				return nil, err
			}
			out = append(out, more...)
		}
		return out, nil
	case p.Type == "Split" && p.Pattern.Regex != nil:
		return []stage{{kind: "split", pattern: *p.Pattern.Regex, behavior: p.Behavior, flag: p.Invert}}, nil
	case p.Type == "Digits":
		return []stage{{kind: "digits", flag: p.Individual}}, nil
	case p.Type == "Punctuation":
		if p.Behavior == "" {
			p.Behavior = "Isolated"
		}
		return []stage{{kind: "punctuation", behavior: p.Behavior}}, nil
	case p.Type == "ByteLevel":
		return []stage{{kind: "bytes", flag: p.UseRegex == nil || *p.UseRegex, prefix: p.Prefix}}, nil
	}
	name, err := settings(raw)
	return []stage{{kind: name}}, err
}

// json spells the stages as tokenizer.json does, so that the engine can run them; false when a stage is none of ours.
func (s structure) json() (json.RawMessage, bool) {
	list := []any{}
	for _, st := range s.stages {
		switch st.kind {
		case "split":
			list = append(list, map[string]any{"type": "Split", "pattern": map[string]string{"Regex": st.pattern}, "behavior": st.behavior, "invert": st.flag})
		case "digits":
			list = append(list, map[string]any{"type": "Digits", "individual_digits": st.flag})
		case "punctuation":
			list = append(list, map[string]any{"type": "Punctuation", "behavior": st.behavior})
		case "bytes":
			list = append(list, map[string]any{"type": "ByteLevel", "add_prefix_space": st.prefix, "trim_offsets": true, "use_regex": st.flag})
		default:
			return nil, false
		}
	}
	b, err := json.Marshal(map[string]any{"type": "Sequence", "pretokenizers": list})
	return b, err == nil
}
