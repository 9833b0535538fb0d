package tokenizer

import "unicode/utf8"

// span is a stretch of text on its way through the pipeline: first the input, then what normalizers made of it, then the
// words. The library keeps for every byte which bytes of the input it came from; ids depend on that in one place only
// (Metaspace with the scheme "first" asks whether a word begins the input), so origins are kept only for it.
type span struct {
	text    string
	tracked bool
	shift   int     // where the span begins in the input
	origin  []int32 // by byte of text: where its character began in the input; nil: shift and on, nothing was changed
	id      int32   // of the added token that this span is, -1 if it is none
}

// from is where in the input the character of byte i began.
func (s *span) from(i int) int {
	if !s.tracked {
		return 0
	}
	if s.origin != nil {
		if len(s.origin) == 0 {
			return s.shift
		}
		return int(s.origin[min(i, len(s.origin)-1)])
	}
	for i > 0 && (i >= len(s.text) || !utf8.RuneStart(s.text[i])) {
		i--
	}
	return s.shift + i
}

// cut is the part from lo to hi. An empty part keeps a relative offset, as the library has it.
func (s *span) cut(lo, hi int) span {
	if !s.tracked {
		return span{text: s.text[lo:hi], id: -1}
	}
	p := span{text: s.text[lo:hi], tracked: true, id: -1, shift: s.shift + lo}
	if lo < hi {
		p.shift = s.from(lo)
	}
	if s.origin != nil {
		p.origin = s.origin[lo:hi]
	}
	return p
}

// rewriter makes the new text of a span, character by character, and follows origins where they are kept.
type rewriter struct {
	s      *span
	out    []byte
	origin []int32
	pos    int // byte of the old text that has been reached
}

// rewrite begins a new text for the span; done puts it in place.
func (s *span) rewrite() *rewriter {
	return &rewriter{s: s, out: make([]byte, 0, len(s.text)+len(s.text)/8+8)}
}

// put adds a character. added: it is new and stands with the one before; otherwise it takes the place of the next old
// character and of removed more after that.
func (w *rewriter) put(r rune, added bool, removed int) {
	n := len(w.out)
	w.out = utf8.AppendRune(w.out, r)
	if !w.s.tracked {
		return
	}
	at := w.s.from(w.pos)
	if added {
		if at = w.s.shift; w.pos >= 1 {
			at = w.s.from(w.pos - 1)
		}
	} else {
		w.drop(1 + removed)
	}
	for range len(w.out) - n {
		w.origin = append(w.origin, int32(at))
	}
}

// drop passes over n old characters.
func (w *rewriter) drop(n int) {
	if !w.s.tracked {
		return
	}
	for ; n > 0 && w.pos < len(w.s.text); n-- {
		_, size := utf8.DecodeRuneInString(w.s.text[w.pos:])
		w.pos += size
	}
}

// copy keeps the old text from lo to hi.
func (w *rewriter) copy(lo, hi int) {
	w.out = append(w.out, w.s.text[lo:hi]...)
	if w.s.tracked {
		for i := lo; i < hi; i++ {
			w.origin = append(w.origin, int32(w.s.from(i)))
		}
		w.pos = hi
	}
}

// done puts the new text in place.
func (w *rewriter) done() {
	w.s.text = string(w.out)
	if w.s.tracked {
		w.s.origin = w.origin
		if w.origin == nil {
			w.s.origin = []int32{}
		}
	}
}

// filter keeps the characters that keep wants.
func (s *span) filter(keep func(rune) bool) {
	first := -1
	for i, r := range s.text {
		if !keep(r) {
			first = i
			break
		}
	}
	if first < 0 {
		return
	}
	w := s.rewrite()
	held, removed := rune(-1), 0
	for _, r := range s.text {
		switch {
		case !keep(r):
			removed++
			continue
		case held < 0:
			w.drop(removed)
		default:
			w.put(held, false, removed)
		}
		held, removed = r, 0
	}
	if held >= 0 {
		w.put(held, false, removed)
	}
	w.done()
}

// replaceRunes exchanges characters one for one.
func (s *span) replaceRunes(f func(rune) rune) {
	for i, r := range s.text {
		if f(r) == r {
			continue
		}
		w := s.rewrite()
		w.copy(0, i)
		for _, r := range s.text[i:] {
			w.put(f(r), false, 0)
		}
		w.done()
		return
	}
}

// prepend sets a text before a span that is not empty.
func (s *span) prepend(text string) {
	if s.text == "" || text == "" {
		return
	}
	if !s.tracked {
		s.text = text + s.text
		return
	}
	w := s.rewrite()
	for i, r := range text {
		w.put(r, i > 0, 0)
	}
	first, size := utf8.DecodeRuneInString(s.text)
	w.put(first, true, 0)
	w.copy(size, len(s.text))
	w.done()
}

// match is a stretch found by a pattern, or one between two.
type match struct {
	lo, hi int
	hit    bool
}

// pattern covers a text with matches and the stretches between them, in order and without gaps.
type pattern interface {
	cover(text string, to []match) ([]match, error)
}

// replace puts content in the place of every match.
func (s *span) replace(p pattern, content string) error {
	matches, err := p.cover(s.text, nil)
	if err != nil {
		return err
	}
	hits := 0
	for _, m := range matches {
		if m.hit {
			hits++
		}
	}
	if hits == 0 {
		return nil
	}
	if hits*len(content) > maxGrown {
		return tooLong(hits * len(content))
	}
	w := s.rewrite()
	for _, m := range matches {
		if !m.hit {
			w.copy(m.lo, m.hi)
			continue
		}
		w.pos = m.hi
		for _, r := range content {
			w.put(r, true, 0)
		}
	}
	w.done()
	return nil
}

// behavior is what a splitter does with what it found.
type behavior uint8

const (
	removed behavior = iota
	isolated
	mergedWithPrevious
	mergedWithNext
	contiguous
)

var behaviors = map[string]behavior{"Removed": removed, "Isolated": isolated, "MergedWithPrevious": mergedWithPrevious, "MergedWithNext": mergedWithNext, "Contiguous": contiguous}

// arrange turns matches into the pieces to keep; it works in place.
func (b behavior) arrange(m []match) []match {
	out := m[:0]
	switch b {
	case removed:
		for _, x := range m {
			if !x.hit {
				out = append(out, x)
			}
		}
	case isolated:
		return m
	case contiguous:
		last := false
		for _, x := range m {
			if x.hit == last && len(out) > 0 {
				out[len(out)-1].hi = x.hi
			} else {
				out = append(out, x)
			}
			last = x.hit
		}
	case mergedWithPrevious:
		last := false
		for _, x := range m {
			if x.hit && !last && len(out) > 0 {
				out[len(out)-1].hi = x.hi
			} else {
				out = append(out, x)
			}
			last = x.hit
		}
	case mergedWithNext:
		return mergeForward(m)
	}
	return out
}

// mergeForward goes from the back: a match joins what stands after it unless that is a match as well.
func mergeForward(m []match) []match {
	at, last := len(m), false
	for i := len(m) - 1; i >= 0; i-- {
		x := m[i]
		if x.hit && !last && at < len(m) {
			m[at].lo = x.lo
		} else {
			at--
			m[at] = x
		}
		last = x.hit
	}
	return m[at:]
}
