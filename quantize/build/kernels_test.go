package build_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math"
	"math/rand/v2"
	"testing"

	"quern/convert/gguf"
	"quern/convert/safetensors"
	"quern/convert/view"
	"quern/quantize/build"
	"quern/quantize/kernel"
	"quern/quantize/llamacpp/llamatest"
)

// out is a file in memory. Slabs do not overlap, so its writers need no lock.
type out []byte

func (o out) WriteAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > int64(len(o)) {
		return 0, io.ErrShortWrite
	}
	return copy(o[off:], p), nil
}

// sample is a random tensor, the types that it is made in, and how.
type sample struct {
	matrices, rows, rowLen int
	values                 []float32
	importance             []float32 // of every matrix
	types                  []gguf.Type
	workers                int
	slab                   int64
}

// allTypes are the types with blocks; the kernels say which of them can be written.
func allTypes(k kernel.Quantizer) (all []gguf.Type) {
	for t := range gguf.Type(64) {
		if t.Valid() && t.Quantized() && k.Supports(t) {
			all = append(all, t)
		}
	}
	return all
}

// draw makes a tensor whose rows divide by the first type's block; the other types are those that fit the rows too.
func draw(r *rand.Rand, all []gguf.Type, first gguf.Type) sample {
	s := sample{matrices: 1 + r.IntN(3), rows: 1 + r.IntN(7), rowLen: int(first.Block()) * (1 + r.IntN(3)), workers: 1 + r.IntN(6), slab: 1 + r.Int64N(1<<r.IntN(15))}
	s.values = make([]float32, s.matrices*s.rows*s.rowLen)
	scale := math.Pow(10, r.Float64()*4-3)
	for i := range s.values {
		s.values[i] = float32(r.NormFloat64() * scale)
		if r.IntN(50) == 0 {
			s.values[i] = 0
		}
	}
	s.importance = make([]float32, s.matrices*s.rowLen)
	for i := range s.importance {
		s.importance[i] = float32(math.Exp(r.NormFloat64()))
	}
	s.types = []gguf.Type{first}
	for range r.IntN(3) {
		if t := all[r.IntN(len(all))]; s.rowLen%int(t.Block()) == 0 {
			s.types = append(s.types, t)
		}
	}
	return s
}

// whole is one call of the kernel on each whole matrix: importance differs between them.
func (s sample) whole(t *testing.T, k kernel.Quantizer, typ gguf.Type, weighted bool) []byte {
	t.Helper()
	var all []byte
	n := s.rows * s.rowLen
	for m := range s.matrices {
		var w []float32
		if weighted {
			w = s.importance[m*s.rowLen : (m+1)*s.rowLen]
		}
		b := make([]byte, typ.RowBytes(int64(n)))
		if err := k.Quantize(b, s.values[m*n:(m+1)*n], typ, s.rowLen, w); err != nil {
			t.Fatalf("%s: %v", typ, err)
		}
		all = append(all, b...)
	}
	return all
}

// built is what a build of the sample writes: all types in one read, one file each.
func (s sample) built(t *testing.T, k kernel.Quantizer, weighted bool) []out {
	t.Helper()
	var raw []byte
	for _, v := range s.values {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	shape := []int64{int64(s.matrices), int64(s.rows), int64(s.rowLen)}
	j := build.Job{Name: "t", Source: view.FromReader("t", safetensors.F32, shape, bytes.NewReader(raw), 0)}
	files, w := make([]out, len(s.types)), make([]io.WriterAt, len(s.types))
	for i, typ := range s.types {
		to := build.Target{File: i, Type: typ, Alignment: 1}
		if weighted {
			to.Importance = s.importance
		}
		files[i] = make(out, typ.RowBytes(int64(len(s.values))))
		w[i], j.To = files[i], append(j.To, to)
	}
	if err := build.Run(context.Background(), []build.Job{j}, k, w, build.Options{Workers: s.workers, Slab: s.slab}); err != nil {
		t.Fatalf("%v: %v", s.types, err)
	}
	return files
}

// Random shapes, types (llama.cpp's and our own kernels'), sizes of slabs and numbers of workers give the bytes of one call of
// llama.cpp's kernel on the whole tensor, with and without importance.
func TestEveryTypeInSlabs(t *testing.T) {
	if testing.Short() {
		t.Skip("the race detector looks at the slabs in TestSlabsEqualOneCall; the grids of the IQ types take seconds to build")
	}
	theirs := llamatest.Kernels(t)
	all := allTypes(theirs)
	kernels := map[string]kernel.Quantizer{"llamacpp": theirs}
	native := kernel.Go()
	for _, name := range kernel.Names() {
		native, err := kernel.New(name)
		if err != nil {
			t.Fatal(err)
		}
		kernels[name] = kernel.NewPair(native, func() (kernel.Quantizer, error) { return theirs, nil })
	}
	builds, files := 0, 0
	for i, first := range all {
		for seed := range uint64(3) {
			s := draw(rand.New(rand.NewPCG(seed, uint64(i))), all, first)
			weighted := seed > 0
			if !weighted {
				s.types = withoutImportance(s, theirs)
			}
			want := make([][]byte, len(s.types))
			for k, typ := range s.types {
				want[k] = s.whole(t, theirs, typ, weighted)
			}
			for name, k := range kernels {
				if name != "llamacpp" && !native.Supports(first) {
					continue // its kernel is the library's whatever the name
				}
				builds++
				for f, got := range s.built(t, k, weighted) {
					if files++; !bytes.Equal(got, want[f]) {
						t.Errorf("seed %d: %s by %s, %d matrices of %d x %d, %d workers, slabs of %d: the bytes are not those of one call",
							seed, s.types[f], name, s.matrices, s.rows, s.rowLen, s.workers, s.slab)
					}
				}
			}
		}
	}
	t.Logf("count: %d builds of random tensors, %d files in %d types: the bytes of one call", builds, files, len(all))
}

// withoutImportance are the sample's types that can do without it.
func withoutImportance(s sample, k kernel.Quantizer) (types []gguf.Type) {
	for _, typ := range s.types {
		b := make([]byte, typ.RowBytes(int64(s.rowLen)))
		if k.Quantize(b, s.values[:s.rowLen], typ, s.rowLen, nil) == nil {
			types = append(types, typ)
		}
	}
	return types
}
