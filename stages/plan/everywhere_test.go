package plan_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"quern/quantize/recommend"
	"quern/stages/job"
	"quern/stages/plan"
)

var update = flag.Bool("update", false, "write the goldens")

// published are parameter counts of the shapes, in 10^9, as their cards state them.
var published = map[string]float64{"Qwen3-0.6B": .596, "Qwen3-8B": 8.19, "Qwen3-32B": 32.76, "Llama-3.1-8B": 8.03, "Llama-3.1-70B": 70.55,
	"gpt-oss-20b": 20.9, "gpt-oss-120b": 116.8, "gemma-3-4b": 3.88, "gemma-3-27b": 27.0, "DeepSeek-V3": 671}

// TestEverywhere plans known shapes from their configurations alone for every Mac of the table: a golden that a Mac user would agree with.
func TestEverywhere(t *testing.T) {
	folders, err := filepath.Glob("testdata/shapes/*/config.json")
	if err != nil || len(folders) != len(published) {
		t.Fatalf("%d shapes: %v", len(folders), err)
	}
	for _, f := range folders {
		dir := filepath.Dir(f)
		name := filepath.Base(dir)
		t.Run(name, func(t *testing.T) {
			s := &job.State{}
			s.Model = dir
			places, err := plan.Everywhere(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			if got := float64(s.Shape.Params) / 1e9; got/published[name] < .98 || got/published[name] > 1.02 {
				t.Errorf("%.3f x 10^9 parameters, the card says %.3f", got, published[name])
			}
			var b strings.Builder
			for _, p := range places {
				b.WriteString(p.Line() + "\n")
				if p.Runs && (p.Memory > p.Budget || p.Fit == recommend.No) {
					t.Errorf("%s: takes %d of %d", p.Machine, p.Memory, p.Budget)
				}
			}
			golden := "testdata/everywhere/" + name + ".txt"
			if *update {
				if err := os.MkdirAll("testdata/everywhere", 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if string(want) != b.String() {
				t.Errorf("the choices differ from %s; look at them, then go test ./stages/plan -run TestEverywhere -update\n%s", golden, b.String())
			}
		})
	}
}

// A type with fewer bits a weight is never larger, whatever the mixture gives to each tensor, and needs no more memory.
func TestSizesFall(t *testing.T) {
	falling := []string{"Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "Q4_K_S", "IQ4_XS", "Q3_K_M", "Q3_K_S", "Q2_K"}
	for name := range published {
		s := &job.State{}
		s.Model, s.For, s.Make = "testdata/shapes/"+name, "M3 Ultra 512GB", job.Recommended
		if err := plan.Open(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if err := plan.Advise(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		last, need, at := int64(1)<<62, int64(1)<<62, 0
		for _, r := range s.Advice.Rows {
			i := slices.Index(falling, r.Type)
			if i < 0 {
				continue
			}
			if i < at || r.Weights >= last || r.Memory.Total() >= need {
				t.Errorf("%s: %s takes %d bytes and stands after %d", name, r.Type, r.Weights, last)
			}
			last, need, at = r.Weights, r.Memory.Total(), i
		}
	}
}

// TestSketchRefuses: what a configuration does not say is an error, not a guess.
func TestSketchRefuses(t *testing.T) {
	for text, says := range map[string]string{
		`{`: "not JSON", `{"architectures":["LlamaForCausalLM"]}`: "has no",
		`{"architectures":["LlamaForCausalLM"],"hidden_size":64,"num_attention_heads":4,"num_hidden_layers":1e12}`: "are read",
		`{"architectures":["BertModel"],"hidden_size":64,"num_attention_heads":4,"num_hidden_layers":2}`:           "do not follow from config.json",
		`{"architectures":["LlamaForCausalLM"],"hidden_size":-4}`:                                                  "are read",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		s := &job.State{}
		s.Model = dir
		if err := plan.Open(t.Context(), s); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", text, err, says)
		}
	}
}
