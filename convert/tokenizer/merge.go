package tokenizer

// symbol is a token under way in a word. len 0: it was merged into the one on its left.
type symbol struct {
	id, len    int32
	prev, next int32 // -1 at the ends
}

// merge is a merge that may happen: of the symbol at pos and the one after it.
type merge struct{ rank, pos, id int32 }

// before orders by rank, then from the left: the order in which the library merges.
func (m merge) before(o merge) bool { return m.rank < o.rank || m.rank == o.rank && m.pos < o.pos }

// shortWord is up to where looking at all pairs again beats keeping a heap.
const shortWord = 24

// merge applies the merges of c.sym by rank, then from the left. exact allows the short way, which needs every pair of
// neighbours to have one rank only, however it came about.
func (m *bpe) merge(c *cache, exact bool) {
	switch {
	case len(c.sym) < 2:
	case exact && len(c.sym) <= shortWord:
		m.mergeShort(c)
	default:
		m.mergeLong(c)
	}
}

// mergeShort keeps each pair's rank beside its left symbol and looks for the least.
func (m *bpe) mergeShort(c *cache) {
	const none = int32(1<<31 - 1)
	var rank, id [shortWord]int32
	s := c.sym
	pair := func(i int) {
		rank[i] = none
		if i+1 < len(s) {
			if r, to, ok := m.pairs.find(s[i].id, s[i+1].id); ok {
				rank[i], id[i] = r, to
			}
		}
	}
	for i := range s {
		pair(i)
	}
	for {
		best := 0
		for i := 1; i < len(s)-1; i++ {
			if rank[i] < rank[best] {
				best = i
			}
		}
		if rank[best] == none {
			break
		}
		s[best] = symbol{id: id[best], len: s[best].len + s[best+1].len}
		copy(s[best+1:], s[best+2:])
		copy(rank[best+1:len(s)-1], rank[best+2:len(s)])
		copy(id[best+1:len(s)-1], id[best+2:len(s)])
		s = s[:len(s)-1]
		pair(best)
		if best > 0 {
			pair(best - 1)
		}
	}
	c.sym = s
}

// mergeLong keeps the merges that may happen in a heap: n log n for a word of n characters.
func (m *bpe) mergeLong(c *cache) {
	s := c.sym
	h := c.heap[:0]
	for i := range s {
		s[i].prev, s[i].next = int32(i-1), int32(i+1)
	}
	s[len(s)-1].next = -1
	for i := range len(s) - 1 {
		if rank, id, ok := m.pairs.find(s[i].id, s[i+1].id); ok {
			h = append(h, merge{rank, int32(i), id})
		}
	}
	for i := len(h)/2 - 1; i >= 0; i-- {
		sift(h, i)
	}
	for len(h) > 0 {
		top := h[0]
		h[0] = h[len(h)-1]
		h = h[:len(h)-1]
		sift(h, 0)
		left := &s[top.pos]
		if left.len == 0 || left.next < 0 {
			continue
		}
		right := &s[left.next]
		// An entry whose symbols have changed since is void, unless they still merge to the same token.
		if _, id, ok := m.pairs.find(left.id, right.id); !ok || id != top.id {
			continue
		}
		left.id, left.len, left.next = top.id, left.len+right.len, right.next
		right.len = 0
		if left.next >= 0 {
			s[left.next].prev = top.pos
			if rank, id, ok := m.pairs.find(left.id, s[left.next].id); ok {
				h = rise(append(h, merge{rank, top.pos, id}))
			}
		}
		if left.prev >= 0 {
			if rank, id, ok := m.pairs.find(s[left.prev].id, left.id); ok {
				h = rise(append(h, merge{rank, left.prev, id}))
			}
		}
	}
	c.heap = h[:0]
}

// sift moves the entry at i down to its place in the heap.
func sift(h []merge, i int) {
	for {
		child := 2*i + 1
		if child >= len(h) {
			return
		}
		if child+1 < len(h) && h[child+1].before(h[child]) {
			child++
		}
		if !h[child].before(h[i]) {
			return
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
}

// rise moves the last entry up to its place in the heap.
func rise(h []merge) []merge {
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !h[i].before(h[up]) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
	return h
}
