package smoke_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quern/pipeline"
	"quern/quantize/llamacpp"
	"quern/quantize/llamacpp/llamatest"
	"quern/stages/build"
	"quern/stages/job"
	"quern/stages/plan"
	"quern/stages/pockettest"
	"quern/stages/smoke"
)

// seeing builds a model that sees, and its projector, from a checkpoint.
func seeing(t *testing.T, rt *llamacpp.Runtime, checkpoint func() (fs.FS, error)) *job.State {
	t.Helper()
	src, err := checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "see")
	if err := os.CopyFS(dir, src); err != nil {
		t.Fatal(err)
	}
	s := &job.State{}
	s.Model, s.Out, s.Types = dir, t.TempDir(), []string{"BF16"}
	s.Runtime = func() (*llamacpp.Runtime, error) { return rt, nil }
	s.Worker = llamatest.Command()
	t.Cleanup(func() {
		if err := s.Shut(); err != nil {
			t.Error(err)
		}
	})
	list := []pipeline.Stage[job.State]{plan.Stage{}, build.Stage{}}
	if err := pipeline.Run(context.Background(), list, s, silent{}, pipeline.Options{}); err != nil {
		t.Fatal(err)
	}
	if s.Projector() == nil {
		t.Fatal("no projector beside the model")
	}
	return s
}

// TestPicture tries pairs of the pocket model and a tower. Without the multimodal library the report says that no picture was
// shown; with it (QUERN_LLAMA_LIB names a folder that has libmtmd) two pictures, or two sounds, lead to different expectations.
func TestPicture(t *testing.T) {
	rt := llamatest.Runtime(t)
	for name, checkpoint := range map[string]func() (fs.FS, error){"picture": pockettest.Vision, "sound": pockettest.Hearing} {
		s := seeing(t, rt, checkpoint)
		if err := pipeline.Run(context.Background(), []pipeline.Stage[job.State]{smoke.Stage{}}, s, silent{}, pipeline.Options{}); err != nil {
			t.Fatal(err)
		}
		r, ok := s.Projector().Smoke.(*smoke.Report)
		if !ok {
			t.Fatalf("the projector was not tried: %v", s.Projector().Smoke)
		}
		states := map[string]smoke.Check{}
		for _, c := range r.Checks {
			states[c.Name] = c
		}
		for _, check := range []string{"load", "towers", "shapes", "width"} {
			if states[check].State != smoke.Passed {
				t.Errorf("%s: %s: %+v", name, check, states[check])
			}
		}
		if !rt.HasMultimodal() {
			if c := states["picture"]; c.State != smoke.Skipped || !strings.Contains(c.Value, "no picture was shown") {
				t.Errorf("%s: %+v", name, c)
			}
			continue
		}
		if c := states[name]; c.State != smoke.Passed || !(c.Score > 0) {
			t.Errorf("%s: %+v", name, c)
		} else {
			t.Logf("count: 2 %ss: %s", name, c.Value)
		}
	}
	if !rt.HasMultimodal() {
		t.Log("the picture test was not run: the runtime has no libmtmd")
	}
}
