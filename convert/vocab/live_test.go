package vocab

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"quern/quantize/llamacpp"
	"quern/quantize/llamacpp/llamatest"
)

func TestMain(m *testing.M) { os.Exit(llamatest.Main(m)) }

// live asks the installed llama.cpp.
type live struct {
	child *llamacpp.Child
	dir   string
}

func newLive(t *testing.T) *live { return &live{llamatest.Start(t), t.TempDir()} }

func (l *live) Encode(file []byte, texts []string) ([][]int32, error) {
	ctx := context.Background()
	path := filepath.Join(l.dir, "vocabulary.gguf")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		return nil, err
	}
	m, err := l.child.Load(ctx, llamacpp.ModelOptions{Path: path, CPUOnly: true, VocabOnly: true})
	if err != nil {
		return nil, err
	}
	defer l.child.Unload(ctx, m.Slot)
	out := make([][]int32, len(texts))
	for i, t := range texts {
		if out[i], err = l.child.Tokenize(ctx, llamacpp.TokenizeArgs{Slot: m.Slot, Text: []byte(t), Parse: true}); err != nil {
			return nil, err
		}
	}
	return out, nil
}
