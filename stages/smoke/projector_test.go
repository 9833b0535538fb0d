package smoke

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"quern/convert"
	"quern/convert/conformance"
	"quern/convert/gguf"
)

// TestProjectorChecks wants the checks to pass every projector that the reference makes, and to find a file whose keys are
// another's.
func TestProjectorChecks(t *testing.T) {
	bundles, err := filepath.Glob("../../convert/testdata/*.tar.zst")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, b := range bundles {
		tree, err := conformance.OpenBundle(b)
		if err != nil {
			t.Fatal(err)
		}
		names, err := conformance.Cases(tree, "convert")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			c, err := conformance.OpenCase(tree, name)
			if err != nil {
				t.Fatal(err)
			}
			if p := projectorOf(t, c); p != nil {
				n++
				checkCase(t, c.Name, p)
			}
		}
	}
	t.Logf("count: %d projectors are as their keys say", n)
	if n < 45 {
		t.Errorf("only %d projectors", n)
	}
}

// projectorOf plans a case that makes a projector; nil for others.
func projectorOf(t *testing.T, c *conformance.Case) *gguf.Plan {
	for run, args := range c.Runs {
		if !slices.Contains(args, "--mmproj") || slices.Contains(c.Fails, run) || slices.Contains(args, "--mistral-format") {
			continue
		}
		c.Tokenizer = "" // another bundle's, and of no use here
		src, err := c.Checkpoint()
		if err != nil {
			t.Fatal(err)
		}
		m, err := convert.Open(t.Context(), src, convert.Options{Dir: c.Dir, Projector: true})
		if err != nil {
			return nil // its class is not converted yet
		}
		defer m.Close()
		return &m.Plan
	}
	return nil
}

// defaults are the cases whose towers are narrower than the width that their class takes for granted.
var defaults = []string{"mmproj-smolvlm-256m", "mmproj-step3-vl", "mmproj-step3.7", "mmproj-nemotron-nano-vl", "mmproj-nemotron-radio"}

// described tells what is the case's own doing: some describe fewer layers than their configuration counts.
func described(name string, c Check) bool {
	return c.Name == nameShapes && (strings.HasPrefix(c.Value, "no tensor of layer") || slices.Contains(defaults, name))
}

func checkCase(t *testing.T, name string, p *gguf.Plan) {
	text := func(width int64) *gguf.Plan {
		return &gguf.Plan{Metadata: []gguf.KV{{Key: "general.architecture", Value: "llama"}, {Key: "llama.embedding_length", Value: uint32(width)}}}
	}
	width, ok := p.Int("clip.vision.projection_dim")
	if !ok {
		width, _ = p.Int("clip.audio.projection_dim")
	}
	good := &run{r: &Report{}}
	good.checkProjector(p, text(width))
	for _, c := range good.r.Checks {
		if c.State == Failed && !described(name, c) {
			t.Errorf("%s: %s: %s", name, c.Name, c.Value)
		}
	}
	bad := &run{r: &Report{}}
	bad.checkProjector(p, text(width+1))
	if width > 0 && bad.r.Count(Failed) == 0 {
		t.Errorf("%s: a model of another width is not told", name)
	}
}
