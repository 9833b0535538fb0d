package stored

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"quern/convert/tokenizer/ucd"
)

// wordPiece takes the longest token again and again, within words that begin with a phantom blank.
type wordPiece struct {
	*Vocabulary
	longest int // bytes of the longest token
}

func newWordPiece(v *Vocabulary) *wordPiece {
	m := &wordPiece{Vocabulary: v}
	for t := range v.ids {
		m.longest = max(m.longest, len(t))
	}
	return m
}

func (m *wordPiece) encode(text string, _ bool, to []int32) ([]int32, error) {
	for _, w := range m.words(text) {
		to = m.word(lowerBlock+w, to)
	}
	return to, nil
}

// word is the unknown token when any part of it is none.
func (m *wordPiece) word(w string, to []int32) []int32 {
	start := len(to)
	for at := 0; at < len(w); {
		hi := min(len(w), at+m.longest+1)
		for hi > at {
			if id, ok := m.ids[w[at:hi]]; ok {
				to = append(to, id)
				break
			}
			hi--
		}
		if hi == at {
			return append(to[:start], m.def.UNK)
		}
		at = hi
	}
	return to
}

// words cleans a text and cuts it at blanks and around punctuation and ideographs.
func (m *wordPiece) words(text string) []string {
	space, punct, symbol := ucd.Compiled("onig:whitespace"), ucd.Compiled("onig:p"), ucd.Compiled("onig:s")
	mark := ucd.Compiled("onig:m")
	var words []string
	var word strings.Builder
	flush := func() {
		if word.Len() > 0 {
			words = append(words, word.String())
			word.Reset()
		}
	}
	for _, r := range text {
		if m.def.StripAccents {
			r = base(r)
		}
		switch {
		case space.Contains(r):
			flush()
			continue
		case r == 0, r == utf8.RuneError, unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs), m.def.StripAccents && mark.Contains(r):
			continue
		}
		c := r
		if m.def.Lowercase {
			c = unicode.ToLower(r)
		}
		if alone := punct.Contains(r) || r < 0x7F && symbol.Contains(r) || ideograph(r); alone {
			flush()
			word.WriteRune(c)
			flush()
		} else {
			word.WriteRune(c)
		}
	}
	flush()
	return words
}

// base is the first character of the canonical decomposition; llama.cpp's table holds no more, so that the vowels of
// Hangul are lost.
func base(r rune) rune {
	if r < utf8.RuneSelf {
		return r
	}
	b, _ := utf8.DecodeRuneInString(norm.NFD.String(string(r)))
	return b
}

// ideograph tells what counts as a word of its own. Source: BERT's list of blocks, with the gap of Hugging Face's.
func ideograph(r rune) bool {
	switch {
	case r >= 0x4E00 && r <= 0x9FFF, r >= 0x3400 && r <= 0x4DBF, r >= 0x20000 && r <= 0x2A6DF, r >= 0x2A700 && r <= 0x2B73F,
		r >= 0x2B740 && r <= 0x2B81F, r >= 0x2B920 && r <= 0x2CEAF, r >= 0xF900 && r <= 0xFAFF, r >= 0x2F800 && r <= 0x2FA1F:
		return true
	}
	return false
}
