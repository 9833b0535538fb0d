package convert_test

import (
	"fmt"
	"io/fs"
	"math"
	"strings"
	"testing"
	"testing/fstest"

	"quern/convert"
	"quern/convert/conformance"
	"quern/convert/view"
)

// bent opens a case with some of its files edited.
func bent(t *testing.T, name string, edit func(fstest.MapFS)) (*convert.Model, error) {
	t.Helper()
	tree, err := corpus()
	if err != nil {
		t.Fatal(err)
	}
	c, err := conformance.OpenCase(tree, "convert/"+name)
	if err != nil {
		t.Fatal(err)
	}
	src, err := c.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	files := src.(fstest.MapFS)
	if edit != nil {
		edit(files)
	}
	return convert.Open(t.Context(), files, convert.Options{Dir: c.Dir, Pre: c.Pre, Type: "f32"})
}

// replace edits config.json, which must hold the old text.
func replace(t *testing.T, old, new string) func(fstest.MapFS) {
	return func(files fstest.MapFS) {
		data, err := fs.ReadFile(files, "config.json")
		if err != nil || !strings.Contains(string(data), old) {
			t.Fatalf("no %s in config.json: %v", old, err)
		}
		files["config.json"] = &fstest.MapFile{Data: []byte(strings.Replace(string(data), old, new, 1))}
	}
}

// TestBaichuan2Head wants the rows of Baichuan 2's head to have the length 1, and nothing else to change.
func TestBaichuan2Head(t *testing.T) {
	m, err := bent(t, "mended-baichuan2", replace(t, `"vocab_size": 384`, `"vocab_size": 125696`))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	found := false
	for i, o := range m.Plan.Outputs {
		if o.Name != "output.weight" {
			continue
		}
		found = true
		err := view.Each(t.Context(), m.Sources[i], func(row int64, v []float32) error {
			width := int(o.Shape[0])
			for ; len(v) > 0; v = v[width:] {
				sum := 0.0
				for _, x := range v[:width] {
					sum += float64(x) * float64(x)
				}
				if math.Abs(sum-1) > 1e-6 {
					return fmt.Errorf("a row from %d on has the length %g", row, math.Sqrt(sum))
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if !found {
		t.Error("no output.weight")
	}
}

// TestWarnings wants the user to be told where a file is not what the checkpoint suggests.
func TestWarnings(t *testing.T) {
	for name, want := range map[string]string{
		"xverse-grouped":         "another number of key-value heads",
		"neobert-twelve-labels":  "order of their ids as texts",
		"mended-t5-deep-decoder": "it gets 1 more, of zeros",
	} {
		m, err := bent(t, name, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if all := strings.Join(m.Warnings, "\n"); !strings.Contains(all, want) {
			t.Errorf("%s: no %q in %q", name, want, all)
		}
		m.Close()
	}
}

// TestFamiliesRefuse wants what llama.cpp could not use to be refused for its reason, as the reference does.
func TestFamiliesRefuse(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"gemma3n-text", `"altup_num_inputs": 4`, `"altup_num_inputs": 2`, "altup_num_inputs"},
		{"gemma3-1b", `"attn_logit_softcapping": null`, `"attn_logit_softcapping": 50.0`, "attn_logit_softcapping"},
		{"gemma4-e2b", `"rope_type": "proportional"`, `"rope_type": "default"`, "want proportional"},
		{"nomic-bert", `"prenorm": false`, `"prenorm": true`, "norms before"},
		{"nomic-bert", `"n_positions": 8192`, `"n_positions": 4096`, "n_positions"},
		{"phi3-mini-128k-su", `"short_factor": [`, `"short_factor": [1.0,`, "9 factors for 16"},
		{"phi3-mini-128k-su", `"type": "longrope"`, `"type": "other", "rope_type": "other"`, "long_factor with the type"},
		{"mt5", `"num_decoder_layers": 2`, `"num_decoder_layers": 3`, "no tensor of decoder layer 2"},
		{"apertus", `"num_hidden_layers": 3`, `"num_hidden_layers": 4`, "for 4 layers"},
	} {
		m, err := bent(t, c.name, replace(t, c.old, c.new))
		if err == nil {
			m.Close()
			t.Errorf("%s with %s: no error", c.name, c.new)
			continue
		}
		if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s with %s: %v", c.name, c.new, err)
		}
	}
}
