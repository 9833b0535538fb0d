package view

import (
	"context"
	"slices"
)

// Reshape gives the same elements another shape; one dimension may be -1: what is left.
func Reshape(t Tensor, shape ...int64) (Tensor, error) {
	shape = slices.Clone(shape)
	known, free := int64(1), -1
	for i, d := range shape {
		switch {
		case d == -1 && free < 0:
			free = i
		case d < 0 || (d > 0 && known > (1<<62)/d):
			return Tensor{}, invalid(t, "shape %v as the new shape of %v", shape, t.Shape)
		default:
			known *= d
		}
	}
	if free >= 0 {
		if known == 0 || t.Elements()%known != 0 {
			return Tensor{}, invalid(t, "shape %v as the new shape of %v", shape, t.Shape)
		}
		shape[free] = t.Elements() / known
		known *= shape[free]
	}
	if known != t.Elements() {
		return Tensor{}, invalid(t, "shape %v with %d elements as the new shape of %v with %d", shape, known, t.Shape, t.Elements())
	}
	if r, ok := follow(&t, func(p *product) (Tensor, bool) { return p.reshaped(shape) }); ok {
		return r, nil
	}
	out := t
	out.Shape = shape
	// Rows of the same length are the same rows: only their counting changes.
	if out.RowLen() != t.RowLen() {
		out.Reader = &recut{src: t, row: out.RowBytes()}
	}
	return out, nil
}

// recut yields the bytes of src cut into rows of another length.
type recut struct {
	src Tensor
	row int64
}

func (r *recut) ReadRows(ctx context.Context, dst []byte, lo, hi int64) error {
	return readFlat(ctx, &r.src, dst, lo*r.row)
}

func (r *recut) readFlat(ctx context.Context, dst []byte, off int64) error {
	return readFlat(ctx, &r.src, dst, off)
}

// Squeeze drops a dimension of size 1.
func Squeeze(t Tensor, axis int) (Tensor, error) {
	a, ok := t.axis(axis)
	if !ok || t.Shape[a] != 1 {
		return Tensor{}, invalid(t, "dimension %d of shape %v is not 1 and cannot be dropped", axis, t.Shape)
	}
	return Reshape(t, slices.Delete(slices.Clone(t.Shape), a, a+1)...)
}

// SqueezeAll drops every dimension of size 1, as torch's squeeze without arguments.
func SqueezeAll(t Tensor) (Tensor, error) {
	return Reshape(t, slices.DeleteFunc(slices.Clone(t.Shape), func(d int64) bool { return d == 1 })...)
}

// Unsqueeze adds a dimension of size 1 before dimension axis; -1 adds it behind the last.
func Unsqueeze(t Tensor, axis int) (Tensor, error) {
	if axis < 0 {
		axis += len(t.Shape) + 1
	}
	if axis < 0 || axis > len(t.Shape) {
		return Tensor{}, invalid(t, "a new dimension %d in shape %v", axis, t.Shape)
	}
	return Reshape(t, slices.Insert(slices.Clone(t.Shape), axis, 1)...)
}

// Transpose exchanges the last two dimensions. It reads tiles: see transposed.
func Transpose(t Tensor) (Tensor, error) {
	n := len(t.Shape)
	if n < 2 {
		return Tensor{}, invalid(t, "transposition of shape %v", t.Shape)
	}
	if r, ok := follow(&t, func(p *product) (Tensor, bool) { return p.transposed() }); ok {
		return r, nil
	}
	out := t
	out.Shape = slices.Clone(t.Shape)
	out.Shape[n-2], out.Shape[n-1] = t.Shape[n-1], t.Shape[n-2]
	if out.Shape[n-2] == 1 || out.Shape[n-1] == 1 { // the bytes stay where they are
		return Reshape(t, out.Shape...)
	}
	out.Reader = &transposed{src: t, rows: t.Shape[n-2], cols: t.Shape[n-1], size: t.DType.Size()}
	return out, nil
}

// Permute orders the dimensions anew: dimension i of the result is dimension axes[i] of t, as torch's permute.
// Moving the last dimension goes through Transpose and then reads matrix by matrix: meant for small tensors.
func Permute(t Tensor, axes ...int) (Tensor, error) {
	n := len(t.Shape)
	seen := make([]bool, n)
	for _, a := range axes {
		if a < 0 || a >= n || seen[a] || len(axes) != n {
			return Tensor{}, invalid(t, "order %v of the dimensions of shape %v", axes, t.Shape)
		}
		seen[a] = true
	}
	if r, ok := follow(&t, func(p *product) (Tensor, bool) { return p.permuted(axes) }); ok {
		return r, nil
	}
	if n == 0 || axes[n-1] == n-1 {
		return permuteRows(t, axes), nil
	}
	// Bring the new last dimension beside the old one, exchange the two, put the rest in order.
	// Three steps, each of which exists already: rows, transposition, rows.
	last := axes[n-1]
	var first []int
	for _, a := range axes[:n-1] {
		if a != n-1 {
			first = append(first, a)
		}
	}
	beside, err := Transpose(permuteRows(t, append(slices.Clone(first), last, n-1)))
	if err != nil {
		return Tensor{}, err
	}
	now := append(first, n-1, last) // the dimensions of t in the order in which they stand now
	order := make([]int, n)
	for i, a := range axes {
		order[i] = slices.Index(now, a)
	}
	return permuteRows(beside, order), nil
}

// permuteRows is Permute where the last dimension stays.
func permuteRows(t Tensor, axes []int) Tensor {
	n := len(axes)
	if slices.IsSorted(axes) {
		return t
	}
	out := t
	out.Shape = make([]int64, n)
	strides := make([]int64, n-1) // in rows of t, by output dimension
	for i, a := range axes {
		out.Shape[i] = t.Shape[a]
		if i < n-1 {
			strides[i] = t.inner(a)
		}
	}
	dims := out.Shape[:n-1]
	out.Reader = &gather{[]Tensor{t}, t.RowBytes(), func(row int64) (int, int64, int64) {
		// Row-major index of the output, digit by digit from the innermost dimension, to a row of the source.
		src, run := int64(0), int64(1)
		for i := n - 2; i >= 0; i-- {
			at := row % dims[i]
			row /= dims[i]
			src += at * strides[i]
			if i == n-2 && strides[i] == 1 {
				run = dims[i] - at
			}
		}
		return 0, src, run
	}}
	return out
}

// Rotary reorders the rows of a query or key projection (or its bias) from the layout of Hugging Face's rotary
// embedding, two halves of a head, to that of llama.cpp, pairs (conversion/llama.py, permute).
func Rotary(t Tensor, heads int64) (Tensor, error) {
	if len(t.Shape) == 0 || heads <= 0 || t.Shape[0]%(2*heads) != 0 {
		return Tensor{}, invalid(t, "%d rotary heads in shape %v", heads, t.Shape)
	}
	// (heads, 2, half, ...) with the two middle dimensions exchanged: row i of each half becomes rows 2i and 2i+1.
	split := append([]int64{heads, 2, t.Shape[0] / heads / 2}, t.Shape[1:]...)
	axes := []int{0, 2, 1}
	for i := 3; i < len(split); i++ {
		axes = append(axes, i)
	}
	r, err := Reshape(t, split...)
	if err != nil {
		return Tensor{}, err
	}
	if r, err = Permute(r, axes...); err != nil {
		return Tensor{}, err
	}
	return Reshape(r, t.Shape...)
}

// Regroup splits a fused tensor whose first dimension is groups x (a member of each size), as fused query-key-value
// projections store one group per key-value head: the result i holds member i of every group, one behind the other.
func Regroup(t Tensor, groups int64, sizes ...int64) ([]Tensor, error) {
	each := int64(0)
	for _, s := range sizes {
		each += s
	}
	if len(t.Shape) == 0 || groups <= 0 || each*groups != t.Shape[0] {
		return nil, invalid(t, "%d groups of %v rows in shape %v", groups, sizes, t.Shape)
	}
	grouped, err := Reshape(t, append([]int64{groups, each}, t.Shape[1:]...)...)
	if err != nil {
		return nil, err
	}
	parts, err := Split(grouped, 1, sizes...)
	if err != nil {
		return nil, err
	}
	for i := range parts {
		if parts[i], err = Reshape(parts[i], append([]int64{groups * sizes[i]}, t.Shape[1:]...)...); err != nil {
			return nil, err
		}
	}
	return parts, nil
}
