package arch

import (
	"errors"
	"io/fs"

	"quern/convert/config"
	"quern/convert/fault"
)

// A projector is the part of a multimodal checkpoint that turns pictures or sound into embeddings: a GGUF file of its own
// ("mmproj"), whose architecture is always clip. The same operations make it; what differs is what expressions see.
//
//	Config        the vision tower's part of the configuration, or the audio tower's where there is no vision tower
//	OfVision(x)   x over the vision tower's part, an error without one
//	OfAudio(x)    x over the audio tower's part
//	OfRoot(x)     x over the whole configuration
//	OfProcessor(x) x over preprocessor_config.json, with processor_config.json over it
//
// Let changes Config, LetAudio and LetProcessor the other two. Source: conversion/base.py, MmprojModel.

const clipArch = "clip"

// part says which part of a configuration Config is.
type part int

const (
	wholePart part = iota
	visionPart
	audioPart
	processorPart
)

// Projector tells whether the entry makes the vision or audio part of a checkpoint.
func (a *Arch) Projector() bool { return a.GGUF == clipArch }

// LookupProjector finds the entry for the vision or audio part of a class.
func LookupProjector(hf string) (*Arch, bool) {
	a, ok := projectors[hf]
	return a, ok
}

// ProjectorNames lists every class name whose vision or audio part can be converted, sorted.
func ProjectorNames() []string { return sortedNames(projectors) }

// NoTowerError says that a checkpoint of a class with a projector has no tower itself. It is a *fault.Unsupported.
type NoTowerError struct{ fault.Unsupported }

// Unwrap gives the refusal.
func (e *NoTowerError) Unwrap() error { return &e.Unsupported }

func noTower(on, says string) error {
	return &NoTowerError{fault.Unsupported{On: on, Says: says, Next: "this checkpoint has no vision or audio part to convert"}}
}

// visionConfig and audioConfig find the towers' parts of most configurations.
var (
	visionConfig = Opt("vision_config")
	audioConfig  = Fn("whisper_config or audio_config", func(e *Env) (any, error) {
		v, ok := e.value("whisper_config", "audio_config")
		if !ok {
			return config.Object{}, nil // every configuration gets one, if an empty one
		}
		return v, nil
	})
)

// towers takes the configuration apart, before the entry's Config steps.
func (e *Env) towers() error {
	var vision, audio config.Object
	var err error
	e.Config = e.Root
	if vision, err = e.tower(e.Arch.Vision, visionConfig); err != nil {
		return err
	}
	if audio, err = e.tower(e.Arch.Audio, audioConfig); err != nil {
		return err
	}
	if vision == nil && audio == nil {
		return noTower("config.json", "neither a vision_config nor an audio_config")
	}
	e.part, e.audio = wholePart, audio
	switch {
	case len(vision) > 0:
		e.part, e.Config = visionPart, vision
	case len(audio) > 0:
		e.part, e.Config, e.audio = audioPart, audio, nil
	}
	e.processor, err = readProcessor(e.Source)
	return err
}

// tower evaluates where a tower's part is; nil for none.
func (e *Env) tower(own, usual Expr) (config.Object, error) {
	if own == nil {
		own = usual
	}
	v, err := own.Eval(e)
	if v == nil || err != nil {
		return nil, err
	}
	o, ok := v.(config.Object)
	if !ok {
		return nil, &fault.Invalid{On: "config.json: " + own.String(), Says: "an object is needed, not " + show(v)}
	}
	return o.Merge(nil), nil
}

// readProcessor reads how a checkpoint prepares its input: keys of nested parts come up to the root, later files win.
func readProcessor(src fs.FS) (config.Object, error) {
	all := config.Object{}
	for _, f := range []struct{ name, lifted string }{{"preprocessor_config.json", "media_proc_cfg"}, {"processor_config.json", "image_processor"}} {
		data, err := config.ReadFile(src, f.name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		v, err := config.Parse(f.name, data)
		if err != nil {
			return nil, err
		}
		o, ok := v.(config.Object)
		if !ok {
			return nil, &fault.Invalid{On: f.name, Says: "an object is needed, not " + show(v)}
		}
		inner, _ := o.Object(f.lifted)
		all = all.Merge(o).Merge(inner)
	}
	return all, nil
}

// over evaluates an expression with another object in place of the configuration.
func over(label string, x any, object func(*Env) (config.Object, error)) Expr {
	inner := asExpr(x)
	return &expr{label + "." + inner.String(), func(e *Env) (any, error) {
		o, err := object(e)
		if err != nil {
			return nil, err
		}
		c := *e
		c.Config = o
		return inner.Eval(&c)
	}}
}

// OfRoot evaluates x over the whole configuration.
func OfRoot(x any) Expr {
	return over("config", x, func(e *Env) (config.Object, error) { return e.Root, nil })
}

// OfVision evaluates x over the vision tower's part.
func OfVision(x any) Expr {
	return over("vision", x, func(e *Env) (config.Object, error) {
		if e.part != visionPart {
			return nil, noTower("config.json", "no vision_config")
		}
		return e.Config, nil
	})
}

// OfAudio evaluates x over the audio tower's part.
func OfAudio(x any) Expr {
	return over("audio", x, func(e *Env) (config.Object, error) { return e.audioTower(), nil })
}

func (e *Env) audioTower() config.Object {
	if e.part == audioPart {
		return e.Config
	}
	return e.audio
}

// OfProcessor evaluates x over the checkpoint's description of how pictures and sound are prepared.
func OfProcessor(x any) Expr {
	return over("processor", x, func(e *Env) (config.Object, error) { return e.processor, nil })
}

// LetAudio is Let for the audio tower's part.
func LetAudio(name string, value any) Key {
	k := Let(name, value)
	k.in = audioPart
	return k
}

// LetProcessor is Let for the description of how pictures and sound are prepared.
func LetProcessor(name string, value any) Key {
	k := Let(name, value)
	k.in = processorPart
	return k
}

// withIn is the environment with one key of a part set.
func (e *Env) withIn(p part, key string, v any) *Env {
	c := *e
	switch {
	case p == processorPart:
		c.processor = e.processor.Merge(config.Object{key: v})
	case p == audioPart && e.part != audioPart:
		c.audio = e.audio.Merge(config.Object{key: v})
	default:
		return e.with(key, v)
	}
	return &c
}

// TextWidth is the embedding length of the text model that the projector belongs to.
var TextWidth = Fn("hidden_size|n_embd of the text model", func(e *Env) (any, error) {
	text, _ := e.Root.Object("text_config")
	v, ok := e.Root.Merge(text).Find("hidden_size", "n_embd")
	if n, is := v.(int64); ok && is && n > 0 {
		return n, nil
	}
	return nil, &fault.Invalid{On: "config.json", Says: "no hidden_size of the text model: the projector's output cannot be told"}
})
