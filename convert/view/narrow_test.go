package view

import (
	"encoding/binary"
	"math"
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

// Four elements are rounded as a word: for every upper half of a float32, in every place, between neighbours of any kind.
func TestNarrowFourAtATime(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	lower := []uint32{0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF}
	v, b := make([]float32, 6), make([]byte, 12) // four as a word, two alone
	for upper := range uint32(1 << 16) {
		for _, l := range lower {
			for i := range v {
				v[i] = math.Float32frombits(r.Uint32())
			}
			v[upper%4] = math.Float32frombits(upper<<16 | l)
			if err := Narrow(b, v, safetensors.BF16); err != nil {
				t.Fatal(err)
			}
			for i, x := range v {
				if got, want := binary.LittleEndian.Uint16(b[2*i:]), BF16(x); got != want {
					t.Fatalf("%08x at %d: %04x, want %04x", math.Float32bits(x), i, got, want)
				}
			}
		}
	}
}
