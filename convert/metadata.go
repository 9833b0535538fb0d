package convert

import (
	"context"

	"quern/convert/arch"
	"quern/convert/fault"
	"quern/convert/gguf"
	"quern/convert/vocab"
)

// quantizationVersion is the version of ggml's block formats that llama.cpp v0.5.0 writes.
const quantizationVersion uint32 = 2

// entries is metadata in which a key that is set again keeps its first place.
type entries struct {
	kvs []gguf.KV
	at  map[string]int
}

func (e *entries) add(kvs ...gguf.KV) {
	if e.at == nil {
		e.at = map[string]int{}
	}
	for _, kv := range kvs {
		if i, ok := e.at[kv.Key]; ok {
			e.kvs[i].Value = kv.Value
			continue
		}
		e.at[kv.Key] = len(e.kvs)
		e.kvs = append(e.kvs, kv)
	}
}

// metadata puts the file's entries together in the reference's order: what is known while tensors are read, general.*,
// the architecture's, the vocabulary's.
func (p *planner) metadata(context.Context) error {
	var all entries
	all.add(gguf.KV{Key: "general.architecture", Value: p.build.GGUF})
	early, err := p.build.Early(p.o.VocabOnly)
	if err != nil {
		return err
	}
	all.add(early...)
	all.add(gguf.KV{Key: "general.type", Value: p.fileKind()})
	general, err := p.general()
	if err != nil {
		return err
	}
	all.add(general...)
	keys, err := p.build.Metadata()
	if err != nil {
		return err
	}
	all.add(keys...)
	p.m.Warnings = append(p.m.Warnings, p.build.Warnings...)
	if !p.o.VocabOnly {
		if err := p.build.Check(keys); err != nil {
			return err
		}
	}
	all.add(gguf.KV{Key: "general.quantization_version", Value: quantizationVersion})
	if !p.o.Projector {
		tokens, err := p.vocabulary()
		if err != nil {
			return err
		}
		all.add(tokens...)
	}
	p.m.Plan.Metadata = all.kvs
	p.m.Config = p.build.Config
	return nil
}

// fileKind is what general.type says.
func (p *planner) fileKind() string {
	if p.o.Projector {
		return "mmproj"
	}
	return "model"
}

// vocabulary is the tokenizer's metadata, with what the family sets before and after it.
func (p *planner) vocabulary() ([]gguf.KV, error) {
	early, err := p.build.Steps(p.build.Env.Arch.VocabEarly)
	if err != nil {
		return nil, err
	}
	v, err := p.readVocabulary()
	if err != nil {
		return nil, err
	}
	p.m.Vocab = v
	p.m.Warnings = append(p.m.Warnings, v.Warnings...)
	late, err := p.build.Steps(p.build.Env.Arch.VocabLate)
	if err != nil {
		return nil, err
	}
	return append(append(early, v.KVs...), late...), nil
}

// readVocabulary reads the checkpoint's tokenizer, or the target's for a draft, once.
func (p *planner) readVocabulary() (*vocab.Vocab, error) {
	if p.vocab != nil {
		return p.vocab, nil
	}
	a, src, root := p.build.Env.Arch, p.src, p.config.Raw
	if a.VocabFrom != arch.FromCheckpoint {
		if p.env.Target == nil {
			return nil, &fault.Invalid{On: p.m.HF, Says: "the model that the draft was made for is not given", Next: "--target-model-dir names its folder"}
		}
		src, root = p.env.Target.Source, p.env.Target.Config.Raw
	}
	kind, err := p.build.VocabKind()
	if err != nil {
		return nil, err
	}
	in := vocab.Input{Config: p.build.Config, Root: root, Arch: p.build.GGUF, Pre: p.o.Pre, Prover: p.o.Prover, OwnTemplate: p.o.OwnTemplate}
	if a.VocabInput != nil {
		if err := a.VocabInput(p.build.Env, &in); err != nil {
			return nil, err
		}
	}
	p.vocab, err = vocab.Build(src, kind, in)
	return p.vocab, err
}
