package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"quern/convert/fault"
	"quern/convert/tokenizer/onig"
	"quern/convert/tokenizer/ucd"
)

// maxComponents bounds how deep sequences of components stand in one another.
const maxComponents = 32

// maxGrown bounds what a normalizer may make of a text.
const maxGrown = 1 << 28 // bytes

// tooLong refuses what a normalizer would make of a text.
func tooLong(n int) error {
	return &fault.Invalid{On: "text", Says: fmt.Sprintf("a normalizer makes %d bytes of it, at most %d are made", n, maxGrown)}
}

// component holds the members that several kinds of component share.
type component struct {
	Pattern json.RawMessage `json:"pattern"`
	Content *string         `json:"content"`
}

// missing refuses a component without a member that the library requires.
func missing(on, member string) error {
	return &fault.Invalid{On: on, Says: "lacks " + member}
}

// unknown refuses a kind of component that the library does not have.
func unknown(part, kind string) error {
	return &fault.Unsupported{On: part, Says: fmt.Sprintf("kind %q is not one of the tokenizers library's", kind), Next: "check that tokenizer.json was written for tokenizers 0.22 or older"}
}

// readComponent decodes raw into c; kind is "" for null and for what is not there.
func readComponent(part string, raw json.RawMessage, depth int, c any) (kind string, err error) {
	if depth > maxComponents {
		return "", &fault.Invalid{On: part, Says: fmt.Sprintf("sequences nested more than %d deep", maxComponents)}
	}
	if len(raw) == 0 || string(raw) == "null" {
		return "", nil
	}
	o := object{}
	if err := json.Unmarshal(raw, &o); err != nil {
		return "", &fault.Invalid{On: part, Says: "cannot be read", Err: err}
	}
	k, err := partSchemas[part].kindOf(part, o)
	if err != nil {
		return "", err
	}
	if raw, err = k.fitted(o); err == nil {
		err = json.Unmarshal(raw, c)
	}
	if err != nil {
		return "", &fault.Invalid{On: part, Says: "cannot be read", Err: err}
	}
	return k.kind, nil
}

// pattern reads {"String": ...} or {"Regex": ...}.
func (c component) pattern(on string) (pattern, error) {
	var p struct {
		String *string
		Regex  *string
	}
	if len(c.Pattern) == 0 {
		return nil, missing(on, "pattern")
	}
	if err := json.Unmarshal(c.Pattern, &p); err != nil {
		return nil, &fault.Invalid{On: on, Says: "pattern cannot be read", Err: err}
	}
	switch {
	case p.Regex != nil:
		re, err := onig.Compile(*p.Regex)
		if err != nil {
			return nil, err
		}
		return regexPattern{re}, nil
	case p.String != nil && *p.String != "" && utf8.ValidString(*p.String):
		return textPattern(*p.String), nil
	case p.String != nil:
		return regexPattern{onig.Literal("")}, nil
	}
	return nil, missing(on, "String or Regex in its pattern")
}

// regexPattern covers a text by an expression.
type regexPattern struct{ re *onig.Regexp }

// cover gives empty matches too: behaviors that merge see them, and drop them only as empty pieces.
func (p regexPattern) cover(text string, to []match) ([]match, error) {
	if text == "" {
		return append(to, match{}), nil
	}
	prev := 0
	err := p.re.Each(text, func(lo, hi int) {
		if prev != lo {
			to = append(to, match{prev, lo, false})
		}
		to = append(to, match{lo, hi, true})
		prev = hi
	})
	if prev != len(text) {
		to = append(to, match{prev, len(text), false})
	}
	return to, err
}

// textPattern covers a text by occurrences of another.
type textPattern string

// cover finds occurrences from the left that do not overlap.
func (p textPattern) cover(text string, to []match) ([]match, error) {
	if text == "" {
		return append(to, match{}), nil
	}
	prev := 0
	for {
		i := strings.Index(text[prev:], string(p))
		if i < 0 {
			break
		}
		if i > 0 {
			to = append(to, match{prev, prev + i, false})
		}
		to = append(to, match{prev + i, prev + i + len(p), true})
		prev += i + len(p)
	}
	if prev != len(text) {
		to = append(to, match{prev, len(text), false})
	}
	return to, nil
}

// setPattern covers a text by single characters of a set.
type setPattern struct{ set *ucd.Set }

// cover gives each character of the set a match of its own; behaviors join them where asked.
func (p setPattern) cover(text string, to []match) ([]match, error) {
	if text == "" {
		return append(to, match{}), nil
	}
	prev := 0
	for i, r := range text {
		if !p.set.Contains(r) {
			continue
		}
		if prev < i {
			to = append(to, match{prev, i, false})
		}
		prev = i + utf8.RuneLen(r)
		to = append(to, match{i, prev, true})
	}
	if prev < len(text) {
		to = append(to, match{prev, len(text), false})
	}
	return to, nil
}

// inverted exchanges what is a match and what is not.
type inverted struct{ pattern }

// cover is the pattern's, with hits and gaps exchanged.
func (p inverted) cover(text string, to []match) ([]match, error) {
	n := len(to)
	to, err := p.pattern.cover(text, to)
	for i := range to[n:] {
		to[n+i].hit = !to[n+i].hit
	}
	return to, err
}
