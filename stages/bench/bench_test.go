package bench_test

import (
	"context"
	"math"
	"strings"
	"testing"

	"quern/quantize/llamacpp"
	"quern/quantize/llamacpp/llamatest"
	"quern/stages/bench"
	"quern/stages/pockettest"
)

// Tests have llama-bench's names.
func TestNames(t *testing.T) {
	for want, test := range map[string]bench.Test{
		"pp512": {Prompt: 512}, "tg128": {Generate: 128}, "pp512+tg128": {Prompt: 512, Generate: 128}, "tg128@d4096": {Generate: 128, Depth: 4096},
	} {
		if got := test.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if ts := bench.Default(0, 4096); len(ts) != 4 || ts[3].String() != "tg128@d4096" {
		t.Errorf("default tests: %v", ts)
	}
}

// A run reports for every test as many samples as it took, a median among them, memory and buffers.
func TestMeasure(t *testing.T) {
	path := pockettest.Files(t, "Q4_K_M")[0]
	child := llamatest.Start(t)
	var seen []string
	o := bench.Options{
		Model:   llamacpp.ModelOptions{Path: path},
		Context: llamacpp.ContextOptions{Threads: 1},
		Tests:   []bench.Test{{Prompt: 64}, {Generate: 8}, {Generate: 8, Depth: 32}},
		Most:    6, Repetitions: 3, Target: 1e-9, // never content: all repetitions are taken
		Progress: func(test bench.Test, done, total int) { seen = append(seen, test.String()) },
	}
	r, err := bench.Measure(context.Background(), child, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Results) != 3 || len(seen) == 0 {
		t.Fatalf("%d results, %d signs of life", len(r.Results), len(seen))
	}
	for i, res := range r.Results {
		if res.Name != o.Tests[i].String() || len(res.Samples) != 6 || res.Threads != 1 {
			t.Errorf("%s: %d samples on %d threads", res.Name, len(res.Samples), res.Threads)
		}
		var sum, best float64
		for _, s := range res.Samples {
			if s <= 0 {
				t.Errorf("%s: a sample of %v t/s", res.Name, s)
			}
			sum, best = sum+s, max(best, s)
		}
		if math.Abs(res.Mean-sum/6) > 1e-6*res.Mean || res.Best != best || res.TokensPerSecond > best || res.Spread < 0 {
			t.Errorf("%s: %+v", res.Name, res)
		}
	}
	if r.PeakRSS < 5<<20 || r.PeakRSS > 2<<30 || r.LoadSeconds <= 0 {
		t.Errorf("peak %d bytes, loaded in %v s", r.PeakRSS, r.LoadSeconds)
	}
	uses := map[string]bool{}
	for _, b := range r.Buffers {
		uses[b.Use] = uses[b.Use] || b.Bytes > 0
	}
	if !uses["model"] || !uses["KV"] || !uses["compute"] {
		t.Errorf("buffers %v", r.Buffers)
	}
}

// What is recorded was measured several times, by repetitions that agree; for the rest there is a reason.
func TestQuiet(t *testing.T) {
	r := &bench.Report{Results: []bench.Result{
		{Name: "pp512", Samples: []float64{10, 10}}, {Name: "tg128", Samples: []float64{10}}, {Name: "tg128@d4096", Samples: []float64{10, 20}, Busy: true},
	}}
	if q := r.Quiet(); len(q.Results) != 1 || q.Results[0].Name != "pp512" {
		t.Errorf("to be recorded: %+v", q.Results)
	}
	why := r.Unrecorded()
	if len(why) != 2 || !strings.Contains(why[0], "tg128@d4096 differ") || !strings.Contains(why[1], "tg128 ran once") {
		t.Errorf("reasons %q", why)
	}
	if (&bench.Report{Results: r.Results[1:]}).Quiet() != nil || (&bench.Report{Results: r.Results[:1]}).Unrecorded() != nil {
		t.Error("nothing quiet is nil, and nothing unrecorded has no reason")
	}
}

// Impossible tests are refused before anything is loaded.
func TestMeasureRefuses(t *testing.T) {
	for _, test := range []bench.Test{{}, {Prompt: -1}, {Generate: 4, Depth: -2}} {
		if _, err := bench.Measure(context.Background(), nil, bench.Options{Tests: []bench.Test{test}}); err == nil {
			t.Errorf("%+v: accepted", test)
		}
	}
}

// A line for people: thousands are grouped, and the spread is in per cent.
func TestSummary(t *testing.T) {
	for want, r := range map[string]bench.Result{
		"pp512 9,120 t/s ±1%": {Name: "pp512", TokensPerSecond: 9119.6, Spread: 0.012},
		"tg128 43.5 t/s ±0%":  {Name: "tg128", TokensPerSecond: 43.51, Spread: 0.001},
		"tg128 1.25 t/s ±12%": {Name: "tg128", TokensPerSecond: 1.25, Spread: 0.123},
	} {
		if got := r.Summary(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if (&bench.Report{Results: []bench.Result{{}, {Busy: true}}}).Busy() != true {
		t.Error("a busy result does not make the report busy")
	}
}

// A model that has no more positions, and one that does not generate, are asked for what they can do.
func TestImpossible(t *testing.T) {
	gpt2 := &llamacpp.Model{Decoder: true, Causal: true, Positions: 1024}
	bert := &llamacpp.Model{Decoder: true, Positions: 512}
	for _, c := range []struct {
		test  bench.Test
		model *llamacpp.Model
		can   bool
	}{
		{bench.Test{Prompt: 512}, gpt2, true}, {bench.Test{Generate: 128, Depth: 896}, gpt2, true}, {bench.Test{Generate: 128, Depth: 897}, gpt2, false},
		{bench.Test{Prompt: 512}, bert, true}, {bench.Test{Generate: 1}, bert, false},
		{bench.Test{Prompt: 4096, Depth: 4096}, &llamacpp.Model{Decoder: true, Causal: true}, true},
	} {
		if why := bench.Impossible(c.test, c.model); (why == "") != c.can {
			t.Errorf("%s: %q", c.test, why)
		}
	}
}
