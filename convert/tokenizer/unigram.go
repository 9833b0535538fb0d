package tokenizer

import (
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	"quern/convert/fault"
)

// unknownPenalty is what an unknown character costs beyond the least score. Source: tokenizers 0.22.2, unigram/model.rs.
const unknownPenalty = 10

// searchBudget bounds the trie steps of a word, per byte: only a vocabulary of very long tokens over one letter reaches it.
const searchBudget = 1 << 14

// scored is a vocabulary that is a list of texts and scores; ids are places in the list.
type scored struct {
	*table
	list   []string
	scores []float64
}

// readScored reads [["text", score], ...]. A text may stand twice: the later id counts for the text, both for decoding.
func readScored(w *walker) *scored {
	s := &scored{table: newTable(1 << 10)}
	var ends []int
	var arena []byte
	w.array(func(i int) {
		if i > maxID {
			w.err = tooHigh("vocab", uint32(i))
			return
		}
		n := 0
		w.array(func(j int) {
			switch n++; j {
			case 0:
				text := w.text()
				s.put(text, int32(i))
				arena = append(arena, text...)
				ends = append(ends, len(arena))
			case 1:
				s.scores = append(s.scores, w.float())
			default:
				w.skip(0)
			}
		})
		if w.err == nil && n != 2 {
			w.fail("entry %d of vocab has %d members, a text and a score are needed", i, n)
		}
	})
	all, from := string(arena), 0
	for _, end := range ends {
		s.list = append(s.list, all[from:end])
		from = end
	}
	return s
}

// unigram takes the way through a word whose tokens' scores have the greatest sum.
type unigram struct {
	*scored
	trie     *trie
	unk      int32 // -1: none
	least    float64
	fallback bool
	hexed    [256]int32
}

// unigram makes the model; unk_id may be missing, and is missed only when a text needs it.
func (f *modelFile) unigram() (model, error) {
	m := &unigram{scored: f.scored, unk: -1}
	var unk *uint32
	if err := f.option("unk_id", &unk); err != nil {
		return nil, err
	}
	if raw, ok := f.options["byte_fallback"]; ok {
		if !isBool(raw) {
			return nil, &fault.Invalid{On: "model Unigram", Says: fmt.Sprintf("byte_fallback is %.60s", raw)}
		}
		m.fallback = string(raw) == "true"
	}
	if unk != nil {
		if int64(*unk) >= int64(len(m.list)) {
			return nil, &fault.Invalid{On: "model Unigram", Says: fmt.Sprintf("unk_id is %d, the vocabulary has %d tokens", *unk, len(m.list))}
		}
		m.unk = int32(*unk)
	}
	m.prepare()
	return m, nil
}

// prepare builds the trie and finds the least score.
func (m *unigram) prepare() {
	m.trie = newTrie(m.table)
	m.least = math.Inf(1)
	for _, s := range m.scores {
		m.least = min(m.least, s)
	}
	for b := range 256 {
		m.hexed[b] = -1
		if id, ok := m.findString(fmt.Sprintf("<0x%02X>", b)); ok {
			m.hexed[b] = id
		}
	}
}

// cell is the best way to one place in a word.
type cell struct {
	score float64
	from  int32 // where its last token begins, -1: not reached
	id    int32
}

// encode goes back along the best way. Stretches of unknown characters are looked up as a whole before they count as
// unknown: the library compares texts, not ids.
func (m *unigram) encode(word string, to []int32, c *cache) ([]int32, error) {
	if ids, ok := c.words[word]; ok {
		return append(to, ids...), nil
	}
	if word == "" {
		return to, nil
	}
	if err := m.forward(word, c); err != nil {
		return to, err
	}
	start := len(to)
	var err error
	// From the back: stretches of unknown characters are one token.
	end := len(word)
	for at := len(word); at > 0; {
		n := c.cells[at]
		if n.id == m.unk && n.from > 0 && c.cells[n.from].id == m.unk {
			at = int(n.from)
			continue
		}
		at = int(n.from)
		if to, err = m.emit(word[at:end], n.id, to); err != nil {
			return to[:start], err
		}
		end = at
	}
	slices.Reverse(to[start:])
	c.remember(word, to[start:])
	return to, nil
}

// emit adds a token's id, or in reverse the bytes of a stretch that has none.
func (m *unigram) emit(text string, id int32, to []int32) ([]int32, error) {
	if id != m.unk {
		return append(to, id), nil
	}
	if known, ok := m.id(text); ok {
		return append(to, known), nil
	}
	if m.fallback {
		n := len(to)
		for i := len(text) - 1; i >= 0; i-- {
			if m.hexed[text[i]] < 0 {
				return append(to[:n], m.unk), nil
			}
			to = append(to, m.hexed[text[i]])
		}
		return to, nil
	}
	return append(to, m.unk), nil
}

// forward finds the best way to every place. Of two ways with one score the one found first stays: the one whose last
// token is longer.
func (m *unigram) forward(word string, c *cache) error {
	c.cells = slices.Grow(c.cells[:0], len(word)+1)[:len(word)+1]
	for i := range c.cells {
		c.cells[i] = cell{from: -1, id: -1}
	}
	budget := searchBudget * (len(word) + 64)
	for at, r := range word {
		size := utf8.RuneLen(r)
		base, single := c.cells[at].score, false
		for node, i := int32(0), at; i < len(word); i++ {
			if node = m.trie.next(node, word[i]); node < 0 {
				break
			}
			budget--
			if id := m.trie.value(node); id >= 0 {
				reach(&c.cells[i+1], base+m.scores[id], at, id)
				single = single || i+1-at == size
			}
		}
		if budget < 0 {
			return &fault.Invalid{On: "text", Says: fmt.Sprintf("a word of %d bytes takes more than %d steps", len(word), searchBudget*(len(word)+64))}
		}
		if !single && reach(&c.cells[at+size], base+m.least-unknownPenalty, at, m.unk) && m.unk < 0 {
			return noUnknown("unk_id")
		}
	}
	return nil
}

// reach offers a way to a place, and tells whether it is the best so far.
func reach(to *cell, score float64, from int, id int32) bool {
	better := to.from < 0 || score > to.score
	if better {
		*to = cell{score, int32(from), id}
	}
	return better
}

// token is the text of an id.
func (m *unigram) token(id int32) (string, bool) {
	if id < 0 || int(id) >= len(m.list) {
		return "", false
	}
	return m.list[id], true
}

// id is the id of a text.
func (m *unigram) id(token string) (int32, bool) { return m.findString(token) }

// size counts entries, doubled texts twice.
func (m *unigram) size() int { return len(m.list) }

// texts makes the form that accessors share; a list has no holes.
func (m *unigram) texts() *vocabulary {
	v := &vocabulary{table: m.table, byID: m.list, used: make([]bool, len(m.list))}
	for i := range v.used {
		v.used[i] = true
	}
	return v
}
