package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"quern/quantize/llamacpp"
	"quern/quantize/llamacpp/llamatest"
	"quern/stages/pockettest"
)

// one keeps tests from depending on how many processors are free: results do not depend on the number of threads.
var one = llamacpp.ContextOptions{Threads: 1}

func sized(n int) llamacpp.ContextOptions { o := one; o.Context = n; return o }

// loaded is a child with the pocket model of a type in slot 0.
func loaded(t *testing.T, kind string) *llamacpp.Child {
	t.Helper()
	path := pockettest.Files(t, kind)[0]
	c := llamatest.Start(t)
	m, err := c.Load(context.Background(), llamacpp.ModelOptions{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if m.Slot != 0 {
		t.Fatalf("slot %d", m.Slot)
	}
	return c
}

func encode(t *testing.T, c *llamacpp.Child, text string, special bool) []int32 {
	t.Helper()
	ids, err := c.Tokenize(context.Background(), llamacpp.TokenizeArgs{Text: []byte(text), Special: special})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// The runtime names its version and a CPU; the model is described as what it is.
func TestDescribe(t *testing.T) {
	path := pockettest.Files(t, "Q8_0")[0]
	c := llamatest.Start(t)
	if !strings.HasPrefix(c.System.Version, "0.5.0") || !slices.ContainsFunc(c.System.Devices, func(d llamacpp.Device) bool { return d.Kind == "cpu" && d.Total > 0 }) {
		t.Errorf("system %+v", c.System)
	}
	for _, vocabOnly := range []bool{true, false} {
		m, err := c.Load(context.Background(), llamacpp.ModelOptions{Path: path, VocabOnly: vocabOnly})
		if err != nil {
			t.Fatal(err)
		}
		if m.Architecture != "llama" || m.Vocab.Tokens != 4096 || m.Vocab.Kind != "spm" || m.Vocab.BOS != 1 || !m.Vocab.AddBOS || len(m.Vocab.Ends) != 1 || m.Vocab.Ends[0].Plain {
			t.Errorf("vocabulary %+v", m.Vocab)
		}
		if !vocabOnly && (m.Params != 4983552 || m.Layers != 5 || m.Heads != 8 || m.HeadsKV != 4 || m.TrainContext == 0 || !m.Causal || !m.Decoder || len(m.Buffers) == 0) {
			t.Errorf("model %+v", m)
		}
		if err := c.Unload(context.Background(), m.Slot); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.Generate(context.Background(), llamacpp.GenerateArgs{Tokens: []int32{1}, N: 1}); !errors.Is(err, llamacpp.ErrRuntime) {
		t.Errorf("a slot without a model: %v", err)
	}
}

// Any bytes go through the tokenizer and come back, NUL and invalid UTF-8 among them.
func TestTokenizeBytes(t *testing.T) {
	c := loaded(t, "Q2_K")
	for _, text := range []string{"In the beginning", "", "a\x00b", "naïve 漢字 🙂", "\xff\xfe", strings.Repeat("word ", 5000)} {
		ids := encode(t, c, text, false)
		back, err := c.Detokenize(context.Background(), llamacpp.DetokenizeArgs{Tokens: ids})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimPrefix(string(back), " "); got != text && !strings.Contains(text, "\xff") {
			t.Errorf("%.20q came back as %.20q", text, got)
		}
	}
	if ids := encode(t, c, "x", true); ids[0] != 1 {
		t.Errorf("no BOS: %v", ids)
	}
}

// Greedy generation is what the streamed logits say, and the same in small batches.
func TestGenerateFollowsLogits(t *testing.T) {
	c := loaded(t, "Q8_0")
	ctx := context.Background()
	prompt := encode(t, c, "And God said unto Moses, speak unto the children of Israel", true)
	g, err := c.Generate(ctx, llamacpp.GenerateArgs{ContextOptions: one, Tokens: prompt, N: 12, Continue: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(g.Tokens) != 12 || g.NonFinite != 0 || g.Flat != 0 || g.Highest <= g.Lowest || len(g.Text) == 0 {
		t.Fatalf("%+v", g)
	}
	small := one
	small.Batch, small.UBatch = 3, 2
	again, err := c.Generate(ctx, llamacpp.GenerateArgs{ContextOptions: small, Tokens: prompt, N: 12, Continue: true})
	if err != nil || !slices.Equal(again.Tokens, g.Tokens) {
		t.Errorf("batches of 3: %v, %v, want %v", again, err, g.Tokens)
	}
	all := append(slices.Clone(prompt), g.Tokens...)
	from, seen := len(prompt)-1, 0
	err = c.Logits(ctx, llamacpp.LogitsArgs{ContextOptions: one, Tokens: all[:len(all)-1], From: from}, func(pos int, row []float32) error {
		seen++
		best := 0
		for i, v := range row {
			if v > row[best] {
				best = i
			}
		}
		if len(row) != 4096 || int32(best) != all[pos+1] {
			t.Errorf("position %d: logits say %d of %d, generated was %d", pos, best, len(row), all[pos+1])
		}
		return nil
	})
	if err != nil || seen != 12 {
		t.Errorf("%d rows, %v", seen, err)
	}
}

// An error of the receiver ends the call, and the child goes on.
func TestLogitsReceiverFails(t *testing.T) {
	c := loaded(t, "Q2_K")
	stop := errors.New("enough")
	a := llamacpp.LogitsArgs{ContextOptions: one, Tokens: []int32{1, 2, 3}}
	if err := c.Logits(context.Background(), a, func(int, []float32) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Usage(context.Background()); err != nil {
		t.Error(err)
	}
}

// Impossible requests are refused with the numbers, before llama.cpp could abort on them.
func TestRefusals(t *testing.T) {
	c := loaded(t, "Q2_K")
	ctx := context.Background()
	for name, call := range map[string]func() error{
		"token beyond the vocabulary": func() error {
			_, err := c.Generate(ctx, llamacpp.GenerateArgs{ContextOptions: one, Tokens: []int32{4096}, N: 1})
			return err
		},
		"negative token": func() error {
			_, err := c.Detokenize(ctx, llamacpp.DetokenizeArgs{Tokens: []int32{-1}})
			return err
		},
		"no tokens": func() error {
			_, err := c.Generate(ctx, llamacpp.GenerateArgs{ContextOptions: one, N: 1})
			return err
		},
		"prompt longer than the context": func() error {
			_, err := c.Generate(ctx, llamacpp.GenerateArgs{ContextOptions: sized(256), Tokens: slices.Repeat([]int32{5}, 600), N: 4})
			return err
		},
		"text shorter than a chunk": func() error {
			_, err := c.Perplexity(ctx, llamacpp.PerplexityArgs{ContextOptions: sized(256), Tokens: []int32{1, 2}}, nil)
			return err
		},
		"a thousand threads": func() error {
			_, err := c.Generate(ctx, llamacpp.GenerateArgs{ContextOptions: llamacpp.ContextOptions{Threads: 1000}, Tokens: []int32{1}, N: 1})
			return err
		},
		"flash attention perhaps": func() error {
			_, err := c.Generate(ctx, llamacpp.GenerateArgs{ContextOptions: llamacpp.ContextOptions{Threads: 1, Flash: "perhaps"}, Tokens: []int32{1}, N: 1})
			return err
		},
		"bench of nothing": func() error {
			_, err := c.Bench(ctx, llamacpp.BenchArgs{ContextOptions: one, Repetitions: 1}, nil)
			return err
		},
		"a file that is no model": func() error {
			_, err := c.Load(ctx, llamacpp.ModelOptions{Path: os.Args[0]})
			return err
		},
		"a source that is its own candidate": func() error {
			_, err := c.Divergence(ctx, llamacpp.DivergenceArgs{ContextOptions: sized(32), Candidates: []int{0}, Tokens: slices.Repeat([]int32{5}, 64)}, nil)
			return err
		},
	} {
		var e *llamacpp.Error
		if err := call(); !errors.As(err, &e) || e.Fault != llamacpp.Refused {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.Usage(ctx); err != nil {
		t.Errorf("the child did not live through it: %v", err)
	}
}

// Perplexity does not depend on how chunks share batches, and quantized caches and flash attention stay close.
func TestPerplexityByBatch(t *testing.T) {
	c := loaded(t, "Q8_0")
	tokens := encode(t, c, string(pockettest.HeldOut(t)[:20000]), true)
	value := func(change func(*llamacpp.ContextOptions)) float64 {
		t.Helper()
		o := sized(128)
		change(&o)
		p, err := c.Perplexity(context.Background(), llamacpp.PerplexityArgs{ContextOptions: o, Tokens: tokens, Chunks: 6}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if p.Chunks != 6 || p.Predicted != 6*63 || p.NonFinite != 0 {
			t.Fatalf("%+v", p)
		}
		return float64(p.Value)
	}
	want := value(func(*llamacpp.ContextOptions) {})
	for name, c := range map[string]struct {
		change func(*llamacpp.ContextOptions)
		within float64
	}{
		"one chunk at a time": {func(o *llamacpp.ContextOptions) { o.Batch = 128 }, 1e-3},
		"half a chunk":        {func(o *llamacpp.ContextOptions) { o.Batch = 64 }, 1e-3},
		"a quantized cache":   {func(o *llamacpp.ContextOptions) { o.TypeK = 8; o.Flash = "on" }, 0.02},
		"no flash attention":  {func(o *llamacpp.ContextOptions) { o.Flash = "off" }, 0.01},
	} {
		if got := value(c.change); math.Abs(got-want) > c.within*want {
			t.Errorf("%s: %.5f, want %.5f", name, got, want)
		}
	}
}

// A decoder gives one vector a text, by the mean where the file names no pooling; equal texts give equal vectors.
func TestEmbed(t *testing.T) {
	c := loaded(t, "Q8_0")
	texts := [][]int32{encode(t, c, "the king", true), encode(t, c, "the sea and the land", true), encode(t, c, "the king", true)}
	pooling, v, err := c.Embed(context.Background(), llamacpp.EmbedArgs{ContextOptions: one, Texts: texts})
	if err != nil {
		t.Fatal(err)
	}
	if pooling != "mean" || len(v) != 3 || len(v[0]) != 256 || !slices.Equal(v[0], v[2]) || slices.Equal(v[0], v[1]) {
		t.Errorf("%s, %d vectors of %d", pooling, len(v), len(v[0]))
	}
	if _, _, err := c.Embed(context.Background(), llamacpp.EmbedArgs{ContextOptions: one, Texts: texts, Pooling: "cls"}); err != nil {
		t.Error(err)
	}
}

// The importance matrix is llama-imatrix's: testdata/imatrix.json has counts, totals and the largest column of what that
// program of v0.5.0 computed for the BF16 file (-c 512 --chunks 8). On a processor with the same vector instructions the
// two files are equal byte for byte; on others sums differ in the last digits.
func TestImatrixAsReference(t *testing.T) {
	c := loaded(t, "BF16")
	b, err := os.ReadFile("testdata/imatrix.json")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]struct {
		Count          int64
		Width, Largest int
		Total          float64
	}
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	tokens := encode(t, c, string(pockettest.HeldOut(t)), true)
	m, p, err := c.Imatrix(context.Background(), llamacpp.ImatrixArgs{ContextOptions: sized(512), Tokens: tokens, Chunks: 8}, "heldout.txt", nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Entries) != len(want) || len(want) != 35 || m.Chunks != 8 || m.ChunkSize != 512 {
		t.Fatalf("%d entries, want %d; %d chunks of %d", len(m.Entries), len(want), m.Chunks, m.ChunkSize)
	}
	if math.Abs(float64(p.Value)-43.9564) > 0.01 {
		t.Errorf("perplexity %v on the way, llama-imatrix says 43.9564", p.Value)
	}
	for _, e := range m.Entries {
		w := want[e.Name]
		total, largest := 0.0, 0
		for i, s := range e.Sums {
			total += float64(s)
			if s > e.Sums[largest] {
				largest = i
			}
		}
		if len(e.Counts) != 1 || e.Counts[0] != w.Count || len(e.Sums) != w.Width || math.Abs(total-w.Total) > 1e-3*w.Total || largest != w.Largest {
			t.Errorf("%s: counts %v, %d sums of %.7g, largest %d; want %+v", e.Name, e.Counts, len(e.Sums), total, largest, w)
		}
	}
}
