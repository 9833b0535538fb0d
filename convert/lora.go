package convert

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"quern/convert/arch"
	"quern/convert/card"
	"quern/convert/config"
	"quern/convert/fault"
	"quern/convert/gguf"
	"quern/convert/lora"
	"quern/convert/tokenizer"
)

// Base is the model that an adapter was made for. Its config.json is enough, and its tokenizer where the adapter names a
// phrase that switches it on.
type Base struct {
	Source fs.FS
	Dir    string // its folder as the user named it, or the repo's id
}

// OpenAdapter plans the conversion of the PEFT adapter in src. The rules are those of the base's class, so pairs are
// named, cut and stacked as the base's matrices are. Type, Metadata, ModelName, As and Strict of the options count;
// Type is F32 when it is empty. An adapter that changes lm_head is refused where the base's rules leave lm_head out; the
// reference does so for some families only and drops the pair in silence for Gemma.
// Plan, Sources, Type, Name and Card of the model are the adapter's; Vocab is nil.
//
// Errors are those of Open.
func OpenAdapter(ctx context.Context, src fs.FS, base Base, o Options) (*Model, error) {
	if o.Type == "" {
		o.Type = arch.F32
	}
	adapter := o.Dir
	o.Dir = base.Dir
	p := &adapterPlanner{planner{src: base.Source, o: o, m: &Model{}}, src, adapter, nil}
	if err := p.open(ctx); err != nil {
		return nil, errors.Join(err, p.m.Close())
	}
	return p.m, nil
}

// adapterPlanner is the conversion of an adapter in the making: the embedded planner reads the base.
type adapterPlanner struct {
	planner
	adapter fs.FS
	dir     string
	lora    *lora.Adapter
}

func (p *adapterPlanner) open(ctx context.Context) error {
	for _, step := range []func(context.Context) error{p.configure, p.read, p.pairs, p.keys, p.lay} {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (p *adapterPlanner) read(context.Context) error {
	a, err := lora.Open(p.adapter)
	if err != nil {
		return err
	}
	p.lora = a
	p.m.closers = append(p.m.closers, a)
	p.m.Warnings = append(p.m.Warnings, a.Warnings...)
	p.env.Tensors = a.Tensors
	p.env.Options.Type = p.o.Type.Resolve(a.Stored)
	return nil
}

// pairs takes the pairs through the base's rules.
func (p *adapterPlanner) pairs(ctx context.Context) error {
	var err error
	if p.build, err = arch.New(ctx, p.env); err != nil {
		return err
	}
	p.build.Adapter()
	if err := p.build.Convert(); err != nil {
		return err
	}
	if err := p.build.Pairs(); err != nil {
		return err
	}
	for _, d := range p.build.Dropped {
		if d.Name == "lm_head.weight" {
			return &fault.Unsupported{On: d.Name, Says: "the adapter changes it, and a model of " + p.build.GGUF + " has none of its own: " + d.Reason,
				Next: "merge the adapter into its base with PEFT (merge_and_unload) and convert the merged model"}
		}
	}
	if len(p.build.Outputs) == 0 {
		return &fault.Invalid{On: p.dir, Says: fmt.Sprintf("none of its %d tensors is part of the model", len(p.lora.Stored)),
			Next: "is it an adapter of this base?"}
	}
	p.m.Arch, p.m.Type = p.build.Env.Arch, p.env.Options.Type
	p.m.Params = countPairs(p.build.Outputs)
	p.m.Mapped, p.m.Dropped = p.build.Mapped(), p.build.Dropped
	p.m.Warnings = append(p.m.Warnings, p.build.Warnings...)
	if n := len(p.m.Dropped); n > 0 {
		p.m.Warnings = append(p.m.Warnings, fmt.Sprintf("%d tensors of the adapter are left out, the first is %s: %s", n, p.m.Dropped[0].Name, p.m.Dropped[0].Reason))
	}
	return nil
}

// countPairs adds up the weights that the pairs change. The sign says that it is an adapter's count, from which no size
// label is made. Halves that do not stand together, as in a model with adapters inside, are not counted, nor is the rest then.
// Source: gguf-py/gguf/gguf_writer.py, get_total_parameter_count.
func countPairs(outs []arch.Output) card.Params {
	whole := make([]arch.Output, 0, len(outs))
	first := -1 // the last half of a kind that was seen
	for i, o := range outs {
		name, second := strings.CutSuffix(o.Name, ".lora_b")
		switch {
		case strings.HasSuffix(o.Name, ".lora_a"):
			first = i
			continue
		case second && (first < 0 || outs[first].Name != name+".lora_a"):
			return card.Params{}
		case second:
			a := outs[first].View.Shape
			o.View.Shape = append(slices.Clone(o.View.Shape[:len(o.View.Shape)-1]), a[len(a)-1])
		}
		whole = append(whole, o)
	}
	n := count(whole)
	if first >= 0 {
		n.Total = -n.Total
	}
	return n
}

// keys is the file's metadata: what llama.cpp needs to find the base's kind and to scale the pairs, and general.* of the
// adapter's own card.
func (p *adapterPlanner) keys(context.Context) error {
	var all entries
	all.add(gguf.KV{Key: "general.architecture", Value: p.build.GGUF})
	if early, err := p.build.Early(true); err == nil { // some need the base's tokenizer, which does not have to be there
		all.add(early...)
	}
	all.add(gguf.KV{Key: "general.type", Value: "adapter"}, gguf.KV{Key: "adapter.type", Value: "lora"})
	kvs, info, err := card.Metadata(card.Input{
		Source: p.adapter, Folder: baseName(p.dir), Repo: p.o.Repo, Config: p.ownConfig(), Params: p.m.Params,
		Override: p.o.Metadata, ModelName: p.o.ModelName, Strict: p.o.Strict,
	})
	if err != nil {
		return err
	}
	p.m.Card, p.m.Name = info, info.Parts.FileName(p.m.Type.Label(), p.m.Params.Total < 0)
	p.m.Warnings = append(p.m.Warnings, info.Warnings...)
	all.add(kvs...)
	all.add(gguf.KV{Key: "adapter.lora.alpha", Value: float32(p.lora.Config.Alpha)})
	ids, err := p.invocation()
	if err != nil {
		return err
	}
	if len(ids) > 0 {
		all.add(gguf.KV{Key: "adapter.alora.invocation_tokens", Value: ids})
	}
	all.add(gguf.KV{Key: "general.quantization_version", Value: quantizationVersion})
	p.m.Plan.Metadata, p.m.Config = all.kvs, p.build.Config
	return nil
}

// ownConfig is the adapter's own config.json, which few have; only names are taken from it.
func (p *adapterPlanner) ownConfig() *config.Config {
	if _, err := fs.Stat(p.adapter, "config.json"); err != nil {
		return nil
	}
	c, err := config.Load(p.adapter, p.dir)
	if err != nil {
		return nil
	}
	return c
}

// invocation is the tokens of the phrase that switches the adapter on. The first one, which begins a turn, is not among
// those that the adapters were trained to wait for.
func (p *adapterPlanner) invocation() ([]uint32, error) {
	c := p.lora.Config
	if len(c.Invocation) > 0 || c.Phrase == "" {
		return c.Invocation, nil
	}
	t, err := tokenizer.LoadFolder(p.src)
	if err != nil {
		return nil, &fault.Invalid{On: lora.ConfigFile, Says: "invocation_string needs the base's tokenizer", Err: err, Next: "name a base that has its tokenizer files"}
	}
	ids, err := t.Encode(c.Phrase, true)
	if err != nil || len(ids) == 0 {
		return nil, &fault.Invalid{On: lora.ConfigFile, Says: "invocation_string cannot be encoded", Err: err}
	}
	var out []uint32
	for _, id := range ids[1:] {
		out = append(out, uint32(id))
	}
	return out, nil
}

func (p *adapterPlanner) lay(context.Context) error {
	outs, sources := outputs(p.build.Outputs)
	plan, err := gguf.Layout(p.m.Plan.Metadata, outs, 0)
	p.m.Plan, p.m.Sources, p.m.Raw = plan, sources, make([]bool, len(outs))
	return err
}
