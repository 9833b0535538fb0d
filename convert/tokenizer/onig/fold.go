package onig

import (
	"slices"
	"sync"

	"quern/convert/tokenizer/ucd"
)

// maxFold is how many letters a character folds to at most.
const maxFold = 3

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

// foldClass closes a class under folding of single characters.
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
// ((?i:ss) matches U+00DF), and the letters that one of them folds to. At each place only the longest group counts:
// (?i:ffi) matches U+FB03, but neither U+FB00 with an i nor an f with U+FB01.
func foldString(word []rune) node {
	var items []node
	for len(word) > 0 {
		n := maxFold
		var group ucd.Ranges
		for ok := false; n > 1; n-- {
			if group, ok = foldGroup(word, n); ok {
				break
			}
		}
		var plain []node
		for _, r := range word[:n] {
			plain = append(plain, foldLetter(r))
		}
		if n == 1 {
			items = append(items, plain[0])
		} else {
			items = append(items, alternation([]node{cat(plain), class(group)}))
		}
		word = word[n:]
	}
	return cat(items)
}

// foldGroup are the characters that fold to the first letters of word.
func foldGroup(word []rune, size int) (ucd.Ranges, bool) {
	if size > len(word) {
		return nil, false
	}
	low := make([]rune, size)
	for i := range low {
		low[i] = simple(word[i])
	}
	s, ok := folded()[string(low)]
	return s, ok
}

// foldLetter matches one letter in every case, and the letters that it folds to.
func foldLetter(r rune) node {
	one := class(foldChar(r))
	if s, ok := ucd.Map("multifold")[r]; ok {
		return alternation([]node{one, spelled(s)})
	}
	return one
}
