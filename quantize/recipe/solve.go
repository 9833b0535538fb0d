package recipe

import (
	"cmp"
	"container/heap"
	"fmt"
	"math"
	"slices"

	"quern/convert/gguf"
)

// The choice is a knapsack with one item out of each class. A relaxation that may split one class is solved by going down the
// list of all steps to a larger type, best gain for a byte first; it gives a bound, and with the split left out a mixture.
// Where the bound leaves a doubt, the split class is tried in each of its types: branch and bound, lowest bound first.

// Choice is a tensor in one type.
type Choice struct {
	Type  gguf.Type
	Bytes int64
	Error float64 // what the sum of the mixture counts
}

// Class is a tensor with its choices.
type Class struct {
	Name    string
	Choices []Choice
}

// Solution is a mixture.
type Solution struct {
	Pick  []int // for each class, the index of its choice
	Bytes int64
	Error float64
	Bound float64 // no mixture within the budget has less error
	Exact bool    // the search was complete: Error is the least
}

// Gap is how far Error may be above the least, as a part of it.
func (s Solution) Gap() float64 {
	if s.Exact || s.Error <= s.Bound {
		return 0
	}
	return (s.Error - s.Bound) / s.Error
}

// maxNodes ends the search; the bound then says what may be missing. A count, not a time: equal input, equal output.
const maxNodes = 20_000

// Solve picks a choice of each class so that the bytes stay within the budget and the error is least. Ties go to the
// earlier choice. The error is an *Error that names the smallest possible size if nothing fits.
func Solve(classes []Class, budget int64) (Solution, error) {
	p := &problem{budget: budget, classes: make([]class, len(classes))}
	least := int64(0)
	for i, c := range classes {
		if len(c.Choices) == 0 {
			return Solution{}, &Error{On: c.Name, Says: "has no choice of type"}
		}
		for _, x := range c.Choices {
			if x.Bytes < 0 || !(x.Error >= 0) || math.IsInf(x.Error, 0) {
				return Solution{}, &Error{On: c.Name, Says: fmt.Sprintf("%v: %d bytes with an error of %v", x.Type, x.Bytes, x.Error)}
			}
		}
		p.classes[i] = frontier(c.Choices)
		least += p.classes[i].items[0].bytes
	}
	if least > budget {
		return Solution{}, &Error{Says: fmt.Sprintf("the smallest mixture takes %d bytes, the budget leaves %d for the tensors", least, budget),
			Next: "raise the budget, or give an imatrix, which opens the smaller types"}
	}
	p.list()
	return p.search(), nil
}

// item is a choice on its class's frontier: more bytes, less error than the one before.
type item struct {
	choice int
	bytes  int64
	error  float64
}

type class struct{ items []item }

// step moves a class from one corner of its frontier's lower side to the next.
type step struct {
	class, from, to int
	gain            float64
}

type problem struct {
	budget  int64
	classes []class
	steps   []step // by gain
}

// frontier keeps the choices that no other beats in both bytes and error.
func frontier(choices []Choice) class {
	c := class{}
	order := make([]int, len(choices))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(choices[a].Bytes, choices[b].Bytes), cmp.Compare(choices[a].Error, choices[b].Error))
	})
	for _, i := range order {
		if n := len(c.items); n == 0 || choices[i].Error < c.items[n-1].error {
			c.items = append(c.items, item{choice: i, bytes: choices[i].Bytes, error: choices[i].Error})
		}
	}
	return c
}

// hull keeps the items at the corners of the frontier's convex lower side.
func hull(items []item) []int {
	var corners []int
	for i := range items {
		for len(corners) >= 2 {
			a, b := items[corners[len(corners)-2]], items[corners[len(corners)-1]]
			if gain(a, b) > gain(b, items[i]) {
				break
			}
			corners = corners[:len(corners)-1]
		}
		corners = append(corners, i)
	}
	return corners
}

// gain is the error saved by each further byte.
func gain(a, b item) float64 { return (a.error - b.error) / float64(b.bytes-a.bytes) }

func (p *problem) list() {
	for i, c := range p.classes {
		corners := hull(c.items)
		for j := 1; j < len(corners); j++ {
			p.steps = append(p.steps, step{i, corners[j-1], corners[j], gain(c.items[corners[j-1]], c.items[corners[j]])})
		}
	}
	slices.SortStableFunc(p.steps, func(a, b step) int { return cmp.Compare(b.gain, a.gain) })
}

// node is a part of the problem: one more class in a given type than its parent.
type node struct {
	parent      *node
	class, item int
	bound       float64
}

// free marks classes that a node does not fix.
const free = -1

func (n *node) fixed(classes int) []int {
	all := make([]int, classes)
	for i := range all {
		all[i] = free
	}
	for ; n != nil && n.parent != nil; n = n.parent {
		all[n.class] = n.item
	}
	return all
}

// relaxed is the solution of a node's relaxation.
type relaxed struct {
	fits  bool
	bound float64
	split int   // the class that it splits, or free
	pick  []int // a mixture: items by class
}

func (p *problem) relax(fixed []int) relaxed {
	r := relaxed{split: free, pick: make([]int, len(p.classes))}
	room, at := p.budget, 0.0
	for i, c := range p.classes {
		r.pick[i] = max(fixed[i], 0)
		room -= c.items[r.pick[i]].bytes
		at += c.items[r.pick[i]].error
	}
	if r.fits = room >= 0; !r.fits {
		return r
	}
	for _, s := range p.steps {
		if fixed[s.class] != free || r.pick[s.class] != s.from {
			continue
		}
		a, b := p.classes[s.class].items[s.from], p.classes[s.class].items[s.to]
		// gains fall along the list, so the first step that does not fit is the one that the relaxation would take a part of;
		// later steps that fit still improve the mixture
		more := b.bytes - a.bytes
		if more > room {
			if r.split == free {
				r.split, r.bound = s.class, at-float64(s.gain*float64(room))
			}
			continue
		}
		r.pick[s.class] = s.to
		room -= more
		at -= a.error - b.error
	}
	if r.split == free {
		r.bound = at
	}
	return r
}

// open are the nodes to be looked at, lowest bound first.
type open []*node

func (o open) Len() int           { return len(o) }
func (o open) Less(i, j int) bool { return o[i].bound < o[j].bound }
func (o open) Swap(i, j int)      { o[i], o[j] = o[j], o[i] }
func (o *open) Push(x any)        { *o = append(*o, x.(*node)) }
func (o *open) Pop() any {
	last := (*o)[len(*o)-1]
	*o = (*o)[:len(*o)-1]
	return last
}

// noise is what sums of floats may differ by.
const noise = 1e-12

func (p *problem) search() Solution {
	best, bestError := []int(nil), math.Inf(1)
	todo := &open{&node{bound: math.Inf(-1)}}
	for looked := 0; todo.Len() > 0 && looked < maxNodes; looked++ {
		n := heap.Pop(todo).(*node)
		// the lowest bound of all that is left is no better than what is known: nothing can be
		if n.bound >= bestError*(1-noise) {
			return p.solution(best, bestError, bestError)
		}
		fixed := n.fixed(len(p.classes))
		r := p.relax(fixed)
		if !r.fits || r.bound >= bestError*(1-noise) {
			continue
		}
		if e := p.errorOf(r.pick); e < bestError {
			best, bestError = r.pick, e
		}
		if r.split == free {
			continue // the mixture is the node's best
		}
		// every type of the split class, also those off the lower side, which the relaxation never takes
		for i := range p.classes[r.split].items {
			heap.Push(todo, &node{parent: n, class: r.split, item: i, bound: r.bound})
		}
	}
	if todo.Len() == 0 {
		return p.solution(best, bestError, bestError)
	}
	return p.solution(best, bestError, min((*todo)[0].bound, bestError))
}

// errorOf adds in the order of the classes, so that equal mixtures have equal errors.
func (p *problem) errorOf(pick []int) float64 {
	sum := 0.0
	for i, j := range pick {
		sum += p.classes[i].items[j].error
	}
	return sum
}

func (p *problem) solution(best []int, e, bound float64) Solution {
	s := Solution{Pick: make([]int, len(best)), Exact: bound >= e, Error: e, Bound: bound}
	for i, j := range best {
		s.Pick[i] = p.classes[i].items[j].choice
		s.Bytes += p.classes[i].items[j].bytes
	}
	return s
}
