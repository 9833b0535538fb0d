package plan_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quern/pipeline"
	"quern/stages/job"
	"quern/stages/plan"
	"quern/stages/pockettest"
)

// TestTower wants the projector of a checkpoint that sees to be planned beside the model and counted in its memory, and one that
// cannot be converted to be told without stopping the model.
func TestTower(t *testing.T) {
	src, err := pockettest.Vision()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "see")
	if err := os.CopyFS(dir, src); err != nil {
		t.Fatal(err)
	}
	run := func() *job.State {
		s := &job.State{}
		s.Model, s.Out, s.For = dir, t.TempDir(), "M3 Pro 18GB"
		if err := pipeline.Run(t.Context(), []pipeline.Stage[job.State]{plan.Stage{Only: true}}, s, pipeline.Discard{}, pipeline.Options{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Shut(); err != nil {
				t.Error(err)
			}
		})
		return s
	}
	s := run()
	p := s.Projector()
	if p == nil || filepath.Base(p.Path) != "mmproj-see-BF16.gguf" {
		t.Fatalf("projector: %+v", p)
	}
	weights := int64(0)
	for _, o := range p.Outputs() {
		weights += o.Size
	}
	if got := s.Advice.Memory.Projector; got != weights {
		t.Errorf("%d bytes of memory for a projector of %d", got, weights)
	}
	sum := int64(0)
	for _, c := range plan.Components(s) {
		sum += c.Bytes
	}
	if sum != s.Advice.Memory.Total() {
		t.Errorf("the parts are %d bytes, the total %d", sum, s.Advice.Memory.Total())
	}

	config := filepath.Join(dir, "config.json")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, []byte(strings.Replace(string(text), `"gelu"`, `"relu"`, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	s = run()
	if all := strings.Join(plan.Warnings(s), "\n"); s.Projector() != nil || !strings.Contains(all, "no projector is made") || !strings.Contains(all, "hidden_act") {
		t.Errorf("%v, %s", s.Projector(), all)
	}
}
