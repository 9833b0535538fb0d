package arch

import (
	"context"
	"encoding/binary"
	"math"

	"quern/convert/fault"
	"quern/convert/safetensors"
	"quern/convert/view"
)

// maxSound bounds the width of an audio tower: the largest published has 1536.
const maxSound = 1 << 16

// sinusoids is the table of positions of a Whisper encoder: sines, then cosines, of the frame's number over a geometric row of
// time scales, 1500 frames. Source: conversion/qwenvl.py, Qwen25AudioModel.
var sinusoids = Generate{Doc: "positions of 1500 frames", Make: func(b *Build) ([]Item, error) {
	const frames, longest = 1500, 10000
	width, err := b.Int(OfAudio(Cfg("hidden_size")))
	if err != nil {
		return nil, err
	}
	if width < 4 || width > maxSound || width%2 != 0 {
		return nil, &fault.Invalid{On: "config.json: audio_config.d_model", Says: show(width) + " channels"}
	}
	half := width / 2
	step := float32(-math.Log(longest) / float64(half-1))
	exponents := make([]float32, half)
	for i := range exponents {
		exponents[i] = step * float32(i)
	}
	v, err := view.Values("time scales", []int64{half}, exponents)
	if err == nil {
		v, err = view.Exp(v)
	}
	if err != nil {
		return nil, err
	}
	scales, err := b.Floats(v)
	if err != nil {
		return nil, err
	}
	table := view.Tensor{Name: "audio_tower.embed_positions.weight", DType: safetensors.F32, Shape: []int64{frames, width}}
	table.Reader = view.RowFunc(func(_ context.Context, dst []byte, lo, hi int64) error {
		for ; lo < hi; lo++ {
			for i, s := range scales {
				sin, cos := torchSine(float32(lo)*s, 0), torchSine(float32(lo)*s, 0.5)
				binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(sin))
				binary.LittleEndian.PutUint32(dst[4*(int(half)+i):], math.Float32bits(cos))
			}
			dst = dst[4*width:]
		}
		return nil
	})
	return []Item{{Name: table.Name, View: table}}, nil
}}

// torchSine is the sine of x, or with quarter 0.5 the cosine, for 0 <= x < 2^20 as torch computes it on x86-64: a polynomial of the ninth
// degree in double precision between -pi/2 and pi/2, rounded once, which is not always the nearest float32. The polynomial was found
// from inputs and outputs alone: every one of 84 million values bounds it from both sides, and these four numbers are the middle of
// what is left. TestTorchSine holds it.
func torchSine(x float32, quarter float64) float32 {
	const (
		piHigh = 0x1.921fb54400000p+1 // of so few bits that multiples of it are exact
		piLow  = math.Pi - piHigh
	)
	n := math.RoundToEven(float64(x)/math.Pi+quarter) - quarter
	r := float64(float64(x)-float64(n*piHigh)) - float64(n*piLow)
	s := float64(r * r)
	p := float64(s*2.605780674245456e-06) - 0.00019809602915890916
	p = float64(s*p) + 0.008333066246214483
	p = float64(s*p) - 0.16666659550428642
	y := r + float64(float64(r*s)*p)
	if int64(n+quarter)&1 != 0 {
		y = -y
	}
	return float32(y)
}
