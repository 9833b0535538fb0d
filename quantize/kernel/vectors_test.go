package kernel

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"quern/convert/gguf"
)

// vectors calls check with each type's values, blocks and widened blocks of testdata/vectors.bin, which
// testdata/vectors.py wrote with gguf-py. On its run ggml's own kernels gave the same bits for 20,033 rows of each type.
func vectors(t *testing.T, check func(typ gguf.Type, x []float32, q []byte, d []float32)) {
	data, err := os.ReadFile("testdata/vectors.bin")
	if err != nil {
		t.Fatal(err)
	}
	floats := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
		}
		data = data[4*n:]
		return v
	}
	for count := 0; len(data) > 0; count++ {
		typ, n := gguf.Type(binary.LittleEndian.Uint32(data)), int(binary.LittleEndian.Uint32(data[4:]))
		data = data[8:]
		x := floats(n)
		size := typ.RowBytes(int64(n))
		q := data[:size]
		data = data[size:]
		check(typ, x, q, floats(n))
		if len(data) == 0 && count != 2 {
			t.Errorf("%d types in the file, want 3", count+1)
		}
	}
}

func TestVectors(t *testing.T) {
	vectors(t, func(typ gguf.Type, x []float32, q []byte, d []float32) {
		got := make([]byte, len(q))
		if err := Go().Quantize(got, x, typ, 256, nil); err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(q); i += int(typ.BlockBytes()) {
			if end := i + int(typ.BlockBytes()); !bytes.Equal(got[i:end], q[i:end]) {
				at := i / int(typ.BlockBytes())
				t.Fatalf("%s: block %d is %x, want %x; values %v", typ, at, got[i:end], q[i:end], x[int64(at)*typ.Block():][:8])
			}
		}
		wide := make([]float32, len(x))
		if err := Go().Dequantize(wide, q, typ); err != nil {
			t.Fatal(err)
		}
		for i := range wide {
			same := math.Float32bits(wide[i]) == math.Float32bits(d[i])
			if !same && !(wide[i] != wide[i] && d[i] != d[i]) {
				t.Fatalf("%s: value %d is %v, want %v", typ, i, wide[i], d[i])
			}
		}
	})
}

// Any split into rows gives the same blocks.
func TestRowsAreIndependent(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, typ := range []gguf.Type{gguf.Q8_0, gguf.TQ1_0, gguf.TQ2_0} {
		x := make([]float32, 12*512)
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		whole := make([]byte, typ.RowBytes(int64(len(x))))
		if err := Go().Quantize(whole, x, typ, 512, nil); err != nil {
			t.Fatal(err)
		}
		row := typ.RowBytes(512)
		for i := range int64(12) {
			got := make([]byte, row)
			if err := Go().Quantize(got, x[i*512:(i+1)*512], typ, 512, nil); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, whole[i*row:(i+1)*row]) {
				t.Errorf("%s: row %d differs", typ, i)
			}
		}
	}
}

func TestGoRefuses(t *testing.T) {
	k := Go()
	for name, err := range map[string]error{
		"type":         k.Quantize(nil, nil, gguf.IQ1S, 256, nil),
		"short output": k.Quantize(make([]byte, 33), make([]float32, 32), gguf.Q8_0, 32, nil),
		"row":          k.Quantize(make([]byte, 68), make([]float32, 64), gguf.Q8_0, 48, nil),
		"no row":       k.Quantize(make([]byte, 68), make([]float32, 64), gguf.Q8_0, 0, nil),
		"part block":   k.Quantize(make([]byte, 34), make([]float32, 33), gguf.Q8_0, 33, nil),
		"widen type":   k.Dequantize(nil, nil, gguf.F32),
		"widen length": k.Dequantize(make([]float32, 32), make([]byte, 35), gguf.Q8_0),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func BenchmarkGo(b *testing.B) {
	x := make([]float32, 1<<16)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	for _, typ := range []gguf.Type{gguf.Q8_0, gguf.TQ1_0, gguf.TQ2_0} {
		dst := make([]byte, typ.RowBytes(int64(len(x))))
		b.Run(typ.String(), func(b *testing.B) {
			b.SetBytes(int64(len(x)))
			for b.Loop() {
				if err := Go().Quantize(dst, x, typ, 4096, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
