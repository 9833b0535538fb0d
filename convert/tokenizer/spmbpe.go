package tokenizer

import "container/heap"

// spmSymbol is a stretch of text that is a piece under way.
type spmSymbol struct {
	lo, hi     int // hi == lo: merged into the one before
	prev, next int
	frozen     bool
}

// spmPair is a merge that may happen.
type spmPair struct {
	left, right int
	score       float32
	size        int // in bytes, by which a void entry is told
}

type spmAgenda []spmPair

// Len is the number of merges that may happen.
func (a spmAgenda) Len() int { return len(a) }

// Less puts the better score first, of equals the one further left.
func (a spmAgenda) Less(i, j int) bool {
	return a[i].score > a[j].score || a[i].score == a[j].score && a[i].left < a[j].left
}

// Swap exchanges two entries.
func (a spmAgenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }

// Push adds an entry.
func (a *spmAgenda) Push(x any) { *a = append(*a, x.(spmPair)) }

// Pop removes the last entry.
func (a *spmAgenda) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}

// spmMerger merges the best-scored pair of neighbours that make a piece, the leftmost of equals, until there is none.
// A piece that is unused is a step only: it is taken apart again in the end.
type spmMerger struct {
	e      *spmEncoder
	text   string
	s      []spmSymbol
	agenda spmAgenda
	undo   map[string]int // unused piece -> length of its left part
}

// bpe merges from single characters and whole user-defined pieces, which merge with nothing.
func (e *spmEncoder) bpe(text string) []int32 {
	g := &spmMerger{e: e, text: text, undo: map[string]int{}}
	for lo := 0; lo < len(text); {
		n, user := e.prefix(text[lo:])
		g.s = append(g.s, spmSymbol{lo: lo, hi: lo + n, prev: len(g.s) - 1, next: len(g.s) + 1, frozen: user})
		lo += n
	}
	g.s[len(g.s)-1].next = -1
	for i := 1; i < len(g.s); i++ {
		g.offer(i-1, i)
	}
	for len(g.agenda) > 0 {
		top := heap.Pop(&g.agenda).(spmPair)
		l, r := &g.s[top.left], &g.s[top.right]
		if l.lo == l.hi || r.lo == r.hi || l.hi-l.lo+r.hi-r.lo != top.size {
			continue
		}
		l.hi, l.next = r.hi, r.next
		if r.next >= 0 {
			g.s[r.next].prev = top.left
		}
		r.lo = r.hi
		g.offer(l.prev, top.left)
		g.offer(top.left, l.next)
	}
	var ids []int32
	unknown := false
	for i := 0; i >= 0; i = g.s[i].next {
		ids, unknown = g.resegment(ids, g.text[g.s[i].lo:g.s[i].hi], unknown)
	}
	return ids
}

// offer enters the merge of two neighbours, if together they are a piece.
func (g *spmMerger) offer(left, right int) {
	if left < 0 || right < 0 || g.s[left].frozen || g.s[right].frozen {
		return
	}
	piece := g.text[g.s[left].lo:g.s[right].hi]
	id, ok := g.e.pieces.findString(piece)
	if !ok {
		return
	}
	p := g.e.m.Pieces[id]
	heap.Push(&g.agenda, spmPair{left, right, p.Score, len(piece)})
	if p.Type == PieceUnused {
		g.undo[piece] = g.s[left].hi - g.s[left].lo
	}
}

// resegment adds a stretch's id, or those of the two parts that an unused piece was made of.
func (g *spmMerger) resegment(ids []int32, piece string, unknown bool) ([]int32, bool) {
	id := g.e.id(piece)
	if n, ok := g.undo[piece]; ok && g.e.m.Pieces[id].Type == PieceUnused {
		ids, unknown = g.resegment(ids, piece[:n], unknown)
		return g.resegment(ids, piece[n:], unknown)
	}
	return g.e.emit(ids, id, piece, unknown)
}
