package onig

import (
	"unicode/utf8"

	"quern/convert/tokenizer/ucd"
)

// A node is a piece of a parsed pattern: char, class, seq, alt, repeat, group, capture, atomic, look, anchor, backref or keep.
type node any

type (
	char    rune
	class   ucd.Ranges
	seq     []node
	alt     []node
	group   struct{ body node }
	atomic  struct{ body node }
	backref int
	keep    struct{}
	capture struct {
		body   node
		number int
	}
	repeat struct {
		body             node
		lo, hi           int // hi may be unlimited
		lazy, possessive bool
	}
	look struct {
		body             node
		behind, negative bool
	}
	anchor int
)

const unlimited = -1

const (
	lineBegin anchor = iota
	lineEnd
	textBegin
	textEnd
	textEndLine
	wordEdge
	notWordEdge
	searchBegin
)

// cat joins items; one item stands for itself.
func cat(items []node) node {
	if len(items) == 1 {
		return items[0]
	}
	return seq(items)
}

// alternation is a choice between nodes, in order.
func alternation(alts []node) node { return alt(alts) }

var everything = ucd.Ranges{{Lo: 0, Hi: utf8.MaxRune}}

// asSet is the class of a node that always matches exactly one character.
func asSet(n node) (ucd.Ranges, bool) {
	switch n := n.(type) {
	case char:
		return ucd.Ranges{{Lo: rune(n), Hi: rune(n)}}, true
	case class:
		return ucd.Ranges(n), true
	case group:
		return asSet(n.body)
	case seq:
		if len(n) == 1 {
			return asSet(n[0])
		}
	}
	return nil, false
}

// first is what a match of n can begin with, and whether it can also be empty.
func first(n node) (set ucd.Ranges, empty bool) {
	if s, ok := asSet(n); ok {
		return s, false
	}
	switch n := n.(type) {
	case group:
		return first(n.body)
	case capture:
		return first(n.body)
	case atomic:
		return first(n.body)
	case repeat:
		set, empty = first(n.body)
		return set, empty || n.lo == 0
	case seq:
		for _, x := range n {
			s, e := first(x)
			if set = ucd.Union(set, s); !e {
				return set, false
			}
		}
		return set, true
	case alt:
		for _, x := range n {
			s, e := first(x)
			set, empty = ucd.Union(set, s), empty || e
		}
		return set, empty
	case backref:
		return everything, true
	}
	return nil, true // look, anchor, keep
}

// lengths is how many characters a match of n can have; most is unlimited where there is no bound.
func lengths(n node) (least, most int) {
	if _, ok := asSet(n); ok {
		return 1, 1
	}
	switch n := n.(type) {
	case group:
		return lengths(n.body)
	case capture:
		return lengths(n.body)
	case atomic:
		return lengths(n.body)
	case repeat:
		least, most = lengths(n.body)
		if n.hi == unlimited || most == unlimited {
			return least * n.lo, unlimited
		}
		return least * n.lo, most * n.hi
	case seq:
		for _, x := range n {
			l, m := lengths(x)
			least += l
			most = plus(most, m)
		}
		return least, most
	case alt:
		least = -1
		for _, x := range n {
			l, m := lengths(x)
			if least < 0 || l < least {
				least = l
			}
			if most != unlimited && (m == unlimited || m > most) {
				most = m
			}
		}
		return max(least, 0), most
	case backref:
		return 0, unlimited
	}
	return 0, 0
}

// plus adds lengths of which either may be unlimited.
func plus(a, b int) int {
	if a == unlimited || b == unlimited {
		return unlimited
	}
	return a + b
}
