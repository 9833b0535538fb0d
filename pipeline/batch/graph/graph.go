// Package graph runs stages of many models at once, within budgets: what waits for the network, what computes and what tries
// files overlap, and one failure stops only what depends on it.
//
// Nodes are started by one goroutine, so that decisions need no locks and depend on nothing but which nodes have ended:
//
//	for some node is left:
//	    of the ready nodes, those nearest to the end of their model first, then in the order of the models:
//	        start it if its class has room and its needs are free
//	        otherwise keep what it needs free for it, from those behind it
//	    wait for a node to end; it may add nodes
//
// Invariants:
//   - The sum of what running nodes were granted never exceeds the budget.
//   - Disk is admitted model by model in their order, all of a model's at once: which model is over the budget does not depend
//     on how fast another one is, and no two models wait for one another's space.
//   - Every node ends in exactly one state.
package graph

import (
	"context"
	"fmt"
	"slices"
	"time"

	"quern/pipeline"
)

// Class is a kind of work, of which a limited number runs at once.
type Class string

// Budget bounds what runs at once.
type Budget struct {
	Disk   int64 // bytes; 0: not bounded
	Memory int64 // bytes; 0: not bounded
	Cores  int   // at least 1
	Jobs   int   // nodes at once; 0: not bounded
	Limits map[Class]int
}

// Need is what a node takes. Cores and memory are given back when it ends, disk by Model.Release.
type Need struct {
	Disk   int64
	Memory int64
	// Least and Most are cores. A node gets Most when it is all that is left to do, and Least beside others.
	Least, Most int
}

// Model is what nodes belong to: it holds disk, and has its place in the order.
type Model struct {
	Key   string
	Order int

	held     int64
	admitted bool
	left     int // nodes that have not ended
}

// Node is one stage of a model.
type Node struct {
	Name  string // unique in its model
	Model *Model
	Class Class
	Rank  int     // how near to the end of its model; larger starts first
	After []*Node // must have succeeded
	// Behind must have ended, however they did. A node behind others still runs when they fail.
	Behind []*Node
	Need   func() Need // asked once, when the node is ready; nil: nothing
	// Run does the work on the cores that it is granted. It may add nodes to the graph.
	Run func(ctx context.Context, g *Graph, cores int) (pipeline.State, error)
	// Says is set by Run: what a person should know of how it ended, such as why it ran.
	Says string

	state   pipeline.State
	ended   bool
	running bool
	need    *Need
	cores   int
	err     error
	from    time.Time
}

// State is how the node ended; empty while it has not.
func (n *Node) State() pipeline.State { return n.state }

// Err is what it failed with.
func (n *Node) Err() error { return n.err }

// Blocked is the state of a node that was not run because one before it failed.
const Blocked pipeline.State = "blocked"

// BudgetError says that a model needs more than the budget has. The command ends with exit code 16.
type BudgetError struct {
	Model    string
	What     string // disk, memory
	Need, Of int64
	Held     int64 // by the models before it
}

// Error gives need and budget.
func (e *BudgetError) Error() string {
	s := fmt.Sprintf("%s needs %d bytes of %s, the budget is %d", e.Model, e.Need, e.What, e.Of)
	if e.Held > 0 {
		s += fmt.Sprintf(", of which the models before it hold %d", e.Held)
	}
	return s
}

// Hint says what helps.
func (e *BudgetError) Hint() string {
	if e.What == "disk" && e.Held > 0 {
		return "raise budget.disk, or give sources back with --evict"
	}
	return "raise budget." + e.What + ", or make fewer or smaller types of it"
}

// Graph is a run. Its methods are for the nodes' Run.
type Graph struct {
	budget Budget
	on     func(Change)

	nodes   []*Node
	models  []*Model
	classes map[Class]int
	disk    int64
	memory  int64
	cores   int
	running int
	peak    int64

	ask chan func() // what running nodes want to have done by the goroutine that owns all this
}

// Change is a node that starts, or ends when State is not empty.
type Change struct {
	Node    *Node
	State   pipeline.State
	Err     error
	Elapsed time.Duration
	Cores   int
}

// Stats are what a run took.
type Stats struct {
	Nodes, Failed, Blocked int
	PeakDisk               int64 // bytes held at most by sources and outputs
	Elapsed                time.Duration
}

// Run runs the nodes and those that they add. Failures stand in the nodes; the error is that of the context alone.
// on is called by one goroutine; it may be nil.
func Run(ctx context.Context, b Budget, models []*Model, nodes []*Node, on func(Change)) (Stats, error) {
	if on == nil {
		on = func(Change) {}
	}
	b.Cores = max(b.Cores, 1)
	g := &Graph{budget: b, on: on, models: models, classes: map[Class]int{}, ask: make(chan func())}
	g.add(nodes)
	start := time.Now()
	for g.left() > 0 {
		if ctx.Err() != nil && g.running == 0 {
			break
		}
		if ctx.Err() == nil && g.begin(ctx) {
			continue // what ended by it may let others start
		}
		if g.running == 0 {
			g.unblock()
			continue
		}
		(<-g.ask)()
	}
	s := Stats{Nodes: len(g.nodes), PeakDisk: g.peak, Elapsed: time.Since(start)}
	for _, n := range g.nodes {
		switch n.state {
		case pipeline.Failed:
			s.Failed++
		case Blocked:
			s.Blocked++
		}
	}
	return s, ctx.Err()
}

// Add puts nodes into the graph while the node from runs; they start when it has ended.
func (g *Graph) Add(from *Node, nodes ...*Node) {
	for _, n := range nodes {
		n.Behind = append(n.Behind[:len(n.Behind):len(n.Behind)], from)
	}
	g.do(func() { g.add(nodes) })
}

// Release gives back disk that a model holds.
func (g *Graph) Release(m *Model, bytes int64) {
	g.do(func() {
		bytes = min(bytes, m.held)
		m.held -= bytes
		g.disk -= bytes
	})
}

// do waits until the owner has done f.
func (g *Graph) do(f func()) {
	done := make(chan struct{})
	g.ask <- func() { f(); close(done) }
	<-done
}

func (g *Graph) add(nodes []*Node) {
	for _, n := range nodes {
		g.nodes = append(g.nodes, n)
		n.Model.left++
	}
}

func (g *Graph) left() int {
	n := 0
	for _, m := range g.models {
		n += m.left
	}
	return n
}

// begin starts all that can be started. It tells whether a node ended without a start.
func (g *Graph) begin(ctx context.Context) (ended bool) {
	waiting := false // a node waits for cores or memory: those behind it may not take them
	for _, n := range g.ready() {
		if g.budget.Jobs > 0 && g.running >= g.budget.Jobs {
			return ended
		}
		if limit := g.budget.Limits[n.Class]; limit > 0 && g.classes[n.Class] >= limit {
			continue
		}
		need := *n.need
		if waiting && (need.Least > 0 || need.Memory > 0) || !g.admits(n) {
			continue
		}
		if n.ended { // refused by the budget
			ended = true
			continue
		}
		cores := min(need.Least, g.budget.Cores)
		if g.alone(n) {
			cores = min(need.Most, g.budget.Cores)
		}
		if g.cores+cores > g.budget.Cores || g.budget.Memory > 0 && g.memory > 0 && g.memory+need.Memory > g.budget.Memory {
			waiting = true
			continue
		}
		g.start(ctx, n, cores)
	}
	return ended
}

// ready are the nodes whose predecessors have ended, in the order in which they should start. Those behind a failure end here.
func (g *Graph) ready() []*Node {
	var out []*Node
	for again := true; again; {
		again = false
		out = out[:0]
		for _, n := range g.nodes {
			if n.ended || n.running {
				continue
			}
			switch ok, failed := before(n); {
			case failed:
				g.end(n, Blocked, nil)
				again = true // others may have waited for it
			case ok:
				out = append(out, n)
			}
		}
	}
	for _, n := range out {
		if n.need == nil {
			n.need = &Need{}
			if n.Need != nil {
				*n.need = n.Need()
			}
		}
	}
	slices.SortStableFunc(out, func(a, b *Node) int {
		if a.Rank != b.Rank {
			return b.Rank - a.Rank
		}
		return a.Model.Order - b.Model.Order
	})
	return out
}

func before(n *Node) (ok, failed bool) {
	ok = true
	for _, p := range n.After {
		failed = failed || p.ended && (p.state == pipeline.Failed || p.state == Blocked)
		ok = ok && p.ended
	}
	for _, p := range n.Behind {
		ok = ok && p.ended
	}
	return ok, failed
}

// admits tells whether the node's needs fit what the budget leaves; what never fits fails it. Disk goes by the order of models.
func (g *Graph) admits(n *Node) bool {
	need := n.need
	b := g.budget
	switch {
	case b.Memory > 0 && need.Memory > b.Memory:
		g.end(n, pipeline.Failed, &BudgetError{n.Model.Key, "memory", need.Memory, b.Memory, 0})
		return true
	case b.Disk == 0 || need.Disk == 0:
		return true
	case need.Disk > b.Disk:
		g.end(n, pipeline.Failed, &BudgetError{n.Model.Key, "disk", need.Disk, b.Disk, 0})
		return true
	}
	for _, m := range g.models {
		if m.Order < n.Model.Order && !m.admitted && m.left > 0 {
			return false
		}
	}
	return g.disk+need.Disk <= b.Disk
}

// alone tells whether nothing could run beside the node: all other nodes that are left wait for it.
func (g *Graph) alone(n *Node) bool {
	for _, o := range g.nodes {
		if o != n && !o.ended && (o.running || !waitsFor(o, n)) {
			return false
		}
	}
	return true
}

func waitsFor(o, n *Node) bool {
	for _, list := range [][]*Node{o.After, o.Behind} {
		for _, p := range list {
			if p == n || !p.ended && waitsFor(p, n) {
				return true
			}
		}
	}
	return false
}

func (g *Graph) start(ctx context.Context, n *Node, cores int) {
	n.running, n.cores, n.from = true, cores, time.Now()
	g.running++
	g.classes[n.Class]++
	g.cores += cores
	g.memory += n.need.Memory
	if n.need.Disk > 0 {
		n.Model.admitted = true
		n.Model.held += n.need.Disk
		g.disk += n.need.Disk
		g.peak = max(g.peak, g.disk)
	}
	g.on(Change{Node: n, Cores: cores})
	go func() {
		state, err := n.Run(ctx, g, cores)
		if err != nil {
			state = pipeline.Failed
		}
		g.ask <- func() {
			n.running = false
			g.running--
			g.classes[n.Class]--
			g.cores -= n.cores
			g.memory -= n.need.Memory
			g.end(n, state, err)
		}
	}()
}

func (g *Graph) end(n *Node, state pipeline.State, err error) {
	n.ended, n.state, n.err = true, state, err
	n.Model.left--
	var took time.Duration
	if !n.from.IsZero() {
		took = time.Since(n.from)
	}
	g.on(Change{Node: n, State: state, Err: err, Elapsed: took, Cores: n.cores})
}

// unblock is called when nothing runs and nothing could be started: the first model that waits for disk will never get it.
func (g *Graph) unblock() {
	var first *Node
	for _, n := range g.ready() {
		if first == nil || n.Model.Order < first.Model.Order {
			first = n
		}
	}
	if first == nil {
		for _, n := range g.nodes { // nodes that wait for one another: a mistake of who made the graph, told and not hung on
			if !n.ended {
				g.end(n, pipeline.Failed, fmt.Errorf("%s/%s waits for itself", n.Model.Key, n.Name))
			}
		}
		return
	}
	g.end(first, pipeline.Failed, &BudgetError{first.Model.Key, "disk", first.need.Disk, g.budget.Disk, g.disk})
}
