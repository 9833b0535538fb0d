package view

import (
	"context"
	"encoding/binary"
	"math"

	"quern/convert/fault"
	"quern/convert/safetensors"
)

// Number is an element type that Values takes.
type Number interface {
	float32 | float64 | int8 | uint8 | int16 | uint16 | int32 | uint32 | int64 | uint64
}

// Values is a small tensor from memory: generated tensors such as rope factors. values are copied, row by row.
// The error says that their number does not fit the shape.
func Values[T Number](name string, shape []int64, values []T) (Tensor, error) {
	var zero T
	t := Tensor{Name: name, DType: dtypeOf(zero), Shape: shape}
	if n := t.Elements(); n != int64(len(values)) {
		return Tensor{}, invalid(t, "%d values for shape %v, which has %d", len(values), shape, n)
	}
	b := make([]byte, 0, len(values)*int(t.DType.Size()))
	for _, v := range values {
		b = appendNumber(b, v)
	}
	t.Reader = &memory{b, t.RowBytes()}
	return t, nil
}

func dtypeOf(v any) safetensors.DType {
	switch v.(type) {
	case float32:
		return safetensors.F32
	case float64:
		return safetensors.F64
	case int8:
		return safetensors.I8
	case uint8:
		return safetensors.U8
	case int16:
		return safetensors.I16
	case uint16:
		return safetensors.U16
	case int32:
		return safetensors.I32
	case uint32:
		return safetensors.U32
	case int64:
		return safetensors.I64
	}
	return safetensors.U64
}

func appendNumber(b []byte, v any) []byte {
	le := binary.LittleEndian
	switch v := v.(type) {
	case float32:
		return le.AppendUint32(b, math.Float32bits(v))
	case float64:
		return le.AppendUint64(b, math.Float64bits(v))
	case int8:
		return append(b, byte(v))
	case uint8:
		return append(b, v)
	case int16:
		return le.AppendUint16(b, uint16(v))
	case uint16:
		return le.AppendUint16(b, v)
	case int32:
		return le.AppendUint32(b, uint32(v))
	case uint32:
		return le.AppendUint32(b, v)
	case int64:
		return le.AppendUint64(b, uint64(v))
	case uint64:
		return le.AppendUint64(b, v)
	}
	return b
}

// memory is a tensor whose bytes are here already.
type memory struct {
	data []byte
	row  int64
}

func (m *memory) ReadRows(ctx context.Context, dst []byte, lo, hi int64) error {
	return m.readFlat(ctx, dst, lo*m.row)
}

func (m *memory) readFlat(ctx context.Context, dst []byte, off int64) error {
	if off < 0 || int64(len(dst)) > int64(len(m.data))-off {
		return &fault.Invalid{Says: "rows beyond the end of a constant tensor"}
	}
	copy(dst, m.data[off:])
	return ctx.Err()
}

// Zeros is a tensor of zeros of any size.
func Zeros(name string, d safetensors.DType, shape []int64) Tensor {
	return Tensor{Name: name, DType: d, Shape: shape, Reader: zeros{}}
}

// zeros costs nothing at any size: padding of vocabularies.
type zeros struct{}

func (zeros) ReadRows(ctx context.Context, dst []byte, lo, hi int64) error {
	clear(dst)
	return ctx.Err()
}

func (zeros) readFlat(ctx context.Context, dst []byte, off int64) error {
	clear(dst)
	return ctx.Err()
}
