package graph

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"quern/pipeline"
)

// trace is what a run did, in order.
type trace struct {
	mu   sync.Mutex
	said []string
}

func (t *trace) on(c Change) {
	t.mu.Lock()
	defer t.mu.Unlock()
	state := c.State
	if state == "" {
		state = "starts"
	}
	t.said = append(t.said, fmt.Sprintf("%s/%s %s", c.Node.Model.Key, c.Node.Name, state))
}

func (t *trace) index(s string) int { return slices.Index(t.said, s) }

func done(context.Context, *Graph, int) (pipeline.State, error) { return pipeline.OK, nil }

func node(m *Model, name string, need Need, after ...*Node) *Node {
	return &Node{Name: name, Model: m, After: after, Need: func() Need { return need }, Run: done}
}

func failing(context.Context, *Graph, int) (pipeline.State, error) { return "", errors.New("broken") }

// One model's failure ends what depends on it and nothing else; what stands behind it still runs.
func TestFailure(t *testing.T) {
	a, b := &Model{Key: "a"}, &Model{Key: "b", Order: 1}
	plan := node(a, "plan", Need{})
	plan.Run = failing
	build, other := node(a, "build", Need{}, plan), node(b, "build", Need{})
	finish := node(a, "finish", Need{})
	finish.Behind = []*Node{build}
	var tr trace
	s, err := Run(context.Background(), Budget{Cores: 1}, []*Model{a, b}, []*Node{plan, build, finish, other}, tr.on)
	if err != nil || s.Failed != 1 || s.Blocked != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	for _, want := range []string{"a/plan failed", "a/build blocked", "a/finish ok", "b/build ok"} {
		if tr.index(want) < 0 {
			t.Errorf("%q is missing: %q", want, tr.said)
		}
	}
}

// Disk is given in the order of the models, whichever is ready first; what is over the budget fails alone, and given-back
// space lets the next one in.
func TestDisk(t *testing.T) {
	var models []*Model
	for i, key := range []string{"a", "b", "c", "d"} {
		models = append(models, &Model{Key: key, Order: i})
	}
	slow := make(chan bool)
	plan := node(models[0], "plan", Need{})
	plan.Run = func(context.Context, *Graph, int) (pipeline.State, error) { <-slow; return pipeline.OK, nil }
	a := node(models[0], "pull", Need{Disk: 60}, plan)
	b := node(models[1], "pull", Need{Disk: 60})
	c := node(models[2], "pull", Need{Disk: 40})
	d := node(models[3], "pull", Need{Disk: 101})
	free := node(models[3], "other", Need{})
	free.Run = func(context.Context, *Graph, int) (pipeline.State, error) { close(slow); return pipeline.OK, nil }
	var tr trace
	s, err := Run(context.Background(), Budget{Cores: 1, Disk: 100}, models, []*Node{d, free, c, b, plan, a}, tr.on)
	if err != nil || s.PeakDisk != 100 {
		t.Fatalf("%+v, %v: %q", s, err, tr.said)
	}
	var be *BudgetError
	if a.State() != pipeline.OK || c.State() != pipeline.OK || !errors.As(b.Err(), &be) || be.Held != 60 || !errors.As(d.Err(), &be) || be.Need != 101 {
		t.Fatalf("%q", tr.said)
	}

	// the same with a's space given back
	x, y := &Model{Key: "x"}, &Model{Key: "y", Order: 1}
	px := node(x, "pull", Need{Disk: 60})
	evict := node(x, "evict", Need{}, px)
	evict.Run = func(_ context.Context, g *Graph, _ int) (pipeline.State, error) {
		g.Release(x, 60)
		return pipeline.OK, nil
	}
	py := node(y, "pull", Need{Disk: 60})
	if s, _ := Run(context.Background(), Budget{Cores: 1, Disk: 100}, []*Model{x, y}, []*Node{px, evict, py}, nil); s.Failed != 0 || s.PeakDisk != 60 {
		t.Fatalf("%+v", s)
	}
}

// A test takes its core from the build beside it, and the last node gets all.
func TestCores(t *testing.T) {
	m := &Model{Key: "m"}
	got := map[string]int{}
	var mu sync.Mutex
	together := make(chan bool)
	build := node(m, "build", Need{Least: 3, Most: 4})
	smoke := node(m, "smoke", Need{Least: 1, Most: 4})
	last := node(m, "last", Need{Least: 3, Most: 4}, build, smoke)
	for _, n := range []*Node{build, smoke, last} {
		n.Run = func(_ context.Context, _ *Graph, cores int) (pipeline.State, error) {
			mu.Lock()
			got[n.Name] = cores
			mu.Unlock()
			switch n {
			case build:
				together <- true
			case smoke:
				<-together
			}
			return pipeline.OK, nil
		}
	}
	if _, err := Run(context.Background(), Budget{Cores: 4}, []*Model{m}, []*Node{build, smoke, last}, nil); err != nil {
		t.Fatal(err)
	}
	if got["build"] != 3 || got["smoke"] != 1 || got["last"] != 4 {
		t.Errorf("cores: %v", got)
	}
}

// Random graphs, some of whose nodes fail or add others: the budget is never exceeded, every node ends once, none too early.
func TestRandom(t *testing.T) {
	nodes := 0
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		b := Budget{Cores: 1 + r.IntN(4), Memory: 100, Disk: 200, Jobs: r.IntN(4), Limits: map[Class]int{"net": 2}}
		var models []*Model
		var all []*Node
		for i := range 1 + r.IntN(6) {
			m := &Model{Key: fmt.Sprint("m", i), Order: i}
			models = append(models, m)
			var own []*Node
			for j := range 1 + r.IntN(6) {
				n := node(m, fmt.Sprint("n", j), Need{Memory: int64(r.IntN(110)), Least: r.IntN(3), Most: 4})
				if j == 0 {
					n.Need = func() Need { return Need{Disk: int64(50 + i*40)} }
				}
				n.Class = []Class{"", "net"}[r.IntN(2)]
				for _, o := range own {
					switch r.IntN(4) {
					case 0:
						n.After = append(n.After, o)
					case 1:
						n.Behind = append(n.Behind, o)
					}
				}
				if r.IntN(6) == 0 {
					n.Run = failing
				} else if r.IntN(5) == 0 {
					n.Run = func(_ context.Context, g *Graph, _ int) (pipeline.State, error) {
						g.Add(n, node(m, n.Name+"+", Need{Least: 1, Most: 1}))
						return pipeline.OK, nil
					}
				}
				own = append(own, n)
			}
			all = append(all, own...)
		}
		cores, memory, running := 0, int64(0), 0
		ends := map[*Node]int{}
		s, err := Run(context.Background(), b, models, all, func(c Change) {
			if c.State == "" {
				cores += c.Cores
				memory += c.Node.need.Memory
				running++
				for _, p := range c.Node.After {
					if !p.ended || p.state == pipeline.Failed || p.state == Blocked {
						t.Fatalf("seed %d: %s starts before %s", seed, c.Node.Name, p.Name)
					}
				}
				if cores > b.Cores || memory > b.Memory || b.Jobs > 0 && running > b.Jobs {
					t.Fatalf("seed %d: %d cores, %d bytes, %d jobs of %+v", seed, cores, memory, running, b)
				}
				return
			}
			ends[c.Node]++
			if !c.Node.from.IsZero() {
				cores -= c.Cores
				memory -= c.Node.need.Memory
				running--
			}
		})
		if err != nil || s.PeakDisk > b.Disk || len(ends) != s.Nodes {
			t.Fatalf("seed %d: %+v, %v, %d ends", seed, s, err, len(ends))
		}
		for n, k := range ends {
			if k != 1 {
				t.Fatalf("seed %d: %s ended %d times", seed, n.Name, k)
			}
		}
		nodes += s.Nodes
	}
	t.Logf("count: graph: %d nodes in 200 random graphs, no budget exceeded", nodes)
}

// A cancelled run starts nothing more and waits for what runs.
func TestCancel(t *testing.T) {
	m := &Model{Key: "m"}
	ctx, cancel := context.WithCancel(context.Background())
	first := node(m, "first", Need{})
	first.Run = func(ctx context.Context, _ *Graph, _ int) (pipeline.State, error) {
		cancel()
		<-ctx.Done()
		return "", ctx.Err()
	}
	second := node(m, "second", Need{})
	second.Behind = []*Node{first}
	if _, err := Run(ctx, Budget{}, []*Model{m}, []*Node{first, second}, nil); !errors.Is(err, context.Canceled) || second.State() != "" {
		t.Fatalf("%v, second %q", err, second.State())
	}
}
