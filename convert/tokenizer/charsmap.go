package tokenizer

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf8"

	"quern/convert/fault"
)

// Charsmap is SentencePiece's compiled normalization: a double array over bytes (Darts-clone) whose values are places in
// a blob of replacements, each ended by a NUL.
type Charsmap struct {
	units []uint32
	blob  string
}

// NewCharsmap takes the blob apart: the size of the trie in bytes, its units, the replacements. Units may point outside of
// the trie in a damaged file, so the walk checks each step instead.
func NewCharsmap(data []byte) (*Charsmap, error) {
	if len(data) < 4 {
		return nil, &fault.Invalid{On: "precompiled_charsmap", Says: fmt.Sprintf("holds %d bytes, at least 4 are needed", len(data))}
	}
	n := int64(binary.LittleEndian.Uint32(data))
	if n > int64(len(data)-4) {
		return nil, &fault.Invalid{On: "precompiled_charsmap", Says: fmt.Sprintf("its trie has %d bytes, %d are there", n, len(data)-4)}
	}
	c := &Charsmap{units: make([]uint32, n/4)}
	for i := range c.units {
		c.units[i] = binary.LittleEndian.Uint32(data[4+4*i:])
	}
	if len(c.units) == 0 {
		return nil, &fault.Invalid{On: "precompiled_charsmap", Says: "its trie is empty"}
	}
	c.blob = string(data[4+len(c.units)*4:])
	if !utf8.ValidString(c.blob) {
		return nil, &fault.Invalid{On: "precompiled_charsmap", Says: "its replacements are not UTF-8"}
	}
	return c, nil
}

// prefix walks text as far as the trie goes and calls f at every key that ends, with its length and replacement;
// f returns whether to go on.
func (c *Charsmap) prefix(text string, f func(size int, with string) bool) {
	at := offset(c.units[0])
	for i := range len(text) {
		b := uint32(text[i])
		if at ^= b; b == 0 || at >= uint32(len(c.units)) {
			return
		}
		u := c.units[at]
		if u&(1<<31|0xFF) != b {
			return
		}
		at ^= offset(u)
		if u>>8&1 == 0 {
			continue
		}
		if at >= uint32(len(c.units)) {
			return
		}
		if !f(i+1, c.at(c.units[at]&(1<<31-1))) {
			return
		}
	}
}

// offset is where a unit's children lie, relative to itself. Source: darts-clone, DoubleArrayUnit.
func offset(unit uint32) uint32 { return unit >> 10 << (unit & (1 << 9) >> 6) }

// at is the replacement that begins at byte i of the blob.
func (c *Charsmap) at(i uint32) string {
	if i >= uint32(len(c.blob)) {
		return ""
	}
	s := c.blob[i:]
	if end := strings.IndexByte(s, 0); end >= 0 {
		s = s[:end]
	}
	return s
}

// shortest is the replacement of the shortest key that text begins with. The library takes it for the whole text.
func (c *Charsmap) shortest(text string) (with string, ok bool) {
	c.prefix(text, func(_ int, s string) bool {
		with, ok = s, true
		return false
	})
	return with, ok
}

// Longest is the replacement of the longest key, as SentencePiece itself takes it.
func (c *Charsmap) Longest(text string) (size int, with string, ok bool) {
	c.prefix(text, func(n int, s string) bool {
		size, with, ok = n, s, true
		return true
	})
	return size, with, ok
}

// normalize goes cluster by cluster: one of less than six bytes is looked up as a whole, the others character by character.
func (c *Charsmap) normalize(s *span) error {
	w := s.rewrite()
	changed := false
	for at := 0; at < len(s.text); {
		end := at + cluster(s.text[at:])
		whole := s.text[at:end]
		if len(whole) < 6 {
			if with, ok := c.shortest(whole); ok {
				changed = true
				w.exchange(whole, with)
				at = end
				continue
			}
		}
		for i, r := range whole {
			part := whole[i : i+utf8.RuneLen(r)]
			if with, ok := c.shortest(part); ok {
				changed = true
				w.exchange(part, with)
			} else {
				w.put(r, false, 0)
			}
		}
		at = end
		if len(w.out) > maxGrown {
			return tooLong(len(w.out))
		}
	}
	if changed {
		w.done()
	}
	return nil
}

// exchange puts with in the place of old: the last characters are added ones where there are more of them, and the last
// one takes the surplus of the old along where there are fewer.
func (w *rewriter) exchange(old, with string) {
	had, has := utf8.RuneCountInString(old), utf8.RuneCountInString(with)
	i := 0
	for _, r := range with {
		gone := 0
		if i == has-1 && had > has {
			gone = had - has
		}
		w.put(r, i >= had, gone)
		i++
	}
}
