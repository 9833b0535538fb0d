package dequant

import (
	"context"
	"encoding/binary"
	"fmt"

	"quern/convert/fault"
	"quern/convert/safetensors"
	"quern/convert/view"
)

// Packed is a matrix of compressed-tensors' packed integers: words [rows, columns/per] with per codes each, scales
// [rows, columns/group] and, where codes are not symmetric, zeros [rows/per, columns/group] packed along the first dimension.
// Extent is the stored pair of rows and columns. Source: conversion/base.py, dequant_packed.
type Packed struct {
	Codes, Scales, Extent view.Tensor
	Zeros                 *view.Tensor // nil: the middle of the codes is zero
	Bits, Group           int64
}

const wordBits = 32

// Tensor is the matrix in float32.
func (p Packed) Tensor(name string) (view.Tensor, error) {
	out := view.Tensor{Name: name, DType: safetensors.F32}
	c, s := p.Codes.Shape, p.Scales.Shape
	if p.Bits < 1 || p.Bits > 8 || p.Group < 1 || p.Codes.DType != safetensors.I32 || !view.Widens(p.Scales.DType) || len(c) != 2 || len(s) != 2 ||
		c[0] != s[0] || p.Extent.Elements() != 2 || s[1] > view.MaxWhole {
		return out, invalid(out, "codes %s and scales %s, %d bits in groups of %d, contradict each other", typed(p.Codes), typed(p.Scales), p.Bits, p.Group)
	}
	r := &packed{Packed: p, per: wordBits / p.Bits}
	out.Shape = []int64{c[0], s[1] * p.Group}
	if have := c[1] * r.per; have < out.Shape[1] || have-out.Shape[1] >= r.per {
		return out, invalid(out, "%d words of %d codes in a row for %d groups of %d", c[1], r.per, s[1], p.Group)
	}
	if z := p.Zeros; z != nil && (z.DType != safetensors.I32 || len(z.Shape) != 2 || z.Shape[1] != s[1] || z.Shape[0] != (c[0]+r.per-1)/r.per) {
		return out, invalid(out, "zeros %s for scales %s", typed(*z), typed(p.Scales))
	}
	r.shape = out.Shape
	out.Reader = r
	return out, nil
}

type packed struct {
	Packed
	per   int64 // codes in a word
	shape []int64
}

func (p *packed) ReadRows(ctx context.Context, dst []byte, lo, hi int64) error {
	if lo == 0 { // once a tensor is enough; reading it while the file is planned would cost a request for each tensor
		if err := p.check(ctx); err != nil {
			return err
		}
	}
	wide, size := p.Codes.RowBytes(), p.shape[1]
	n := min(rowsOf(wide), hi-lo)
	buf := borrow(n*wide+p.Scales.RowLen()*wordBits/8, size)
	defer buf.release()
	f, z := &factors{scale: p.Scales}, &zeros{p: p, words: buf.bytes[n*wide:], have: -1}
	defer f.close()
	for lo < hi {
		k := min(n, hi-lo)
		codes := buf.bytes[:k*wide]
		if err := p.Codes.ReadRows(ctx, codes, lo, lo+k); err != nil {
			return err
		}
		for i := range k {
			scales, err := f.row(ctx, lo+i, lo+k-1)
			if err != nil {
				return err
			}
			if err := z.read(ctx, lo+i); err != nil {
				return err
			}
			p.row(buf.floats, codes[i*wide:], scales, z)
			put(dst, buf.floats)
			dst = dst[4*size:]
		}
		lo += k
	}
	return nil
}

// check compares the stored extent with the one that the shapes give.
func (p *packed) check(ctx context.Context) error {
	e, err := view.Ints(ctx, p.Extent)
	if err == nil && (e[0] != p.shape[0] || e[1] != p.shape[1]) {
		err = &fault.Invalid{On: fmt.Sprintf("tensor %q", p.Extent.Name), Says: fmt.Sprintf("%v, but codes and scales are %v", e, p.shape)}
	}
	return err
}

// row makes one row of values.
func (p *packed) row(dst []float32, codes []byte, scales []float32, z *zeros) {
	mask := uint32(1)<<p.Bits - 1
	per, bits := int(p.per), uint(p.Bits)
	for g := range scales {
		zero := z.of(g)
		for i := g * int(p.Group); i < (g+1)*int(p.Group); i++ {
			code := binary.LittleEndian.Uint32(codes[i/per*4:]) >> (uint(i%per) * bits) & mask
			dst[i] = float32(int32(code)-zero) * scales[g]
		}
	}
}

// zeros is a row of words of zeros, of which the row at hand takes some bits.
type zeros struct {
	p     *packed
	words []byte
	have  int64
	shift uint
}

func (z *zeros) read(ctx context.Context, row int64) error {
	if z.p.Zeros == nil {
		return nil
	}
	z.shift = uint(row%z.p.per) * uint(z.p.Bits)
	if at := row / z.p.per; at != z.have {
		z.have = at
		return z.p.Zeros.ReadRows(ctx, z.words[:z.p.Zeros.RowBytes()], at, at+1)
	}
	return nil
}

// of is the zero of a group.
func (z *zeros) of(group int) int32 {
	if z.p.Zeros == nil {
		return 1 << (z.p.Bits - 1)
	}
	return int32(binary.LittleEndian.Uint32(z.words[4*group:]) >> z.shift & (1<<z.p.Bits - 1))
}
