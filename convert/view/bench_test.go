package view

import (
	"math/rand/v2"
	"testing"

	"quern/convert/safetensors"
)

func BenchmarkNarrow(b *testing.B) {
	v, dst := make([]float32, 1<<16), make([]byte, 1<<18)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	for _, d := range []safetensors.DType{safetensors.F16, safetensors.BF16, safetensors.F32} {
		b.Run("to-"+string(d), func(b *testing.B) {
			b.SetBytes(int64(len(v)))
			for b.Loop() {
				if err := Narrow(dst, v, d); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
