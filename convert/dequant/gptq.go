package dequant

import (
	"context"
	"encoding/binary"
	"fmt"

	"quern/convert/fault"
	"quern/convert/safetensors"
	"quern/convert/view"
)

// GPTQ is a matrix [out, in] of packed integers, stored the other way round: codes [in/per, out] with per codes in a word along
// the first dimension, zeros [groups, out/per] packed along the last, scales [groups, out], and for each of the in rows the
// group that it belongs to. The first format of zeros stores them less one. Source: conversion/base.py, dequant_gptq.
type GPTQ struct {
	Codes, Zeros, Scales, Groups view.Tensor
	Bits                         int64 // 2, 4 or 8
	Less                         bool  // zeros are stored less one
}

// Tensor is the matrix in float32.
func (g GPTQ) Tensor(name string) (view.Tensor, error) {
	out := view.Tensor{Name: name, DType: safetensors.F32}
	word := g.Codes.DType.Size() * 8
	per := int64(0)
	if g.Bits > 0 {
		per = word / g.Bits
	}
	c, z, s := g.Codes.Shape, g.Zeros.Shape, g.Scales.Shape
	if per == 0 || word > 32 || g.Zeros.DType != g.Codes.DType || !view.Widens(g.Scales.DType) || len(c) != 2 || len(z) != 2 || len(s) != 2 ||
		s[1] != c[1] || z[0] != s[0] || z[1]*per != c[1] || g.Groups.Elements() != c[0]*per {
		return out, invalid(out, "codes %s, zeros %s, scales %s and groups %s of %d bits contradict each other",
			typed(g.Codes), typed(g.Zeros), typed(g.Scales), typed(g.Groups), g.Bits)
	}
	out.Shape = []int64{c[1], c[0] * per}
	r := &gptq{GPTQ: g, per: per, in: out.Shape[1]}
	var err error
	for _, t := range []*view.Tensor{&r.Codes, &r.Zeros, &r.Scales} {
		if *t, err = view.Transpose(*t); err != nil {
			return out, err
		}
	}
	out.Reader = r
	return out, nil
}

// gptq holds everything transposed: a row of it is a column of what is stored.
type gptq struct {
	GPTQ
	per, in int64
}

// ReadRows takes as many columns of the codes at once as make a chunk four times as large as usual, since each of them
// costs a pass over the matrix.
func (g *gptq) ReadRows(ctx context.Context, dst []byte, lo, hi int64) error {
	groups, err := view.Ints(ctx, g.Groups)
	if err != nil {
		return err
	}
	for i, n := range groups {
		if n < 0 || n >= g.Scales.RowLen() {
			return &fault.Invalid{On: fmt.Sprintf("tensor %q", g.GPTQ.Groups.Name), Says: fmt.Sprintf("element %d is group %d of %d", i, n, g.Scales.RowLen())}
		}
	}
	wide, small := g.Codes.RowBytes(), g.Zeros.RowBytes()+g.Scales.RowBytes()
	n := min(rowsOf((wide+small)/4), hi-lo)
	buf := borrow(n*(wide+g.Scales.RowBytes())+(n/g.per+2)*g.Zeros.RowBytes(), g.in+g.Scales.RowLen())
	defer buf.release()
	for lo < hi {
		k := min(n, hi-lo)
		codes := buf.bytes[:k*wide]
		scales := buf.bytes[k*wide:][:k*g.Scales.RowBytes()]
		first, last := lo/g.per, (lo+k-1)/g.per
		zeros := buf.bytes[k*(wide+g.Scales.RowBytes()):][:(last-first+1)*g.Zeros.RowBytes()]
		if err := g.Codes.ReadRows(ctx, codes, lo, lo+k); err != nil {
			return err
		}
		if err := g.Scales.ReadRows(ctx, scales, lo, lo+k); err != nil {
			return err
		}
		if err := g.Zeros.ReadRows(ctx, zeros, first, last+1); err != nil {
			return err
		}
		for i := range k {
			at := (lo+i)/g.per - first
			row := gptqRow{
				bits: uint(g.Bits), shift: uint((lo+i)%g.per) * uint(g.Bits), size: int(g.Codes.DType.Size()), less: g.Less, groups: groups,
				codes: codes[i*wide : (i+1)*wide], zeros: zeros[at*g.Zeros.RowBytes():], scales: buf.floats[g.in:],
			}
			if err := view.Widen(row.scales, scales[i*g.Scales.RowBytes():], g.Scales.DType); err != nil {
				return err
			}
			row.values(buf.floats[:g.in])
			put(dst, buf.floats[:g.in])
			dst = dst[4*g.in:]
		}
		lo += k
	}
	return nil
}

// gptqRow is what makes one row of the matrix.
type gptqRow struct {
	codes, zeros []byte
	scales       []float32
	groups       []int64
	bits, shift  uint // of a code; of this row's zeros in their words
	size         int  // bytes of a word
	less         bool
}

func (r *gptqRow) values(dst []float32) {
	mask := uint32(1)<<r.bits - 1
	per := 8 * r.size / int(r.bits)
	for i := range dst {
		code := r.word(r.codes, i/per) >> (uint(i%per) * r.bits) & mask
		group := r.groups[i]
		zero := int32(r.word(r.zeros, int(group)) >> r.shift & mask)
		if r.less {
			zero++
		}
		dst[i] = r.scales[group] * float32(int32(code)-zero)
	}
}

func (r *gptqRow) word(b []byte, i int) uint32 {
	switch r.size {
	case 4:
		return binary.LittleEndian.Uint32(b[4*i:])
	case 2:
		return uint32(binary.LittleEndian.Uint16(b[2*i:]))
	}
	return uint32(b[i])
}
