package ucd

import (
	"slices"
	"unicode/utf8"
)

// Range holds the code points from Lo to Hi, both included.
type Range struct{ Lo, Hi rune }

// Ranges is a set of code points: ascending ranges that neither overlap nor touch.
type Ranges []Range

// Of makes a set from ranges in any order.
func Of(r ...Range) Ranges {
	r = slices.Clone(r)
	slices.SortFunc(r, func(a, b Range) int { return int(a.Lo - b.Lo) })
	out := Ranges(r[:0])
	for _, x := range r {
		if n := len(out); n > 0 && x.Lo <= out[n-1].Hi+1 {
			out[n-1].Hi = max(out[n-1].Hi, x.Hi)
		} else if x.Lo <= x.Hi {
			out = append(out, x)
		}
	}
	return out
}

// Union holds what is in a or in b.
func Union(a, b Ranges) Ranges { return Of(append(slices.Clone(a), b...)...) }

// Negate holds every code point that is not in a.
func (a Ranges) Negate() Ranges {
	var out Ranges
	next := rune(0)
	for _, x := range a {
		if x.Lo > next {
			out = append(out, Range{next, x.Lo - 1})
		}
		next = x.Hi + 1
	}
	if next <= utf8.MaxRune {
		out = append(out, Range{next, utf8.MaxRune})
	}
	return out
}

// Intersect holds what is in both.
func Intersect(a, b Ranges) Ranges { return Union(a.Negate(), b.Negate()).Negate() }

// Contains tells whether r is in the set, in logarithmic time.
func (a Ranges) Contains(r rune) bool {
	_, found := slices.BinarySearchFunc(a, r, func(x Range, r rune) int {
		switch {
		case x.Hi < r:
			return -1
		case x.Lo > r:
			return 1
		}
		return 0
	})
	return found
}

const (
	pageBits = 8
	pages    = (utf8.MaxRune + 1) >> pageBits
)

type page [1 << pageBits / 64]uint64

// Set is a set of code points that is made once and asked often: a bit for each ASCII character, pages for the others.
type Set struct {
	ascii [2]uint64
	index [pages]uint16
	pages []page // equal pages are stored once; most of Unicode is all in or all out
}

// Compile makes the fast form of a set.
func (a Ranges) Compile() *Set {
	s := &Set{}
	known := map[page]uint16{}
	i := 0
	for n := range s.index {
		lo, hi := rune(n)<<pageBits, rune(n+1)<<pageBits-1
		var p page
		for i < len(a) && a[i].Lo <= hi {
			p.fill(max(a[i].Lo, lo)-lo, min(a[i].Hi, hi)-lo)
			if a[i].Hi > hi {
				break
			}
			i++
		}
		at, ok := known[p]
		if !ok {
			at = uint16(len(s.pages))
			known[p] = at
			s.pages = append(s.pages, p)
		}
		s.index[n] = at
	}
	copy(s.ascii[:], s.pages[s.index[0]][:2])
	return s
}

// fill sets the bits from lo to hi.
func (p *page) fill(lo, hi rune) {
	for r := lo; r <= hi; r++ {
		p[r>>6] |= 1 << (r & 63)
	}
}

// ASCII tells whether the byte c, which has to be below 128, is in the set.
func (s *Set) ASCII(c byte) bool { return s.ascii[c>>6&1]>>(c&63)&1 != 0 }

// Contains tells whether r, which has to be a code point, is in the set.
func (s *Set) Contains(r rune) bool {
	return s.pages[s.index[r>>pageBits]][r>>6&3]>>(r&63)&1 != 0
}
