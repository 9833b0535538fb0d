package capi_test

import (
	"math"
	"testing"

	"quern/quantize/llamacpp"
	"quern/quantize/llamacpp/capi"
	"quern/quantize/llamacpp/llamatest"
	"quern/stages/pockettest"
)

// library opens the installed runtime in this process, as a child does in its own.
func library(t *testing.T) (*capi.Library, *llamacpp.Runtime) {
	t.Helper()
	rt := llamatest.Runtime(t)
	if _, err := rt.CheckVersion(); err != nil {
		t.Fatal(err)
	}
	l, err := capi.Open(rt.Path("llama"))
	if err != nil {
		t.Fatal(err)
	}
	l.BackendInit()
	l.LoadBackendsFrom(rt.Dir)
	return l, rt
}

// The defaults that llama.cpp returns stand in the fields that are meant: values of llama-model.cpp and
// llama-context.cpp, from the first field of each structure to the last.
func TestStructures(t *testing.T) {
	l, _ := library(t)
	m := l.DefaultModelParams()
	if m.Devices != 0 || m.GPULayers != -1 || m.SplitMode != 1 || m.LoadMode != -1 || m.MainGPU != 0 || m.TensorSplit != 0 || m.Progress != 0 ||
		m.VocabOnly || m.CheckTensors || !m.ExtraBuffers || m.NoHost || m.NoAlloc {
		t.Errorf("model parameters %+v", m)
	}
	c := l.DefaultContextParams()
	if c.Tokens != 512 || c.Batch != 2048 || c.MicroBatch != 512 || c.Sequences != 1 || c.Threads != 4 || c.ThreadsBatch != 4 ||
		c.RopeScaling != -1 || c.Pooling != capi.PoolingUnspecified || c.Attention != -1 || c.Flash != capi.FlashAuto ||
		c.YarnExtrapolation != -1 || c.Defragment != -1 || c.Observer != 0 || c.TypeK != 1 || c.TypeV != 1 ||
		c.Embeddings || !c.OffloadKV || !c.NoTimings || !c.OffloadOps || !c.FullWindow || c.UnifiedKV || c.Samplers != 0 || c.SamplerCount != 0 || c.Other != 0 {
		t.Errorf("context parameters %+v", c)
	}
}

// Structures reach llama.cpp as they were set, by value in both directions, and batches name tokens, positions and
// outputs: the logits of a position do not depend on how it came to be evaluated.
func TestEvaluate(t *testing.T) {
	path := pockettest.Files(t, "Q8_0")[0]
	l, _ := library(t)
	m := l.LoadModel(path, l.DefaultModelParams())
	if m == 0 {
		t.Fatal("the model does not load")
	}
	defer l.FreeModel(m)
	ids, err := l.Tokenize(l.VocabOf(m), []byte("the cat sat on the\x00mat"), true, false)
	if err != nil || len(ids) < 5 {
		t.Fatalf("%v %v", ids, err)
	}
	p := l.DefaultContextParams()
	p.Tokens, p.Batch, p.MicroBatch, p.Threads, p.ThreadsBatch = 96, 64, 32, 1, 1
	c := l.NewContext(m, p)
	if c == 0 {
		t.Fatal("no context")
	}
	defer l.FreeContext(c)
	if l.BatchSize(c) != 64 || l.ThreadCount(c) != 1 || l.PoolingOf(c) != capi.PoolingNone {
		t.Errorf("batch of %d on %d threads, pooling %d", l.BatchSize(c), l.ThreadCount(c), l.PoolingOf(c))
	}
	pool := l.NewThreadPool(1)
	l.AttachThreads(c, pool)
	defer func() { l.DetachThreads(c); pool.Close() }()

	batch := capi.NewBatch(len(ids))
	for i, id := range ids {
		if !batch.Add(id, capi.Position(i), 0, i == len(ids)-1) {
			t.Fatal("the batch is full")
		}
	}
	if batch.Add(0, 0, 0, false) {
		t.Error("a full batch took one more")
	}
	want := evaluated(t, l, m, c, batch)
	if l.Logits(c, 0, 1) != nil {
		t.Error("logits of a token that was no output")
	}
	state := l.State(c, 0)
	l.ClearMemory(l.MemoryOf(c), true)
	if got := evaluated(t, l, m, c, capi.Following(ids)); distance(got, want) != 0 {
		t.Errorf("a batch without positions gives other logits, by %g", distance(got, want))
	}
	if !l.Restore(c, 0, state) || l.Restore(c, 0, nil) {
		t.Error("the state is not taken back, or nothing is")
	}
	text, err := l.Detokenize(l.VocabOf(m), ids[1:], false)
	if err != nil || string(text) != " the cat sat on the\x00mat" && string(text) != "the cat sat on the\x00mat" {
		t.Errorf("%q %v", text, err)
	}
}

// evaluated is a copy of the last output's logits, all of them finite.
func evaluated(t *testing.T, l *capi.Library, m capi.Model, c capi.Context, b *capi.Batch) []float32 {
	t.Helper()
	if code := l.Decode(c, b); code != 0 {
		t.Fatalf("llama_decode: %d", code)
	}
	logits := l.Logits(c, -1, int(l.TokenCount(l.VocabOf(m))))
	if logits == nil || math.IsNaN(float64(logits[0])) {
		t.Fatal("no logits")
	}
	return append([]float32(nil), logits...)
}

func distance(a, b []float32) (d float64) {
	for i := range a {
		d = max(d, math.Abs(float64(a[i]-b[i])))
	}
	return d
}

// A library that is none, and one that lacks the functions, are errors that name what is missing.
func TestMissing(t *testing.T) {
	if _, err := capi.Open(t.TempDir() + "/libllama.so"); err == nil {
		t.Error("opened a library that is not there")
	}
	_, rt := library(t)
	if _, err := capi.Open(rt.Path("ggml-base")); err == nil {
		t.Error("libggml-base passed as libllama")
	} else {
		t.Log(err)
	}
}
