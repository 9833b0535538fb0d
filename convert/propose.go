package convert

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"quern/convert/arch"
	"quern/convert/fault"
	"quern/convert/vocab"
)

// unknownClass says that no entry has the class name. Where the tensors are those of a known class the error proposes it.
func (p *planner) unknownClass(ctx context.Context) error {
	if p.o.Projector {
		return &fault.Unsupported{On: p.m.HF, Says: "quern knows no vision or audio part of this class of models",
			Next: "quern archs clip lists those that it converts; --as NAME converts a checkpoint as another class"}
	}
	if p.m.As {
		return &fault.Unsupported{On: p.m.HF, Says: "quern knows no class of this name", Next: "quern archs lists them"}
	}
	if name := p.propose(ctx); name != "" {
		return &fault.Unsupported{On: p.m.HF, Says: "quern does not convert this class of models, but every name and shape of its tensors fits " + name,
			Next: "--as " + name + " converts it as that; `quern smoke` shows whether the result speaks"}
	}
	return &fault.Unsupported{On: p.m.HF, Says: "quern does not convert this class of models",
		Next: "quern archs lists what it converts; --as NAME converts a checkpoint as another class"}
}

// trials bounds the work of a proposal: how many tensors are taken through rules before it gives up. A checkpoint of 300 tensors
// is tried as every class, one of 100,000 as the few likeliest.
const trials = 1 << 20

// propose is the likeliest known class that the checkpoint fits, empty for none. An error on the way is no reason to say anything:
// the unknown class is the error already.
func (p *planner) propose(ctx context.Context) string {
	stored, err := p.stored()
	if err != nil || len(stored) == 0 {
		return ""
	}
	names := arch.Candidates(p.m.HF)
	for _, name := range names[:min(len(names), 1+trials/len(stored))] {
		a, _ := arch.Lookup(name)
		e, err := p.environment(name, a)
		if err != nil || ctx.Err() != nil {
			return ""
		}
		e.Tensors, e.Options.Type = slices.Clone(stored), p.o.Type.Resolve(stored)
		e.Vocabulary = func() (*vocab.Vocab, error) { return nil, fmt.Errorf("%s: its tensors depend on the vocabulary", name) }
		if arch.Fits(ctx, e, !strings.EqualFold(name, p.m.HF)) {
			return name
		}
	}
	return ""
}
