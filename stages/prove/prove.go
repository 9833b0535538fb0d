// Package prove encodes texts with llama.cpp's own vocabulary, so that a pre-tokenizer is chosen by what it does.
package prove

import (
	"context"
	"os"
	"sync"

	"quern/quantize/llamacpp"
)

// Prover is a convert/vocab Prover. It starts a child at its first vocabulary and keeps it until Close.
type Prover struct {
	ctx     context.Context // bounds all its work
	runtime func() (*llamacpp.Runtime, error)
	worker  llamacpp.WorkerCommand

	mu    sync.Mutex
	child *llamacpp.Child
}

// New prepares a prover; nothing is started yet.
func New(ctx context.Context, runtime func() (*llamacpp.Runtime, error), w llamacpp.WorkerCommand) *Prover {
	return &Prover{ctx: ctx, runtime: runtime, worker: w}
}

// Encode gives the ids of each text, without tokens around it and with special tokens recognised in it, by a GGUF file that
// holds a vocabulary alone.
func (p *Prover) Encode(gguf []byte, texts []string) ([][]int32, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.start(); err != nil {
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
	return p.encode(f.Name(), texts, false)
}

// EncodeFile gives the ids of each text by the vocabulary of any GGUF file; special: with the tokens around a text.
func (p *Prover) EncodeFile(path string, texts []string, special bool) ([][]int32, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.start(); err != nil {
		return nil, err
	}
	return p.encode(path, texts, special)
}

func (p *Prover) encode(path string, texts []string, special bool) ([][]int32, error) {
	m, err := p.child.Load(p.ctx, llamacpp.ModelOptions{Path: path, CPUOnly: true, VocabOnly: true})
	if err != nil {
		return nil, err
	}
	defer p.child.Unload(p.ctx, m.Slot) //nolint:errcheck // the next Load says if the child is gone
	ids := make([][]int32, len(texts))
	for i, t := range texts {
		if ids[i], err = p.child.Tokenize(p.ctx, llamacpp.TokenizeArgs{Slot: m.Slot, Text: []byte(t), Special: special, Parse: true}); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

func (p *Prover) start() error {
	if p.child != nil {
		return nil
	}
	rt, err := p.runtime()
	if err != nil {
		return err
	}
	p.child, err = llamacpp.Start(p.ctx, rt, p.worker, llamacpp.StartOptions{})
	return err
}

// Close ends the child, if there is one.
func (p *Prover) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.child == nil {
		return nil
	}
	c := p.child
	p.child = nil
	return c.Close()
}
