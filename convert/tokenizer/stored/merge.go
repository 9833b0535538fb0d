package stored

import (
	"container/heap"
	"fmt"
	"strings"
	"unicode/utf8"

	"quern/convert/fault"
	"quern/convert/tokenizer"
	"quern/convert/tokenizer/onig"
)

// stretch is a run of bytes of a word that is one token, or becomes one. hi == lo: it was merged into the one before.
type stretch struct{ lo, hi, prev, next int }

// offer is a merge that may happen. It is void when the two stretches have changed since: their size tells.
type offer struct {
	left, right, size int
	key               float64 // the least goes first
}

type agenda []offer

// Len is the number of merges that may happen.
func (a agenda) Len() int { return len(a) }

// Less puts the better merge first, of equals the one further left.
func (a agenda) Less(i, j int) bool {
	return a[i].key < a[j].key || a[i].key == a[j].key && a[i].left < a[j].left
}

// Swap exchanges two entries.
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }

// Push adds an entry.
func (a *agenda) Push(x any) { *a = append(*a, x.(offer)) }

// Pop removes the last entry.
func (a *agenda) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}

// merged cuts a word into characters and merges neighbours, the best first; rank says what a merge is worth, and whether
// it is one.
func merged(word string, rank func(left, right string) (float64, bool)) []string {
	var s []stretch
	for i, r := range word {
		s = append(s, stretch{i, i + utf8.RuneLen(r), len(s) - 1, len(s) + 1})
	}
	if len(s) == 0 {
		return nil
	}
	s[len(s)-1].next = -1
	var work agenda
	try := func(left, right int) {
		if left < 0 || right < 0 {
			return
		}
		l, r := s[left], s[right]
		if key, ok := rank(word[l.lo:l.hi], word[r.lo:r.hi]); ok {
			heap.Push(&work, offer{left, right, r.hi - l.lo, key})
		}
	}
	for i := 1; i < len(s); i++ {
		try(i-1, i)
	}
	for len(work) > 0 {
		o := heap.Pop(&work).(offer)
		l, r := &s[o.left], &s[o.right]
		if l.lo == l.hi || r.lo == r.hi || l.next != o.right || r.hi-l.lo != o.size {
			continue
		}
		l.hi, l.next = r.hi, r.next
		r.lo = r.hi
		if l.next >= 0 {
			s[l.next].prev = o.left
		}
		try(l.prev, o.left)
		try(o.left, l.next)
	}
	var out []string
	for i := 0; i >= 0; i = s[i].next {
		out = append(out, word[s[i].lo:s[i].hi])
	}
	return out
}

// hexByte spells a byte as vocabularies with byte fallback do.
func hexByte(b byte) string { return fmt.Sprintf("<0x%02X>", b) }

// lowerBlock stands for a blank inside tokens.
const lowerBlock = "\u2581"

// scored merges by score, as SentencePiece's BPE models do, without their normalization.
type scored struct{ *Vocabulary }

func (m *scored) encode(text string, first bool, to []int32) ([]int32, error) {
	if m.def.SpacePrefix && first {
		text = " " + text
	}
	text = strings.ReplaceAll(text, " ", lowerBlock)
	pieces := merged(text, func(l, r string) (float64, bool) {
		id, ok := m.ids[l+r]
		return -float64(m.def.score(id)), ok
	})
	for _, p := range pieces {
		if id, ok := m.ids[p]; ok {
			to = append(to, id)
			continue
		}
		for i := range len(p) {
			id, ok := m.ids[hexByte(p[i])]
			if !ok {
				id, ok = m.ids[p[i:i+1]]
			}
			if !ok {
				return nil, &fault.Invalid{On: "vocabulary", Says: fmt.Sprintf("has no token for the byte 0x%02X of %q", p[i], p)}
			}
			to = append(to, id)
		}
	}
	return to, nil
}

// merging merges by rank inside of words.
type merging struct {
	*Vocabulary
	splits []splitter
	ranks  map[[2]string]int
}

// splitter cuts a text into words.
type splitter func(text string, to []string) ([]string, error)

func newMerging(v *Vocabulary) (*merging, error) {
	ranks := make(map[[2]string]int, len(v.def.Merges))
	for i, line := range v.def.Merges {
		at := -1
		if line != "" { // a token may begin with a blank
			at = strings.IndexByte(line[1:], ' ')
		}
		var pair [2]string
		if at >= 0 {
			pair = [2]string{line[:at+1], line[at+2:]}
		}
		if _, ok := ranks[pair]; !ok {
			ranks[pair] = i
		}
	}
	return cutting(v, ranks)
}

// cutting is the engine of a vocabulary whose merges have been read: its words are those of the definition's expressions.
func cutting(v *Vocabulary, ranks map[[2]string]int) (*merging, error) {
	m := &merging{Vocabulary: v, ranks: ranks}
	for _, s := range v.def.Splits {
		if s == GroupDigits {
			m.splits = append(m.splits, groupDigits)
			continue
		}
		re, err := onig.Compile(s)
		if err != nil {
			return nil, err
		}
		m.splits = append(m.splits, func(text string, to []string) ([]string, error) { return isolate(re, text, to) })
	}
	return m, nil
}

// isolate makes a word of every match, and of what lies between two.
func isolate(re *onig.Regexp, text string, to []string) ([]string, error) {
	done := 0
	word := func(lo, hi int) {
		if lo < hi {
			to = append(to, text[lo:hi])
		}
	}
	err := re.Each(text, func(lo, hi int) {
		word(done, lo)
		word(lo, hi)
		done = hi
	})
	word(done, len(text))
	return to, err
}

func (m *merging) encode(text string, _ bool, to []int32) ([]int32, error) {
	if m.def.EscapeSpaces {
		text = strings.ReplaceAll(text, " ", lowerBlock)
	}
	words := []string{text}
	for _, split := range m.splits {
		var next []string
		for _, w := range words {
			var err error
			if next, err = split(w, next); err != nil {
				return nil, err
			}
		}
		words = next
	}
	for _, w := range words {
		to = m.word(w, to)
	}
	return to, nil
}

// word encodes one word. Bytes that the vocabulary lacks vanish.
func (m *merging) word(w string, to []int32) []int32 {
	breaks := m.def.WholeBreaks && strings.Trim(w, "\n") == ""
	if !m.def.Raw {
		w = tokenizer.ByteChars([]byte(w))
	}
	if m.def.IgnoreMerges || breaks {
		if id, ok := m.ids[w]; ok {
			return append(to, id)
		}
	}
	for _, p := range merged(w, func(l, r string) (float64, bool) {
		rank, ok := m.ranks[[2]string{l, r}]
		return float64(rank), ok
	}) {
		if id, ok := m.ids[p]; ok {
			to = append(to, id)
			continue
		}
		for i := range len(p) {
			b := p[i : i+1]
			if m.def.Raw {
				b = hexByte(p[i])
			}
			if id, ok := m.ids[b]; ok {
				to = append(to, id)
			}
		}
	}
	return to
}
