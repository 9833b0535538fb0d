package arch

import (
	"fmt"
	"math"
	"strings"

	"quern/convert/fault"
	"quern/convert/view"
)

// maxHeadDim bounds generated tensors: the largest published head has 512 elements.
const maxHeadDim = 1 << 16

// Llama3Freqs makes the factors by which Llama 3 stretches its rotary frequencies.
// Source: conversion/llama.py, generate_extra_tensors.
var Llama3Freqs = llama3Freqs(Rope(CfgOr("rope_theta", 10000.0)), 8)

// llama3Freqs is Llama3Freqs for families whose base is elsewhere, or whose factor is another where none is given.
func llama3Freqs(base Expr, factor float64) Generate {
	return Generate{
		Doc: "rope_freqs of llama3 rope scaling",
		If: Fn("rope.rope_type is llama3", func(e *Env) (any, error) {
			kind, _ := e.rope()["rope_type"].(string)
			return strings.EqualFold(kind, "llama3"), nil
		}),
		Make: func(b *Build) ([]Item, error) {
			values, err := llama3Factors(b.Env, base, factor)
			if err != nil {
				return nil, err
			}
			return b.Generated("rope_freqs", values)
		},
	}
}

// Generated is a one-dimensional F32 tensor of a role outside of the blocks.
func (b *Build) Generated(role string, values []float32) ([]Item, error) {
	name, ok := b.names.Of(role, -1)
	if !ok {
		return nil, &fault.Unsupported{On: b.GGUF, Says: "the architecture has no " + role}
	}
	v, err := view.Values(name+".weight", []int64{int64(len(values))}, values)
	return []Item{{Name: name + ".weight", View: v}}, err
}

func llama3Factors(e *Env, theta Expr, dflt float64) ([]float32, error) {
	dim, err := e.Int(HeadDim)
	if err != nil {
		return nil, err
	}
	if dim < 0 || dim > maxHeadDim {
		return nil, &fault.Invalid{On: "config.json: head_dim", Says: fmt.Sprintf("%d, at most %d", dim, maxHeadDim)}
	}
	var factor, low, high, old float64
	base, err := e.Float(theta)
	if err != nil {
		return nil, err
	}
	for _, p := range []struct {
		to   *float64
		key  string
		dflt float64
	}{{&factor, "factor", dflt}, {&low, "low_freq_factor", 1}, {&high, "high_freq_factor", 4},
		{&old, "original_max_position_embeddings", 8192}} {
		if *p.to, err = e.Float(Rope(CfgOr(p.key, p.dflt))); err != nil {
			return nil, err
		}
	}
	out := make([]float32, 0, (dim+1)/2)
	for i := int64(0); i < dim; i += 2 {
		out = append(out, llama3Factor(invFreq(base, i, dim), factor, low, high, old))
	}
	return out, nil
}

// invFreq is 1/base^(i/dim) with each step rounded to float32, as torch computes it from a float32 range.
func invFreq(base float64, i, dim int64) float32 {
	exponent := float32(i) / float32(dim)
	power := float32(math.Pow(float64(float32(base)), float64(exponent)))
	return 1 / power
}

// llama3Factor keeps short waves, stretches long ones by factor and blends between. Everything is float32, and a number
// divided by a tensor is its inverse times the number, as torch has it (Tensor.__rdiv__).
func llama3Factor(freq float32, factor, low, high, old float64) float32 {
	wave := float32((1 / freq) * float32(2*math.Pi))
	lowWave, highWave := float32(old/low), float32(old/high)
	switch {
	case wave < highWave:
		return 1
	case wave > lowWave:
		return float32(factor)
	}
	turns := float32((1 / wave) * float32(old))
	smooth := (turns - float32(low)) / float32(high-low)
	return 1 / (float32((1-smooth)/float32(factor)) + smooth)
}
