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

// splitter is a pre-tokenizer: it cuts one piece into smaller ones, which it adds to to. Empty pieces are left out.
type splitter interface {
	split(s span, to []span, scratch *[]match) ([]span, error)
}

type (
	patternSplitter struct {
		p pattern
		b behavior
	}
	byteSplitter struct {
		prefix bool
		p      pattern // nil: nothing is cut, the bytes are only spelled out
		raw    bool    // the last stage before a model that reads bytes: they need not be spelled out
	}
	metaspace struct {
		mark   string
		scheme string // first, never, always
		cut    bool
	}
	bertSplitter   struct{}
	scriptSplitter struct{}
	wordSplitter   struct{}
	lengthSplitter int
)

// appendPieces cuts the pieces out; empty ones are dropped here and nowhere else.
func appendPieces(s *span, m []match, to []span) []span {
	for _, x := range m {
		if x.lo < x.hi {
			to = append(to, s.cut(x.lo, x.hi))
		}
	}
	return to
}

// split lets the behavior decide what becomes of matches and gaps.
func (p patternSplitter) split(s span, to []span, scratch *[]match) ([]span, error) {
	m, err := p.p.cover(s.text, (*scratch)[:0])
	*scratch = m
	if err != nil {
		return to, err
	}
	return appendPieces(&s, p.b.arrange(m), to), nil
}

// gpt2 is the expression that ByteLevel cuts by. Source: tokenizers 0.22.2, pre_tokenizers/byte_level.rs.
const gpt2 = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

// split sets a blank before a piece that has none, for every piece that stages before it made, not only at the beginning
// of the text.
func (b byteSplitter) split(s span, to []span, scratch *[]match) ([]span, error) {
	if b.prefix && !strings.HasPrefix(s.text, " ") {
		s.prepend(" ")
	}
	start := len(to)
	if b.p == nil {
		if s.text != "" {
			to = append(to, s)
		}
	} else {
		var err error
		if to, err = (patternSplitter{b.p, isolated}).split(s, to, scratch); err != nil {
			return to, err
		}
	}
	if !b.raw {
		for i := range to[start:] {
			to[start+i].toByteChars()
		}
	}
	return to, nil
}

// split makes blanks marks, then cuts before each mark. The scheme "first" asks where the piece began in the input: 0 can
// be lost to a normalizer that strips, and then nothing is prepended.
func (m metaspace) split(s span, to []span, scratch *[]match) ([]span, error) {
	if err := s.replace(textPattern(" "), m.mark); err != nil {
		return to, err
	}
	if m.scheme != "never" && !strings.HasPrefix(s.text, m.mark) && (m.scheme == "always" || s.shift == 0) {
		s.prepend(m.mark)
	}
	if !m.cut {
		if s.text != "" {
			to = append(to, s)
		}
		return to, nil
	}
	return patternSplitter{textPattern(m.mark), mergedWithNext}.split(s, to, scratch)
}

// split drops white space and sets punctuation apart.
func (bertSplitter) split(s span, to []span, scratch *[]match) ([]span, error) {
	m, _ := setPattern{ucd.Compiled("rust:space")}.cover(s.text, (*scratch)[:0])
	words := appendPieces(&s, removed.arrange(m), nil)
	punctuation := setPattern{ucd.Compiled("old:punctuation")}
	for _, w := range words {
		m, _ = punctuation.cover(w.text, m[:0])
		to = appendPieces(&w, m, to)
	}
	*scratch = m
	return to, nil
}

// split cuts where the script changes. What has no script goes with what stands before it, and a text that begins so
// loses that beginning: the library measures pieces from the first script on.
func (scriptSplitter) split(s span, to []span, scratch *[]match) ([]span, error) {
	const none = -1
	last, begin := none, none
	m := (*scratch)[:0]
	for i, r := range s.text {
		script := ucd.Script(r)
		if script == 0 {
			continue
		}
		if script != last {
			if begin != none {
				m = append(m, match{lo: begin, hi: i})
			}
			begin = i
		}
		last = script
	}
	if begin != none {
		m = append(m, match{lo: begin, hi: len(s.text)})
	}
	*scratch = m
	return appendPieces(&s, m, to), nil
}

// split gives runs of word characters and runs of what is neither word nor blank: \w+|[^\w\s]+ of Rust's regex crate,
// whose \w is not Oniguruma's.
func (wordSplitter) split(s span, to []span, _ *[]match) ([]span, error) {
	word, space := ucd.Compiled("rust:word"), ucd.Compiled("rust:regexspace")
	const blank = 2
	kind, lo := blank, 0
	for i, r := range s.text {
		k := 0
		if word.Contains(r) {
			k = 1
		} else if space.Contains(r) {
			k = blank
		}
		if k == kind {
			continue
		}
		if kind != blank {
			to = append(to, s.cut(lo, i))
		}
		kind, lo = k, i
	}
	if kind != blank {
		to = append(to, s.cut(lo, len(s.text)))
	}
	return to, nil
}

// split cuts every n characters.
func (n lengthSplitter) split(s span, to []span, _ *[]match) ([]span, error) {
	lo, count := 0, 0
	for i := range s.text {
		if count == int(n) {
			to = append(to, s.cut(lo, i))
			lo, count = i, 0
		}
		count++
	}
	if lo < len(s.text) {
		to = append(to, s.cut(lo, len(s.text)))
	}
	return to, nil
}

// parseSplitters reads the "pre_tokenizer" of a tokenizer.json as a flat list of stages.
func parseSplitters(raw json.RawMessage, depth int, to []splitter) ([]splitter, error) {
	var c splitterFile
	kind, err := readComponent("pre_tokenizer", raw, depth, &c)
	if err != nil || kind == "" {
		return to, err
	}
	if kind == "Sequence" {
		for _, r := range c.Pretokenizers {
			n := len(to)
			if to, err = parseSplitters(r, depth+1, to); err != nil {
				return nil, err
			}
			// An empty sequence makes no stage either, and is allowed; a null in its place is not.
			if len(to) == n && string(r) == "null" {
				return nil, missing("pre_tokenizer Sequence", "type")
			}
		}
		return to, nil
	}
	s, err := c.splitter(kind)
	if err != nil {
		return nil, err
	}
	return append(to, s), nil
}

// splitterFile holds the members of every kind of pre-tokenizer.
type splitterFile struct {
	component
	Pretokenizers []json.RawMessage `json:"pretokenizers"`
	Behavior      *string           `json:"behavior"`
	Invert        *bool             `json:"invert"`
	Prefix        *bool             `json:"add_prefix_space"`
	Trim          *bool             `json:"trim_offsets"`
	UseRegex      *bool             `json:"use_regex"`
	Individual    *bool             `json:"individual_digits"`
	Replacement   *string           `json:"replacement"`
	Scheme        *string           `json:"prepend_scheme"`
	Split         *bool             `json:"split"`
	Delimiter     *string           `json:"delimiter"`
	Length        *int              `json:"length"`
}

// splitter makes the pre-tokenizer of a kind.
func (c *splitterFile) splitter(kind string) (splitter, error) {
	on := "pre_tokenizer " + kind
	switch kind {
	case "BertPreTokenizer":
		return bertSplitter{}, nil
	case "UnicodeScripts":
		return scriptSplitter{}, nil
	case "Whitespace":
		return wordSplitter{}, nil
	case "WhitespaceSplit":
		return patternSplitter{setPattern{ucd.Compiled("rust:space")}, removed}, nil
	case "ByteLevel":
		return c.byteLevel(on)
	case "Split":
		return c.patternSplit(on)
	case "Digits":
		if c.Individual == nil {
			return nil, missing(on, "individual_digits")
		}
		b := contiguous
		if *c.Individual {
			b = isolated
		}
		return patternSplitter{setPattern{ucd.Compiled("rust:numeric")}, b}, nil
	case "Punctuation":
		b, err := c.behavior(on, "Isolated")
		return patternSplitter{setPattern{ucd.Compiled("old:punctuation")}, b}, err
	case "CharDelimiterSplit":
		if c.Delimiter == nil || utf8.RuneCountInString(*c.Delimiter) != 1 {
			return nil, missing(on, "a delimiter of one character")
		}
		return patternSplitter{textPattern(*c.Delimiter), removed}, nil
	case "Metaspace":
		return c.metaspace(on)
	case "FixedLength":
		if c.Length == nil {
			return lengthSplitter(5), nil
		}
		if *c.Length < 1 {
			return nil, &fault.Invalid{On: on, Says: fmt.Sprintf("length is %d, at least 1 is needed", *c.Length)}
		}
		return lengthSplitter(*c.Length), nil
	}
	return nil, unknown("pre_tokenizer", kind)
}

// inverted exchanges matches and gaps ("invert": true).
func (p patternSplitter) inverted() patternSplitter {
	p.p = inverted{p.p}
	return p
}

// behavior reads the name of a behavior.
func (c *splitterFile) behavior(on, fallback string) (behavior, error) {
	name := fallback
	if c.Behavior != nil {
		name = *c.Behavior
	}
	b, ok := behaviors[name]
	if !ok {
		return 0, &fault.Invalid{On: on, Says: fmt.Sprintf("behavior %q is not known", name)}
	}
	return b, nil
}

// byteLevel reads a ByteLevel; files of before 0.13 have no use_regex, and mean true.
func (c *splitterFile) byteLevel(on string) (splitter, error) {
	if c.Prefix == nil || c.Trim == nil {
		return nil, missing(on, "add_prefix_space, trim_offsets")
	}
	b := byteSplitter{prefix: *c.Prefix}
	if c.UseRegex == nil || *c.UseRegex {
		re, err := onig.Compile(gpt2)
		if err != nil {
			return nil, err
		}
		b.p = regexPattern{re}
	}
	return b, nil
}

// patternSplit reads a Split.
func (c *splitterFile) patternSplit(on string) (splitter, error) {
	if c.Invert == nil {
		return nil, missing(on, "invert")
	}
	b, err := c.behavior(on, "")
	if err != nil {
		return nil, err
	}
	p, err := c.pattern(on)
	if err != nil {
		return nil, err
	}
	s := patternSplitter{p, b}
	if *c.Invert {
		s = s.inverted()
	}
	return s, nil
}

// metaspace reads a Metaspace of any age of the format.
func (c *splitterFile) metaspace(on string) (splitter, error) {
	if c.Replacement == nil || utf8.RuneCountInString(*c.Replacement) != 1 {
		return nil, missing(on, "a replacement of one character")
	}
	m := metaspace{mark: *c.Replacement, scheme: "always", cut: c.Split == nil || *c.Split}
	if c.Scheme != nil {
		m.scheme = *c.Scheme
	}
	switch m.scheme {
	case "first", "never", "always":
	default:
		return nil, &fault.Invalid{On: on, Says: fmt.Sprintf("prepend_scheme %q is not known", m.scheme)}
	}
	// Files of before 0.15 say add_prefix_space; a contradiction is an error in the library too.
	if c.Prefix != nil && !*c.Prefix && m.scheme != "never" {
		return nil, &fault.Invalid{On: on, Says: "add_prefix_space does not match prepend_scheme"}
	}
	return m, nil
}
