// Package pockettest makes GGUF files of the built-in pocket model for tests, through the same stages that the command
// runs. Its bytes are those of the reference's converter and quantizer.
package pockettest

import (
	"context"
	"io/fs"
	"path/filepath"
	"testing"

	"quern/pipeline"
	"quern/quantize/llamacpp"
	"quern/quantize/llamacpp/llamatest"
	"quern/stages/build"
	"quern/stages/job"
	"quern/stages/plan"
	"quern/stages/source/pocket"
)

// silent drops events.
type silent struct{}

func (silent) Emit(pipeline.Event) {}

// Files makes a file of each type in the test's folder and returns their paths in order. The test is skipped, with the
// reason, where the llama.cpp runtime is missing.
func Files(tb testing.TB, types ...string) []string {
	tb.Helper()
	rt := llamatest.Runtime(tb)
	s := &job.State{}
	s.Model, s.Out, s.Types, s.Make = pocket.Name, tb.TempDir(), types, job.Quantized
	s.Runtime = func() (*llamacpp.Runtime, error) { return rt, nil }
	s.Kernel = "llamacpp"
	list := []pipeline.Stage[job.State]{plan.Stage{}, build.Stage{}}
	if err := pipeline.Run(context.Background(), list, s, silent{}, pipeline.Options{}); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Shut(); err != nil {
			tb.Error(err)
		}
	})
	var paths []string
	for _, t := range types {
		for _, a := range s.Files {
			if a.Type == t {
				paths = append(paths, a.Path)
			}
		}
	}
	if len(paths) != len(types) {
		tb.Fatalf("%d files in %s for %v", len(paths), filepath.Dir(s.Out), types)
	}
	return paths
}

// HeldOut is the text that the model was not trained on.
func HeldOut(tb testing.TB) []byte {
	tb.Helper()
	folder, err := pocket.FS()
	if err != nil {
		tb.Fatal(err)
	}
	b, err := fs.ReadFile(folder, pocket.HeldOut)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}
