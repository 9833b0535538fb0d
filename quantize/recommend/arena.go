package recommend

import "slices"

// graph is the list of operations of one evaluation, as far as memory goes: llama.cpp gives every result an address before
// anything is computed, and the highest one is the size of the compute buffer. arena follows the same rules
// (ggml-alloc.c of llama.cpp v0.5.0); TestMemory in stages/plan holds the outcome against the runtime.
type graph struct {
	inputs []*value
	ops    []op
}

// value is a tensor of the computation. Weights and caches are not values: they have memory of their own.
type value struct {
	size     int64
	of       *value // whose bytes a view shows
	output   bool   // stays to the end
	children int    // operations that still read it
	views    int    // views that are still in use
	at       int64
	held     bool
}

type op struct {
	out     *value
	in      []*value
	inPlace bool
}

// input is a value that is filled before the evaluation and holds its place until it was last read.
func (g *graph) input(size int64) *value {
	v := &value{size: size}
	g.inputs = append(g.inputs, v)
	return v
}

// op adds an operation whose result has a place of its own.
func (g *graph) op(size int64, in ...*value) *value { return g.add(size, false, in) }

// change adds an element-wise operation: its result takes the place of an operand that nobody else reads.
func (g *graph) change(size int64, in ...*value) *value { return g.add(size, true, in) }

func (g *graph) add(size int64, inPlace bool, in []*value) *value {
	v := &value{size: size}
	g.ops = append(g.ops, op{v, in, inPlace})
	return v
}

// view shows v, or a part of it, in another shape. Nothing takes the place of a view.
func (g *graph) view(v *value, size int64) *value {
	root := v
	if v.of != nil {
		root = v.of
	}
	w := &value{size: size, of: root}
	g.ops = append(g.ops, op{out: w, in: []*value{v}})
	return w
}

// store reads values into memory that is not the computation's, such as a cache.
func (g *graph) store(in ...*value) { g.ops = append(g.ops, op{in: in}) }

// span is a free stretch of the arena.
type span struct{ at, size int64 }

// arena hands out addresses: the smallest hole that is large enough, else the open end.
type arena struct {
	free []span // by address; the last one is open
	top  int64
}

const (
	openEnd   = int64(1) << 62
	alignment = 32 // bytes, of the CPU's buffers
)

func align(n int64) int64 { return (n + alignment - 1) / alignment * alignment }

func (a *arena) take(size int64) int64 {
	size = align(size)
	best := len(a.free) - 1
	for i, s := range a.free[:best] {
		if s.size >= size && (best == len(a.free)-1 || s.size <= a.free[best].size) {
			best = i
		}
	}
	s := &a.free[best]
	at := s.at
	s.at, s.size = s.at+size, s.size-size
	if s.size == 0 {
		a.free = slices.Delete(a.free, best, best+1)
	}
	a.top = max(a.top, at+size)
	return at
}

func (a *arena) give(at, size int64) {
	size = align(size)
	if size == 0 {
		return
	}
	i := 0
	for i < len(a.free) && a.free[i].at < at {
		i++
	}
	a.free = slices.Insert(a.free, i, span{at, size})
	if i+1 < len(a.free) && at+size == a.free[i+1].at {
		a.free[i].size += a.free[i+1].size
		a.free = slices.Delete(a.free, i+1, i+2)
	}
	if i > 0 && a.free[i-1].at+a.free[i-1].size == at {
		a.free[i-1].size += a.free[i].size
		a.free = slices.Delete(a.free, i, i+1)
	}
}

// peak is the size of the buffer that the graph needs.
func (g *graph) peak() int64 {
	a := &arena{free: []span{{0, openEnd}}}
	for _, v := range g.inputs {
		v.at, v.held = a.take(v.size), true
	}
	for _, o := range g.ops {
		if o.out != nil && o.out.of != nil {
			o.out.of.views++
		}
		for _, v := range o.in {
			v.children++
		}
	}
	for _, o := range g.ops {
		if o.out != nil && o.out.of == nil {
			o.place(a)
		}
		for _, v := range o.in {
			v.children--
			v.release(a)
		}
	}
	return a.top
}

// place gives the result an address: an operand's where the operation allows it and nobody else needs the operand.
func (o op) place(a *arena) {
	out := o.out
	out.held = true
	for _, v := range o.in {
		if !o.inPlace || v.output || v.of != nil || !v.held || v.size != out.size || v.children != 1 || v.views != 0 {
			continue
		}
		out.at, v.held = v.at, false
		return
	}
	out.at = a.take(out.size)
}

// release frees a value that was read for the last time; the last view frees what it shows.
func (v *value) release(a *arena) {
	if v.children > 0 || v.views > 0 {
		return
	}
	if v.of != nil {
		v.of.views--
		v = v.of
		if v.children > 0 || v.views > 0 {
			return
		}
	}
	if v.held && !v.output {
		v.held = false
		a.give(v.at, v.size)
	}
}
