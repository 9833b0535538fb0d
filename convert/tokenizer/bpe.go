package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"quern/convert/fault"
)

// bpe merges neighbouring symbols by rank.
type bpe struct {
	*vocabulary
	pairs    *pairs
	merges   [][2]string // as in the file, in order
	unknown  *string
	prefix   string // before every character of a word but the first
	suffix   string // after the last
	fuse     bool
	fallback bool // bytes of an unknown character as <0xNN>
	whole    bool // ignore_merges: a word in the vocabulary is one token

	raw    bool       // words come as bytes that the last pre-tokenizer has not spelled out
	spelt  [256]int32 // id of a spelled byte, -1 if it has none
	hexed  [256]int32 // id of <0xNN>
	joined []byte     // scratch while merges are read
	plain  bool       // neither prefix nor suffix: a symbol's text is what it covers
}

// bpe makes the model. Dropout is checked and then ignored: it is of use in training, and random.
func (f *modelFile) bpe() (model, error) {
	if !f.hasMerges {
		return nil, missing("model BPE", "merges")
	}
	m := &bpe{vocabulary: f.vocab}
	var dropout *float32
	var prefix, suffix *string
	for key, to := range map[string]any{"unk_token": &m.unknown, "continuing_subword_prefix": &prefix, "end_of_word_suffix": &suffix,
		"fuse_unk": &m.fuse, "byte_fallback": &m.fallback, "ignore_merges": &m.whole, "dropout": &dropout} {
		if err := f.option(key, to); err != nil {
			return nil, err
		}
	}
	if dropout != nil && (*dropout < 0 || *dropout > 1) {
		return nil, &fault.Invalid{On: "model BPE", Says: fmt.Sprintf("dropout is %g, it has to lie between 0 and 1", *dropout)}
	}
	if prefix != nil {
		m.prefix = *prefix
	}
	if suffix != nil {
		m.suffix = *suffix
	}
	return m, m.prepare(f.merges)
}

// prepare reads merges and the ids of bytes.
func (m *bpe) prepare(merges []byte) error {
	m.plain = m.prefix == "" && m.suffix == ""
	var key []byte
	for b := range 256 {
		m.spelt[b], m.hexed[b] = -1, -1
		key = utf8.AppendRune(key[:0], byteChars[b])
		if id, ok := m.find(key); ok {
			m.spelt[b] = id
		}
		if id, ok := m.findString(fmt.Sprintf("<0x%02X>", b)); ok {
			m.hexed[b] = id
		}
	}
	return m.readMerges(merges)
}

// readMerges takes ["a b", ...], where lines that begin with #version are skipped, or [["a", "b"], ...].
func (m *bpe) readMerges(raw []byte) error {
	// Commas may stand inside of tokens too: an upper estimate, which the size of the text bounds.
	n := bytes.Count(raw, []byte{','}) + 1
	m.pairs = newPairs(min(n, len(raw)/4+1))
	w := &walker{data: raw}
	var text []byte
	arena := make([]byte, 0, len(raw))
	var ends [][2]int // of the left and the right token of each merge
	rank := int32(0)
	add := func(space int) {
		if err := m.addMerge(text, space, rank); err != nil && w.err == nil {
			w.err = err
		}
		ends = append(ends, [2]int{len(arena) + space, len(arena) + len(text)})
		arena = append(arena, text...)
		rank++
	}
	w.array(func(int) {
		text = text[:0]
		if w.peek() != '[' {
			if text = append(text, w.text()...); w.err != nil || bytes.HasPrefix(text, []byte("#version")) {
				return
			}
			space := bytes.IndexByte(text, ' ')
			if space < 0 || bytes.IndexByte(text[space+1:], ' ') >= 0 {
				w.err = &fault.Invalid{On: "merges", Says: fmt.Sprintf("merge %d, %.40q, is not two tokens", rank+1, text)}
				return
			}
			add(space)
			return
		}
		parts, space := 0, 0
		w.array(func(int) {
			if parts == 1 {
				space = len(text)
				text = append(text, ' ')
			}
			text = append(text, w.text()...)
			parts++
		})
		if w.err == nil && parts != 2 {
			w.fail("merge %d has %d tokens, 2 are needed", rank+1, parts)
		}
		if w.err == nil {
			add(space)
		}
	})
	if w.err != nil {
		return asFault("merges", w.err)
	}
	all, from := string(arena), 0
	m.merges = make([][2]string, len(ends))
	for i, end := range ends {
		m.merges[i] = [2]string{all[from:end[0]], all[end[0]+1 : end[1]]}
		from = end[1]
	}
	return nil
}

// addMerge registers the merge of text[:space] and text[space+1:].
func (m *bpe) addMerge(text []byte, space int, rank int32) error {
	left, right := text[:space], text[space+1:]
	a, ok := m.find(left)
	if !ok {
		return notInVocabulary(left)
	}
	b, ok := m.find(right)
	if !ok {
		return notInVocabulary(right)
	}
	if len(right) < len(m.prefix) {
		return &fault.Invalid{On: "merges", Says: fmt.Sprintf("token %.40q is shorter than the prefix %q", right, m.prefix)}
	}
	m.joined = append(append(m.joined[:0], left...), right[len(m.prefix):]...)
	id, ok := m.find(m.joined)
	if !ok {
		return notInVocabulary(m.joined)
	}
	m.pairs.put(a, b, rank, id)
	return nil
}

// notInVocabulary refuses a merge as the library does: all three tokens of it have to be there.
func notInVocabulary(token []byte) error {
	return &fault.Invalid{On: "merges", Says: fmt.Sprintf("token %.60q is not in the vocabulary", token)}
}

// asFault gives an error of reading the kind that callers tell apart.
func asFault(on string, err error) error {
	switch err.(type) {
	case *fault.Invalid, *fault.Unsupported:
		return err
	}
	return &fault.Invalid{On: on, Says: "cannot be read", Err: err}
}

// encode looks a word up among those encoded lately, then, with ignore_merges, in the vocabulary, and only then merges.
func (m *bpe) encode(word string, to []int32, c *cache) ([]int32, error) {
	if ids, ok := c.words[word]; ok {
		return append(to, ids...), nil
	}
	if m.whole {
		var id int32
		var ok bool
		if m.raw {
			c.buf = appendByteChars(c.buf[:0], word)
			id, ok = m.find(c.buf)
		} else {
			id, ok = m.id(word)
		}
		if ok {
			c.remember(word, []int32{id})
			return append(to, id), nil
		}
	}
	exact, err := m.symbols(word, c)
	if err != nil {
		return to, err
	}
	m.merge(c, exact)
	start := len(to)
	for _, s := range c.sym {
		if s.len > 0 {
			to = append(to, s.id)
		}
	}
	c.remember(word, to[start:])
	return to, nil
}

// symbols cuts a word into its characters' ids. exact: every symbol's text is what it covers.
func (m *bpe) symbols(word string, c *cache) (exact bool, err error) {
	c.sym = c.sym[:0]
	if m.raw && m.plain {
		known := true
		for i := range len(word) {
			id := m.spelt[word[i]]
			if known = id >= 0; !known {
				break
			}
			c.sym = append(c.sym, symbol{id: id, len: 1})
		}
		if known {
			return true, nil
		}
	}
	if m.raw {
		c.buf = appendByteChars(c.buf[:0], word)
		word = string(c.buf)
		c.sym = c.sym[:0]
	}
	return m.characters(word, c)
}

// unknownRun is an unknown character, or several fused, that is not yet in the word.
type unknownRun struct {
	id, len int32
	open    bool
}

// flush puts the pending unknown token into the word.
func (u *unknownRun) flush(c *cache) {
	if u.open {
		c.sym = append(c.sym, symbol{id: u.id, len: u.len})
		u.open = false
	}
}

// characters is symbols for words that are not plain bytes: prefix and suffix belong to the text that is looked up, but
// not to the length of a symbol.
func (m *bpe) characters(word string, c *cache) (exact bool, err error) {
	exact = m.plain
	var unk unknownRun
	for i, r := range word {
		n := utf8.RuneLen(r)
		key := c.buf[:0]
		if i > 0 {
			key = append(key, m.prefix...)
		}
		key = append(key, word[i:i+n]...)
		if i+n == len(word) {
			key = append(key, m.suffix...)
		}
		c.buf = key
		if id, ok := m.find(key); ok {
			unk.flush(c)
			c.sym = append(c.sym, symbol{id: id, len: int32(n)})
			continue
		}
		exact = false
		// The library does not put a pending unknown token before the bytes of a later character, but after them.
		if m.fallback && m.bytesOf(key, c) {
			continue
		}
		if m.unknown == nil {
			continue
		}
		id, ok := m.id(*m.unknown)
		switch {
		case unk.open && m.fuse:
			unk.len += int32(n)
			continue
		case !ok:
			return false, noUnknown(*m.unknown)
		}
		unk.flush(c)
		unk = unknownRun{id, int32(n), true}
	}
	unk.flush(c)
	return exact, nil
}

// bytesOf adds a character's bytes as <0xNN>, if all of them are known.
func (m *bpe) bytesOf(key []byte, c *cache) bool {
	for _, b := range key {
		if m.hexed[b] < 0 {
			return false
		}
	}
	for _, b := range key {
		c.sym = append(c.sym, symbol{id: m.hexed[b], len: 1})
	}
	return true
}

// mergeLines makes the JSON form of the lines of a merges.txt.
func mergeLines(lines []string) []byte {
	b, _ := json.Marshal(lines)
	return b
}
