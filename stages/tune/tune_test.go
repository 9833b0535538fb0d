package tune_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"quern/stages/tune"
)

// bench is a machine whose speeds are known: one sample takes the seconds that it says.
type bench struct {
	rng    *rand.Rand
	noise  float64
	clock  time.Time
	runs   int
	failAt int // the run at which the context is cancelled; 0: never
	cancel context.CancelFunc
}

func (b *bench) truth(p tune.Point) float64 {
	s := 1 + 8/float64(p.Threads)
	if p.Threads > 6 {
		s += .6 * float64(p.Threads-6) // slow cores make every step wait
	}
	if p.Flash == "off" {
		s *= 1.2
	}
	if p.KV == "q8_0" {
		s *= 1.05
	}
	return s * (1 + .05*math.Abs(math.Log2(float64(p.UBatch)/256)))
}

func (b *bench) measure(ctx context.Context, p tune.Point, n int) ([]float64, error) {
	var out []float64
	for range n {
		b.runs++
		if b.failAt > 0 && b.runs >= b.failAt {
			b.cancel()
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s := b.truth(p) * (1 + b.noise*b.rng.NormFloat64())
		b.clock = b.clock.Add(time.Duration(s * float64(time.Second)))
		out = append(out, s)
	}
	return out, nil
}

func (b *bench) options() tune.Options {
	return tune.Options{Start: tune.Point{Threads: 12, Flash: "on", KV: "f16", UBatch: 512, Batch: 2048}, Cores: 12, Prompt: 1024, Budget: time.Hour,
		Now: func() time.Time { return b.clock }}
}

func newBench(noise float64) *bench {
	return &bench{rng: rand.New(rand.NewPCG(7, 7)), noise: noise, clock: time.Unix(0, 0)}
}

// The search is within 3 % of the full grid's best, in a quarter of the measurements that the grid takes.
func TestFindsTheBest(t *testing.T) {
	for _, noise := range []float64{0, .01, .03} {
		b := newBench(noise)
		out, err := tune.Run(t.Context(), b.measure, b.options())
		if err != nil {
			t.Fatal(err)
		}
		grid := tune.Grid(b.options())
		best := math.Inf(1)
		for _, p := range grid {
			best = min(best, b.truth(p))
		}
		if got := b.truth(out.Best.Point); got > 1.03*best {
			t.Errorf("noise %g: %s takes %.3f, the grid's best %.3f", noise, out.Best.Point, got, best)
		}
		if 4*b.runs > 3*len(grid) {
			t.Errorf("noise %g: %d measurements, the grid takes %d", noise, b.runs, 3*len(grid))
		}
		if want := b.truth(out.Default.Point) / b.truth(out.Best.Point); math.Abs(out.Gain-want) > out.GainError+.02*want {
			t.Errorf("noise %g: gain %.3f ± %.3f, in truth %.3f", noise, out.Gain, out.GainError, want)
		}
	}
}

// Where nothing differs, the default stays: noise is not a gain.
func TestNoise(t *testing.T) {
	changed := 0
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		flat := func(_ context.Context, _ tune.Point, n int) ([]float64, error) {
			var out []float64
			for range n {
				out = append(out, 1+.05*rng.NormFloat64())
			}
			return out, nil
		}
		out, err := tune.Run(t.Context(), flat, newBench(0).options())
		if err != nil {
			t.Fatal(err)
		}
		if out.Gain > 1.05 {
			changed++
		}
	}
	if changed > 4 {
		t.Errorf("noise of 5 %% was taken for a gain of as much %d times in 20", changed)
	}
}

func TestBudget(t *testing.T) {
	b := newBench(.01)
	o := b.options()
	o.Budget = 60 * time.Second
	out, err := tune.Run(t.Context(), b.measure, o)
	if err != nil {
		t.Fatal(err)
	}
	if !out.OutOfTime || len(out.Trials) == 0 || out.Seconds > 100 {
		t.Errorf("out of time %v, %d trials, %v", out.OutOfTime, len(out.Trials), out.Seconds)
	}
}

func TestInterrupted(t *testing.T) {
	b := newBench(.01)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b.cancel, b.failAt = cancel, 25
	out, err := tune.Run(ctx, b.measure, b.options())
	if err != nil {
		t.Fatal(err)
	}
	if !out.Interrupted || len(out.Trials) < 3 || out.Gain < 1 {
		t.Errorf("interrupted %v, %d trials, gain %g", out.Interrupted, len(out.Trials), out.Gain)
	}
}

// A point that cannot be run is a failed trial; a start that cannot is an error.
func TestFailures(t *testing.T) {
	b := newBench(0)
	refuse := func(ctx context.Context, p tune.Point, n int) ([]float64, error) {
		if p.KV == "q8_0" {
			return nil, errors.New("head size 48 is no multiple of 32")
		}
		return b.measure(ctx, p, n)
	}
	out, err := tune.Run(t.Context(), refuse, b.options())
	if err != nil {
		t.Fatal(err)
	}
	failed := 0
	for _, tr := range out.Trials {
		if tr.Failed != "" {
			failed++
		}
	}
	if failed == 0 || out.Best.Point.KV != "f16" {
		t.Errorf("%d failed, best %s", failed, out.Best.Point)
	}
	if _, err := tune.Run(t.Context(), func(context.Context, tune.Point, int) ([]float64, error) { return nil, errors.New("no") }, b.options()); err == nil {
		t.Error("a start that cannot be measured is no error")
	}
}
