package importance

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"quern/convert/gguf"
	"quern/quantize/llamacpp"
	"quern/quantize/llamacpp/llamatest"
	"quern/stages/pockettest"
	"quern/stages/source/calibration"
)

func header(t *testing.T, path string) *gguf.Plan {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	g, err := gguf.Read(path, f, fi.Size())
	if err != nil {
		t.Fatal(err)
	}
	return &g.Plan
}

// A run that ends between two groups of chunks leaves no file of the matrix's name. The next one goes on from there and gives
// the bytes of a run that nobody stopped; with another text nothing is gone on with.
func TestResume(t *testing.T) {
	model := pockettest.Files(t, "Q8_0")[0]
	text, err := calibration.Text()
	if err != nil {
		t.Fatal(err)
	}
	options := func(name string, text []byte) Options {
		return Options{Text: text, Dataset: "text", Path: filepath.Join(t.TempDir(), name), Chunks: 2*group + 8, Model: llamacpp.ModelOptions{Path: model},
			Context: llamacpp.ContextOptions{Context: 32, Threads: 1}}
	}
	run := func(ctx context.Context, o Options) (*Report, error) {
		return Compute(ctx, llamatest.Start(t), header(t, model), o)
	}
	whole := options("whole.gguf", text)
	if _, err := run(context.Background(), whole); err != nil {
		t.Fatal(err)
	}
	stopped := options("stopped.gguf", text)
	ctx, stop := context.WithCancel(context.Background())
	stopped.Progress = func(done, _ int) {
		if done == group {
			stop()
		}
	}
	if _, err := run(ctx, stopped); !errors.Is(err, context.Canceled) {
		t.Fatalf("a stopped run ends with %v", err)
	}
	if _, err := os.Stat(stopped.Path); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("an unfinished matrix has its name: %v", err)
	}
	other := stopped
	other.Text, other.Progress = text[1000:], nil
	if m, err := state(other); err != nil || m {
		t.Errorf("the state of one text is taken for another: %v, %v", m, err)
	}
	stopped.Progress = nil
	r, err := run(context.Background(), stopped)
	if err != nil {
		t.Fatal(err)
	}
	if r.Resumed != group || r.Chunks != 2*group+8 || r.Coverage.Covered != 35 || len(r.Coverage.Missing) > 0 {
		t.Errorf("%d of %d chunks resumed, coverage %+v", r.Resumed, r.Chunks, r.Coverage)
	}
	a, errA := os.ReadFile(whole.Path)
	b, errB := os.ReadFile(stopped.Path)
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Errorf("matrices of %d and %d bytes differ: %v, %v", len(a), len(b), errA, errB)
	}
	if _, err := os.Stat(stopped.part()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the state is left behind: %v", err)
	}
	t.Logf("count: %d of %d chunks of an importance matrix taken over from a stopped run", r.Resumed, r.Chunks)
}

func state(o Options) (bool, error) {
	key, err := o.key()
	if err != nil {
		return false, err
	}
	m, err := earlier(o, key)
	return m != nil, err
}
