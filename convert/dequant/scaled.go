package dequant

import (
	"context"
	"encoding/binary"
	"math"

	"quern/convert/safetensors"
	"quern/convert/view"
)

// Scaled is weight x scale in float32. With block, each element of the scale stands for a block of that extent along the last
// dimensions, the last blocks cut off at the weight's edge; without it the scale is spread over the dimensions that it lacks at
// the end: one for the tensor, or one for a row. Source: conversion/base.py, dequant_simple.
func Scaled(weight, scale view.Tensor, block []int64) (view.Tensor, error) {
	s := &scaled{weight: weight, scale: scale}
	n := len(weight.Shape)
	fail := func() (view.Tensor, error) {
		return weight, invalid(weight, "%s with a scale of %s and blocks of %v", typed(weight), typed(scale), block)
	}
	if !view.Widens(weight.DType) || !view.Widens(scale.DType) || n == 0 || len(scale.Shape) > n || block != nil && len(scale.Shape) != n || len(block) > n {
		return fail()
	}
	// Extents of the scale's dimensions, ones where it has none, and how many of the weight's elements one stands for.
	s.dims, s.each = make([]int64, n), make([]int64, n)
	for i := range n {
		s.dims[i], s.each[i] = 1, 1
		if i < len(scale.Shape) {
			s.dims[i] = scale.Shape[i]
		}
		if b := i - (n - len(block)); b >= 0 {
			s.each[i] = block[b]
		}
		if s.each[i] <= 0 || s.dims[i] != 1 && (s.dims[i]-1)*s.each[i] >= weight.Shape[i] || s.dims[i]*s.each[i] < weight.Shape[i] && s.dims[i]*s.each[i] != 1 {
			return fail()
		}
	}
	last := n - 1
	flat, err := view.Reshape(scale, -1, s.dims[last]) // a row of the scale for each combination of the outer dimensions
	if err != nil {
		return fail()
	}
	s.scale = flat
	out := weight
	out.DType, out.Reader = safetensors.F32, s
	return out, nil
}

type scaled struct {
	weight, scale view.Tensor
	dims, each    []int64
}

// ReadRows reads what a chunk of rows needs of the scale at once.
func (s *scaled) ReadRows(ctx context.Context, dst []byte, lo, hi int64) error {
	size, wide := s.weight.RowLen(), s.weight.RowBytes()
	n := min(rowsOf(wide), hi-lo)
	buf := borrow(n*wide, size)
	defer buf.release()
	f := &factors{scale: s.scale}
	defer f.close()
	for lo < hi {
		k := min(n, hi-lo)
		if err := s.weight.ReadRows(ctx, buf.bytes[:k*wide], lo, lo+k); err != nil {
			return err
		}
		for i := range k {
			factor, err := f.row(ctx, s.scaleRow(lo+i), s.scaleRow(lo+k-1))
			if err != nil {
				return err
			}
			if err := s.product(dst[:4*size], buf.bytes[i*wide:(i+1)*wide], factor, buf.floats); err != nil {
				return err
			}
			dst = dst[4*size:]
		}
		lo += k
	}
	return nil
}

// factors holds some rows of a scale.
type factors struct {
	scale  view.Tensor
	buf    *scratch
	lo, hi int64
}

func (f *factors) close() {
	if f.buf != nil {
		f.buf.release()
	}
}

// row gives a row; where it is not at hand it reads on to row until, if that lies ahead.
func (f *factors) row(ctx context.Context, at, until int64) ([]float32, error) {
	size, wide := f.scale.RowLen(), f.scale.RowBytes()
	if at < f.lo || at >= f.hi {
		n := min(max(1, until-at+1), rowsOf(wide))
		f.close()
		f.buf, f.lo, f.hi = borrow(n*wide, n*size), at, at+n
		if err := f.scale.ReadRows(ctx, f.buf.bytes, at, at+n); err != nil {
			return nil, err
		}
		if err := view.Widen(f.buf.floats, f.buf.bytes, f.scale.DType); err != nil {
			return nil, err
		}
	}
	return f.buf.floats[(at-f.lo)*size:][:size], nil
}

// scaleRow is the row of the scale that holds for a row of the weight.
func (s *scaled) scaleRow(row int64) int64 {
	at, stride := int64(0), int64(1)
	for i := len(s.dims) - 2; i >= 0; i-- {
		x := row % s.weight.Shape[i]
		row /= s.weight.Shape[i]
		if s.dims[i] > 1 {
			at += x / s.each[i] * stride
		}
		stride *= s.dims[i]
	}
	return at
}

// product is a row of the weight times its factors. Of eight-bit floats, which most such checkpoints have, it is one pass.
func (s *scaled) product(dst, src []byte, factor, floats []float32) error {
	table := view.Table(s.weight.DType)
	if table == nil {
		if err := view.Widen(floats, src, s.weight.DType); err != nil {
			return err
		}
		s.multiply(floats, factor)
		put(dst, floats)
		return nil
	}
	each := len(src)
	if len(factor) > 1 {
		each = int(s.each[len(s.each)-1])
	}
	for _, f := range factor {
		n := min(each, len(src))
		tableTimes(dst[:4*n], src[:n], table, f)
		dst, src = dst[4*n:], src[n:]
	}
	return nil
}

// tableTimes writes what bytes stand for, times f: eight at a time, two to a word.
func tableTimes(dst, src []byte, table *[256]float32, f float32) {
	le := binary.LittleEndian
	pair := func(w uint64) uint64 {
		return uint64(math.Float32bits(table[byte(w)]*f)) | uint64(math.Float32bits(table[byte(w>>8)]*f))<<32
	}
	for ; len(src) >= 8 && len(dst) >= 32; dst, src = dst[32:], src[8:] {
		w := le.Uint64(src)
		le.PutUint64(dst, pair(w))
		le.PutUint64(dst[8:], pair(w>>16))
		le.PutUint64(dst[16:], pair(w>>32))
		le.PutUint64(dst[24:], pair(w>>48))
	}
	for i, b := range src {
		le.PutUint32(dst[4*i:], math.Float32bits(table[b]*f))
	}
}

func (s *scaled) multiply(values, factor []float32) {
	if len(factor) == 1 {
		scaleBy(values, factor[0])
		return
	}
	each := int(s.each[len(s.each)-1])
	for _, f := range factor {
		n := min(each, len(values))
		scaleBy(values[:n], f)
		values = values[n:]
	}
}

func scaleBy(v []float32, f float32) {
	for i := range v {
		v[i] *= f
	}
}

// put writes float32 values, little-endian.
func put(dst []byte, v []float32) {
	dst = dst[:4*len(v)]
	for i, x := range v {
		binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(x))
	}
}
