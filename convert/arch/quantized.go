package arch

import (
	"slices"
	"strings"

	"quern/convert/config"
	"quern/convert/dequant"
	"quern/convert/fault"
)

// Checkpoints whose weights are stored quantized. Behind Names and before everything else they become float32 views, or outputs
// of their own where llama.cpp has the format; rules never see a scale. Source: conversion/base.py, prepare_tensors.

// quantization is what a checkpoint says of its weights, in config.json and in modelopt's own file.
type quantization struct {
	config       config.Object // quantization_config, empty where weights are plain
	method       string
	nvfp4, mxfp4 bool
}

const modeloptFile = "hf_quant_config.json"

// quantized reads it. modelopt's hf_quant_config.json counts where config.json leaves the algorithm or its layers out.
func (e *Env) quantized() (quantization, error) {
	q := quantization{}
	stated, _ := e.Config.Object("quantization_config")
	q.config = stated
	// It names a format and no method, and its weights are those of the method fp8 with one scale each.
	if own, _ := e.Config.Object("quantization"); own.Has("qformat_weight") { // Mistral's own layout
		if own["qformat_weight"] != "fp8_e4m3" {
			return q, &fault.Unsupported{On: "params.json: quantization", Says: "weights in the format " + show(own["qformat_weight"]) + " are not read; fp8_e4m3 is",
				Next: "convert the checkpoint that it was made from"}
		}
		q.config = config.Object{"quant_method": "fp8"}
		stated = q.config
	}
	layers, _ := stated.Object("quantized_layers")
	// modelopt writes its own file, and newer versions a copy into config.json that may lack the layers of a mixed checkpoint.
	if (!stated.True("quant_algo") || len(layers) == 0) && e.hasFile(modeloptFile) {
		v, err := e.readJSON(modeloptFile)
		if err != nil {
			return q, err
		}
		file, _ := v.(config.Object)
		own, _ := file.Object("quantization")
		producer, _ := file.Object("producer")
		// With no method in config.json the producer's name stands for it: "modelopt" is what the readers look for.
		if dequant.Method(stated) == "" {
			name, _ := producer.String("name")
			q.config = stated.Merge(config.Object{"quant_method": strings.ToLower(name)})
			stated = q.config
		}
		stated = stated.Merge(own)
	}
	q.method = dequant.Method(stated)
	algorithm, _ := stated.String("quant_algo")
	q.nvfp4 = algorithm == "NVFP4" || algorithm == "W4A16_NVFP4" || q.method == "compressed-tensors" && dequant.CompressedNVFP4(stated)
	layers, _ = stated.Object("quantized_layers")
	// In a mixed checkpoint the algorithm at the top is "MIXED_PRECISION"; that some layers are NVFP4 is said layer by layer.
	for _, l := range layers {
		o, _ := l.(config.Object)
		algorithm, _ := o.String("quant_algo")
		q.nvfp4 = q.nvfp4 || strings.HasSuffix(algorithm, "NVFP4")
	}
	q.mxfp4 = q.method == "mxfp4"
	return q, nil
}

// dequantize replaces the checkpoint's quantized tensors by what they stand for.
func (b *Build) dequantize(items []Item) ([]Item, error) {
	q, err := b.Env.quantized()
	if err != nil {
		return nil, err
	}
	b.quantized = q
	if b.Options.Type == F32 || b.Options.Type == F16 || b.Options.Type == BF16 {
		switch {
		case q.nvfp4:
			b.Stored = &storedNVFP4
		case q.mxfp4:
			b.Stored = &storedMXFP4
		}
	}
	list := make([]dequant.Tensor, len(items))
	for i, it := range items {
		list[i] = dequant.Tensor{Name: it.Name, View: it.View, Source: it.Source}
	}
	set := dequant.NewSet(list)
	done := false
	if own := b.Env.Arch.Dequantize; own != nil {
		if done, err = own(b, set); err != nil {
			return nil, err
		}
	}
	if q.nvfp4 {
		if err := b.nvfp4(set); err != nil {
			return nil, err
		}
		done = done || !slices.ContainsFunc(set.Names(), func(n string) bool { return hasSuffix(n, ".weight_scale", ".weight_scale_inv") })
	}
	if !done {
		if err := set.Apply(q.config, b.original()); err != nil {
			return nil, err
		}
	}
	for _, name := range set.Used {
		b.used[name] = true
	}
	for name, why := range set.Dropped {
		b.drop(name, why)
	}
	items = items[:0]
	for _, t := range set.Tensors() {
		items = append(items, Item{Name: t.Name, View: t.View, Source: t.Source, Block: blockOf(t.Name), FP8: t.FP8})
	}
	return items, nil
}

func (b *Build) original() string {
	if b.Env.Original == nil {
		return ""
	}
	return b.Env.Original()
}

// The file types of repacked weights. Source: gguf-py/gguf/constants.py, LlamaFileType.
var (
	storedMXFP4 = StoredType{38, "MXFP4_MOE"}
	storedNVFP4 = StoredType{39, "NVFP4"}
)
