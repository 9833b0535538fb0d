package plan

import (
	"context"

	"quern/convert/tokenizer"
	"quern/convert/vocab"
	"quern/stages/job"
	"quern/stages/source"
)

// Tokenizer is a checkpoint's own tokenizer, and how its pre-tokenizer was decided where it has one to decide.
// A GGUF file has no tokenizer of its own here: both are nil, llama.cpp alone encodes by it.
func Tokenizer(ctx context.Context, s *job.State, identify bool) (*tokenizer.Tokenizer, *vocab.Identity, error) {
	var err error
	if s.Source, err = source.Parse(s.Model); err != nil {
		return nil, nil, err
	}
	switch {
	case s.Source.IsGGUF():
		return nil, nil, nil
	case s.Source.Kind == source.Hub:
		if err := openHub(ctx, s); err != nil {
			return nil, nil, err
		}
	}
	t, err := tokenizer.LoadFolder(s.Source.FS)
	if err != nil || !identify {
		return t, nil, err
	}
	id, err := vocab.Identify(s.Source.FS, vocab.Input{Pre: s.Convert.Pre, Prover: s.Prover})
	return t, id, err
}
