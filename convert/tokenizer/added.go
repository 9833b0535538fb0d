package tokenizer

import (
	"encoding/json"
	"fmt"
	"slices"
	"unicode/utf8"

	"quern/convert/fault"
	"quern/convert/tokenizer/ucd"
)

// maxAdded bounds the added tokens of a file; the largest known has about 7,000.
const maxAdded = 1 << 18

// AddedToken is a token that is cut out of a text before the model sees it.
type AddedToken struct {
	ID         int32  // as the library gives it: that of the model's vocabulary, else the next after it
	Declared   int32  // the id that the file states; the library ignores it, so a difference deserves a warning
	Content    string //
	SingleWord bool   // found only where no word character stands before or after it
	LStrip     bool   // takes the blanks on its left along
	RStrip     bool   // takes the blanks on its right along
	Normalized bool   // is looked for in the normalized text, in its own normalized form
	Special    bool   // left out when decoding without special tokens
}

// added is the library's AddedVocabulary.
type added struct {
	listed  []AddedToken // as in the file, with their ids
	byID    map[int32]AddedToken
	ids     map[string]int32
	special map[string]bool

	plain, normal tokenSet
}

// tokenSet is what one pass over a text looks for.
type tokenSet struct {
	find *automaton // nil if there is nothing
	ids  []int32
}

// parseAdded reads the list of a tokenizer.json. Every flag has to be there: the library has no defaults for them.
func parseAdded(raw json.RawMessage) ([]AddedToken, error) {
	var file []struct {
		ID         *uint32 `json:"id"`
		Content    *string `json:"content"`
		SingleWord *bool   `json:"single_word"`
		LStrip     *bool   `json:"lstrip"`
		RStrip     *bool   `json:"rstrip"`
		Normalized *bool   `json:"normalized"`
		Special    *bool   `json:"special"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return nil, &fault.Invalid{On: "added_tokens", Says: "cannot be read", Err: err}
	}
	if len(file) > maxAdded {
		return nil, &fault.Invalid{On: "added_tokens", Says: fmt.Sprintf("holds %d tokens, at most %d are read", len(file), maxAdded)}
	}
	var tokens []AddedToken
	for i, f := range file {
		if f.ID == nil || f.Content == nil || f.SingleWord == nil || f.LStrip == nil || f.RStrip == nil || f.Normalized == nil || f.Special == nil {
			return nil, missing(fmt.Sprintf("added_tokens[%d]", i), "one of id, content, single_word, lstrip, rstrip, normalized, special")
		}
		if *f.ID > maxID {
			return nil, tooHigh("added_tokens", *f.ID)
		}
		tokens = append(tokens, AddedToken{Declared: int32(*f.ID), Content: *f.Content, SingleWord: *f.SingleWord,
			LStrip: *f.LStrip, RStrip: *f.RStrip, Normalized: *f.Normalized, Special: *f.Special})
	}
	return tokens, nil
}

// newAdded registers the tokens one after another. A text that the model knows keeps the model's id; the others are
// numbered from the size of the vocabulary on, whatever ids are taken there already.
func newAdded(tokens []AddedToken, m model, n normalizer) (*added, error) {
	a := &added{byID: map[int32]AddedToken{}, ids: map[string]int32{}, special: map[string]bool{}}
	return a, a.add(tokens, m, n)
}

// add registers more tokens, which transformers does after loading. A token that is there already in the very same form
// is left alone; one with other flags takes its place.
func (a *added) add(tokens []AddedToken, m model, n normalizer) error {
	next := int32(m.size())
	for id := range a.byID {
		if id >= next || m.size() == 0 {
			next = max(next, id+1)
		}
	}
	for _, t := range tokens {
		if t.Special && t.Content != "" {
			a.special[t.Content] = true
		}
	}
	existing := map[AddedToken]bool{}
	for _, t := range a.byID {
		existing[t.bare()] = true
	}
	for _, t := range tokens {
		if t.Content == "" || existing[t.bare()] {
			continue
		}
		id, ok := a.ids[t.Content]
		if !ok {
			if id, ok = m.id(t.Content); !ok {
				id = next
				next++
			}
		}
		existing[t.bare()] = true
		t.ID = id
		a.ids[t.Content] = id
		a.byID[id] = t
		a.listed = append(a.listed, t)
	}
	return a.index(n)
}

// bare is the token without its ids: what makes two tokens the same.
func (t AddedToken) bare() AddedToken {
	t.ID, t.Declared = 0, 0
	return t
}

// index makes the two sets that texts are searched for. Special tokens stand first: among equal texts the first counts.
func (a *added) index(n normalizer) error {
	order := slices.Clone(a.listed)
	slices.SortStableFunc(order, func(x, y AddedToken) int {
		sx, sy := a.special[x.Content], a.special[y.Content]
		switch {
		case sx == sy:
			return 0
		case sx:
			return -1
		}
		return 1
	})
	var texts [2][]string
	var ids [2][]int32
	taken := map[string]bool{}
	for _, t := range order {
		// Of a special token only the first form is looked for, whatever else was said of its text.
		if a.special[t.Content] {
			if taken[t.Content] || !t.Special {
				continue
			}
			taken[t.Content] = true
		}
		s, set := span{text: t.Content}, 0
		if t.Normalized {
			set = 1
			if n != nil {
				if err := n.normalize(&s); err != nil {
					return err
				}
			}
		}
		if s.text == "" {
			// The library finds such a token between characters and inside them, and fails there.
			return &fault.Unsupported{On: "added_tokens", Says: fmt.Sprintf("the normalizer leaves nothing of %q", t.Content)}
		}
		texts[set], ids[set] = append(texts[set], s.text), append(ids[set], a.ids[t.Content])
	}
	a.plain, a.normal = newTokenSet(texts[0], ids[0]), newTokenSet(texts[1], ids[1])
	return nil
}

// newTokenSet makes a set that is skipped without a search when it is empty, as it is for most tokenizers.
func newTokenSet(texts []string, ids []int32) tokenSet {
	if len(texts) == 0 {
		return tokenSet{}
	}
	return tokenSet{newAutomaton(texts), ids}
}

// extract cuts the tokens of a set out of a piece.
func (a *added) extract(set *tokenSet, s span, to []span) ([]span, error) {
	if set.find == nil {
		if s.text != "" {
			to = append(to, s.cut(0, len(s.text))) // cutting sets where the piece begins in the input
		}
		return to, nil
	}
	done := 0
	emit := func(lo, hi int, id int32) {
		if lo < hi {
			p := s.cut(lo, hi)
			p.id = id
			to = append(to, p)
		}
	}
	for from := 0; ; {
		lo, hi, i, ok := set.find.find(s.text, from)
		if !ok {
			break
		}
		from = hi
		t := a.byID[set.ids[i]]
		if t.SingleWord && !alone(s.text, lo, hi) {
			continue
		}
		if t.LStrip {
			lo = max(blanksBefore(s.text, lo), done)
		}
		if t.RStrip {
			hi = blanksAfter(s.text, hi)
		}
		if lo > hi {
			return to, &fault.Invalid{On: "added_tokens", Says: fmt.Sprintf("%q stands within the blanks that the token before it takes along", t.Content)}
		}
		if done < lo {
			emit(done, lo, -1)
		}
		emit(lo, hi, t.ID)
		done = hi
	}
	emit(done, len(s.text), -1)
	return to, nil
}

// alone tells whether no word character stands next to text[lo:hi]. Word characters are those of Rust's regex crate, not
// Oniguruma's: the two differ in marks, digits and joiners.
func alone(text string, lo, hi int) bool {
	word := ucd.Compiled("rust:word")
	if r, n := utf8.DecodeLastRuneInString(text[:lo]); n > 0 && word.Contains(r) {
		return false
	}
	r, n := utf8.DecodeRuneInString(text[hi:])
	return n == 0 || !word.Contains(r)
}

// blanksBefore moves at to the beginning of the blanks that end there.
func blanksBefore(text string, at int) int {
	space := ucd.Compiled("rust:regexspace")
	for at > 0 {
		r, n := utf8.DecodeLastRuneInString(text[:at])
		if !space.Contains(r) {
			break
		}
		at -= n
	}
	return at
}

// blanksAfter moves at to the end of the blanks that begin there.
func blanksAfter(text string, at int) int {
	space := ucd.Compiled("rust:regexspace")
	for at < len(text) {
		r, n := utf8.DecodeRuneInString(text[at:])
		if !space.Contains(r) {
			break
		}
		at += n
	}
	return at
}
