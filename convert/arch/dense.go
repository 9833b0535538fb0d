package arch

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"

	"quern/convert/config"
	"quern/convert/fault"
	"quern/convert/safetensors"
	"quern/convert/view"
)

// sentence-transformers' dense modules: layers behind the pooling, each a checkpoint of its own in a folder that modules.json
// names. Source: conversion/gemma.py, EmbeddingGemma.

// denseModule is one of them.
type denseModule struct{ folder, name string }

// dense lists the modules whose weights are there, where the user asked for them.
func (e *Env) dense() ([]denseModule, error) {
	if !e.Options.DenseModules || !e.hasFile("modules.json") {
		return nil, nil
	}
	v, err := e.readJSON("modules.json")
	if err != nil {
		return nil, err
	}
	list, _ := v.([]any)
	var out []denseModule
	for _, m := range list {
		o, _ := m.(config.Object)
		typ, _ := o.String("type")
		folder, _ := o.String("path")
		// Pooling and normalization stand in the same list; they have no weights and other keys.
		if !strings.HasSuffix(typ, "Dense") {
			continue
		}
		// The path is the file's word: one that leads out of the checkpoint would be read.
		if !fs.ValidPath(folder) {
			return nil, &fault.Invalid{On: "modules.json", Says: "the path " + show(o["path"]) + " is not inside the checkpoint"}
		}
		if e.hasFile(path.Join(folder, denseFile)) {
			// The two published layers are told by their folders. Whatever else a model may have becomes the second, as in the reference.
			name := "dense_3"
			if folder == "2_Dense" {
				name = "dense_2"
			}
			out = append(out, denseModule{folder, name})
		}
	}
	return out, nil
}

const denseFile = "model.safetensors"

var denseModules = Generate{
	Doc: "weights of sentence-transformers' dense modules",
	If:  Fn("--sentence-transformers-dense-modules", func(e *Env) (any, error) { return e.Options.DenseModules, nil }),
	Make: func(b *Build) ([]Item, error) {
		modules, err := b.dense()
		var out []Item
		for _, m := range modules {
			items, err := b.denseWeights(m)
			if err != nil {
				return nil, err
			}
			out = append(out, items...)
		}
		return out, err
	},
}

func (b *Build) denseWeights(m denseModule) ([]Item, error) {
	list, err := b.tensorsOf(path.Join(m.folder, denseFile))
	var out []Item
	for _, t := range list {
		if strings.HasSuffix(t.Name, ".weight") {
			// Weights alone: llama.cpp's graph of EmbeddingGemma has no place for a bias.
			out = append(out, Item{Name: strings.ReplaceAll(t.Name, "linear", m.name), View: t})
		}
	}
	return out, err
}

// tensorsOf lists the tensors of a file that is not among the checkpoint's parts.
func (e *Env) tensorsOf(file string) ([]view.Tensor, error) {
	r := &smallFile{e.Source, file}
	info, err := fs.Stat(e.Source, file)
	if err != nil {
		return nil, err
	}
	head, err := safetensors.ReadHeader(file, r, info.Size())
	if err != nil {
		return nil, err
	}
	out := make([]view.Tensor, len(head.Entries))
	for i, entry := range head.Entries {
		out[i] = view.FromFile(entry, r)
	}
	return out, nil
}

// denseKeys write how wide each module's input and output are.
var denseKeys = Do("widths of the dense modules", func(m *Meta) error {
	modules, err := m.dense()
	if err != nil {
		return err
	}
	for _, d := range modules {
		file := path.Join(d.folder, "config.json")
		if !m.hasFile(file) {
			continue
		}
		v, err := m.readJSON(file)
		if err != nil {
			return err
		}
		o, _ := v.(config.Object)
		in, out := o["in_features"], o["out_features"]
		if in == nil || out == nil {
			continue
		}
		if err := errors.Join(m.Set(d.name+"_feat_in", in), m.Set(d.name+"_feat_out", out)); err != nil {
			return &fault.Invalid{On: file, Says: "widths of a dense module", Err: err}
		}
	}
	return nil
})

// smallFile opens a file of the checkpoint for each read: for weights beside the checkpoint's own, which are few.
type smallFile struct {
	src  fs.FS
	name string
}

func (f *smallFile) ReadAt(p []byte, off int64) (int, error) {
	// Opened anew for each read: nobody would close it otherwise, and there are few reads of it.
	file, err := f.src.Open(f.name)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	r, ok := file.(io.ReaderAt)
	if !ok {
		return 0, &fault.Invalid{On: f.name, Says: "its file system cannot read from the middle of a file"}
	}
	return r.ReadAt(p, off)
}
