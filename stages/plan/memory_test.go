package plan_test

import (
	"context"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// memoryCases are small checkpoints of architectures whose graphs differ. A case that this build does not convert yet is skipped by name.
var memoryCases = []string{
	"llama3", "qwen25-05b", "qwen3-06b", "qwen3moe", "qwen2moe", "gemma-2b", "gemma2-2b-it", "gemma3-1b", "phi-2", "phi-4", "phimoe", "olmo2", "olmoe", "falcon-7b-kv1",
	"bloom-560m", "starcoder2-3b", "pythia", "mistral4", "apertus", "arcee", "smollm3", "seed-oss", "modernbert", "nomic-bert", "eurobert",
	"mamba", "mamba2", "jamba", "falcon-h1", "deepseek3", "gptoss-bf16", "command-r7b",
}

var memorySettings = []llamacpp.ContextOptions{
	{Context: 4096, UBatch: 512, Flash: "on"}, {Context: 512, UBatch: 512, Flash: "on"}, {Context: 16384, UBatch: 128, Flash: "on"},
	{Context: 2048, UBatch: 256, Flash: "off"}, {Context: 2048, UBatch: 512, Flash: "on", Sequences: 3},
}

// widened are the keys that grow with the hidden state, so that a case of width 64 becomes one of width 1024.
var widened = []string{"embedding_length", "feed_forward_length", "expert_feed_forward_length", "expert_shared_feed_forward_length", "attention.key_length",
	"attention.value_length", "rope.dimension_count", "attention.key_length_swa", "attention.value_length_swa", "rope.dimension_count_swa",
	"attention.key_length_mla", "attention.value_length_mla", "attention.q_lora_rank", "attention.kv_lora_rank", "ssm.inner_size", "ssm.time_step_rank"}

// widen makes the plan's model factor times as wide; heads, layers, experts and vocabulary stay.
func widen(p gguf.Plan, factor int64) (gguf.Plan, error) {
	meta := slices.Clone(p.Metadata)
	vocab := int64(0)
	for i, kv := range meta {
		if tokens, ok := kv.Value.([]string); ok && kv.Key == "tokenizer.ggml.tokens" {
			vocab = int64(len(tokens))
		}
		if !slices.Contains(widened, strings.TrimPrefix(kv.Key, p.Architecture()+".")) {
			continue
		}
		switch v := kv.Value.(type) {
		case uint32:
			meta[i].Value = v * uint32(factor)
		case []int32:
			v = slices.Clone(v)
			for j := range v {
				v[j] *= int32(factor)
			}
			meta[i].Value = v
		}
	}
	outs := slices.Clone(p.Outputs)
	for i := range outs {
		o := &outs[i]
		o.Shape = slices.Clone(o.Shape)
		for d := range o.Shape {
			keeps := o.Shape[d] == vocab || o.Shape[d] == 1 || d == 2 || d == 1 && strings.Contains(o.Name, "gate_inp.") || d == 1 && strings.Contains(o.Name, "position") ||
				d == 0 && strings.Contains(o.Name, "conv1d.weight") || strings.Contains(o.Name, "sinks") || strings.Contains(o.Name, "exp_probs")
			if !keeps {
				o.Shape[d] *= factor
			}
		}
	}
	return gguf.Layout(meta, outs, 32)
}

// sparse writes a file with the plan's header and holes in place of weights.
func sparse(t *testing.T, p gguf.Plan) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "model.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := p.WriteHeader(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(p.FileSize); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// tally counts what was compared.
type tally struct {
	archs   map[string]bool
	rows    int
	compute []float64 // relative errors
}

// TestMemory holds the memory model against what llama.cpp says when it loads small models on the CPU: weights, cache and
// states to the hundredth of a MiB that it prints, compute buffers within 5 %, the worst within 15 %.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: loads a hundred models")
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
		for file, data := range tree.(fstest.MapFS) {
			all[file] = data
		}
	}
	child := llamatest.Start(t)
	seen := &tally{archs: map[string]bool{}}
	for _, name := range memoryCases {
		t.Run(name, func(t *testing.T) { memoryCase(t, all, name, child, seen) })
	}
	slices.Sort(seen.compute)
	if len(seen.archs) < 12 || len(seen.compute) == 0 {
		t.Fatalf("only %d architectures, %d loads", len(seen.archs), len(seen.compute))
	}
	worst := seen.compute[len(seen.compute)-1]
	nine := seen.compute[len(seen.compute)*9/10]
	t.Logf("count: %d architectures, %d settings: weights, cache and states exact; compute: median error %.2f %%, nine in ten within %.2f %%, worst %.1f %%",
		len(seen.archs), seen.rows, 100*seen.compute[len(seen.compute)/2], 100*nine, 100*worst)
	if nine > .05 || worst > .15 {
		t.Errorf("compute buffers: nine in ten within %.1f %%, worst %.1f %%", 100*nine, 100*worst)
	}
}

func memoryCase(t *testing.T, tree fs.FS, name string, child *llamacpp.Child, seen *tally) {
	c, err := conformance.OpenCase(tree, "convert/"+name)
	if err != nil {
		t.Skipf("skipped: %v", err)
	}
	src, err := c.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	m, err := convert.Open(t.Context(), src, convert.Options{Dir: c.Dir, Pre: c.Pre})
	if err != nil {
		t.Skipf("skipped: %v", err)
	}
	defer m.Close()
	for _, factor := range []int64{1, 16} {
		p := m.Plan
		if factor > 1 {
			if p, err = widen(p, factor); err != nil {
				t.Fatal(err)
			}
		}
		file := sparse(t, p)
		loaded, err := child.Load(t.Context(), llamacpp.ModelOptions{Path: file})
		if err != nil {
			t.Logf("%d times as wide: %v", factor, err)
			continue
		}
		for _, o := range memorySettings {
			compareMemory(t, &p, child, loaded, o, seen)
		}
		if err := child.Unload(context.Background(), loaded.Slot); err != nil {
			t.Fatal(err)
		}
	}
}

func compareMemory(t *testing.T, p *gguf.Plan, child *llamacpp.Child, loaded *llamacpp.Model, o llamacpp.ContextOptions, seen *tally) {
	t.Helper()
	o.Threads = 2
	b, err := child.Bench(t.Context(), llamacpp.BenchArgs{ContextOptions: o, Slot: loaded.Slot, Prompt: 1, Repetitions: 1, NoWarmup: true}, nil)
	if err != nil {
		t.Logf("context %d: %v", o.Context, err)
		return
	}
	s, err := recommend.ShapeOf(p)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for _, buf := range slices.Concat(loaded.Buffers, b.Buffers) {
		got[buf.Use] += buf.Bytes
	}
	weights := int64(0)
	for _, out := range p.Outputs {
		weights += out.Size
	}
	want := s.Needs(weights, recommend.Setting{Context: int64(o.Context), Slots: int64(max(o.Sequences, 1)), KV: "f16", MicroBatch: int64(o.UBatch),
		FlashAttn: o.Flash == "on", Outputs: math.MaxInt32})
	where := fmt.Sprintf("width %d, context %d, micro-batch %d, %d slots, flash attention %s", s.Embedding, o.Context, o.UBatch, max(o.Sequences, 1), o.Flash)
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
		t.Logf("%s: compute %d computed, llama.cpp has %d", where, want.Compute, got["compute"])
	}
	seen.archs[p.Architecture()] = true
	seen.rows++
	seen.compute = append(seen.compute, relative)
}
