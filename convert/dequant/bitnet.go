package dequant

import (
	"context"

	"quern/convert/safetensors"
	"quern/convert/view"
)

// Ternary is BitNet's packed weights: bytes [rows/4, columns], in which two bits each hold an element plus one of row r,
// r + rows/4, r + rows/2 and r + rows*3/4. The scale divides. Source: conversion/base.py, dequant_bitnet.
func Ternary(codes, scale view.Tensor) (view.Tensor, error) {
	out := codes
	if codes.DType.Size() != 1 || len(codes.Shape) == 0 || scale.Elements() != 1 || !view.Widens(scale.DType) {
		return out, invalid(codes, "%s with a scale of %s as packed ternary weights", typed(codes), typed(scale))
	}
	out.DType = safetensors.F32
	out.Shape = append([]int64{4 * codes.Shape[0]}, codes.Shape[1:]...)
	out.Reader = &ternary{codes, scale, max(1, codes.Rows())}
	if len(codes.Shape) == 1 {
		return out, invalid(codes, "%s as packed ternary weights: want a matrix", typed(codes))
	}
	return out, nil
}

type ternary struct {
	codes, scale view.Tensor
	quarter      int64 // rows of codes
}

func (t *ternary) ReadRows(ctx context.Context, dst []byte, lo, hi int64) error {
	f := &factors{scale: t.scale}
	defer f.close()
	factor, err := f.row(ctx, 0, 0)
	if err != nil {
		return err
	}
	var values [4]float32
	for i := range values {
		values[i] = (float32(i) - 1) / factor[0]
	}
	size := t.codes.RowLen()
	n := min(rowsOf(size), hi-lo)
	buf := borrow(n*size, size)
	defer buf.release()
	for lo < hi {
		part, row := lo/t.quarter, lo%t.quarter
		k := min(n, hi-lo, t.quarter-row)
		if err := t.codes.ReadRows(ctx, buf.bytes[:k*size], row, row+k); err != nil {
			return err
		}
		for i := range k {
			for j, b := range buf.bytes[i*size : (i+1)*size] {
				buf.floats[j] = values[b>>(2*part)&3]
			}
			put(dst, buf.floats)
			dst = dst[4*size:]
		}
		lo += k
	}
	return nil
}
