package onig

import (
	"slices"
	"sync"

	"quern/convert/tokenizer/ucd"
)

// maxFoldRun bounds the letters in a row that are looked at together under (?i): no character folds to more than three,
// and overlapping ones ("ffi") never reach further.
const maxFoldRun = 3

// folded maps a string of folded letters to the characters that fold to it, such as "ss" to U+00DF and U+1E9E.
var folded = sync.OnceValue(func() map[string]ucd.Ranges {
	m := map[string]ucd.Ranges{}
	for r, s := range ucd.Map("multifold") {
		m[s] = ucd.Union(m[s], ucd.Ranges{{Lo: r, Hi: r}})
	}
	return m
})

// foldChar is r with all single characters that fold alike.
func foldChar(r rune) ucd.Ranges {
	set := []ucd.Range{{Lo: r, Hi: r}}
	for _, o := range ucd.Map("fold")[r] {
		set = append(set, ucd.Range{Lo: o, Hi: o})
	}
	return ucd.Of(set...)
}

func foldClass(s ucd.Ranges) ucd.Ranges {
	out := slices.Clone(s)
	for r, others := range ucd.Map("fold") {
		if !s.Contains(r) {
			continue
		}
		for _, o := range others {
			out = append(out, ucd.Range{Lo: o, Hi: o})
		}
	}
	return ucd.Of(out...)
}

// foldedStrings are the spellings in several letters of members of a class, in code point order.
func foldedStrings(s ucd.Ranges) []node {
	var members []rune
	for r := range ucd.Map("multifold") {
		if s.Contains(r) {
			members = append(members, r)
		}
	}
	slices.Sort(members)
	var out []node
	for _, r := range members {
		out = append(out, spelled(ucd.Map("multifold")[r]))
	}
	return out
}

// spelled matches a folded string letter by letter.
func spelled(s string) node {
	var items []node
	for _, r := range s {
		items = append(items, class(foldChar(r)))
	}
	return cat(items)
}

// simple is the folded form of a letter among single characters: the one that multi-letter foldings are written in.
func simple(r rune) rune {
	for _, o := range ucd.Map("fold")[r] {
		if low, ok := ucd.Map("lower")[r]; ok && low == string(o) {
			return o
		}
	}
	return r
}

// foldString matches letters in a row without regard to case: also the characters that fold to several of them
// ((?i:ss) matches U+00DF), and the letters that one of them folds to.
func foldString(word []rune) node {
	var items []node
	for len(word) > 0 {
		n, alts := 1, []node{nil}
		for size := min(maxFoldRun, len(word)); size > 1; size-- {
			low := make([]rune, size)
			for i := range low {
				low[i] = simple(word[i])
			}
			if s, ok := folded()[string(low)]; ok {
				n = max(n, size)
				rest := cat(nil)
				if size < n {
					rest = foldString(word[size:n])
				}
				alts = append(alts, cat([]node{class(s), rest}))
			}
		}
		var plain []node
		for _, r := range word[:n] {
			plain = append(plain, foldLetter(r))
		}
		alts[0] = cat(plain)
		if len(alts) == 1 {
			items = append(items, alts[0])
		} else {
			items = append(items, alternation(alts))
		}
		word = word[n:]
	}
	return cat(items)
}

func foldLetter(r rune) node {
	one := class(foldChar(r))
	if s, ok := ucd.Map("multifold")[r]; ok {
		return alternation([]node{one, spelled(s)})
	}
	return one
}
