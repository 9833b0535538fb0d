package quality_test

import (
	"context"
	"math"
	"path/filepath"
	"testing"
	"time"

	"quern/quantize/llamacpp"
	"quern/quantize/llamacpp/llamatest"
	"quern/stages/pockettest"
	"quern/stages/quality"
)

// reference is what llama-perplexity of v0.5.0 printed for files of the pocket model on its held-out text, context 256,
// 60 chunks: with --kl-divergence against the BF16 file's logits, and for PPL also without.
var reference = []struct {
	kind                              string
	ppl, kld, p99, max, median, delta float64 // delta: RMS change of the right token's probability, per cent
	same                              float64 // per cent
}{
	{"Q8_0", 14.970456, 0.000206, 0.001001, 0.005997, 0.000158, 0.365, 99.068},
	{"Q4_K_M", 15.043610, 0.008172, 0.042350, 0.143506, 0.005909, 2.298, 94.672},
	{"Q2_K", 16.149708, 0.107616, 0.520278, 1.757627, 0.078080, 8.622, 81.601},
}

const referencePPL = 14.9709 // of the BF16 file

func options(paths []string, text []byte, chunks int) quality.Options {
	return quality.Options{Source: paths[0], Candidates: paths[1:], Text: text, Chunks: chunks, Context: llamacpp.ContextOptions{Threads: 1}}
}

func starter(t *testing.T) quality.Starter {
	rt := llamatest.Runtime(t)
	return func(ctx context.Context) (*llamacpp.Child, error) {
		return llamacpp.Start(ctx, rt, llamatest.Command(), llamacpp.StartOptions{})
	}
}

// Perplexity has llama-perplexity's four digits; divergence and agreement have its three.
func TestCompareAsReference(t *testing.T) {
	paths := pockettest.Files(t, "BF16", "Q8_0", "Q4_K_M", "Q2_K")
	r, err := quality.Compare(context.Background(), starter(t), options(paths, pockettest.HeldOut(t), 60))
	if err != nil {
		t.Fatal(err)
	}
	if r.Way != quality.InStep || r.Chunks != 60 || len(r.Results) != 3 {
		t.Fatalf("got %s, %d chunks, %d results", r.Way, r.Chunks, len(r.Results))
	}
	near(t, "PPL of the source", float64(r.Source.Value), referencePPL, 0.00006)
	t.Logf("%-7s %9s %9s %9s %9s %8s", "", "PPL", "KLD", "99 %", "max", "same top")
	for i, want := range reference {
		d := r.Results[i].Divergence
		t.Logf("%-7s %9.4f %9.6f %9.6f %9.6f %7.3f%%", want.kind, d.Perplexity.Value, d.Mean, d.P99, d.Max, 100*d.SameTop)
		near(t, want.kind+" PPL", float64(d.Perplexity.Value), want.ppl, 0.00006)
		near(t, want.kind+" mean KLD", float64(d.Mean), want.kld, significant(want.kld))
		near(t, want.kind+" 99 % KLD", float64(d.P99), want.p99, significant(want.p99))
		near(t, want.kind+" max KLD", float64(d.Max), want.max, significant(want.max))
		near(t, want.kind+" median KLD", float64(d.Median), want.median, significant(want.median))
		near(t, want.kind+" RMS change", 100*float64(d.RMSDelta), want.delta, 0.0011)
		near(t, want.kind+" same top", 100*d.SameTop, want.same, 0.0011+100.0/7620)
	}
	t.Logf("%.1f s for source and three candidates", r.Seconds)
}

// significant is half a unit of the third digit, and no less than what six printed decimals allow.
func significant(v float64) float64 {
	return max(0.000001, 0.5*math.Pow(10, math.Floor(math.Log10(v))-2))
}

func near(t *testing.T, what string, got, want, within float64) {
	t.Helper()
	if math.IsNaN(got) || math.Abs(got-want) > within {
		t.Errorf("%s: %.6f, llama-perplexity says %.6f (within %.6f)", what, got, want, within)
	}
}

// Through a file the numbers are the very same as in step.
func TestFileGivesTheSame(t *testing.T) {
	paths := pockettest.Files(t, "BF16", "Q4_K_M", "Q2_K")
	text := pockettest.HeldOut(t)
	step, err := quality.Compare(context.Background(), starter(t), options(paths, text, 3))
	if err != nil {
		t.Fatal(err)
	}
	o := options(paths, text, 3)
	o.Memory, o.Dir = 1, t.TempDir()
	file, err := quality.Compare(context.Background(), starter(t), o)
	if err != nil {
		t.Fatal(err)
	}
	if file.Way != quality.ThroughFile {
		t.Fatalf("way %s, though nothing fits the memory together", file.Way)
	}
	for i := range step.Results {
		a, b := step.Results[i], file.Results[i]
		a.Perplexity.Seconds, b.Perplexity.Seconds = 0, 0
		if a != b {
			t.Errorf("in step %+v\nby file %+v", a, b)
		}
	}
	if step.Source.Value != file.Source.Value {
		t.Errorf("source %v in step, %v by file", step.Source.Value, file.Source.Value)
	}
	if left, _ := filepath.Glob(filepath.Join(o.Dir, "*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// The disk's bound takes chunks away, and a bound below one chunk is an error with both numbers.
func TestDiskBound(t *testing.T) {
	paths := pockettest.Files(t, "BF16", "Q2_K")
	o := options(paths, pockettest.HeldOut(t), 3)
	o.Memory, o.Dir, o.Disk = 1, t.TempDir(), 1<<20+1<<19
	r, err := quality.Compare(context.Background(), starter(t), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Chunks != 1 {
		t.Errorf("%d chunks within %d bytes, want 1", r.Chunks, o.Disk)
	}
	o.Disk = 1000
	if _, err := quality.Compare(context.Background(), starter(t), o); err == nil {
		t.Error("a bound of 1000 bytes: accepted")
	}
}

// A budget that is spent takes chunks away and leaves figures, in step and through a file alike.
func TestTimeBound(t *testing.T) {
	paths := pockettest.Files(t, "BF16", "Q2_K")
	for _, memory := range []int64{0, 1} {
		o := options(paths, pockettest.HeldOut(t), 24)
		o.Memory, o.Dir, o.Budget = memory, t.TempDir(), time.Nanosecond
		r, err := quality.Compare(context.Background(), starter(t), o)
		if err != nil {
			t.Fatal(err)
		}
		q := r.Results[0]
		if r.Chunks < 1 || r.Chunks >= 24 || q.Positions != r.Chunks*127 || q.SameTop < 0.6 || r.Source.Chunks != r.Chunks {
			t.Errorf("memory %d: %d chunks, %d positions, %v on the same token", memory, r.Chunks, q.Positions, q.SameTop)
		}
	}
}

// A text shorter than a chunk, a missing file and an empty list are errors.
func TestCompareRefuses(t *testing.T) {
	paths := pockettest.Files(t, "Q2_K", "Q4_K_M")
	o := options(paths, []byte("too short"), 3)
	if _, err := quality.Compare(context.Background(), starter(t), o); err == nil {
		t.Error("a text of a few tokens: accepted")
	}
	o.Candidates = []string{filepath.Join(t.TempDir(), "none.gguf")}
	if _, err := quality.Compare(context.Background(), starter(t), o); err == nil {
		t.Error("a file that is not there: accepted")
	}
	o.Candidates = nil
	if _, err := quality.Compare(context.Background(), starter(t), o); err == nil {
		t.Error("no candidate: accepted")
	}
}

// The sentence for people comes first.
func TestSummary(t *testing.T) {
	r := quality.Result{Divergence: llamacpp.Divergence{SameTop: 0.9712, Mean: 0.0123, P99: 0.2}}
	if got := r.Agreement(); got != "agrees with the original on 97.1 % of next tokens" {
		t.Error(got)
	}
}
