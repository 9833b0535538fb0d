package build

import "slices"

// spans is a set of byte ranges, sorted and apart. Writers work near each other, so it stays a handful long.
type spans []span

type span struct{ lo, hi int64 }

func (s *spans) add(lo, hi int64) {
	if lo >= hi {
		return
	}
	v := *s
	i, _ := slices.BinarySearchFunc(v, lo, func(x span, lo int64) int { // the first that ends at lo or behind
		if x.hi < lo {
			return -1
		}
		return 1
	})
	j := i
	for j < len(v) && v[j].lo <= hi {
		lo, hi = min(lo, v[j].lo), max(hi, v[j].hi)
		j++
	}
	*s = slices.Replace(v, i, j, span{lo, hi})
}

// front is the end of what is whole from the first byte on.
func (s spans) front() int64 {
	if len(s) == 0 || s[0].lo > 0 {
		return 0
	}
	return s[0].hi
}

// gap is the first hole below size; whole is true without one.
func (s spans) gap(size int64) (hole span, whole bool) {
	at := int64(0)
	for _, x := range s {
		if x.lo > at {
			return span{at, x.lo}, false
		}
		at = x.hi
	}
	return span{at, size}, at >= size
}
