package tokenizer

import (
	"encoding/json"
	"strings"

	"quern/convert/tokenizer/ucd"
)

// normalizer changes a text before it is cut into words.
type normalizer interface {
	normalize(s *span) error
}

type (
	sequenceNormalizer []normalizer
	lowercase          struct{}
	stripNormalizer    struct{ left, right bool }
	stripAccents       struct{}
	nmt                struct{}
	prependNormalizer  string
	replaceNormalizer  struct {
		p       pattern
		content string
	}
	byteNormalizer struct{}
	bertNormalizer struct{ clean, chinese, accents, lower bool }
)

// normalize runs all steps on one span, so that origins are followed through them.
func (n sequenceNormalizer) normalize(s *span) error {
	for _, x := range n {
		if err := x.normalize(s); err != nil {
			return err
		}
	}
	return nil
}

// normalize maps character by character: a final sigma stays a plain one, and U+0130 becomes two characters.
func (lowercase) normalize(s *span) error {
	lower := ucd.Map("lower")
	for i, r := range s.text {
		if _, changes := lower[r]; !changes {
			continue
		}
		w := s.rewrite()
		w.copy(0, i)
		for _, r := range s.text[i:] {
			if low, ok := lower[r]; !ok {
				w.put(r, false, 0)
			} else {
				for j, x := range low {
					w.put(x, j > 0, 0)
				}
			}
		}
		w.done()
		break
	}
	return nil
}

// normalize takes Rust's white space off, which is Unicode's.
func (n stripNormalizer) normalize(s *span) error {
	space := ucd.Compiled("rust:space")
	runes := []rune(s.text)
	lo, hi := 0, len(runes)
	for n.left && lo < hi && space.Contains(runes[lo]) {
		lo++
	}
	// A text of blanks only is stripped from both ends at once, so the two counts overlap.
	for n.right && hi > 0 && space.Contains(runes[hi-1]) {
		hi--
	}
	if lo == 0 && hi == len(runes) {
		return nil
	}
	w := s.rewrite()
	w.drop(lo)
	for i := lo; i < hi; i++ {
		w.put(runes[i], false, 0)
	}
	w.done()
	return nil
}

// normalize drops all marks, spacing ones too; it decomposes nothing.
func (stripAccents) normalize(s *span) error {
	mark := ucd.Compiled("norm:mark")
	s.filter(func(r rune) bool { return !mark.Contains(r) })
	return nil
}

// normalize drops control characters and makes other separators blanks. Source: tokenizers 0.22.2, normalizers/unicode.rs.
func (nmt) normalize(s *span) error {
	gone, space := ucd.Compiled("nmt:removed"), ucd.Compiled("nmt:space")
	s.filter(func(r rune) bool { return !gone.Contains(r) })
	s.replaceRunes(func(r rune) rune {
		if space.Contains(r) {
			return ' '
		}
		return r
	})
	return nil
}

// normalize leaves an empty text empty.
func (n prependNormalizer) normalize(s *span) error {
	s.prepend(string(n))
	return nil
}

// normalize replaces each match; the content is a plain text without references to groups.
func (n replaceNormalizer) normalize(s *span) error { return s.replace(n.p, n.content) }

// normalize spells the bytes out before words are cut, so that splitters see one character a byte.
func (byteNormalizer) normalize(s *span) error {
	s.toByteChars()
	return nil
}

// normalize cleans, sets ideographs apart, strips marks and lowers, in this order. What counts as a control character or
// as a mark comes from an old table (ucd "bert:" and "old:").
func (n bertNormalizer) normalize(s *span) error {
	if n.clean {
		gone, space := ucd.Compiled("bert:removed"), ucd.Compiled("bert:space")
		s.filter(func(r rune) bool { return !gone.Contains(r) })
		s.replaceRunes(func(r rune) rune {
			if space.Contains(r) {
				return ' '
			}
			return r
		})
	}
	if n.chinese {
		s.setApart(ucd.Compiled("bert:chinese"))
	}
	// Without the setting, marks are stripped where letters are lowered: that is decided when the file is read.
	if n.accents {
		if err := nfd.normalize(s); err != nil {
			return err
		}
		mark := ucd.Compiled("old:mn")
		s.filter(func(r rune) bool { return !mark.Contains(r) })
	}
	if n.lower {
		return lowercase{}.normalize(s)
	}
	return nil
}

// setApart puts a blank before and after every character of the set.
func (s *span) setApart(set *ucd.Set) {
	if !strings.ContainsFunc(s.text, set.Contains) {
		return
	}
	w := s.rewrite()
	for _, r := range s.text {
		if !set.Contains(r) {
			w.put(r, false, 0)
			continue
		}
		w.put(' ', false, 0)
		w.put(r, true, 0)
		w.put(' ', true, 0)
	}
	w.done()
}

// parseNormalizer reads the "normalizer" of a tokenizer.json; nil for null.
func parseNormalizer(raw json.RawMessage, depth int) (normalizer, error) {
	var c struct {
		component
		Normalizers []json.RawMessage `json:"normalizers"`
		Left        *bool             `json:"strip_left"`
		Right       *bool             `json:"strip_right"`
		Prepend     *string           `json:"prepend"`
		Charsmap    *[]byte           `json:"precompiled_charsmap"`
		Clean       *bool             `json:"clean_text"`
		Chinese     *bool             `json:"handle_chinese_chars"`
		Accents     *bool             `json:"strip_accents"`
		Lower       *bool             `json:"lowercase"`
	}
	kind, err := readComponent("normalizer", raw, depth, &c)
	if err != nil || kind == "" {
		return nil, err
	}
	switch kind {
	case "Sequence":
		return parseNormalizers(c.Normalizers, depth)
	case "NFC":
		return nfc, nil
	case "NFD":
		return nfd, nil
	case "NFKC":
		return nfkc, nil
	case "NFKD":
		return nfkd, nil
	case "Lowercase":
		return lowercase{}, nil
	case "StripAccents":
		return stripAccents{}, nil
	case "Nmt":
		return nmt{}, nil
	case "ByteLevel":
		return byteNormalizer{}, nil
	case "Strip":
		if c.Left != nil && c.Right != nil {
			return stripNormalizer{*c.Left, *c.Right}, nil
		}
		return nil, missing("normalizer Strip", "strip_left, strip_right")
	case "Prepend":
		if c.Prepend != nil {
			return prependNormalizer(*c.Prepend), nil
		}
		return nil, missing("normalizer Prepend", "prepend")
	case "Replace":
		return c.replaceNormalizer()
	case "Precompiled":
		if c.Charsmap == nil {
			return nil, missing("normalizer Precompiled", "precompiled_charsmap")
		}
		return NewCharsmap(*c.Charsmap)
	case "Bert":
		if c.Clean == nil || c.Chinese == nil || c.Lower == nil {
			return nil, missing("normalizer BertNormalizer", "clean_text, handle_chinese_chars, lowercase")
		}
		n := bertNormalizer{clean: *c.Clean, chinese: *c.Chinese, lower: *c.Lower, accents: *c.Lower}
		if c.Accents != nil {
			n.accents = *c.Accents
		}
		return n, nil
	}
	return nil, unknown("normalizer", kind)
}

// parseNormalizers reads the members of a sequence, which may not be null.
func parseNormalizers(raw []json.RawMessage, depth int) (normalizer, error) {
	seq := sequenceNormalizer{}
	for _, r := range raw {
		n, err := parseNormalizer(r, depth+1)
		if err != nil {
			return nil, err
		}
		if n == nil {
			return nil, missing("normalizer Sequence", "type")
		}
		seq = append(seq, n)
	}
	return seq, nil
}

// replaceNormalizer reads a Replace.
func (c component) replaceNormalizer() (normalizer, error) {
	if c.Content == nil {
		return nil, missing("Replace", "content")
	}
	p, err := c.pattern("Replace")
	if err != nil {
		return nil, err
	}
	return replaceNormalizer{p, *c.Content}, nil
}
