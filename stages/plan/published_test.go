package plan_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quern/hfclient"
	"quern/hfclient/hubtest"
	"quern/pipeline"
	"quern/stages/build"
	"quern/stages/job"
	"quern/stages/plan"
	"quern/stages/pockettest"
	"quern/stages/pull"
)

type silent struct{}

func (silent) Emit(pipeline.Event) {}

// prepared runs plan, pull and build over a source of published files and returns the state.
func prepared(t *testing.T, s *job.State) {
	t.Helper()
	s.Out, s.For, s.NoSmoke, s.NoBench = t.TempDir(), "M2 16GB", true, true
	list := []pipeline.Stage[job.State]{plan.Stage{}, pull.Stage{}, build.Stage{}}
	if err := pipeline.Run(context.Background(), list, s, silent{}, pipeline.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Shut() })
}

// A folder and a repository of published files are ranked from their headers, and the best file is taken as it is.
func TestPublished(t *testing.T) {
	files := pockettest.Files(t, "Q2_K", "Q4_K_M", "Q6_K")
	dir := filepath.Dir(files[0])
	want, err := os.ReadFile(files[2])
	if err != nil {
		t.Fatal(err)
	}
	hub := hubtest.New()
	defer hub.Close()
	hub.Add("acme/pocket-GGUF", os.DirFS(dir))
	client, err := hfclient.New(hfclient.Options{Endpoint: hub.URL(), CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	for _, model := range []string{dir, "acme/pocket-GGUF"} {
		t.Run(filepath.Base(model), func(t *testing.T) {
			s := &job.State{}
			s.Model, s.Hub = model, client
			prepared(t, s)
			if s.Advice.Type != "Q6_K" || len(s.Advice.Rows) != 3 {
				t.Fatalf("%s of %d: %v", s.Advice.Type, len(s.Advice.Rows), s.Advice.Reasons)
			}
			got, err := os.ReadFile(s.Files[0].Path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Error("the file is not the published one")
			}
			if !strings.Contains(fmt.Sprint(s.Advice.Reasons), "Q8_0 is not published and would fit") {
				t.Errorf("nothing is said of the source weights: %v", s.Advice.Reasons)
			}
		})
	}
	s := &job.State{}
	s.Model, s.Types, s.For = dir, []string{"Q5_K_M"}, "M2 16GB"
	if err := plan.Open(t.Context(), s); err == nil || !strings.Contains(err.Error(), "there are") {
		t.Errorf("a type that is not published: %v", err)
	}
}
