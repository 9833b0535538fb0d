// Package tune searches the settings with which this machine runs a file fastest: threads, flash attention, cache type,
// micro-batch and batch, one after the other, each from coarse to fine.
//
// Held by tests:
//   - A difference counts only when it is larger than the noise: both are measured again until the interval of one leaves the
//     other, or it is known to be small (TestNoise).
//   - What was measured before an interruption or the end of the budget is kept (TestBudget, TestInterrupted).
//
// Price: knobs are taken as independent, so a gain that two of them give only together is not found.
package tune

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// Point is a setting. Its zero fields are llama.cpp's defaults.
type Point struct {
	Threads int    `json:"threads"`
	Flash   string `json:"flash_attn"` // on, off
	KV      string `json:"kv_type"`    // f16, q8_0
	UBatch  int    `json:"ubatch"`
	Batch   int    `json:"batch"`
}

// String is the point as llama-server's options.
func (p Point) String() string {
	return fmt.Sprintf("-t %d -fa %s -ctk %s -ctv %s -ub %d -b %d", p.Threads, p.Flash, p.KV, p.KV, p.UBatch, p.Batch)
}

// Measure takes n samples of a point: seconds of a prompt and an answer.
type Measure func(ctx context.Context, p Point, n int) ([]float64, error)

// Options limit a search.
type Options struct {
	Start    Point
	Cores    int           // most threads
	Prompt   int           // tokens of the measured prompt: micro-batches beyond it cannot differ
	Budget   time.Duration // 0: 3 minutes
	Now      func() time.Time
	Progress func(t Trial, spent, budget time.Duration) // after each measurement; may be nil
}

// Trial is a measured point.
type Trial struct {
	Knob    string    `json:"knob"` // whose curve it belongs to
	Point   Point     `json:"point"`
	Samples []float64 `json:"seconds"`
	Mean    float64   `json:"mean_seconds"`
	Error   float64   `json:"interval_seconds"` // half the 95 % interval of the mean
	Failed  string    `json:"failed,omitempty"` // why it could not be run
}

// Outcome is the winner and everything that was measured.
type Outcome struct {
	Best        Trial   `json:"best"`
	Default     Trial   `json:"default"`
	Gain        float64 `json:"gain"`          // default over best, as a factor
	GainError   float64 `json:"gain_interval"` // half its 95 % interval
	Trials      []Trial `json:"trials"`
	Seconds     float64 `json:"seconds"` // that the search took
	Interrupted bool    `json:"interrupted,omitempty"`
	OutOfTime   bool    `json:"out_of_time,omitempty"`
}

const (
	firstSamples  = 3
	moreSamples   = 3
	mostSamples   = 15
	unsteady      = .15 // of the mean: an interval that is wider says that the machine was busy
	small         = .01 // a relative difference that nobody notices: not worth more samples
	defaultBudget = 3 * time.Minute
)

var errTime = errors.New("the budget is spent")

// search is a running one.
type search struct {
	o       Options
	measure Measure
	start   time.Time
	known   map[Point]*Trial
	out     *Outcome
}

// Run searches. It fails only when not even the start can be measured; an interruption is an outcome.
func Run(ctx context.Context, measure Measure, o Options) (*Outcome, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Budget <= 0 {
		o.Budget = defaultBudget
	}
	s := &search{o: o, measure: measure, start: o.Now(), known: map[Point]*Trial{}, out: &Outcome{}}
	if _, err := measure(ctx, o.Start, 1); err != nil { // not counted: pages are mapped, kernels compiled
		return nil, err
	}
	first, err := s.try(ctx, "default", o.Start)
	if err != nil {
		return nil, err
	}
	best := first
	for _, k := range knobs {
		if best, err = s.turn(ctx, k, best); err != nil {
			break
		}
	}
	switch {
	case errors.Is(err, errTime):
		s.out.OutOfTime = true
	case err != nil && ctx.Err() != nil:
		s.out.Interrupted = true
	case err != nil:
		return nil, err
	}
	s.finish(first, best)
	return s.out, nil
}

func (s *search) finish(first, best *Trial) {
	out := s.out
	out.Default, out.Best, out.Seconds = *first, *best, s.o.Now().Sub(s.start).Seconds()
	out.Gain = first.Mean / best.Mean
	out.GainError = out.Gain * math.Hypot(first.Error/first.Mean, best.Error/best.Mean)
	if best == first {
		out.GainError = 0
	}
	for _, t := range s.known {
		out.Trials = append(out.Trials, *t)
	}
	slices.SortFunc(out.Trials, func(a, b Trial) int {
		if c := slices.Index(order, a.Knob) - slices.Index(order, b.Knob); c != 0 {
			return c
		}
		return compare(a.Point, b.Point)
	})
}

// turn finds the best value of one knob: coarse values, then the neighbours of the best of them.
func (s *search) turn(ctx context.Context, k knob, best *Trial) (*Trial, error) {
	for _, values := range []func(Options, Point) []Point{k.coarse, k.fine} {
		if values == nil {
			continue
		}
		for _, p := range values(s.o, best.Point) {
			t, err := s.try(ctx, k.name, p)
			if err != nil {
				return best, err
			}
			if t.Failed != "" {
				continue
			}
			if best, err = s.better(ctx, best, t); err != nil {
				return best, err
			}
		}
	}
	return best, nil
}

// better is the faster of two trials. Where the noise does not allow to say, both are measured again; where they differ by less
// than anyone notices, the first stays.
func (s *search) better(ctx context.Context, a, b *Trial) (*Trial, error) {
	for {
		d, noise := a.Mean-b.Mean, math.Hypot(a.Error, b.Error)
		switch {
		case a.unsteady() || b.unsteady(): // the machine had other work: no conclusion yet
		case d > noise && d > small*a.Mean:
			return b, nil
		case d < -noise || math.Abs(d)+noise < small*a.Mean:
			return a, nil
		case len(a.Samples) >= mostSamples && len(b.Samples) >= mostSamples:
			return a, nil
		}
		for _, t := range []*Trial{a, b} {
			if len(t.Samples) < mostSamples && (t.unsteady() || !a.unsteady() && !b.unsteady()) {
				if err := s.sample(ctx, t, moreSamples); err != nil {
					return a, err
				}
			}
		}
	}
}

// try measures a point unless it is known. A point that cannot be run is a failed trial.
func (s *search) try(ctx context.Context, knob string, p Point) (*Trial, error) {
	if t := s.known[p]; t != nil {
		return t, nil
	}
	t := &Trial{Knob: knob, Point: p}
	err := s.sample(ctx, t, firstSamples)
	switch {
	case errors.Is(err, errTime) || err != nil && ctx.Err() != nil:
		return nil, err
	case err != nil && knob == "default":
		return nil, err
	case err != nil:
		t.Failed = err.Error()
	}
	s.known[p] = t
	return t, nil
}

func (s *search) sample(ctx context.Context, t *Trial, n int) error {
	spent := s.o.Now().Sub(s.start)
	if spent >= s.o.Budget && len(s.known) > 0 {
		return errTime
	}
	seconds, err := s.measure(ctx, t.Point, n)
	if err != nil {
		return err
	}
	t.Samples = append(t.Samples, seconds...)
	t.statistics()
	if s.o.Progress != nil {
		s.o.Progress(*t, s.o.Now().Sub(s.start), s.o.Budget)
	}
	return nil
}

// student is the 97.5 % quantile of Student's distribution by degrees of freedom; from 15 on two is near enough.
var student = []float64{0, 12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14}

// unsteady tells a trial that should be sampled again before it is compared.
func (t *Trial) unsteady() bool { return t.Error > unsteady*t.Mean && len(t.Samples) < mostSamples }

// statistics keeps the faster half of the samples, three at least: other work on the machine makes a run slower, never faster.
func (t *Trial) statistics() {
	kept := slices.Sorted(slices.Values(t.Samples))
	kept = kept[:max(min(3, len(kept)), len(kept)/2)]
	n := float64(len(kept))
	sum, squares := 0., 0.
	for _, x := range kept {
		sum += x
	}
	t.Mean = sum / n
	for _, x := range kept {
		squares += (x - t.Mean) * (x - t.Mean)
	}
	t.Error = 0
	if n > 1 {
		q := 2.
		if int(n)-1 < len(student) {
			q = student[int(n)-1]
		}
		t.Error = q * math.Sqrt(squares/(n-1)/n)
	}
}
