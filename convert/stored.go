package convert

import (
	"context"
	"errors"
	"io/fs"

	"quern/convert/arch"
	"quern/convert/config"
	"quern/convert/fault"
	"quern/convert/pickle"
	"quern/convert/safetensors"
	"quern/convert/view"
)

const paramsFile = "params.json"

// loadConfig reads config.json, or params.json of Mistral's own layout. The few checkpoints that are published without any are
// told by their tensors.
func (p *planner) loadConfig() (*config.Config, error) {
	cfg, err := config.Load(p.src, p.o.Dir)
	missing := errors.Is(err, fs.ErrNotExist)
	if p.o.Mistral || missing {
		params, err := p.params(cfg)
		if p.mistral = err == nil; p.mistral || p.o.Mistral || !errors.Is(err, fs.ErrNotExist) {
			return params, err
		}
	}
	if !missing {
		return cfg, err
	}
	tensors, none := p.stored()
	if none != nil {
		return nil, err
	}
	guess, ok, wrong := arch.Guess(tensors)
	switch {
	case wrong != nil:
		return nil, wrong
	case !ok:
		return nil, err
	}
	return &config.Config{Object: guess, Raw: config.Object{}, AsIs: true, Warnings: []string{"no config.json: sizes are taken from the shapes of the tensors"}}, nil
}

// params reads params.json. Names for the model card are still those of config.json, where there is one.
func (p *planner) params(cfg *config.Config) (*config.Config, error) {
	data, err := config.ReadFile(p.src, paramsFile)
	if err != nil {
		return nil, err
	}
	v, err := config.Parse(paramsFile, data)
	if err != nil {
		return nil, err
	}
	o, ok := v.(config.Object)
	if !ok {
		return nil, &fault.Invalid{On: paramsFile, Says: "an object is needed"}
	}
	out := &config.Config{Object: o, Raw: config.Object{}, AsIs: true}
	if cfg != nil {
		out.Raw = cfg.Raw
	}
	return out, nil
}

// readHeaders lists the stored tensors and resolves the file type.
func (p *planner) readHeaders(context.Context) error {
	tensors, err := p.stored()
	var none *safetensors.NotFoundError
	if err != nil && !(errors.As(err, &none) && p.o.VocabOnly) {
		return err
	}
	p.env.Tensors = tensors
	p.env.Options.Type = p.o.Type.Resolve(tensors)
	return nil
}

// stored lists the checkpoint's tensors, once: those of safetensors files, else of PyTorch files.
func (p *planner) stored() ([]view.Tensor, error) {
	if p.tensors != nil {
		return p.tensors, nil
	}
	family := safetensors.Model
	if p.mistral {
		family = safetensors.Consolidated
	}
	ckpt, err := safetensors.OpenFamily(p.src, family)
	var none *safetensors.NotFoundError
	if errors.As(err, &none) {
		return p.storedByPyTorch(err)
	}
	if err != nil {
		return nil, err
	}
	p.m.closers = append(p.m.closers, ckpt)
	p.m.Warnings = append(p.m.Warnings, ckpt.Notes...)
	list := ckpt.Tensors()
	p.tensors = make([]view.Tensor, len(list))
	for i, t := range list {
		p.tensors[i] = view.FromFile(t.Entry, t.Shard.Reader)
	}
	return p.tensors, nil
}

// storedByPyTorch opens pytorch_model*.bin, or consolidated*.pth of Mistral's own layout; without any the error is the one that
// says what was looked for first.
func (p *planner) storedByPyTorch(none error) ([]view.Tensor, error) {
	open := func() (*pickle.Checkpoint, error) { return pickle.Open(p.src) }
	if old, err := fs.Glob(p.src, "consolidated*.pth"); err == nil && p.mistral && len(old) > 0 {
		open = func() (*pickle.Checkpoint, error) { return pickle.OpenFiles(p.src, old...) }
	}
	ckpt, err := open()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, none
	}
	if err != nil {
		return nil, err
	}
	p.m.closers = append(p.m.closers, ckpt)
	for _, t := range ckpt.Tensors() {
		p.tensors = append(p.tensors, t.Tensor)
	}
	return p.tensors, nil
}
