// Package config reads a checkpoint's config.json as the reference sees it: completed by the rules of
// transformers 4.57.6 for its model type, or as it is where those rules fail.
//
// Held by tests: the completed object equals what AutoConfig gives (TestConformance); numbers keep what they are
// in the file (TestParse); no input makes it panic or grow without bound (FuzzLoad).
package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"quern/convert/fault"
)

const file = "config.json"

// Config is a configuration ready for the converter.
type Config struct {
	Object          // completed: the reference's hparams before text_config is merged over them
	Raw      Object // the file as it is
	AsIs     bool   // the completion failed, Object is the file as it is
	Why      string // why, in that case
	Warnings []string
}

// Load reads config.json of a checkpoint and completes it. dir is the folder as the user named it (or the id of
// the repo): without a model_type the reference looks for one in that path, and it becomes `_name_or_path`.
// A missing file is an error that wraps fs.ErrNotExist; one that is no JSON object a *fault.Invalid.
func Load(src fs.FS, dir string) (*Config, error) {
	data, err := ReadFile(src, file)
	if err != nil {
		return nil, err
	}
	v, err := Parse(file, data)
	if err != nil {
		return nil, err
	}
	raw, ok := v.(Object)
	if !ok {
		return nil, &fault.Invalid{On: file, Says: "an object is needed, not " + kind(v)}
	}
	return New(raw, dir)
}

// ReadFile reads a small file of a checkpoint within the bound on JSON files.
func ReadFile(src fs.FS, name string) ([]byte, error) {
	f, err := src.Open(name)
	if err != nil {
		return nil, &fault.Invalid{On: name, Says: "cannot be read", Err: err, Next: "is this the folder of a checkpoint?"}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return nil, &fault.Invalid{On: name, Says: "cannot be read", Err: err}
	}
	if len(data) > maxBytes {
		return nil, &fault.Invalid{On: name, Says: fmt.Sprintf("more than %d bytes", maxBytes)}
	}
	return data, nil
}

// New completes a configuration that is already read. raw is not changed.
func New(raw Object, dir string) (*Config, error) {
	c := &Config{Raw: raw}
	done, err := auto(raw, dir)
	var broken *fault.Invalid
	switch {
	case err == nil:
		c.Object = done
	case errors.As(err, &broken):
		return nil, err
	default:
		c.Object, c.AsIs, c.Why = raw.Clone(), true, err.Error()
		c.Warnings = append(c.Warnings, file+": taken as it is, without the defaults of its model type: "+c.Why)
	}
	return c, liftText(c.Object)
}

// liftText gives the text model's part its usual name; later names win.
// Source: conversion/base.py:1248-1262.
func liftText(o Object) error {
	for _, from := range []string{"llm_config", "lm_config", "thinker_config", "language_config", "lfm"} {
		v, ok := o[from]
		if !ok {
			continue
		}
		if from == "thinker_config" {
			if v, ok = o.inner(from, "text_config"); !ok {
				return &fault.Invalid{On: file + ": thinker_config", Says: "has no text_config"}
			}
		}
		o["text_config"] = v
	}
	return nil
}

func (o Object) inner(key, in string) (any, bool) {
	m, ok := o.Object(key)
	if !ok {
		return nil, false
	}
	v, ok := m[in]
	return v, ok
}
