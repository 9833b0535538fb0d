package arch

import (
	"errors"
	"io/fs"
	"path"
	"strings"

	"quern/convert/config"
	"quern/convert/fault"
)

// poolingTypes are the numbers of pooling_type. Source: gguf-py/gguf/constants.py, PoolingType.
var poolingTypes = map[string]int64{"none": 0, "mean": 1, "cls": 2, "last": 3, "rank": 4}

// poolingFlags are sentence-transformers' switches in the order in which the reference asks for them.
var poolingFlags = []struct{ key, name string }{
	{"pooling_mode_mean_tokens", "mean"}, {"pooling_mode_cls_token", "cls"}, {"pooling_mode_lasttoken", "last"},
}

// PoolingKey writes how a sentence embedding is made of token embeddings, where modules.json names a pooling module.
// Source: conversion/base.py, _try_set_pooling_type.
var PoolingKey = Set("pooling_type", Fn("pooling of modules.json", func(e *Env) (any, error) {
	folder, ok, err := e.module("Pooling")
	if err != nil || !ok {
		return nil, err
	}
	file := path.Join(folder, "config.json")
	v, err := e.readJSON(file)
	if err != nil {
		return nil, err
	}
	o, _ := v.(config.Object)
	for _, f := range poolingFlags {
		if o.True(f.key) {
			return poolingTypes[f.name], nil
		}
	}
	mode, _ := o.String("pooling_mode")
	if mode == "lasttoken" {
		mode = "last"
	} else if mode == "last" || mode == "none" || mode == "rank" {
		mode = ""
	}
	if n, ok := poolingTypes[mode]; ok {
		return n, nil
	}
	return nil, &fault.Unsupported{On: file, Says: "pooling that is neither of all tokens, of the first nor of the last"}
}))

// module finds the folder of the first sentence-transformers module whose type ends in kind.
func (e *Env) module(kind string) (string, bool, error) {
	v, err := e.readJSON("modules.json")
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	list, _ := v.([]any)
	for _, m := range list {
		o, _ := m.(config.Object)
		if typ, _ := o.String("type"); strings.HasSuffix(typ, kind) {
			folder, ok := o.String("path")
			if !ok || !fs.ValidPath(path.Clean(folder)) {
				return "", false, &fault.Invalid{On: "modules.json", Says: "the path " + show(o["path"]) + " is not inside the checkpoint"}
			}
			return path.Clean(folder), true, nil
		}
	}
	return "", false, nil
}

// readJSON reads a small JSON file of the checkpoint. A missing one is an error that wraps fs.ErrNotExist.
func (e *Env) readJSON(name string) (any, error) {
	data, err := config.ReadFile(e.Source, name)
	if err != nil {
		return nil, err
	}
	return config.Parse(name, data)
}
