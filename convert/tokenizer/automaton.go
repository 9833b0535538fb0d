package tokenizer

import "slices"

// automaton finds any of a set of texts in linear time (Aho and Corasick), the leftmost first and of those that begin
// at one place the longest.
type automaton struct {
	root  [256]int32 // first step: most bytes of a text begin nothing
	nodes []automatonNode
	edges map[uint64]int32 // node<<8 | byte -> node
}

type automatonNode struct {
	fail   int32 // the longest proper suffix that is a node too
	depth  int32
	out    int32 // pattern that ends here, -1 for none
	suffix int32 // nearest node along fail at which a pattern ends, 0 for none
}

// newAutomaton builds the trie of the patterns and links it. Patterns are not empty: an empty one would be found everywhere.
func newAutomaton(patterns []string) *automaton {
	a := &automaton{nodes: []automatonNode{{out: -1}}, edges: map[uint64]int32{}}
	for i, p := range patterns {
		at := int32(0)
		for j := range len(p) {
			key := uint64(at)<<8 | uint64(p[j])
			next, ok := a.edges[key]
			if !ok {
				next = int32(len(a.nodes))
				a.nodes = append(a.nodes, automatonNode{depth: int32(j + 1), out: -1})
				a.edges[key] = next
			}
			at = next
		}
		if a.nodes[at].out < 0 { // of two equal patterns the first counts
			a.nodes[at].out = int32(i)
		}
	}
	a.link()
	return a
}

// link sets the failure links, nodes nearer to the root first.
func (a *automaton) link() {
	type edge struct {
		from, to int32
		c        byte
	}
	all := make([]edge, 0, len(a.edges))
	for k, to := range a.edges {
		all = append(all, edge{int32(k >> 8), to, byte(k)})
		if k>>8 == 0 {
			a.root[byte(k)] = to
		}
	}
	slices.SortFunc(all, func(x, y edge) int { return int(a.nodes[x.to].depth - a.nodes[y.to].depth) })
	for _, e := range all {
		n := &a.nodes[e.to]
		if e.from != 0 {
			n.fail = a.step(a.nodes[e.from].fail, e.c)
		}
		if a.nodes[n.fail].out >= 0 {
			n.suffix = n.fail
		} else {
			n.suffix = a.nodes[n.fail].suffix
		}
	}
}

// step follows c, over shorter and shorter suffixes of what was read. It is linear over a whole text: each step along fail
// undoes an earlier step down.
func (a *automaton) step(at int32, c byte) int32 {
	for at != 0 {
		if next, ok := a.edges[uint64(at)<<8|uint64(c)]; ok {
			return next
		}
		at = a.nodes[at].fail
	}
	return a.root[c]
}

// find gives the first match at from or later.
func (a *automaton) find(text string, from int) (lo, hi, pattern int, ok bool) {
	at := int32(0)
	for i := from; i < len(text); i++ {
		if at == 0 {
			// Nothing is under way: skip what begins nothing.
			for a.root[text[i]] == 0 {
				if i++; i == len(text) {
					return lo, hi, pattern, ok
				}
			}
		}
		at = a.step(at, text[i])
		n := &a.nodes[at]
		alive := i + 1 - int(n.depth) // where the longest beginning under way started
		if ok && alive > lo {
			return lo, hi, pattern, true
		}
		e := at
		if n.out < 0 {
			e = n.suffix
		}
		if e == 0 {
			continue
		}
		if start := i + 1 - int(a.nodes[e].depth); !ok || start <= lo {
			lo, hi, pattern, ok = start, i+1, int(a.nodes[e].out), true
		}
	}
	return lo, hi, pattern, ok
}
