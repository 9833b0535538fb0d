package tokenizer

import (
	"slices"
	"sync"
	"unicode/utf8"

	"quern/convert/tokenizer/ucd"
)

// normalForm is one of the four normal forms of Unicode, in the version of the library's tables. x/text is not used: it
// is newer, and it cuts long runs of marks apart (U+034F), which the library does not.
type normalForm struct {
	compose, compatible bool
	stable              rune // every character below it stays as it is, alone and with others
}

var (
	nfc  = normalForm{compose: true, stable: 0x300}
	nfd  = normalForm{stable: 0xC0}
	nfkc = normalForm{compose: true, compatible: true, stable: 0xA0}
	nfkd = normalForm{compatible: true, stable: 0xA0}
)

// Hangul syllables are computed. Source: The Unicode Standard, section 3.12.
const (
	hangulS, hangulL, hangulV, hangulT = 0xAC00, 0x1100, 0x1161, 0x11A7
	countL, countV, countT             = 19, 21, 28
)

// mark is a character under way, with what it does to the origins of characters: it was added by a decomposition, or
// stands for itself and removed more.
type mark struct {
	r       rune
	class   uint8
	added   bool
	removed int
}

// formTables are looked up for every character, so they are fetched once.
type formTables struct{ nfd, nfkd, class map[rune]string }

var forms = sync.OnceValue(func() *formTables {
	return &formTables{ucd.Map("nfd"), ucd.Map("nfkd"), ucd.Map("ccc")}
})

var composites = sync.OnceValue(func() map[[2]rune]rune {
	m := map[[2]rune]rune{}
	for c, s := range ucd.Map("compose") {
		r := []rune(s)
		m[[2]rune{r[0], r[1]}] = c
	}
	return m
})

// combiningClass is 0 for starters. No character below U+0300 is a mark.
func combiningClass(r rune) uint8 {
	if r < 0x300 {
		return 0
	}
	c, _ := utf8.DecodeRuneInString(forms().class[r])
	if c == utf8.RuneError {
		return 0
	}
	return uint8(c)
}

// normalize leaves the stable beginning of a text alone, which for most texts is all of it.
func (f normalForm) normalize(s *span) error {
	for i, r := range s.text {
		if r < f.stable {
			continue
		}
		// What stands before can only be touched by what follows: go back one starter.
		if f.compose && i > 0 {
			_, n := utf8.DecodeLastRuneInString(s.text[:i])
			i -= n
		}
		f.rewrite(s, i)
		break
	}
	return nil
}

// rewrite normalizes from byte i on: decompose, order, compose.
func (f normalForm) rewrite(s *span, i int) {
	w := s.rewrite()
	w.copy(0, i)
	m := make([]mark, 0, len(s.text)-i)
	for _, r := range s.text[i:] {
		m = f.decompose(m, r)
	}
	sortMarks(m)
	if f.compose {
		m = compose(m)
	}
	for _, x := range m {
		w.put(x.r, x.added, x.removed)
	}
	w.done()
}

// decompose adds the full decomposition of r.
func (f normalForm) decompose(to []mark, r rune) []mark {
	if r >= hangulS && r < hangulS+countL*countV*countT {
		i := r - hangulS
		to = append(to, mark{r: hangulL + i/(countV*countT)}, mark{r: hangulV + i%(countV*countT)/countT, added: true})
		if t := i % countT; t > 0 {
			to = append(to, mark{r: hangulT + t, added: true})
		}
		return to
	}
	s, ok := "", false
	if f.compatible {
		s, ok = forms().nfkd[r]
	}
	if !ok {
		s, ok = forms().nfd[r]
	}
	if !ok {
		return append(to, mark{r: r, class: combiningClass(r)})
	}
	for i, x := range s {
		to = append(to, mark{r: x, class: combiningClass(x), added: i > 0})
	}
	return to
}

// sortMarks puts runs of marks in the order of their classes.
func sortMarks(m []mark) {
	for i := 0; i < len(m); {
		if m[i].class == 0 {
			i++
			continue
		}
		j := i
		for j < len(m) && m[j].class != 0 {
			j++
		}
		slices.SortStableFunc(m[i:j], func(a, b mark) int { return int(a.class) - int(b.class) })
		i = j
	}
}

// compose joins each character with the last starter before it, unless something between them blocks it: a mark of the
// same or a higher class. It works in place.
func compose(m []mark) []mark {
	out, starter, last := m[:0], -1, -1 // last: class of what stands after the starter, -1 for nothing
	for _, x := range m {
		if starter >= 0 && last < int(x.class) || starter >= 0 && last < 0 {
			if c, ok := pair(out[starter].r, x.r); ok {
				out[starter] = out[starter].absorb(c, x)
				continue
			}
		}
		if last = int(x.class); x.class == 0 {
			starter, last = len(out), -1
		}
		out = append(out, x)
	}
	return out
}

// absorb is the composite of m and x.
func (m mark) absorb(c rune, x mark) mark {
	m.r = c
	m.class = 0
	if !x.added {
		m.removed += 1 + x.removed
	}
	return m
}

// pair is the composite of two characters, if the library composes them.
func pair(a, b rune) (rune, bool) {
	switch {
	case a >= hangulL && a < hangulL+countL && b >= hangulV && b < hangulV+countV:
		return hangulS + ((a-hangulL)*countV+b-hangulV)*countT, true
	case a >= hangulS && a < hangulS+countL*countV*countT && (a-hangulS)%countT == 0 && b > hangulT && b < hangulT+countT:
		return a + b - hangulT, true
	}
	c, ok := composites()[[2]rune{a, b}]
	return c, ok
}
