package view

import (
	"context"
	"fmt"
	"io"

	"quern/convert/safetensors"
)

// flatReader is a RowReader that can start anywhere inside a row; off and len(dst) are bytes.
// Readers over contiguous memory or files have it: reshaping and cutting columns then read no byte twice.
type flatReader interface {
	readFlat(ctx context.Context, dst []byte, off int64) error
}

// FromFile is the stored tensor itself. Packed types, whose elements are no whole bytes (F4, F6), come as U8 with
// the last dimension counted in bytes.
func FromFile(e safetensors.Entry, r io.ReaderAt) Tensor {
	t := Tensor{Name: e.Name, DType: e.DType, Shape: e.Shape}
	if e.DType.Size() == 0 {
		t.DType, t.Shape = safetensors.U8, packedShape(e)
	}
	t.Reader = &file{name: e.Name, r: r, at: e.Offset, size: e.Size, row: t.RowBytes()}
	return t
}

// packedShape counts the last dimension in bytes; where a row is no whole number of bytes the tensor is one row.
func packedShape(e safetensors.Entry) []int64 {
	n := len(e.Shape)
	if n > 0 && e.Shape[n-1]*e.DType.Bits()%8 == 0 {
		return append(append([]int64(nil), e.Shape[:n-1]...), e.Shape[n-1]*e.DType.Bits()/8)
	}
	return []int64{e.Size}
}

// FromReader is a tensor whose rows stand one behind the other in r from byte offset on: a stored tensor of a
// GGUF file or of a PyTorch storage.
func FromReader(name string, d safetensors.DType, shape []int64, r io.ReaderAt, offset int64) Tensor {
	t := Tensor{Name: name, DType: d, Shape: shape}
	t.Reader = &file{name: name, r: r, at: offset, size: t.Rows() * t.RowBytes(), row: t.RowBytes()}
	return t
}

type file struct {
	name string
	r    io.ReaderAt
	at   int64
	size int64
	row  int64 // bytes
}

// ReadRows is one read, however many rows: they are contiguous.
func (f *file) ReadRows(ctx context.Context, dst []byte, lo, hi int64) error {
	return f.readFlat(ctx, dst, lo*f.row)
}

func (f *file) readFlat(ctx context.Context, dst []byte, off int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if off < 0 || int64(len(dst)) > f.size-off {
		return fmt.Errorf("tensor %q: bytes %d to %d asked for, it has %d", f.name, off, off+int64(len(dst)), f.size)
	}
	// An io.ReaderAt may return io.EOF with the last full read.
	n, err := f.r.ReadAt(dst, f.at+off)
	if n == len(dst) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("tensor %q: read %d of %d bytes at offset %d of its file: %w", f.name, n, len(dst), f.at+off, err)
}

// readFlat reads len(dst) bytes from byte off of the tensor on. It needs scratch for one row where the reader
// cannot start inside a row.
func readFlat(ctx context.Context, t *Tensor, dst []byte, off int64) error {
	if f, ok := t.Reader.(flatReader); ok {
		return f.readFlat(ctx, dst, off)
	}
	row := t.RowBytes()
	for len(dst) > 0 {
		at, skip := off/row, off%row
		if n := int64(len(dst)) / row; skip == 0 && n > 0 {
			if err := t.ReadRows(ctx, dst[:n*row], at, at+n); err != nil {
				return err
			}
			dst, off = dst[n*row:], off+n*row
			continue
		}
		s := borrow(row, 0)
		err := t.ReadRows(ctx, s.bytes, at, at+1)
		n := copy(dst, s.bytes[skip:])
		s.release()
		if err != nil {
			return err
		}
		dst, off = dst[n:], off+int64(n)
	}
	return nil
}
