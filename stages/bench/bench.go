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
	"time"

	"quern/quantize/llamacpp"
	"quern/quantize/machine"
)

// Test is one line of a benchmark: a prompt, or a generation, or one after the other, at a depth of the cache.
type Test struct {
	Prompt   int `json:"prompt,omitempty"`   // tokens processed at once
	Generate int `json:"generate,omitempty"` // tokens generated one by one
	Depth    int `json:"depth,omitempty"`    // tokens in the cache before the clock starts
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
	Busy float64
	// Budget is how long all tests together may take; 0: as long as they need. The first test runs whatever it costs, at
	// least once; a later one is skipped, with its reason, where the speeds measured so far say that it would not fit.
	Budget   time.Duration
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
	Skipped     []string          `json:"skipped,omitempty"` // tests that were not run, each with its reason
	Setting     *Setting          `json:"setting,omitempty"`
	Conditions  *machine.Power    `json:"power,omitempty"` // source of power and heat when the last test ended; nil: not told
}

// Setting is how the tests were run. What is empty was left to llama.cpp.
type Setting struct {
	Batch  int    `json:"batch,omitempty"`
	UBatch int    `json:"ubatch,omitempty"`
	Flash  string `json:"flash_attn,omitempty"`
	KV     string `json:"kv_type,omitempty"` // f16 where it is empty
	CPU    bool   `json:"cpu_only,omitempty"`
}

// Result is one test.
type Result struct {
	Test
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
	if len(r.Samples) == 1 {
		return fmt.Sprintf("%s %s t/s, one run", r.Name, speed(r.TokensPerSecond))
	}
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

// Busy tells whether the spread of any result says that the machine had other work.
func (r *Report) Busy() bool {
	return slices.ContainsFunc(r.Results, func(x Result) bool { return x.Busy })
}

// Quiet tells whether the result may be recorded: several repetitions agree. One run agrees with itself whatever else the
// machine did meanwhile.
func (r Result) Quiet() bool { return !r.Busy && len(r.Samples) > 1 }

// Quiet is the report without the tests that a busy machine spoiled or that were run once: what may be recorded. It is nil
// where none is left.
func (r *Report) Quiet() *Report {
	q := *r
	q.Results = slices.DeleteFunc(slices.Clone(r.Results), func(x Result) bool { return !x.Quiet() })
	if len(q.Results) == 0 {
		return nil
	}
	return &q
}

// Unrecorded says why tests are not recorded, a sentence for each reason; nil where all are.
func (r *Report) Unrecorded() []string {
	var busy, once []string
	for _, x := range r.Results {
		switch {
		case x.Busy:
			busy = append(busy, x.Name)
		case !x.Quiet():
			once = append(once, x.Name)
		}
	}
	var says []string
	if len(busy) > 0 {
		says = append(says, "machine too busy to record: the repetitions of "+strings.Join(busy, ", ")+" differ too much")
	}
	if len(once) > 0 {
		says = append(says, "too little time to record: "+strings.Join(once, ", ")+" ran once, which does not tell a quiet machine from a busy one")
	}
	return says
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
	r := &Report{Model: m, System: child.System, LoadSeconds: m.LoadSeconds, Setting: setting(o)}
	r.System.Notes = nil // paths of this user's home, which a published receipt need not tell
	b := &budget{total: o.Budget, begun: time.Now()}
	largest := -1
	for i, t := range o.Tests {
		why := impossible(t, m)
		if why == "" {
			why = b.refuses(t, r.Results)
		}
		if why != "" {
			r.Skipped = append(r.Skipped, t.String()+": "+why)
			continue
		}
		res, buffers, err := measure(ctx, child, m.Slot, t, o, b.share(len(o.Tests)-i))
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
	r.Conditions = machine.PowerNow(ctx)
	return r, nil
}

func setting(o Options) *Setting {
	c := o.Context
	s := &Setting{Batch: c.Batch, UBatch: c.UBatch, Flash: c.Flash, CPU: o.Model.CPUOnly}
	if c.TypeK != 0 {
		s.KV = c.TypeK.String()
	}
	if *s == (Setting{}) {
		return nil
	}
	return s
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

// measure repeats one test until its mean is known well enough, it was repeated often enough, or its time is up.
func measure(ctx context.Context, child *llamacpp.Child, slot int, t Test, o Options, within time.Duration) (*Result, []llamacpp.Buffer, error) {
	res := &Result{Test: t, Name: t.String()}
	var buffers []llamacpp.Buffer
	begun := time.Now()
	for len(res.Samples) < o.Most {
		n := o.Repetitions
		if len(res.Samples) > 0 {
			n = min(n, o.Most-len(res.Samples))
		}
		done := len(res.Samples)
		a := llamacpp.BenchArgs{ContextOptions: o.Context, Slot: slot, Prompt: t.Prompt, Generate: t.Generate, Depth: t.Depth, Repetitions: n}
		if within > 0 {
			a.MaxSeconds = max(1e-9, (within - time.Since(begun)).Seconds())
		}
		b, err := child.Bench(ctx, a, func(p llamacpp.Progress) {
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
		if res.known(o.Target) || within > 0 && time.Since(begun) >= within || len(b.Seconds) < n {
			break
		}
	}
	res.Busy = res.Spread > o.Busy
	return res, buffers, nil
}

// known tells whether the standard error of the mean is within the target; one sample knows nothing of it.
func (r *Result) known(target float64) bool {
	return len(r.Samples) > 1 && r.Spread/math.Sqrt(float64(len(r.Samples))) <= target
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
