package plan_test

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"

	"quern/convert"
	"quern/convert/conformance"
	"quern/convert/gguf"
	"quern/quantize/llamacpp"
	"quern/quantize/llamacpp/llamatest"
	"quern/quantize/recommend"
)

func TestMain(m *testing.M) { os.Exit(llamatest.Main(m)) }

var memorySettings = []llamacpp.ContextOptions{
	{Context: 4096, UBatch: 512, Flash: "on"}, {Context: 512, UBatch: 512, Flash: "on"}, {Context: 16384, UBatch: 128, Flash: "on"},
	{Context: 2048, UBatch: 256, Flash: "off"}, {Context: 2048, UBatch: 512, Flash: "on", Sequences: 3}, {Context: 2048, UBatch: 512, Flash: "on", Sequences: 4, Unified: true},
}

// widening makes hidden states of 64 elements ones of 1024: what is computed then weighs more than masks do.
const widening = 16

// unmodelled are the architectures whose compute buffer is only estimated.
var unmodelled = map[string]string{"wavtokenizer-dec": "the convolutions of this vocoder are not followed"}

// typical are the cases of the short form: one of each kind of cache and block that many people run. QUERN_MEMORY=all
// (make memory) compares every architecture.
var typical = []string{"llama31-8b", "qwen25-05b", "qwen3-06b", "qwen3moe", "qwen3next", "gemma2-2b-it", "gemma3-4b", "gemma3n-text", "gptoss-mxfp4", "deepseek3",
	"nemotron-h", "llama4-text", "phi3-mini-4k", "falcon-h1", "mamba2", "lfm2", "granite4-h-tiny", "gpt2", "rwkv7-fla", "bert-bge", "t5-small", "olmo2", "glm4moe"}

// wholeTally are the fewest architectures that the long form compares, shortTally the short one.
const (
	wholeTally = 125
	shortTally = 22
)

// tally collects what was compared, by architecture.
type tally struct {
	rows   int
	errors map[string][]float64 // relative errors of the compute buffer
	none   map[string]string    // why nothing was compared
}

// TestMemory holds the memory model against what llama.cpp says when it loads small models on the CPU: weights, cache and
// states to the hundredth of a MiB that it prints, compute buffers within 5 %, the worst within 15 %.
func TestMemory(t *testing.T) {
	long := os.Getenv("QUERN_MEMORY") == "all"
	if testing.Short() && !long {
		t.Skip("skipped: loads dozens of models")
	}
	all := fstest.MapFS{}
	bundles, err := filepath.Glob("../../convert/testdata/*.tar.zst")
	if err != nil || len(bundles) == 0 {
		t.Fatalf("%d bundles of cases: %v", len(bundles), err)
	}
	for _, name := range bundles {
		tree, err := conformance.OpenBundle(name)
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(all, tree.(fstest.MapFS))
	}
	names, least := typical, shortTally
	if long {
		dirs, err := all.ReadDir("convert")
		if err != nil {
			t.Fatal(err)
		}
		names, least = nil, wholeTally
		for _, d := range dirs {
			names = append(names, d.Name())
		}
	}
	seen := &tally{errors: map[string][]float64{}, none: map[string]string{}}
	h := &holder{}
	for _, name := range names {
		memoryCase(t, all, name, h, seen)
	}
	for _, a := range slices.Sorted(maps.Keys(seen.none)) {
		if len(seen.errors[a]) == 0 {
			t.Logf("%-18s not compared: %s", a, seen.none[a])
		}
	}
	var compute []float64
	for _, a := range slices.Sorted(maps.Keys(seen.errors)) {
		es := seen.errors[a]
		slices.Sort(es)
		t.Logf("%-18s %2d settings: compute within %5.2f %%, median %5.2f %%", a, len(es), 100*es[len(es)-1], 100*es[len(es)/2])
		compute = append(compute, es...)
	}
	slices.Sort(compute)
	if len(compute) == 0 {
		t.Fatal("nothing was compared")
	}
	worst := compute[len(compute)-1]
	nine := compute[len(compute)*9/10]
	t.Logf("count: %d architectures, %d settings: weights, cache and states exact; compute: median error %.2f %%, nine in ten within %.2f %%, worst %.1f %%",
		len(seen.errors), seen.rows, 100*compute[len(compute)/2], 100*nine, 100*worst)
	if nine > .05 || worst > .15 || len(seen.errors) < least {
		t.Errorf("%d architectures; compute buffers: nine in ten within %.1f %%, worst %.1f %%", len(seen.errors), 100*nine, 100*worst)
	}
}

// holder starts a worker again where llama.cpp aborted on a model that is too small for its own assertions.
type holder struct{ child *llamacpp.Child }

func (h *holder) worker(t *testing.T) *llamacpp.Child {
	if h.child != nil {
		if _, err := h.child.Usage(t.Context()); err == nil {
			return h.child
		}
	}
	h.child = llamatest.Start(t)
	return h.child
}

func memoryCase(t *testing.T, tree fs.FS, name string, h *holder, seen *tally) {
	c, err := conformance.OpenCase(tree, "convert/"+name)
	if err != nil {
		return
	}
	src, err := c.Checkpoint()
	if err != nil {
		return
	}
	m, err := convert.Open(t.Context(), src, convert.Options{Dir: c.Dir, Pre: c.Pre})
	if err != nil {
		return // refused by the reference as well, or an adapter
	}
	defer m.Close()
	arch := m.Plan.Architecture()
	if why := unmodelled[arch]; why != "" {
		seen.none[arch] = why
		return
	}
	if len(seen.errors[arch]) > 0 {
		return
	}
	p, err := widen(m.Plan, widening)
	if err != nil {
		t.Fatal(err)
	}
	child := h.worker(t)
	loaded, err := loadMended(t, &p, child)
	if err != nil {
		seen.none[arch] = fmt.Sprintf("%s: %v", name, err)
		return
	}
	defer child.Unload(context.Background(), loaded.Slot)
	for _, o := range memorySettings {
		if err := compareMemory(t, &p, child, loaded, o, name, seen); err != nil {
			seen.none[arch] = fmt.Sprintf("%s: %v", name, err)
			return
		}
	}
}

func compareMemory(t *testing.T, p *gguf.Plan, child *llamacpp.Child, loaded *llamacpp.Model, o llamacpp.ContextOptions, name string, seen *tally) error {
	o.Threads = 2
	b, err := child.Bench(t.Context(), llamacpp.BenchArgs{ContextOptions: o, Slot: loaded.Slot, Prompt: 1, NoWarmup: true}, nil)
	if err != nil {
		return err
	}
	s, err := recommend.ShapeOf(p)
	if err != nil {
		return err
	}
	got := map[string]int64{}
	for _, buf := range slices.Concat(loaded.Buffers, b.Buffers) {
		got[buf.Use] += buf.Bytes
	}
	want := s.Needs(s.Loaded(p.Outputs), recommend.Setting{Context: int64(o.Context), Slots: int64(max(o.Sequences, 1)), Unified: o.Unified, KV: "f16", MicroBatch: int64(o.UBatch),
		FlashAttn: o.Flash == "on", Outputs: math.MaxInt32})
	where := fmt.Sprintf("%s/%s: width %d, context %d, micro-batch %d, %d slots, unified %v, flash attention %s", p.Architecture(), name, s.Embedding, o.Context, o.UBatch, max(o.Sequences, 1), o.Unified, o.Flash)
	const printed = 2 << 20 / 100 // llama.cpp prints hundredths of a MiB, for each of up to two buffers
	for _, part := range []struct {
		use  string
		want int64
	}{{"model", want.Weights}, {"KV", want.KV}, {"RS", want.Recurrent}} {
		if d := part.want - got[part.use]; d < -printed || d > printed {
			t.Errorf("%s: %s: %d bytes computed, llama.cpp has %d", where, part.use, part.want, got[part.use])
		}
	}
	relative := math.Abs(float64(want.Compute-got["compute"])) / float64(got["compute"])
	if relative > .05 {
		t.Logf("%+.1f%% %s: compute %d computed, llama.cpp has %d", 100*(float64(want.Compute)/float64(got["compute"])-1), where, want.Compute, got["compute"])
	}
	seen.rows++
	seen.errors[p.Architecture()] = append(seen.errors[p.Architecture()], relative)
	return nil
}
