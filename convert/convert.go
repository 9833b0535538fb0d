// Package convert plans the conversion of a Hugging Face checkpoint to GGUF, from headers alone.
//
// Open reads the small files and the tensor headers of a checkpoint and gives a Model: the whole GGUF file before any weight
// is read (metadata, names, types, offsets, size) and, beside it, the lazy tensors that it is made of. Whoever writes the
// file (quantize/build) takes both; nothing here depends on how that is done.
//
//	config.json   -> convert/config -> what transformers would complete it to
//	class name    -> convert/arch   -> the entry: rules for names, tensors, keys
//	tensors       -> convert/arch   -> outputs and their views, in the reference's order
//	model card    -> convert/card   -> general.*
//	tokenizer     -> convert/vocab  -> tokenizer.*
//	all of it     -> convert/gguf   -> the plan
//
// Held by tests: every recorded case of the reference whose class is registered gives the same file (TestCases).
package convert

import (
	"context"
	"errors"
	"io"
	"io/fs"

	"quern/convert/arch"
	"quern/convert/card"
	"quern/convert/config"
	"quern/convert/fault"
	"quern/convert/gguf"
	"quern/convert/view"
	"quern/convert/vocab"
)

// Options are the user's choices; the zero value is the reference's default.
type Options struct {
	Dir         string        // the checkpoint's folder as the user named it, or the repo's id
	Repo        string        // the repo's id where it comes from the Hub: names are taken from it, not from a folder
	Type        arch.FileType // what matrices are stored as; empty: arch.Auto
	Projector   bool          // the vision or audio part instead of the text model
	VocabOnly   bool          // a file without tensors
	ModelName   *string       // general.name, whatever the card says; an empty one leaves the key out
	Metadata    []byte        // JSON object that overrides general.* (--metadata); nil: none
	As          string        // class name to convert as, whatever config.json says
	Strict      bool          // a broken model card fails the conversion, as in the reference
	Pre         string        // name of the pre-tokenizer; empty: identified
	Prover      vocab.Prover  // encodes with llama.cpp's own vocabulary; nil: a structural match stays unproven
	FuseQKV     bool          // one tensor for query, key and value
	FP8AsQ8     bool          // what is stored in eight-bit floats as Q8_0, whatever Type says
	FuseGateUp  bool          // one tensor for the experts' gate and up
	NoMTP       bool          // leave the multi-token prediction layers out
	MTPOnly     bool          // those alone
	DSpark      bool          // only the DSpark draft of a checkpoint that carries one
	Dense       bool          // sentence-transformers' dense modules too
	Mistral     bool          // read Mistral's own layout (params.json) though the checkpoint has config.json too
	OwnTemplate bool          // Mistral's own layout: no chat template that the checkpoint does not have
	Target      fs.FS         // the model that a draft was made for; nil: none
	TargetDir   string
}

// Model is a converted checkpoint before any weight is read.
type Model struct {
	HF      string        // class name that chose the rules
	As      bool          // the user chose it, config.json says another
	Arch    *arch.Arch    // the rules
	Config  config.Object // completed, with the text model's part over the root
	Type    arch.FileType // resolved: never arch.Auto
	Plan    gguf.Plan     // the file
	Sources []view.Tensor // what Plan.Outputs[i] is made of
	Raw     []bool        // Sources[i] yields the bytes of Plan.Outputs[i].Type already
	Mapped  []string      // tensors of the checkpoint that went into the file, in its order
	Dropped []arch.Dropped

	Adapters []Adapter // files beside the model's; most checkpoints have none

	Params   card.Params
	Name     string    // default name of the file, without a folder
	Card     card.Info // what the model card said
	Vocab    *vocab.Vocab
	Warnings []string

	closers []io.Closer
}

// Close closes the checkpoint's files. Sources cannot be read afterwards.
func (m *Model) Close() error {
	var errs []error
	for _, c := range m.closers {
		errs = append(errs, c.Close())
	}
	m.closers = nil
	return errors.Join(errs...)
}

// Open plans the conversion of the checkpoint in src, whose files must also implement io.ReaderAt. It reads small files
// and headers only, apart from a few scalars that some families keep in tensors.
//
// Errors are *fault.Unsupported for what quern does not convert, *fault.Invalid and the formats' own for what is broken,
// and those of src.
func Open(ctx context.Context, src fs.FS, o Options) (*Model, error) {
	p := &planner{src: src, o: o, m: &Model{}}
	if err := p.open(ctx); err != nil {
		return nil, errors.Join(err, p.m.Close())
	}
	return p.m, nil
}

// planner is one conversion in the making.
type planner struct {
	src    fs.FS
	o      Options
	m      *Model
	config *config.Config
	env    *arch.Env
	build  *arch.Build
	vocab  *vocab.Vocab // once it is read

	mistral bool          // the checkpoint is read in Mistral's own layout
	tensors []view.Tensor // once the headers are read
}

func (p *planner) open(ctx context.Context) error {
	steps := []func(context.Context) error{p.configure, p.readHeaders, p.convertTensors, p.metadata, p.layOut}
	for _, step := range steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// configure reads config.json, chooses the entry and prepares what expressions see.
func (p *planner) configure(ctx context.Context) error {
	if p.o.NoMTP && p.o.MTPOnly {
		return &fault.Invalid{On: "options", Says: "the prediction layers cannot be left out and taken alone"}
	}
	if p.o.DSpark && (p.o.NoMTP || p.o.MTPOnly) {
		return &fault.Invalid{On: "options", Says: "the DSpark draft is taken alone, without a choice of prediction layers"}
	}
	if p.o.Projector && (p.o.VocabOnly || p.o.NoMTP || p.o.MTPOnly || p.o.DSpark || p.o.Dense) {
		return &fault.Invalid{On: "options", Says: "a projector has neither a vocabulary nor prediction layers", Next: "leave --mmproj or the other option out"}
	}
	if p.o.Type == "" {
		p.o.Type = arch.Auto
	}
	if !p.o.Type.Valid() {
		return &fault.Invalid{On: "type", Says: string(p.o.Type) + " is no type that a checkpoint is converted to"}
	}
	cfg, err := p.loadConfig()
	if err != nil {
		return err
	}
	p.config = cfg
	p.m.Warnings = append(p.m.Warnings, cfg.Warnings...)
	a, err := p.entry(ctx)
	if err != nil {
		return err
	}
	if p.env, err = p.environment(p.m.HF, a); err != nil {
		return err
	}
	p.env.Vocabulary = p.readVocabulary
	return p.target()
}

// environment is what an entry's rules see.
func (p *planner) environment(class string, a *arch.Arch) (*arch.Env, error) {
	cfg := p.config
	merged, rope := cfg.Object, config.Object{}
	if !p.o.Projector {
		var err error
		if merged, rope, err = cfg.Text(); err != nil {
			return nil, err
		}
	}
	return &arch.Env{
		Arch: a, HF: class, Config: merged, Root: cfg.Object, Rope: rope, File: cfg.Raw, AsIs: cfg.AsIs, Source: p.src, Dir: baseName(p.o.Dir),
		Options:  arch.Options{NoMTP: p.o.NoMTP, MTPOnly: p.o.MTPOnly, DSpark: p.o.DSpark, FP8AsQ8: p.o.FP8AsQ8, FuseQKV: p.o.FuseQKV, FuseGateUp: p.o.FuseGateUp, DenseModules: p.o.Dense},
		Original: func() string { return card.Original(p.src) },
	}, nil
}

// entry chooses the rules.
func (p *planner) entry(ctx context.Context) (*arch.Arch, error) {
	if p.mistral {
		if p.m.HF = paramsFile; p.o.Projector {
			return arch.MistralVision, nil
		}
		return arch.MistralFormat(p.config.Object), nil
	}
	var err error
	if p.m.HF, p.m.As, err = p.className(); err != nil {
		return nil, err
	}
	a, ok := p.lookup()
	if !ok {
		return nil, p.unknownClass(ctx)
	}
	return a, nil
}

func (p *planner) lookup() (*arch.Arch, bool) {
	if p.o.Projector {
		return arch.LookupProjector(p.m.HF)
	}
	return arch.Lookup(p.m.HF)
}

// className is the class of the text model or of the vision part, or the one that the user wants it to be.
func (p *planner) className() (name string, as bool, err error) {
	if p.o.As != "" {
		return p.o.As, true, nil
	}
	if p.o.Projector {
		name, err = p.config.ProjectorArchitecture()
	} else {
		name, err = p.config.Architecture()
	}
	return name, false, err
}

// target reads the configuration of the model that a draft belongs to.
func (p *planner) target() error {
	if p.o.Target == nil {
		return nil
	}
	cfg, err := config.Load(p.o.Target, p.o.TargetDir)
	if err != nil {
		return err
	}
	p.env.Target = &arch.Target{Source: p.o.Target, Dir: baseName(p.o.TargetDir), Config: cfg}
	return nil
}

// convertTensors takes the tensors through the entry's rules.
func (p *planner) convertTensors(ctx context.Context) error {
	var err error
	if p.build, err = arch.New(ctx, p.env); err != nil {
		return err
	}
	p.m.Arch, p.m.Type = p.build.Env.Arch, p.env.Options.Type
	if p.o.VocabOnly {
		return nil
	}
	if err := p.build.Convert(); err != nil {
		return err
	}
	p.m.Params = countPairs(p.build.Outputs)
	p.m.Mapped, p.m.Dropped = p.build.Mapped(), p.build.Dropped
	return nil
}

// layOut makes the plan of the file.
func (p *planner) layOut(context.Context) error {
	if err := p.adapters(); err != nil {
		return err
	}
	outs, sources := outputs(p.build.Outputs)
	p.m.Sources = sources
	for _, o := range p.build.Outputs {
		p.m.Raw = append(p.m.Raw, o.Raw)
	}
	if p.o.VocabOnly {
		outs = nil
	}
	plan, err := gguf.Layout(p.m.Plan.Metadata, outs, 0)
	p.m.Plan = plan
	if err != nil || !p.o.VocabOnly {
		return err
	}
	return p.m.Plan.Trim()
}

// outputs is what a file's layout needs to know of its tensors, and what they are made of.
func outputs(list []arch.Output) ([]gguf.Output, []view.Tensor) {
	outs, sources := make([]gguf.Output, len(list)), make([]view.Tensor, len(list))
	for i, o := range list {
		outs[i] = gguf.Output{Name: o.Name, Type: o.Type, Shape: reversed(o.Shape())}
		sources[i] = o.View
	}
	return outs, sources
}
