// Package prove encodes texts with llama.cpp's own vocabulary, so that a pre-tokenizer is chosen by what it does.
package prove

import (
	"context"
	"os"

	"quern/quantize/llamacpp"
)

// Prover starts a child for each vocabulary. It is a convert/vocab Prover.
type Prover struct {
	Context context.Context // bounds all its work
	Runtime func() (*llamacpp.Runtime, error)
	Worker  llamacpp.WorkerCommand
}

// Encode gives the ids of each text, without tokens around it and with special tokens recognised in it, by a GGUF file that
// holds a vocabulary alone.
func (p Prover) Encode(gguf []byte, texts []string) ([][]int32, error) {
	rt, err := p.Runtime()
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp("", "quern-vocab-*.gguf")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(gguf); err != nil {
		f.Close()
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	child, err := llamacpp.Start(p.Context, rt, p.Worker, llamacpp.StartOptions{})
	if err != nil {
		return nil, err
	}
	defer child.Close()
	return encode(p.Context, child, f.Name(), texts)
}

func encode(ctx context.Context, child *llamacpp.Child, path string, texts []string) ([][]int32, error) {
	m, err := child.Load(ctx, llamacpp.ModelOptions{Path: path, VocabOnly: true})
	if err != nil {
		return nil, err
	}
	ids := make([][]int32, len(texts))
	for i, t := range texts {
		if ids[i], err = child.Tokenize(ctx, llamacpp.TokenizeArgs{Slot: m.Slot, Text: []byte(t), Parse: true}); err != nil {
			return nil, err
		}
	}
	return ids, nil
}
