package stored

import (
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"quern/convert/tokenizer"
)

// unknownPenalty is what an unknown character costs below the worst token.
const unknownPenalty = 10

// unigram finds the tokens with the greatest sum of scores.
type unigram struct {
	*Vocabulary
	charsmap *tokenizer.Charsmap
	tokens   prefixes // normal, user-defined and unused ones
	user     prefixes
	unknown  float64
}

func newUnigram(v *Vocabulary) (*unigram, error) {
	m := &unigram{Vocabulary: v, tokens: prefixes{}, user: prefixes{}}
	least := float32(math.MaxFloat32)
	for t, id := range v.ids {
		switch v.def.typ(int(id)) {
		case Normal:
			least = min(least, v.def.score(id))
			m.tokens.add(t, id)
		case UserDefined:
			m.tokens.add(t, id)
			m.user.add(t, id)
		case Unused:
			m.tokens.add(t, id)
		}
	}
	m.unknown = float64(least - unknownPenalty)
	if len(v.def.Charsmap) == 0 {
		return m, nil
	}
	var err error
	m.charsmap, err = tokenizer.NewCharsmap(v.def.Charsmap)
	return m, err
}

// prefixes are texts with an id, and with None all of their beginnings.
type prefixes map[string]int32

func (p prefixes) add(text string, id int32) {
	for i := 1; i < len(text); i++ {
		if _, ok := p[text[:i]]; !ok {
			p[text[:i]] = None
		}
	}
	p[text] = id
}

// each calls f for every text that begins at the beginning of s, the shortest first.
func (p prefixes) each(s string, f func(size int, id int32)) {
	for i := 1; i <= len(s); i++ {
		id, ok := p[s[:i]]
		if !ok {
			return
		}
		if id >= 0 {
			f(i, id)
		}
	}
}

func (m *unigram) encode(text string, _ bool, to []int32) ([]int32, error) {
	text = m.normalize(text)
	type node struct {
		id    int32
		from  int
		score float64
	}
	best := make([]node, len(text)+1)
	for i := range best {
		best[i] = node{m.def.UNK, 0, -math.MaxFloat64}
	}
	best[0].score = 0
	for at := 0; at < len(text); {
		_, size := utf8.DecodeRuneInString(text[at:])
		base, single := best[at].score, false
		reach := func(end int, id int32, score float64) {
			if n := &best[end]; score > n.score {
				*n = node{id, at, score}
			}
		}
		m.tokens.each(text[at:], func(n int, id int32) {
			score := float64(m.def.score(id))
			if m.def.typ(int(id)) == UserDefined {
				score = 0
			}
			single = single || n == size
			reach(at+n, id, base+score)
		})
		if !single {
			reach(at+size, m.def.UNK, base+m.unknown)
		}
		at += size
	}
	start, unknown := len(to), false
	for at := len(text); at > 0; at = best[at].from {
		is := best[at].id == m.def.UNK
		if !is || !unknown {
			to = append(to, best[at].id)
		}
		unknown = is
	}
	slices.Reverse(to[start:])
	return to, nil
}

// normalize applies the compiled map and sets a mark before each word, or before the first.
func (m *unigram) normalize(text string) string {
	var out strings.Builder
	prefixed, inWord := false, false
	for text != "" {
		s, n := m.step(text)
		text = text[n:]
		for i := range len(s) {
			if s[i] == ' ' {
				if inWord = false; !m.def.RemoveExtraSpaces {
					out.WriteString(lowerBlock)
				}
				continue
			}
			if !inWord {
				inWord = true
				if m.def.SpacePrefix && !prefixed || m.def.RemoveExtraSpaces {
					out.WriteString(lowerBlock)
					prefixed = true
				}
			}
			out.WriteByte(s[i])
		}
	}
	return out.String()
}

// step is what the beginning of text becomes, and how much of it that is. User-defined tokens stay as they are.
func (m *unigram) step(text string) (string, int) {
	size := 0
	m.user.each(text, func(n int, _ int32) { size = n })
	if size > 0 {
		return text[:size], size
	}
	if m.charsmap != nil {
		if n, with, ok := m.charsmap.Longest(text); ok {
			return with, n
		}
	}
	_, n := utf8.DecodeRuneInString(text)
	return text[:n], n
}
