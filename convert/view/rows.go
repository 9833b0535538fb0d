package view

// Operations that only choose other rows share one reader: where does output row i come from, and how many of the
// rows behind it follow each other in the source. Runs become one read each.

import (
	"context"
	"fmt"
	"slices"

	"quern/convert/fault"
)

// invalid is the one error of this package for shapes: they come from files, so no mistake in them may panic.
func invalid(t Tensor, format string, args ...any) error {
	return &fault.Invalid{On: fmt.Sprintf("tensor %q", t.Name), Says: fmt.Sprintf(format, args...)}
}

// gather yields rows of other tensors. find tells for an output row the part, the row there and the number of
// rows (at least one) that follow each other from there.
type gather struct {
	parts []Tensor
	row   int64 // bytes
	find  func(row int64) (part int, src, run int64)
}

// ReadRows asks for runs: a slice of a matrix is one read, a permutation of single rows one read a row. Small rows that
// lie near each other, as those of convolutions do, come through a window.
func (g *gather) ReadRows(ctx context.Context, dst []byte, lo, hi int64) error {
	var w *window
	for lo < hi {
		part, src, run := g.find(lo)
		n := min(run, hi-lo)
		var err error
		if f, ok := g.parts[part].Reader.(flatReader); ok && n*g.row < smallRead && n < hi-lo {
			if w == nil {
				w = openWindow()
				defer w.close()
			}
			err = w.read(ctx, f, g.parts[part].Rows()*g.row, dst[:n*g.row], src*g.row)
		} else {
			err = g.parts[part].ReadRows(ctx, dst[:n*g.row], src, src+n)
		}
		if err != nil {
			return err
		}
		dst, lo = dst[n*g.row:], lo+n
	}
	return nil
}

// Named is the same tensor under another name.
func (t Tensor) Named(name string) Tensor {
	t.Name = name
	return t
}

// axis counts from the end where it is negative; ok is false when the tensor has no such dimension.
func (t Tensor) axis(a int) (int, bool) {
	if a < 0 {
		a += len(t.Shape)
	}
	return a, a >= 0 && a < len(t.Shape)
}

// inner is the number of rows that one step along axis a, which is not the last, spans.
func (t Tensor) inner(a int) int64 {
	n := int64(1)
	for _, d := range t.Shape[a+1 : len(t.Shape)-1] {
		n *= d
	}
	return n
}

// Slice keeps [lo, hi) of a dimension; -1 is the last.
func Slice(t Tensor, axis int, lo, hi int64) (Tensor, error) {
	a, ok := t.axis(axis)
	if !ok {
		return Tensor{}, invalid(t, "slice of dimension %d, its shape is %v", axis, t.Shape)
	}
	n := t.Shape[a]
	if lo < 0 || hi < lo || hi > n {
		return Tensor{}, invalid(t, "slice %d:%d of dimension %d, which has %d", lo, hi, axis, n)
	}
	out := t
	out.Shape = slices.Clone(t.Shape)
	out.Shape[a] = hi - lo
	if lo == 0 && hi == n {
		return out, nil
	}
	if r, ok := follow(&t, func(p *product) (Tensor, bool) {
		return p.along(a, func(f Tensor) (Tensor, error) { return Slice(f, a, lo, hi) })
	}); ok {
		return r, nil
	}
	if a == len(t.Shape)-1 {
		out.Reader = &columns{src: t, skip: lo * t.DType.Size(), row: out.RowBytes()}
		return out, nil
	}
	// Counted in rows: one step of the dimensions before a spans `to` rows in the source and `size` here.
	inner := t.inner(a)
	from, to, size := lo*inner, n*inner, (hi-lo)*inner
	out.Reader = &gather{[]Tensor{t}, t.RowBytes(), func(row int64) (int, int64, int64) {
		outer, rest := row/size, row%size
		return 0, outer*to + from + rest, size - rest
	}}
	return out, nil
}

// Rows keeps rows [lo, hi) of the first dimension: for a matrix its rows, for a stack of experts its experts.
func Rows(t Tensor, lo, hi int64) (Tensor, error) { return Slice(t, 0, lo, hi) }

// Columns keeps [lo, hi) of the last dimension.
func Columns(t Tensor, lo, hi int64) (Tensor, error) { return Slice(t, -1, lo, hi) }

// Split cuts a dimension into parts of these sizes, which must add up to it.
func Split(t Tensor, axis int, sizes ...int64) ([]Tensor, error) {
	a, ok := t.axis(axis)
	if !ok {
		return nil, invalid(t, "split of dimension %d, its shape is %v", axis, t.Shape)
	}
	out := make([]Tensor, 0, len(sizes))
	at := int64(0)
	for _, n := range sizes {
		s, err := Slice(t, axis, at, at+n)
		if err != nil {
			return nil, err
		}
		out, at = append(out, s), at+n
	}
	if at != t.Shape[a] {
		return nil, invalid(t, "split of dimension %d into %v, which has %d", axis, sizes, t.Shape[a])
	}
	return out, nil
}

// Index takes one element of a dimension and drops that dimension.
func Index(t Tensor, axis int, i int64) (Tensor, error) {
	s, err := Slice(t, axis, i, i+1)
	if err != nil {
		return Tensor{}, err
	}
	return Squeeze(s, axis)
}

// Concat joins tensors along a dimension; -1 is the last. They share type and all other dimensions. The name is the first's.
func Concat(axis int, ts ...Tensor) (Tensor, error) {
	if len(ts) == 0 {
		return Tensor{}, &fault.Invalid{Says: "concatenation of no tensors"}
	}
	out := ts[0]
	a, ok := out.axis(axis)
	if !ok {
		return Tensor{}, invalid(out, "concatenation along dimension %d, its shape is %v", axis, out.Shape)
	}
	out.Shape = slices.Clone(out.Shape)
	for _, t := range ts[1:] {
		if t.DType != out.DType {
			return Tensor{}, invalid(t, "concatenation of %s with tensor %q of %s", t.DType, out.Name, out.DType)
		}
		if len(t.Shape) != len(out.Shape) {
			return Tensor{}, invalid(t, "concatenation of shape %v with tensor %q of shape %v", t.Shape, out.Name, ts[0].Shape)
		}
		for i := range t.Shape {
			if i != a && t.Shape[i] != out.Shape[i] {
				return Tensor{}, invalid(t, "concatenation of shape %v with tensor %q of shape %v along dimension %d", t.Shape, out.Name, ts[0].Shape, axis)
			}
		}
		out.Shape[a] += t.Shape[a]
	}
	if len(ts) == 1 {
		return out, nil
	}
	if r, ok := joined(a, ts); ok {
		return r.Named(out.Name), nil
	}
	if a == len(out.Shape)-1 {
		out.Reader = &beside{parts: slices.Clone(ts), row: out.RowBytes()}
		return out, nil
	}
	out.Reader = below(ts, a, out.RowBytes())
	return out, nil
}

// below gathers the rows of tensors that follow each other along axis a, which is not the last.
func below(ts []Tensor, a int, row int64) *gather {
	// A part may be empty, so several may end at the same row: find must pass over those.
	ends := make([]int64, len(ts)) // in rows, within one step of the dimensions before a
	total := int64(0)
	for i, t := range ts {
		total += t.Shape[a] * t.inner(a)
		ends[i] = total
	}
	return &gather{slices.Clone(ts), row, func(row int64) (int, int64, int64) {
		outer, rest := row/total, row%total
		i, found := slices.BinarySearch(ends, rest)
		for found && i < len(ends) && ends[i] <= rest { // rest begins the first part that ends behind it
			i++
		}
		begin := int64(0)
		if i > 0 {
			begin = ends[i-1]
		}
		size := ends[i] - begin
		return i, outer*size + rest - begin, ends[i] - rest
	}}
}

// Stack joins tensors of one shape under a new first dimension: experts.
func Stack(ts ...Tensor) (Tensor, error) {
	wide := make([]Tensor, len(ts))
	for i, t := range ts {
		var err error
		if wide[i], err = Unsqueeze(t, 0); err != nil {
			return Tensor{}, err
		}
	}
	return Concat(0, wide...)
}

// Gather takes the listed elements of a dimension in this order; an element may come twice or never.
func Gather(t Tensor, axis int, index []int64) (Tensor, error) {
	a, ok := t.axis(axis)
	if !ok {
		return Tensor{}, invalid(t, "choice from dimension %d, its shape is %v", axis, t.Shape)
	}
	for _, i := range index {
		if i < 0 || i >= t.Shape[a] {
			return Tensor{}, invalid(t, "choice of element %d of dimension %d, which has %d", i, axis, t.Shape[a])
		}
	}
	if r, ok := follow(&t, func(p *product) (Tensor, bool) {
		return p.along(a, func(f Tensor) (Tensor, error) { return Gather(f, a, index) })
	}); ok {
		return r, nil
	}
	out := t
	out.Shape = slices.Clone(t.Shape)
	out.Shape[a] = int64(len(index))
	index = slices.Clone(index)
	if a == len(t.Shape)-1 {
		out.Reader = &pick{src: t, index: index}
		return out, nil
	}
	inner, n, k := t.inner(a), t.Shape[a], int64(len(index))
	out.Reader = &gather{[]Tensor{t}, t.RowBytes(), func(row int64) (int, int64, int64) {
		outer, rest := row/(k*inner), row%(k*inner)
		i, in := rest/inner, rest%inner
		// Neighbours in the list that are neighbours in the source are one run.
		run := inner - in
		for j := i; j+1 < k && index[j+1] == index[j]+1; j++ {
			run += inner
		}
		return 0, (outer*n+index[i])*inner + in, run
	}}
	return out, nil
}

// PadRows appends rows of zeros until the first dimension has n.
func PadRows(t Tensor, n int64) (Tensor, error) {
	if len(t.Shape) == 0 || t.Shape[0] > n {
		return Tensor{}, invalid(t, "padding of shape %v to %d", t.Shape, n)
	}
	shape := slices.Clone(t.Shape)
	shape[0] = n - t.Shape[0]
	if shape[0] == 0 {
		return t, nil
	}
	if r, ok := follow(&t, func(p *product) (Tensor, bool) { return p.padded(n) }); ok {
		return r, nil
	}
	return Concat(0, t, Zeros(t.Name, t.DType, shape))
}
