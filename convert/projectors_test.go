package convert_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"quern/convert"
	"quern/convert/arch"
	"quern/convert/conformance"
)

// TestProjectorCases wants every class of projectors that the reference has to be registered, and to have a recorded case or the
// reason why there can be none.
func TestProjectorCases(t *testing.T) {
	data, err := os.ReadFile("testdata/projectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	reasons, beyond := map[string]string{}, 0
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			name, reason, _ := strings.Cut(line, ":")
			if after, ok := strings.CutPrefix(name, "+"); ok {
				name, beyond = after, beyond+1
			}
			reasons[name] = strings.TrimSpace(reason)
		}
	}
	shown := projectorCases(t)
	names, with := arch.ProjectorNames(), 0
	for _, name := range names {
		reason, known := reasons[name]
		switch {
		case !known:
			t.Errorf("%s: no projector of the reference", name)
		case !shown[name] && reason == "":
			t.Errorf("%s: neither a case nor a reason why there is none", name)
		case shown[name] && reason != "":
			t.Errorf("%s: has a case, and a reason why it has none: %s", name, reason)
		}
		if shown[name] {
			with++
		}
	}
	for name := range reasons {
		if !slices.Contains(names, name) {
			t.Errorf("%s: not registered", name)
		}
	}
	t.Logf("count: %d classes of projectors of the reference's %d, %d with a case", len(names)-beyond, len(reasons)-beyond, with)
}

// projectorCases are the classes whose projector a case makes, which the reference does not refuse.
func projectorCases(t *testing.T) map[string]bool {
	tree, err := corpus()
	if err != nil {
		t.Fatal(err)
	}
	names, err := conformance.Cases(tree, "convert")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for _, name := range names {
		c, err := conformance.OpenCase(tree, name)
		if err != nil {
			t.Fatal(err)
		}
		for run, args := range c.Runs {
			if !slices.Contains(args, "--mmproj") || slices.Contains(c.Fails, run) {
				continue
			}
			src, err := c.Checkpoint()
			if err != nil {
				t.Fatal(err)
			}
			if name, _, ok := entry(t.Context(), src, c.Dir, true); ok {
				shown[name] = true
			}
			break
		}
	}
	return shown
}

// towerCase opens a projector case, changed before its checkpoint is made.
func towerCase(t *testing.T, name string, change func(*conformance.Case)) (*convert.Model, error) {
	t.Helper()
	tree, err := corpus()
	if err != nil {
		t.Fatal(err)
	}
	c, err := conformance.OpenCase(tree, "convert/"+name)
	if err != nil {
		t.Fatal(err)
	}
	change(c)
	src, err := c.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	return convert.OpenTower(t.Context(), src, convert.Options{Dir: c.Dir})
}

// TestGemma3nNorms wants the norms that published checkpoints have, and the reference has no name for, under Gemma 4's name.
func TestGemma3nNorms(t *testing.T) {
	m, err := towerCase(t, "mmproj-gemma3n", func(c *conformance.Case) {
		c.Shards[0].Tensors = append(c.Shards[0].Tensors,
			conformance.Tensor{Name: "model.audio_tower.subsample_conv_projection.conv_0.norm.weight", DType: "BF16", Shape: []int64{8}})
	})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if _, ok := m.Plan.Tensor("a.conv1d.0.norm.weight"); !ok {
		t.Error("no a.conv1d.0.norm.weight")
	}
}

// TestTowers wants a checkpoint's tower to be found by itself, none where there are no tensors of one, and the reason where it
// cannot be converted.
func TestTowers(t *testing.T) {
	m, err := towerCase(t, "mmproj-gemma3", func(*conformance.Case) {})
	if err != nil || m == nil {
		t.Fatalf("%v, %v", m, err)
	}
	m.Close()
	m, err = towerCase(t, "mmproj-gemma3", func(c *conformance.Case) {
		c.Shards[0].Tensors = slices.DeleteFunc(c.Shards[0].Tensors, func(x conformance.Tensor) bool { return !strings.HasPrefix(x.Name, "language_model") })
	})
	if m != nil || err != nil {
		t.Errorf("without a tower's tensors: %v, %v", m, err)
	}
	if m, err = towerCase(t, "mmproj-llava-clip-refused", func(*conformance.Case) {}); err == nil || !strings.Contains(err.Error(), "not Pixtral's") {
		t.Errorf("another tower: %v, %v", m, err)
	}
	if m, err = towerCase(t, "llama-bias-headdim", func(*conformance.Case) {}); m != nil || err != nil {
		t.Errorf("a text model: %v, %v", m, err)
	}
}

// A patch of another size than the weights' is refused: their rows must not turn into more rows.
func TestProjectorPatchSize(t *testing.T) {
	tree, err := corpus()
	if err != nil {
		t.Fatal(err)
	}
	c, err := conformance.OpenCase(tree, "convert/mmproj-deepseek4")
	if err != nil {
		t.Fatal(err)
	}
	src, err := c.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	for _, patch := range []string{"14", "7"} {
		replace(t, `"vision_patch_size": 14`, `"vision_patch_size": `+patch)(src.(fstest.MapFS))
		m, err := convert.Open(t.Context(), src, convert.Options{Dir: c.Dir, Projector: true})
		if (err == nil) != (patch == "14") {
			t.Errorf("patches of %s: %v", patch, err)
		}
		if err == nil {
			m.Close() //nolint:errcheck // it was read
		}
	}
}
