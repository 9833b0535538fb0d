package tokenizer

import (
	"bytes"
	"slices"
)

// trie holds the texts of a vocabulary by their bytes. The children of a node lie together, sorted.
type trie struct {
	label []byte
	child []uint32 // where a node's children begin; the next node's beginning ends them
	val   []int32  // id of the text that ends here, -1 for none
}

// newTrie builds the trie level by level from the sorted texts.
func newTrie(t *table) *trie {
	type item struct {
		text []byte
		id   int32
	}
	items := make([]item, 0, t.len())
	for e := 1; e < len(t.ids); e++ {
		items = append(items, item{t.entry(e), t.ids[e]})
	}
	slices.SortFunc(items, func(a, b item) int { return bytes.Compare(a.text, b.text) })
	r := &trie{}
	// A queue entry is the run of texts that share a node's prefix.
	type run struct{ lo, hi, depth int }
	queue := []run{{0, len(items), 0}}
	r.label = append(r.label, 0)
	for at := 0; at < len(queue); at++ {
		q := queue[at]
		id, lo := int32(-1), q.lo
		if lo < q.hi && len(items[lo].text) == q.depth {
			id = items[lo].id
			lo++
		}
		r.val = append(r.val, id)
		r.child = append(r.child, uint32(len(r.label)))
		for lo < q.hi {
			c, hi := items[lo].text[q.depth], lo+1
			for hi < q.hi && items[hi].text[q.depth] == c {
				hi++
			}
			r.label = append(r.label, c)
			queue = append(queue, run{lo, hi, q.depth + 1})
			lo = hi
		}
	}
	r.child = append(r.child, uint32(len(r.label)))
	return r
}

// next is the child of node by c, -1 if there is none. The root is 0.
func (t *trie) next(node int32, c byte) int32 {
	lo, hi := t.child[node], t.child[node+1]
	for lo < hi {
		if m := (lo + hi) / 2; t.label[m] < c {
			lo = m + 1
		} else {
			hi = m
		}
	}
	if lo < t.child[node+1] && t.label[lo] == c {
		return int32(lo)
	}
	return -1
}

// value is the id of the text that ends at node, -1 if none does.
func (t *trie) value(node int32) int32 { return t.val[node] }
