package view

import (
	"context"
	"sync"

	"quern/convert/safetensors"
)

// MaxWhole is the largest number of elements that Floats and Ints read at once: small tensors, scales and tables.
const MaxWhole = 1 << 24

// Each calls fn with the values of t in order, whole rows at a time in float32: for sums and means of any tensor in
// bounded memory. v is valid during the call only.
func Each(ctx context.Context, t Tensor, fn func(row int64, v []float32) error) error {
	wide, size, rows := t.RowBytes(), t.RowLen(), t.Rows()
	n := min(rowsPerChunk(wide), rows)
	s := borrow(n*wide, n*size)
	defer s.release()
	for lo := int64(0); lo < rows; {
		k := min(n, rows-lo)
		b, v := s.bytes[:k*wide], s.floats[:k*size]
		if err := t.ReadRows(ctx, b, lo, lo+k); err != nil {
			return err
		}
		if err := Widen(v, b, t.DType); err != nil {
			return invalid(t, "%s", err)
		}
		if err := fn(lo, v); err != nil {
			return err
		}
		lo += k
	}
	return nil
}

// Floats reads a whole small tensor as float32. More than MaxWhole elements are refused.
func Floats(ctx context.Context, t Tensor) ([]float32, error) {
	if t.Elements() > MaxWhole {
		return nil, invalid(t, "shape %v has %d elements, at most %d are read at once", t.Shape, t.Elements(), MaxWhole)
	}
	out := make([]float32, 0, t.Elements())
	err := Each(ctx, t, func(_ int64, v []float32) error {
		out = append(out, v...)
		return nil
	})
	return out, err
}

// Ints reads a whole small tensor of integers. More than MaxWhole elements are refused.
func Ints(ctx context.Context, t Tensor) ([]int64, error) {
	if !isInt(t.DType) || t.Elements() > MaxWhole {
		return nil, invalid(t, "%d elements of type %s as integers, at most %d are read at once", t.Elements(), t.DType, MaxWhole)
	}
	b := make([]byte, t.Elements()*t.DType.Size())
	if err := t.ReadRows(ctx, b, 0, t.Rows()); err != nil {
		return nil, err
	}
	out := make([]int64, t.Elements())
	readInts(out, b, t.DType)
	return out, nil
}

// RowFunc is a RowReader made of a function.
type RowFunc func(ctx context.Context, dst []byte, lo, hi int64) error

// ReadRows calls the function.
func (f RowFunc) ReadRows(ctx context.Context, dst []byte, lo, hi int64) error {
	return f(ctx, dst, lo, hi)
}

// Deferred is a tensor whose making needs values of other tensors: build runs once, when the first rows are asked for,
// and its result, which must have this type and shape, is kept. For what must be summed before it can be scaled.
func Deferred(name string, d safetensors.DType, shape []int64, build func(ctx context.Context) (Tensor, error)) Tensor {
	return Tensor{Name: name, DType: d, Shape: shape, Reader: &deferred{build: build, want: Tensor{Name: name, DType: d, Shape: shape}}}
}

// deferred holds its lock while it builds: other readers need the result and would only build it again.
type deferred struct {
	build func(ctx context.Context) (Tensor, error)
	want  Tensor

	mu   sync.Mutex
	done bool
	t    Tensor
}

func (d *deferred) ReadRows(ctx context.Context, dst []byte, lo, hi int64) error {
	t, err := d.tensor(ctx)
	if err != nil {
		return err
	}
	return t.ReadRows(ctx, dst, lo, hi)
}

// tensor makes the tensor; a failure is not kept, since it may be a cancelled context.
func (d *deferred) tensor(ctx context.Context) (Tensor, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done {
		return d.t, nil
	}
	t, err := d.build(ctx)
	if err != nil {
		return Tensor{}, err
	}
	if t.DType != d.want.DType || t.Rows() != d.want.Rows() || t.RowLen() != d.want.RowLen() {
		return Tensor{}, invalid(d.want, "%s %v was promised, %s %v made", d.want.DType, d.want.Shape, t.DType, t.Shape)
	}
	d.t, d.done = t, true
	return t, nil
}
