package view

// Products of two factors, as low-rank adapters store the change of a matrix. An operation on a product is done on the
// factors where that is exact, so that the rules written for a model's matrices hold for its adapters too: rows are the
// second factor's, columns the first one's, and a stack of products is two stacks. Anything else works on the values and
// loses the factors; Factors then says no.

import (
	"context"
	"slices"

	"quern/convert/safetensors"
)

// product yields b times a: a is (..., rank, columns), b is (..., rows, rank), and dimensions before the last two are equal or 1
// in a. Products with one root have the same a but for its dimensions of size 1.
type product struct {
	a, b Tensor
	root *int
}

// Product is the matrix b a, with its factors kept. a has shape (rank, columns) and b (rows, rank); both may have the same
// dimensions before these. The type is the factors' own, F32 where they differ.
func Product(name string, a, b Tensor) (Tensor, error) {
	n := len(a.Shape)
	if n < 2 || n != len(b.Shape) || a.Shape[n-2] != b.Shape[n-1] || !slices.Equal(a.Shape[:n-2], b.Shape[:n-2]) {
		return Tensor{}, invalid(Tensor{Name: name}, "factors of shapes %v and %v do not go together", a.Shape, b.Shape)
	}
	if a.DType != b.DType {
		var err error
		if a, err = Cast(a, safetensors.F32); err != nil {
			return Tensor{}, err
		}
		if b, err = Cast(b, safetensors.F32); err != nil {
			return Tensor{}, err
		}
	}
	return (&product{a, b, new(int)}).tensor().Named(name), nil
}

// Factors gives the factors of a product, as Product takes them. ok is false for other tensors, and for products that went
// through an operation that their factors could not follow.
func Factors(t Tensor) (a, b Tensor, ok bool) {
	p, ok := t.Reader.(*product)
	if !ok {
		return Tensor{}, Tensor{}, false
	}
	return p.a, p.b, true
}

// follow does an operation on the factors of t, if it has any. Where they cannot follow, t becomes a tensor without factors.
func follow(t *Tensor, do func(*product) (Tensor, bool)) (Tensor, bool) {
	p, ok := t.Reader.(*product)
	if !ok {
		return Tensor{}, false
	}
	r, ok := do(p)
	if !ok {
		t.Reader = RowFunc(p.ReadRows)
	}
	return r.Named(t.Name), ok
}

func (p *product) tensor() Tensor {
	n := len(p.b.Shape)
	shape := append(slices.Clone(p.b.Shape[:n-1]), p.a.Shape[n-1])
	return Tensor{DType: p.b.DType, Shape: shape, Reader: p}
}

// stacked tells whether a differs along the dimensions before the last two.
func (p *product) stacked() bool {
	n := len(p.a.Shape)
	return slices.ContainsFunc(p.a.Shape[:n-2], func(d int64) bool { return d != 1 })
}

// both is the product of factors that one operation was done on; any error means that they cannot follow.
func (p *product) both(root *int, a, b Tensor, errs ...error) (Tensor, bool) {
	for _, err := range errs {
		if err != nil {
			return Tensor{}, false
		}
	}
	return (&product{a, b, root}).tensor(), true
}

// ones is a shape of n dimensions that begins with ones.
func (p *product) ones(n int) []int64 {
	k := len(p.a.Shape)
	shape := slices.Repeat([]int64{1}, n)
	copy(shape[n-2:], p.a.Shape[k-2:])
	return shape
}

// reshaped follows Reshape where rows stay rows.
func (p *product) reshaped(shape []int64) (Tensor, bool) {
	n, k := len(shape), len(p.b.Shape)
	if n < 2 || shape[n-1] != p.a.Shape[k-1] {
		return Tensor{}, false
	}
	if p.stacked() { // the stack may be regrouped, the matrices not
		if shape[n-2] != p.b.Shape[k-2] {
			return Tensor{}, false
		}
		a, err := Reshape(p.a, append(slices.Clone(shape[:n-2]), p.a.Shape[k-2:]...)...)
		b, errB := Reshape(p.b, append(slices.Clone(shape[:n-2]), p.b.Shape[k-2:]...)...)
		return p.both(new(int), a, b, err, errB)
	}
	a, err := Reshape(p.a, p.ones(n)...)
	b, errB := Reshape(p.b, append(slices.Clone(shape[:n-1]), p.b.Shape[k-1])...)
	return p.both(p.root, a, b, err, errB)
}

// along follows an operation on one dimension: do is it, on either factor.
func (p *product) along(axis int, do func(Tensor) (Tensor, error)) (Tensor, bool) {
	n := len(p.b.Shape)
	switch {
	case axis == n-1:
		a, err := do(p.a)
		return p.both(new(int), a, p.b, err)
	case axis == n-2 || p.a.Shape[axis] == 1 && p.b.Shape[axis] != 1:
		b, err := do(p.b)
		return p.both(p.root, p.a, b, err)
	}
	a, err := do(p.a)
	b, errB := do(p.b)
	return p.both(new(int), a, b, err, errB)
}

// scaled follows an operation that commutes with multiplication by a matrix.
func (p *product) scaled(do func(Tensor) (Tensor, error)) (Tensor, bool) {
	b, err := do(p.b)
	return p.both(p.root, p.a, b, err)
}

func (p *product) cast(d safetensors.DType) (Tensor, bool) {
	a, err := Cast(p.a, d)
	b, errB := Cast(p.b, d)
	return p.both(p.root, a, b, err, errB)
}

// padded follows PadRows for a matrix.
func (p *product) padded(n int64) (Tensor, bool) {
	if len(p.b.Shape) != 2 {
		return Tensor{}, false
	}
	b, err := PadRows(p.b, n)
	return p.both(p.root, p.a, b, err)
}

// transposed follows Transpose: the factors change places.
func (p *product) transposed() (Tensor, bool) {
	n := len(p.b.Shape)
	if !slices.Equal(p.a.Shape[:n-2], p.b.Shape[:n-2]) {
		return Tensor{}, false
	}
	a, err := Transpose(p.b)
	b, errB := Transpose(p.a)
	return p.both(new(int), a, b, err, errB)
}

// permuted follows Permute: of rows, of whole matrices in a stack, or the exchange of the last two dimensions.
func (p *product) permuted(axes []int) (Tensor, bool) {
	n := len(axes)
	switch {
	case n < 2:
		return Tensor{}, false
	case axes[n-1] == n-1 && !p.stacked():
		b, err := Permute(p.b, axes...)
		return p.both(p.root, p.a, b, err)
	case axes[n-1] == n-1 && axes[n-2] == n-2:
		a, err := Permute(p.a, axes...)
		b, errB := Permute(p.b, axes...)
		return p.both(new(int), a, b, err, errB)
	case axes[n-1] == n-2 && axes[n-2] == n-1 && slices.IsSorted(axes[:n-2]):
		return p.transposed()
	}
	return Tensor{}, false
}

// joined follows Concat: matrices into a stack, or rows below rows of the very same first factor.
func joined(axis int, ts []Tensor) (Tensor, bool) {
	first, ok := ts[0].Reader.(*product)
	if !ok {
		return Tensor{}, false
	}
	n := len(ts[0].Shape)
	as, bs := make([]Tensor, len(ts)), make([]Tensor, len(ts))
	rows := axis == n-2
	for i, t := range ts {
		p, ok := t.Reader.(*product)
		if !ok || rows && p.root != first.root || axis < n-2 && p.a.Shape[axis] != p.b.Shape[axis] {
			return Tensor{}, false
		}
		as[i], bs[i] = p.a, p.b
	}
	if axis == n-1 {
		return Tensor{}, false
	}
	b, err := Concat(axis, bs...)
	if rows {
		return first.both(first.root, first.a, b, err)
	}
	a, errA := Concat(axis, as...)
	return first.both(new(int), a, b, err, errA)
}

// ReadRows multiplies in float32. It holds one first factor and a few rows.
func (p *product) ReadRows(ctx context.Context, dst []byte, lo, hi int64) error {
	n := len(p.b.Shape)
	rows, rank, cols := p.b.Shape[n-2], p.b.Shape[n-1], p.a.Shape[n-1]
	raw := make([]byte, max(rank*p.a.RowBytes(), p.b.RowBytes()))
	a, weights, sum := make([]float32, rank*cols), make([]float32, rank), make([]float32, cols)
	held := int64(-1) // the matrix whose a is held
	for ; lo < hi; lo++ {
		if m := p.matrix(lo / rows); m != held {
			if err := p.a.ReadRows(ctx, raw[:rank*p.a.RowBytes()], m*rank, (m+1)*rank); err != nil {
				return err
			}
			if err := Widen(a, raw, p.a.DType); err != nil {
				return err
			}
			held = m
		}
		if err := p.b.ReadRows(ctx, raw[:p.b.RowBytes()], lo, lo+1); err != nil {
			return err
		}
		if err := Widen(weights, raw, p.b.DType); err != nil {
			return err
		}
		clear(sum)
		for k, w := range weights {
			for i, v := range a[int64(k)*cols : int64(k+1)*cols] {
				sum[i] += float32(w * v)
			}
		}
		if err := Narrow(dst[:cols*p.b.DType.Size()], sum, p.b.DType); err != nil {
			return err
		}
		dst = dst[cols*p.b.DType.Size():]
	}
	return nil
}

// matrix is the number of the first factor that goes with the i-th second one.
func (p *product) matrix(i int64) int64 {
	n, at, step := len(p.b.Shape), int64(0), int64(1)
	for d := n - 3; d >= 0; d-- {
		if p.a.Shape[d] != 1 {
			at += i % p.b.Shape[d] * step
		}
		i /= p.b.Shape[d]
		step *= p.a.Shape[d]
	}
	return at
}
