package smoke_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quern/convert"
	"quern/convert/arch"
	"quern/convert/conformance"
	"quern/quantize/build"
	"quern/quantize/kernel"
	"quern/stages/smoke"
)

// families are checkpoints of random weights, one for each way of computing a layer: dense, experts, soft caps and windows, state
// spaces, linear recurrence, encoder and decoder, encoder alone, a latent, sinks, state space beside attention, fused projections.
var families = []struct{ name, checks string }{
	{"llama3", "load tokens logits state source"},
	{"mixtral", "load tokens logits state source"},
	{"gemma2-2b-it", "load tokens logits state source"},
	{"gemma3-1b", "load tokens logits state source"},
	{"qwen3moe", "load tokens logits state source"},
	{"mamba", "load tokens logits state source"},
	{"rwkv6", "load tokens logits state source"},   // RWKV 7 has no case: llama.cpp's kernel wants heads of 32 values at least
	{"t5-small", "load tokens encoder logits end"}, // it does not predict a text token by token, so there is nothing to hold against a source
	{"llada", "load tokens logits"},                // nor does one that fills in masks
	{"bert-bge", "load tokens embedding"},
	{"jina-bert-v2-en", "load tokens embedding"},
	{"nomic-bert-moe", "load tokens embedding"},
	{"modernbert", "load tokens embedding"},
	{"qwen3-embedding", "load tokens embedding"},
	{"qwen3-reranker", "load tokens classes"},
	{"roberta-sequence", "load tokens classes"},
	{"deepseek3", "load tokens logits state source"},
	{"gptoss-bf16", "load tokens logits state source"},
	{"falcon-h1", "load tokens logits state source"},
	{"jamba", "load tokens logits state source"},
	{"phi3-mini-4k", "load tokens logits state source"},
	{"olmo2", "load tokens logits state source"},
	{"command-r", "load tokens logits state source"},
	{"nemotron-h", "load tokens logits state source"},
	{"lfm2", "load tokens logits state source"},
}

// TestFamilies converts random checkpoints of many families and lets llama.cpp compute with them: every logit is a number, and what
// Q8_0 says is what float32 says. Whether the text reads well is not asked of random weights.
func TestFamilies(t *testing.T) {
	tree, err := conformance.OpenBundle("../../convert/testdata/cases.tar.zst")
	if err != nil {
		t.Fatal(err)
	}
	passed := 0
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			c, err := conformance.OpenCase(tree, "convert/"+f.name)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			o := options(random(t, c, "q8_0", dir))
			o.Source, o.Checks = random(t, c, "f32", dir), []string{smoke.Untrained}
			r := try(t, o)
			if err := r.Err(f.name); err != nil {
				t.Error(err)
			}
			state := map[string]smoke.Check{}
			for _, c := range r.Checks {
				state[c.Name] = c
			}
			for name := range strings.FieldsSeq(f.checks) {
				if c := state[name]; c.State != smoke.Passed {
					t.Errorf("%s: %s: %s (%s)", name, c.State, c.Value, c.Limit)
				}
			}
			if !t.Failed() {
				passed++
			}
		})
	}
	t.Logf("%d of %d families at random load and compute numbers", passed, len(families))
}

// TestRandomWeights wants the failures that random weights cannot help to say what they may come from.
func TestRandomWeights(t *testing.T) {
	tree, err := conformance.OpenBundle("../../convert/testdata/cases.tar.zst")
	if err != nil {
		t.Fatal(err)
	}
	c, err := conformance.OpenCase(tree, "convert/llama3")
	if err != nil {
		t.Fatal(err)
	}
	var f *smoke.Failure
	if err := try(t, options(random(t, c, "q8_0", t.TempDir()))).Err("random"); !errors.As(err, &f) || !strings.Contains(f.Hint(), "random or untrained weights?") {
		t.Errorf("got %v", err)
	}
}

// random writes the file of a case and gives its path.
func random(t *testing.T, c *conformance.Case, typ arch.FileType, dir string) string {
	t.Helper()
	src, err := c.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	m, err := convert.Open(t.Context(), src, convert.Options{Dir: c.Dir, Pre: c.Pre, Type: typ})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	path := filepath.Join(dir, string(typ)+".gguf")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := m.Plan.WriteHeader(f); err != nil {
		t.Fatal(err)
	}
	jobs := make([]build.Job, len(m.Plan.Outputs))
	for i, o := range m.Plan.Outputs {
		jobs[i] = build.Job{Name: o.Name, Source: m.Sources[i], To: []build.Target{{Type: o.Type, Offset: m.Plan.DataOffset + o.Offset, Copy: m.Raw[i]}}}
	}
	if err := build.Run(context.Background(), jobs, kernel.Go(), []io.WriterAt{f}, build.Options{}); err != nil {
		t.Fatal(err)
	}
	return path
}
