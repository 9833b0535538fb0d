// Package bench measures how fast a GGUF file runs: prompt processing and generation as llama-bench measures them, with
// the spread of the repetitions, the memory that the file took, and a verdict on whether the machine was quiet.
//
// The measuring itself happens in a child process beside llama.cpp, with a persistent pool of threads; nothing is
// exchanged while a clock runs.
package bench

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"quern/quantize/llamacpp"
)

// Test is one line of a benchmark: a prompt, or a generation, or one after the other, at a depth of the cache.
type Test struct {
	Prompt   int `json:"prompt"`   // tokens processed at once
	Generate int `json:"generate"` // tokens generated one by one
	Depth    int `json:"depth"`    // tokens in the cache before the clock starts
}

// String is llama-bench's name of the test: pp512, tg128, pp512+tg128, tg128@d4096.
func (t Test) String() string {
	var parts []string
	if t.Prompt > 0 {
		parts = append(parts, fmt.Sprintf("pp%d", t.Prompt))
	}
	if t.Generate > 0 {
		parts = append(parts, fmt.Sprintf("tg%d", t.Generate))
	}
	s := strings.Join(parts, "+")
	if t.Depth > 0 {
		s += fmt.Sprintf("@d%d", t.Depth)
	}
	return s
}

// Default is what a file is measured with: pp512 and tg128 at the given depths.
func Default(depths ...int) []Test {
	if len(depths) == 0 {
		depths = []int{0}
	}
	var ts []Test
	for _, d := range depths {
		ts = append(ts, Test{Prompt: 512, Depth: d}, Test{Generate: 128, Depth: d})
	}
	return ts
}

// Options says what is measured and when to be content.
type Options struct {
	Model   llamacpp.ModelOptions
	Context llamacpp.ContextOptions // batch, threads, flash attention, cache types; the length is the tests' own
	Tests   []Test                  // nil: Default()
	// Repetitions of each test; at least 3, and 5 where it is 0. More follow, up to Most, until the standard error of the
	// mean is within Target.
	Repetitions int
	Most        int     // 0: four times Repetitions
	Target      float64 // relative, such as 0.01; 0: 0.02
	// Busy is the spread beyond which the machine counts as busy and a result is not to be recorded; 0: 0.10.
	Busy     float64
	Progress func(test Test, done, total int) // may be nil
}

// Report is what was measured.
type Report struct {
	Results     []Result          `json:"results"`
	Model       *llamacpp.Model   `json:"-"`
	System      llamacpp.System   `json:"system"`
	LoadSeconds float64           `json:"load_seconds"`
	PeakRSS     int64             `json:"peak_rss"`          // of the child, bytes
	Buffers     []llamacpp.Buffer `json:"buffers"`           // by device and use, of the largest test
	Skipped     []string          `json:"skipped,omitempty"` // tests that the model cannot run, each with its reason
}

// Result is one test.
type Result struct {
	Test            Test      `json:"-"`
	Name            string    `json:"test"`
	TokensPerSecond float64   `json:"tokens_per_second"` // the median
	Mean            float64   `json:"mean"`              // what llama-bench prints
	Spread          float64   `json:"spread"`            // standard deviation over the mean, as llama-bench's ± relative
	Best            float64   `json:"best"`
	Samples         []float64 `json:"samples"` // tokens per second of each repetition, in order
	Threads         int       `json:"threads"`
	Busy            bool      `json:"busy"` // the spread says that the machine had other work
}

// Summary is the test with its speed and spread: "pp512 9120 t/s ±1%".
func (r Result) Summary() string {
	return fmt.Sprintf("%s %s t/s ±%.0f%%", r.Name, speed(r.TokensPerSecond), 100*r.Spread)
}

// speed keeps three digits of slow results and groups the thousands of fast ones.
func speed(v float64) string {
	switch {
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	case v < 1000:
		return fmt.Sprintf("%.0f", v)
	}
	n := int64(math.Round(v))
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}

// Busy tells whether any result is not to be recorded.
func (r *Report) Busy() bool {
	return slices.ContainsFunc(r.Results, func(x Result) bool { return x.Busy })
}

const (
	leastRepetitions   = 3
	defaultRepetitions = 5
	defaultTarget      = 0.02
	defaultBusy        = 0.10
)

func (o *Options) complete() error {
	if o.Tests == nil {
		o.Tests = Default()
	}
	if o.Repetitions == 0 {
		o.Repetitions = defaultRepetitions
	}
	o.Repetitions = max(o.Repetitions, leastRepetitions)
	if o.Most == 0 {
		o.Most = 4 * o.Repetitions
	}
	if o.Target == 0 {
		o.Target = defaultTarget
	}
	if o.Busy == 0 {
		o.Busy = defaultBusy
	}
	for _, t := range o.Tests {
		if t.Prompt < 0 || t.Generate < 0 || t.Depth < 0 || t.Prompt+t.Generate == 0 {
			return fmt.Errorf("bench: a test of %d prompt and %d generated tokens at depth %d", t.Prompt, t.Generate, t.Depth)
		}
	}
	return nil
}

// Measure loads the file in the child and runs every test. The child should be fresh: its peak memory is reported.
func Measure(ctx context.Context, child *llamacpp.Child, o Options) (*Report, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	m, err := child.Load(ctx, o.Model)
	if err != nil {
		return nil, err
	}
	r := &Report{Model: m, System: child.System, LoadSeconds: m.LoadSeconds}
	largest := -1
	for _, t := range o.Tests {
		if why := impossible(t, m); why != "" {
			r.Skipped = append(r.Skipped, t.String()+": "+why)
			continue
		}
		res, buffers, err := measure(ctx, child, m.Slot, t, o)
		if err != nil {
			return r, fmt.Errorf("bench %s: %w", t, err)
		}
		r.Results = append(r.Results, *res)
		if size := t.Prompt + t.Generate + t.Depth; size > largest {
			largest = size
			r.Buffers = append(slices.Clone(m.Buffers), buffers...)
		}
	}
	if u, err := child.Usage(ctx); err == nil {
		r.PeakRSS = u.PeakRSS
	}
	return r, nil
}

// impossible tells why a model cannot run a test, or is "".
func impossible(t Test, m *llamacpp.Model) string {
	if t.Generate > 0 && (!m.Decoder || !m.Causal) {
		return "an encoder generates nothing"
	}
	if n := t.Prompt + t.Generate + t.Depth; m.Positions > 0 && n > m.Positions {
		return fmt.Sprintf("%d tokens, the model has positions for %d", n, m.Positions)
	}
	return ""
}

// measure repeats one test until its mean is known well enough, or it was repeated often enough.
func measure(ctx context.Context, child *llamacpp.Child, slot int, t Test, o Options) (*Result, []llamacpp.Buffer, error) {
	res := &Result{Test: t, Name: t.String()}
	var buffers []llamacpp.Buffer
	for len(res.Samples) < o.Most {
		n := o.Repetitions
		if len(res.Samples) > 0 {
			n = min(n, o.Most-len(res.Samples))
		}
		done := len(res.Samples)
		b, err := child.Bench(ctx, llamacpp.BenchArgs{ContextOptions: o.Context, Slot: slot, Prompt: t.Prompt, Generate: t.Generate, Depth: t.Depth, Repetitions: n},
			func(p llamacpp.Progress) {
				if o.Progress != nil {
					o.Progress(t, done+int(p.Done), done+n)
				}
			})
		if err != nil {
			return nil, nil, err
		}
		if buffers == nil {
			buffers = b.Buffers
		}
		res.Threads = b.Threads
		for _, s := range b.Seconds {
			res.Samples = append(res.Samples, float64(b.Tokens)/s)
		}
		res.statistics()
		if res.Spread/math.Sqrt(float64(len(res.Samples))) <= o.Target {
			break
		}
	}
	res.Busy = res.Spread > o.Busy
	return res, buffers, nil
}

func (r *Result) statistics() {
	n := float64(len(r.Samples))
	sum := 0.0
	for _, s := range r.Samples {
		sum += s
	}
	r.Mean = sum / n
	squares := 0.0
	for _, s := range r.Samples {
		squares += (s - r.Mean) * (s - r.Mean)
	}
	if n > 1 {
		r.Spread = math.Sqrt(squares/(n-1)) / r.Mean
	}
	sorted := slices.Sorted(slices.Values(r.Samples))
	mid := len(sorted) / 2
	r.TokensPerSecond = sorted[mid]
	if len(sorted)%2 == 0 {
		r.TokensPerSecond = (sorted[mid-1] + sorted[mid]) / 2
	}
	r.Best = sorted[len(sorted)-1]
}
