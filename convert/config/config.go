// Package config reads a checkpoint's config.json as the reference sees it: completed by the rules of
// transformers 4.57.6 for its model type, or as it is where those rules fail.
//
// How the reference comes to its configuration, and where that is here:
//
//	choose a class        by auto_map, model_type, or a known type in the folder's path      auto.go
//	give it the file      parameters take their defaults, all other keys stay                build.go
//	run its rules         in the order of its constructor, base class somewhere among them   steps.go, rules.go, odd.go
//	build its parts       vision_config and the like are configurations themselves           build.go
//	print it              private keys go, dtype is a word, the class's model_type replaces the file's
//	give parts one name   llm_config, language_config and others become text_config          config.go
//
// Any failure on the way, in a part too, means that the file counts as it is: that is the reference's rule, and a
// warning to its user. What a class needs to know is data (classes.json), what it computes is Go, one short
// function for each rule, named after what it is about. There is no interpreter, so a rule can be read and tested.
//
// The merging of text_config over the root is not part of this: the reference does it in TextModel, after the
// architecture is chosen, and projectors do it another way. See Text.
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
	// A refusal of the input itself is not a failed completion: the raw file would be no better.
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
