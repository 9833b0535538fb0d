package view

// Element-wise operations compute in float32 and round to the tensor's type, as torch does on a CPU: so an F16 tensor
// that is scaled stays F16. Convert with Cast first where the reference has widened before.

import (
	"context"
	"encoding/binary"

	"quern/convert/fault"
	"quern/convert/safetensors"

	"github.com/x448/float16"
)

// apply yields fn of the rows of several tensors of one shape, computed in float32.
type apply struct {
	srcs []Tensor
	out  safetensors.DType
	fn   func(row int64, dst []float32, srcs [][]float32) // dst is srcs[0]; row is that of its first element
}

// ReadRows computes in chunks. All sources share one byte buffer, since each is widened before the next is read.
func (a *apply) ReadRows(ctx context.Context, dst []byte, lo, hi int64) error {
	var wide, size int64 // bytes and elements of a source row
	for i := range a.srcs {
		wide, size = max(wide, a.srcs[i].RowBytes()), a.srcs[i].RowLen()
	}
	n := min(rowsPerChunk(wide), hi-lo)
	s := borrow(n*wide, n*size*int64(len(a.srcs)))
	defer s.release()
	values := make([][]float32, len(a.srcs))
	for lo < hi {
		k := min(n, hi-lo)
		for i := range a.srcs {
			src := &a.srcs[i]
			b := s.bytes[:k*src.RowBytes()]
			if err := src.ReadRows(ctx, b, lo, lo+k); err != nil {
				return err
			}
			values[i] = s.floats[int64(i)*n*size:][:k*size]
			if err := Widen(values[i], b, src.DType); err != nil {
				return err
			}
		}
		a.fn(lo, values[0], values)
		if err := Narrow(dst, values[0], a.out); err != nil {
			return err
		}
		dst, lo = dst[k*size*a.out.Size():], lo+k
	}
	return nil
}

// narrows tells whether Narrow can make the type: the results of arithmetic.
func narrows(d safetensors.DType) bool {
	return d == safetensors.F32 || d == safetensors.F16 || d == safetensors.BF16 || d == safetensors.F64
}

// Map applies fn to every value, in place, in float32; the result is rounded to the tensor's type, which must be
// F32, F16, BF16 or F64 (float32 precision).
func Map(t Tensor, fn func(v []float32)) (Tensor, error) {
	return MapRows(t, func(_ int64, v []float32) { fn(v) })
}

// MapRows is Map for functions that depend on the place: v holds whole rows, the first of which is row.
func MapRows(t Tensor, fn func(row int64, v []float32)) (Tensor, error) {
	return Zip(t.DType, func(row int64, v []float32, _ [][]float32) { fn(row, v) }, t)
}

// Zip computes a tensor of type d from tensors of one shape: fn gets whole rows of each, the first of which is row,
// and leaves the result in dst, which is srcs[0]. The name is the first tensor's.
func Zip(d safetensors.DType, fn func(row int64, dst []float32, srcs [][]float32), ts ...Tensor) (Tensor, error) {
	if len(ts) == 0 {
		return Tensor{}, &fault.Invalid{Says: "a computation from no tensors"}
	}
	if !narrows(d) {
		return Tensor{}, invalid(ts[0], "arithmetic with a result of type %s", d)
	}
	out := ts[0]
	for _, t := range ts {
		if !Widens(t.DType) {
			return Tensor{}, invalid(t, "arithmetic with elements of type %s", t.DType)
		}
		if t.Elements() != out.Elements() || t.RowLen() != out.RowLen() {
			return Tensor{}, invalid(t, "shape %v combined with tensor %q of shape %v", t.Shape, out.Name, out.Shape)
		}
	}
	out.DType = d
	out.Reader = &apply{append([]Tensor(nil), ts...), d, fn}
	return out, nil
}

// Scale multiplies by s in float32.
func Scale(t Tensor, s float32) (Tensor, error) {
	if r, ok := follow(&t, func(p *product) (Tensor, bool) {
		return p.scaled(func(f Tensor) (Tensor, error) { return Scale(f, s) })
	}); ok {
		return r, nil
	}
	return Map(t, func(v []float32) {
		for i := range v {
			v[i] *= s
		}
	})
}

// Divide divides by s in float32, which is not the same as scaling by 1/s.
func Divide(t Tensor, s float32) (Tensor, error) {
	if r, ok := follow(&t, func(p *product) (Tensor, bool) {
		return p.scaled(func(f Tensor) (Tensor, error) { return Divide(f, s) })
	}); ok {
		return r, nil
	}
	return Map(t, func(v []float32) {
		for i := range v {
			v[i] /= s
		}
	})
}

// AddScalar adds s in float32. To halves it adds s as a half, as torch does (but multiplies and divides halves by s as a float32).
func AddScalar(t Tensor, s float32) (Tensor, error) {
	if t.DType == safetensors.F16 {
		s = float16.Fromfloat32(s).Float32()
	}
	return Map(t, func(v []float32) {
		for i := range v {
			v[i] += s
		}
	})
}

// Cast converts to another type: any numbers to F32, F16, BF16 or F64 (through float32, to nearest even), integers to
// integers (truncated to the lower bits, as torch does).
func Cast(t Tensor, d safetensors.DType) (Tensor, error) {
	if r, ok := follow(&t, func(p *product) (Tensor, bool) { return p.cast(d) }); ok {
		return r, nil
	}
	switch {
	case t.DType == d:
		return t, nil
	case narrows(d):
		return Zip(d, func(int64, []float32, [][]float32) {}, t)
	case isInt(t.DType) && isInt(d):
		return MapInts(t, d, func(int64, []int64) {})
	}
	return Tensor{}, invalid(t, "conversion from %s to %s", t.DType, d)
}

func isInt(d safetensors.DType) bool {
	return d.Size() > 0 && (d[0] == 'I' || d[0] == 'U') || d == safetensors.Bool
}

// MapInts applies fn to the values of an integer tensor, in place; at is the index of the first one in the whole
// tensor. The result has the integer type d: values are cut to its lower bits. U64 values pass as their bits.
func MapInts(t Tensor, d safetensors.DType, fn func(at int64, v []int64)) (Tensor, error) {
	if !isInt(t.DType) || !isInt(d) {
		return Tensor{}, invalid(t, "integer arithmetic from %s to %s", t.DType, d)
	}
	out := t
	out.DType = d
	out.Reader = &applyInts{t, d, fn}
	return out, nil
}

type applyInts struct {
	src Tensor
	out safetensors.DType
	fn  func(at int64, v []int64)
}

// ReadRows goes through int64, which holds every integer type exactly: indices and hashes must not pass through floats.
func (a *applyInts) ReadRows(ctx context.Context, dst []byte, lo, hi int64) error {
	wide, size, to := a.src.RowBytes(), a.src.RowLen(), a.out.Size()
	n := min(rowsPerChunk(8*size), hi-lo)
	s := borrow(n*wide, 0)
	defer s.release()
	v := make([]int64, n*size)
	for lo < hi {
		k := min(n, hi-lo)
		b := s.bytes[:k*wide]
		if err := a.src.ReadRows(ctx, b, lo, lo+k); err != nil {
			return err
		}
		readInts(v[:k*size], b, a.src.DType)
		a.fn(lo*size, v[:k*size])
		for _, x := range v[:k*size] {
			var w [8]byte
			binary.LittleEndian.PutUint64(w[:], uint64(x))
			copy(dst[:to], w[:])
			dst = dst[to:]
		}
		lo += k
	}
	return nil
}

// readInts sign-extends, or zero-extends for unsigned types.
func readInts(v []int64, b []byte, d safetensors.DType) {
	size := int(d.Size())
	signed := d[0] == 'I'
	for i := range v {
		var w [8]byte
		copy(w[:], b[i*size:(i+1)*size])
		u := binary.LittleEndian.Uint64(w[:])
		if shift := 64 - 8*size; signed {
			v[i] = int64(u<<shift) >> shift
		} else {
			v[i] = int64(u)
		}
	}
}

// Negate changes every sign, of zeros too.
func Negate(t Tensor) (Tensor, error) {
	if r, ok := follow(&t, func(p *product) (Tensor, bool) { return p.scaled(Negate) }); ok {
		return r, nil
	}
	return Map(t, func(v []float32) {
		for i, x := range v {
			v[i] = -x
		}
	})
}
