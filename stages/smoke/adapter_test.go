package smoke_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"io/fs"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"quern/convert/arch"
	"quern/convert/safetensors"
	"quern/convert/view"
	"quern/pipeline"
	"quern/quantize/llamacpp"
	"quern/quantize/llamacpp/llamatest"
	"quern/stages/build"
	"quern/stages/job"
	"quern/stages/plan"
	"quern/stages/pockettest"
	"quern/stages/smoke"
	"quern/stages/source/pocket"
)

const (
	rank  = 4
	alpha = 8
)

// weights are tensors of a checkpoint in float32.
type weights map[string]matrix

type matrix struct {
	shape  []int64
	values []float32
}

// write writes them as one safetensors file.
func (w weights) write(t *testing.T, path string) {
	t.Helper()
	head, data := map[string]any{}, []byte{}
	for _, name := range slices.Sorted(maps.Keys(w)) {
		at := len(data)
		for _, v := range w[name].values {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
		}
		head[name] = map[string]any{"dtype": "F32", "shape": w[name].shape, "data_offsets": []int{at, len(data)}}
	}
	text, err := json.Marshal(head)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text, data), 0o644); err != nil {
		t.Fatal(err)
	}
}

// pocketWeights reads the pocket model.
func pocketWeights(t *testing.T) (weights, fs.FS) {
	t.Helper()
	folder, err := pocket.FS()
	if err != nil {
		t.Fatal(err)
	}
	ckpt, err := safetensors.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer ckpt.Close()
	w := weights{}
	for _, e := range ckpt.Tensors() {
		v, err := view.Floats(t.Context(), view.FromFile(e.Entry, e.Shard.Reader))
		if err != nil {
			t.Fatal(err)
		}
		w[e.Name] = matrix{e.Shape, v}
	}
	return w, folder
}

// adapterAndMerged writes an adapter of random factors for every projection of the pocket model, and the model with the
// adapter's change added to its weights: w + alpha/rank b a.
func adapterAndMerged(t *testing.T, size float64) (adapter, merged string) {
	t.Helper()
	base, folder := pocketWeights(t)
	r := rand.New(rand.NewPCG(3, 4))
	random := func(shape ...int64) matrix {
		m := matrix{shape, make([]float32, shape[0]*shape[1])}
		for i := range m.values {
			m.values[i] = float32(r.NormFloat64() * size)
		}
		return m
	}
	factors, whole := weights{}, maps.Clone(base)
	for _, name := range slices.Sorted(maps.Keys(base)) {
		stem, ok := strings.CutSuffix(name, "_proj.weight")
		if !ok {
			continue
		}
		w := base[name]
		a, b := random(rank, w.shape[1]), random(w.shape[0], rank)
		factors["base_model.model."+stem+"_proj.lora_A.weight"], factors["base_model.model."+stem+"_proj.lora_B.weight"] = a, b
		sum := matrix{w.shape, slices.Clone(w.values)}
		for i := range w.shape[0] {
			for k := range int64(rank) {
				for j := range w.shape[1] {
					sum.values[i*w.shape[1]+j] += float32(alpha) / rank * b.values[i*rank+k] * a.values[k*w.shape[1]+j]
				}
			}
		}
		whole[name] = sum
	}
	adapter, merged = filepath.Join(t.TempDir(), "pocket-lora"), filepath.Join(t.TempDir(), "merged")
	if err := os.Mkdir(adapter, 0o777); err != nil {
		t.Fatal(err)
	}
	factors.write(t, filepath.Join(adapter, "adapter_model.safetensors"))
	text := `{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "base_model_name_or_path": "pocket"}`
	if err := os.WriteFile(filepath.Join(adapter, "adapter_config.json"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(merged, folder); err != nil {
		t.Fatal(err)
	}
	model := filepath.Join(merged, "model.safetensors")
	if err := os.Remove(model); err != nil {
		t.Fatal(err)
	}
	whole.write(t, model)
	return adapter, merged
}

type silent struct{}

func (silent) Emit(pipeline.Event) {}

// converted makes a file by the stages of `quern convert`.
func converted(t *testing.T, set func(*job.State)) string {
	t.Helper()
	s := &job.State{}
	s.Out, s.Make, s.Convert.Type = t.TempDir(), job.Converted, "f32"
	set(s)
	if err := pipeline.Run(t.Context(), []pipeline.Stage[job.State]{plan.Stage{}, build.Stage{}}, s, silent{}, pipeline.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Shut(); err != nil {
		t.Fatal(err)
	}
	return s.Files[0].Path
}

// logits are those of all positions of the held-out text's beginning.
func logits(t *testing.T, child *llamacpp.Child, slot int) []float32 {
	t.Helper()
	ids, err := child.Tokenize(t.Context(), llamacpp.TokenizeArgs{Slot: slot, Text: pockettest.HeldOut(t)[:400], Special: true})
	if err != nil {
		t.Fatal(err)
	}
	var all []float32
	o := llamacpp.ContextOptions{Threads: 1, Flash: "off"}
	err = child.Logits(t.Context(), llamacpp.LogitsArgs{ContextOptions: o, Slot: slot, Tokens: ids}, func(_ int, row []float32) error {
		all = append(all, row...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func apart(a, b []float32) float64 {
	most := 0.0
	for i := range a {
		most = max(most, math.Abs(float64(a[i])-float64(b[i])))
	}
	return most
}

// An adapter on the pocket model changes what llama.cpp computes as the same change in the weights does, and taking it off
// gives the base back.
func TestAdapterEqualsMergedWeights(t *testing.T) {
	llamatest.Runtime(t)
	adapter, merged := adapterAndMerged(t, 0.05)
	base := converted(t, func(s *job.State) { s.Model = pocket.Name })
	whole := converted(t, func(s *job.State) { s.Model = merged })
	child := llamatest.Start(t)
	load := func(path string) int {
		m, err := child.Load(t.Context(), llamacpp.ModelOptions{Path: path, CPUOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		return m.Slot
	}
	slot := load(base)
	plain, want := logits(t, child, slot), logits(t, child, load(whole))
	for typ, share := range map[arch.FileType]float64{"f32": 1e-3, "f16": 1e-2, "q8_0": 0.1} { // of what the merged weights move
		file := converted(t, func(s *job.State) { s.Model, s.Adapter, s.Convert.Type = adapter, true, typ })
		if _, err := child.Adapt(t.Context(), llamacpp.AdapterArgs{Slot: slot, Path: file, Scale: 1}); err != nil {
			t.Fatal(err)
		}
		got := logits(t, child, slot)
		moved, off := apart(plain, want), apart(got, want)
		t.Logf("%s: the merged weights move the logits by up to %.4g, the adapter's are up to %.4g away from theirs", typ, moved, off)
		if moved < 0.1 || off > moved*share || len(got) != len(want) {
			t.Errorf("%s: adapter and merged weights differ by %g of %g", typ, off, moved)
		}
	}
	if _, err := child.Adapt(t.Context(), llamacpp.AdapterArgs{Slot: slot}); err != nil {
		t.Fatal(err)
	}
	if d := apart(logits(t, child, slot), plain); d != 0 {
		t.Errorf("without the adapter the base differs from itself by %g", d)
	}
}

func tryAdapter(t *testing.T, base, adapter string) *smoke.Report {
	t.Helper()
	o := options(base)
	o.Adapter = adapter
	r, err := smoke.Try(context.Background(), llamatest.Start(t), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A sound adapter passes its checks; one that changes nothing, one that wrecks its base and one of another base do not.
func TestAdapterChecks(t *testing.T) {
	llamatest.Runtime(t)
	base := pockettest.Files(t, "BF16")[0]
	make := func(size float64, change func([]byte) []byte) string {
		folder, _ := adapterAndMerged(t, size)
		file := converted(t, func(s *job.State) { s.Model, s.Adapter = folder, true })
		if change != nil {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, change(b), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return file
	}
	for _, c := range []struct {
		name, file, fails string
	}{
		{"sound", make(0.01, nil), ""},
		{"untrained", make(0, nil), "change"},
		{"far too strong", make(1, nil), "perplexity"},
		{"of another architecture", make(0.01, func(b []byte) []byte { return bytes.Replace(b, []byte("llama"), []byte("qwen2"), 1) }), "adapter"},
		{"of other tensors", make(0.01, func(b []byte) []byte {
			return bytes.Replace(b, []byte("blk.0.attn_q.weight.lora_a"), []byte("blk.9.attn_q.weight.lora_a"), 1)
		}), "adapter"},
	} {
		r := tryAdapter(t, base, c.file)
		err := r.Err(c.file)
		switch {
		case c.fails == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails+":")):
			t.Errorf("%s: %v, want %s to fail", c.name, err, c.fails)
		}
		for _, k := range r.Checks {
			t.Logf("%-24s %-10s %-7s %s", c.name, k.Name, k.State, k.Value)
		}
	}
}
