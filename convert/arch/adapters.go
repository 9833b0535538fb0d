package arch

import (
	"fmt"
	"strings"

	"quern/convert/config"
	"quern/convert/fault"
	"quern/convert/gguf"
	"quern/convert/view"
)

// Adapter is a LoRA adapter that a checkpoint carries: a file of its own beside the model's.
type Adapter struct {
	Task     string // what it is for; part of the file's name
	Metadata []gguf.KV
	Outputs  []Output
}

// taskAdapter takes the adapters of Jina 3 apart, whose matrices stand in one tensor for all tasks.
// Source: conversion/bert.py, XLMRobertaModel.
var taskAdapter = Code("*.0.lora_{A|B}", "split by task into adapters", func(b *Build, it Item) ([]Item, error) {
	if b.Adapters == nil {
		if err := b.newAdapters(); err != nil {
			return nil, err
		}
	}
	if n := len(it.View.Shape); n != 3 || it.View.Shape[0] != int64(len(b.Adapters)) {
		return nil, &fault.Invalid{On: it.Source, Says: fmt.Sprintf("shape %s for %d tasks", dims(it.View.Shape), len(b.Adapters))}
	}
	base, end := it.Name[:len(it.Name)-len(".0.lora_A")], strings.ToLower(it.Name[len(it.Name)-len(".lora_A"):])
	_, name, ok := b.names.Map(base)
	if !ok {
		return nil, &fault.Unsupported{On: it.Source, Says: b.GGUF + " has no tensor for this adapter"}
	}
	flip := false
	switch name += end; {
	case name == "token_embd.weight.lora_b":
		flip = true
	case strings.HasPrefix(name, "token_types.weight."): // its product is the transpose of what llama.cpp adds
		name = name[:len(name)-1] + string("ba"[name[len(name)-1]-'a'])
	}
	for i := range b.Adapters {
		v, err := view.Index(it.View, 0, int64(i))
		if err == nil && flip {
			v, err = view.Transpose(v)
		}
		if err != nil {
			return nil, &fault.Invalid{On: it.Source, Says: "cannot be split by task", Err: err}
		}
		a := &b.Adapters[i]
		a.Outputs = append(a.Outputs, Output{Name: name, Type: gguf.F32, View: v, Source: it.Source})
	}
	return nil, nil
})

// newAdapters begins a file for each task.
func (b *Build) newAdapters() error {
	names, _ := b.Config.List("lora_adaptations")
	alpha, err := b.Float(Else(Opt("lora_alpha"), 1.0))
	if err != nil {
		return err
	}
	prompts, _ := b.Config.Object("task_instructions")
	for _, n := range names {
		task, ok := n.(string)
		prompt, has := prompts[task]
		if !ok || config.Truth(prompts) && !has || strings.ContainsAny(task, `/\`) || task == "" {
			return &fault.Invalid{On: "config.json: lora_adaptations", Says: show(n) + " is no task, or has no task_instructions"}
		}
		kvs := []gguf.KV{
			{Key: "general.architecture", Value: b.GGUF}, {Key: "general.type", Value: "adapter"}, {Key: "adapter.type", Value: "lora"},
			{Key: "adapter.lora.alpha", Value: float32(alpha)}, {Key: "adapter.lora.task_name", Value: task},
		}
		if text, _ := prompt.(string); text != "" {
			kvs = append(kvs, gguf.KV{Key: "adapter.lora.prompt_prefix", Value: text})
		}
		b.Adapters = append(b.Adapters, Adapter{Task: task, Metadata: kvs})
	}
	return nil
}
