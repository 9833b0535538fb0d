package convert

import (
	"context"
	"errors"
	"io/fs"

	"quern/convert/arch"
	"quern/convert/config"
	"quern/convert/pickle"
	"quern/convert/safetensors"
	"quern/convert/view"
)

// loadConfig reads config.json. The few checkpoints that are published without one are told by their tensors.
func (p *planner) loadConfig() (*config.Config, error) {
	cfg, err := config.Load(p.src, p.o.Dir)
	if !errors.Is(err, fs.ErrNotExist) {
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
	ckpt, err := safetensors.Open(p.src)
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

// storedByPyTorch opens pytorch_model*.bin; without any the error is the one that says what was looked for first.
func (p *planner) storedByPyTorch(none error) ([]view.Tensor, error) {
	ckpt, err := pickle.Open(p.src)
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
