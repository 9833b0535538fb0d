package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"

	"quern/convert/fault"
)

// Bounds of a tokenizer file.
const (
	maxFile = 1 << 29 // bytes; the largest known tokenizer.json has 35 million
	maxID   = 1 << 24 // the largest known vocabulary has 0.3 million tokens
)

// tooHigh refuses an id for which a list by id would be too large.
func tooHigh(on string, id uint32) error {
	return &fault.Invalid{On: on, Says: fmt.Sprintf("token id %d, ids up to %d are read", id, maxID)}
}

// model turns a word into ids.
type model interface {
	// encode adds the ids of a word to to.
	encode(word string, to []int32, c *cache) ([]int32, error)
	id(token string) (int32, bool)
	token(id int32) (string, bool)
	size() int // how many tokens there are; ids may have holes
	texts() *vocabulary
}

// vocabulary is what the models have in common: texts and ids.
type vocabulary struct {
	*table
	byID []string // "" is a hole, unless empty says otherwise
	used []bool
}

// reverse fills the way back. Of two texts with one id the last one read counts.
func (v *vocabulary) reverse() {
	top := int32(-1)
	for _, id := range v.ids[1:] {
		top = max(top, id)
	}
	all := string(v.arena)
	v.byID, v.used = make([]string, top+1), make([]bool, top+1)
	for e := 1; e < len(v.ids); e++ {
		v.byID[v.ids[e]] = all[v.ends[e-1]:v.ends[e]]
		v.used[v.ids[e]] = true
	}
}

// texts gives access to texts and ids for the accessors.
func (v *vocabulary) texts() *vocabulary { return v }

// id is the id of a text.
func (v *vocabulary) id(token string) (int32, bool) { return v.findString(token) }

// token is the text of an id; ids may have holes.
func (v *vocabulary) token(id int32) (string, bool) {
	if id < 0 || int(id) >= len(v.byID) || !v.used[id] {
		return "", false
	}
	return v.byID[id], true
}

// size counts texts, not ids: two texts may share an id, and ids may have holes. The library numbers added tokens from it.
func (v *vocabulary) size() int { return v.len() }

// readVocabulary reads {"text": id, ...}.
func readVocabulary(w *walker, sizeHint int) *vocabulary {
	v := &vocabulary{table: newTable(sizeHint)}
	v.arena = make([]byte, 0, sizeHint*8)
	high := uint32(0)
	w.objectBytes(func(key []byte) {
		// The key is in w's buffer, which the number does not touch.
		id := w.integer()
		high = max(high, id)
		if id <= maxID {
			v.put(key, int32(id))
		}
	})
	if w.err == nil && high > maxID {
		w.err = tooHigh("vocab", high)
	}
	return v
}

// cache remembers words that were encoded lately. It is bounded in entries and in the length of a word.
type cache struct {
	words map[string][]int32
	sym   []symbol
	heap  []merge
	buf   []byte
	cells []cell
}

const (
	cacheWords  = 1 << 14
	cacheLength = 128 // bytes of a word that is worth remembering
)

// newCache makes what one goroutine needs while it encodes.
func newCache() *cache { return &cache{words: map[string][]int32{}} }

// remember forgets all words when it is full: the frequent ones are back soon, and no order has to be kept.
func (c *cache) remember(word string, ids []int32) {
	if len(word) > cacheLength {
		return
	}
	if len(c.words) >= cacheWords {
		clear(c.words)
	}
	// The word is a part of the input: keep a copy, not the whole text.
	c.words[string([]byte(word))] = append([]int32(nil), ids...)
}

// wordLevel knows whole words only.
type wordLevel struct {
	*vocabulary
	unknown string
}

// encode needs the unknown token only when it meets an unknown word, as the library does.
func (m *wordLevel) encode(word string, to []int32, _ *cache) ([]int32, error) {
	id, ok := m.id(word)
	if !ok {
		if id, ok = m.id(m.unknown); !ok {
			return to, noUnknown(m.unknown)
		}
	}
	return append(to, id), nil
}

// noUnknown says that a text has no ids at all.
func noUnknown(token string) error {
	return &fault.Invalid{On: "model", Says: fmt.Sprintf("a text has no token, and the unknown token %q is not in the vocabulary", token)}
}

// wordPiece takes the longest known beginning of a word again and again.
type wordPiece struct {
	*vocabulary
	unknown, prefix string
	longest         int // characters; a longer word is unknown
	trie            *trie
	inner           int32 // the trie's node after prefix, -1 if nothing begins with it
}

// prepare finds where continuations begin in the trie, so that the longest match is one walk instead of a look-up for each
// length.
func (m *wordPiece) prepare() {
	m.trie = newTrie(m.vocabulary.table)
	m.inner = 0
	for i := range len(m.prefix) {
		if m.inner >= 0 {
			m.inner = m.trie.next(m.inner, m.prefix[i])
		}
	}
}

// encode gives the unknown token for the whole word if any part of it is not known.
func (m *wordPiece) encode(word string, to []int32, _ *cache) ([]int32, error) {
	start := len(to)
	ok := !moreRunes(word, m.longest)
	for at := 0; ok && at < len(word); {
		node, id, end := int32(0), int32(-1), at
		if at > 0 {
			node = m.inner
		}
		for i := at; i < len(word) && node >= 0; i++ {
			if node = m.trie.next(node, word[i]); node >= 0 && m.trie.value(node) >= 0 {
				id, end = m.trie.value(node), i+1
			}
		}
		if ok = id >= 0; ok {
			to = append(to, id)
			at = end
		}
	}
	if ok {
		return to, nil
	}
	id, known := m.id(m.unknown)
	if !known {
		return to, noUnknown(m.unknown)
	}
	return append(to[:start], id), nil
}

// moreRunes tells whether s has more than n characters.
func moreRunes(s string, n int) bool {
	for range s {
		if n--; n < 0 {
			return true
		}
	}
	return false
}

// modelFile holds the members of all kinds of model. vocab and merges are read on the way.
type modelFile struct {
	kind      string
	typed     bool // it is named
	options   map[string]json.RawMessage
	vocab     *vocabulary // of a vocab that is an object
	scored    *scored     // of a vocab that is a list
	merges    []byte      // where merges stand in the file
	hasMerges bool
}

// read goes through the members in their order. Merges usually come after the vocabulary but need not, so they are kept
// until both are there.
func (f *modelFile) read(w *walker) {
	f.options = map[string]json.RawMessage{}
	w.object(func(key string) {
		switch key {
		case "type":
			f.kind, f.typed = string(w.text()), true
		case "vocab":
			if w.peek() == '[' {
				f.scored = readScored(w)
			} else {
				f.vocab = readVocabulary(w, 1<<14)
			}
		case "merges":
			f.merges, f.hasMerges = w.raw(), true
		default:
			f.options[key] = w.raw()
		}
	})
}

// option decodes a member into to; null and absence leave it alone.
func (f *modelFile) option(key string, to any) error {
	raw, ok := f.options[key]
	if !ok {
		return nil
	}
	if err := json.Unmarshal(raw, to); err != nil {
		return &fault.Invalid{On: "model", Says: key + " cannot be read", Err: err}
	}
	return nil
}

// need decodes a member that has to be there.
func (f *modelFile) need(on, key string, fits func(json.RawMessage) bool, to any) error {
	raw, ok := f.options[key]
	switch {
	case !ok:
		return missing(on, key)
	case !fits(raw):
		return &fault.Invalid{On: on, Says: fmt.Sprintf("%s is %.60s, which is not what it takes", key, raw)}
	}
	return f.option(key, to)
}

// build makes the model. A file without a type is of before 0.8: its members tell the kind.
func (f *modelFile) build() (model, error) {
	kind := f.kind
	if !f.typed && kind == "" {
		switch {
		case f.scored != nil:
			kind = "Unigram"
		case f.hasMerges:
			kind = "BPE"
		case isString(f.options["continuing_subword_prefix"]) && isSize(f.options["max_input_chars_per_word"]):
			kind = "WordPiece"
		default:
			kind = "WordLevel"
		}
		f.kind = kind
	}
	if kind == "Unigram" {
		if f.scored == nil {
			return nil, missing("model Unigram", "a vocab that is a list")
		}
		return f.unigram()
	}
	if f.vocab == nil {
		return nil, missing("model "+kind, "a vocab that is an object")
	}
	f.vocab.reverse()
	switch kind {
	case "BPE":
		return f.bpe()
	case "WordPiece":
		m := &wordPiece{vocabulary: f.vocab}
		err := errors.Join(f.need("model WordPiece", "unk_token", isString, &m.unknown), f.need("model WordPiece", "continuing_subword_prefix", isString, &m.prefix),
			f.need("model WordPiece", "max_input_chars_per_word", isSize, &m.longest))
		m.prepare()
		return m, err
	case "WordLevel":
		m := &wordLevel{vocabulary: f.vocab}
		return m, f.need("model WordLevel", "unk_token", isString, &m.unknown)
	}
	return nil, unknown("model", kind)
}
