package llamacpp_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"quern/convert/gguf"
	"quern/quantize/kernel"
	"quern/quantize/llamacpp/llamatest"
)

// BenchmarkNativeBeside runs every kernel and ggml_quantize_chunk in turns on one core, and reports medians: million weights a second
// of both, and how many times faster ours is.
func BenchmarkNativeBeside(b *testing.B) {
	theirs := llamatest.Kernels(b)
	const row = 4096
	r := rand.New(rand.NewPCG(1, 1))
	x, importance := make([]float32, 64*row), make([]float32, row)
	for i := range x {
		x[i] = float32(r.NormFloat64() * 0.02)
	}
	for i := range importance {
		importance[i] = float32(math.Exp(r.NormFloat64()))
	}
	for _, typ := range kernel.Types() {
		for name, w := range map[string][]float32{"plain": nil, "importance": importance} {
			for _, set := range kernel.Names() {
				b.Run(typ.String()+"/"+name+"/"+set, func(b *testing.B) {
					ours, err := kernel.New(set)
					if err != nil {
						b.Fatal(err)
					}
					beside(b, ours, theirs, typ, x, row, w)
				})
			}
		}
	}
}

func beside(b *testing.B, ours, theirs kernel.Quantizer, typ gguf.Type, x []float32, row int, w []float32) {
	dst := make([]byte, typ.RowBytes(int64(len(x))))
	var mine, other []float64
	once := func(k kernel.Quantizer) float64 {
		start := time.Now()
		if err := k.Quantize(dst, x, typ, row, w); err != nil {
			b.Fatal(err)
		}
		return float64(len(x)) / time.Since(start).Seconds() / 1e6
	}
	for b.Loop() {
		mine, other = append(mine, once(ours)), append(other, once(theirs))
	}
	median := func(v []float64) float64 { slices.Sort(v); return v[len(v)/2] }
	m, o := median(mine), median(other)
	b.ReportMetric(m, "Mweights/s")
	b.ReportMetric(o, "ggml-Mweights/s")
	b.ReportMetric(m/o, "times")
	b.ReportMetric(0, "ns/op")
}
