// Package view makes tensors out of tensors without reading them.
//
// An operation takes tensors and gives one whose rows are made when they are asked for:
//
//	choose rows       Slice Rows Split Index Gather Concat Stack PadRows Rotary Regroup Permute
//	cut rows anew     Columns Reshape Squeeze Unsqueeze Transpose
//	compute           Cast Scale Divide AddScalar Negate Exp Map MapRows MapInts Zip
//	make              FromFile FromReader Values Zeros Deferred Product
//
// Choosing rows costs a read a run of rows, computing costs a pass over the rows asked for. What is missing is a
// RowReader of one's own (RowFunc) over other tensors: dequantization of several stored tensors into one is that.
// Sums over whole tensors go through Each, in Deferred where a tensor depends on them.
//
// Held by tests, not by the compiler:
//   - Every operation yields what a naive one on whole arrays yields, alone and in chains (TestOperationsEqualNaive).
//   - ReadRows allocates nothing that grows with the tensor (TestReadAllocationsAreBounded).
//   - Many goroutines may read one view.
//   - A shape that does not fit is an error with the tensor's name (*fault.Invalid), never a panic.
//
// Memory: an operation holds chunk bytes (256 KiB) of source rows while ReadRows runs, or one row where a row is larger,
// and as much again in float32 where it computes; in a chain each operation holds its own.
//
// Price: an operation that needs whole columns has to tile, and states its bound: Transpose, and Permute where it moves
// the last dimension.
package view

import (
	"context"

	"quern/convert/safetensors"
)

// RowReader yields rows of a tensor.
//
// ReadRows fills dst with rows [lo, hi), little-endian, in the tensor's DType; len(dst) is exactly
// (hi-lo) x the bytes of a row. It is safe for concurrent use and allocates nothing that grows with the tensor.
type RowReader interface {
	ReadRows(ctx context.Context, dst []byte, lo, hi int64) error
}

// Tensor is a lazy tensor: values appear when rows are asked for, never before.
//
// Shape is outermost first, as in the checkpoint; a row is the last dimension. A tensor of no dimensions is one row of one element.
type Tensor struct {
	Name   string
	DType  safetensors.DType // of the rows that ReadRows yields
	Shape  []int64
	Reader RowReader
}

// RowLen is the number of elements of a row.
func (t Tensor) RowLen() int64 {
	if len(t.Shape) == 0 {
		return 1
	}
	return t.Shape[len(t.Shape)-1]
}

// Rows is the number of rows: the product of all dimensions but the last.
func (t Tensor) Rows() int64 {
	n := int64(1)
	for i := 0; i < len(t.Shape)-1; i++ {
		n *= t.Shape[i]
	}
	return n
}

// Elements is the number of elements of the whole tensor.
func (t Tensor) Elements() int64 { return t.Rows() * t.RowLen() }

// RowBytes is the number of bytes of a row in DType.
func (t Tensor) RowBytes() int64 { return t.RowLen() * t.DType.Size() }

// ReadRows fills dst with rows [lo, hi) in DType.
func (t Tensor) ReadRows(ctx context.Context, dst []byte, lo, hi int64) error {
	return t.Reader.ReadRows(ctx, dst, lo, hi)
}
