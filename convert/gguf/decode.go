package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
)

// maxNesting is the depth of arrays that is read: an array of arrays. Nothing known nests deeper.
const maxNesting = 2

func (d *decoder) value(t ValueType) any {
	switch t {
	case String:
		return d.string("a text")
	case Array:
		return d.array(1)
	case Uint8, Int8, Uint16, Int16, Uint32, Int32, Float32, Bool, Uint64, Int64, Float64:
		return scalar(t, d.take(int(t.Size())))
	}
	if d.err == nil {
		d.err = &FormatError{Says: fmt.Sprintf("unknown %s", t)}
	}
	return nil
}

func scalar(t ValueType, b []byte) any {
	le := binary.LittleEndian
	switch t {
	case Uint8:
		return b[0]
	case Int8:
		return int8(b[0])
	case Uint16:
		return le.Uint16(b)
	case Int16:
		return int16(le.Uint16(b))
	case Uint32:
		return le.Uint32(b)
	case Int32:
		return int32(le.Uint32(b))
	case Float32:
		return math.Float32frombits(le.Uint32(b))
	case Bool:
		return b[0] != 0
	case Uint64:
		return le.Uint64(b)
	case Int64:
		return int64(le.Uint64(b))
	}
	return math.Float64frombits(le.Uint64(b))
}

func (d *decoder) array(depth int) any {
	t := ValueType(d.u32())
	each := t.Size()
	switch t {
	case String:
		each = d.lengthBytes()
	case Array:
		each = 4 + d.lengthBytes()
	}
	if each == 0 && d.err == nil {
		d.err = &FormatError{Says: fmt.Sprintf("an array of unknown %s", t)}
	}
	n := d.bounded("an array", each, MaxArray)
	switch t {
	case Uint8:
		b := d.bytes(n)
		if b == nil {
			b = []byte{}
		}
		return b
	case Int8:
		return scalars[int8](d, t, n)
	case Uint16:
		return scalars[uint16](d, t, n)
	case Int16:
		return scalars[int16](d, t, n)
	case Uint32:
		return scalars[uint32](d, t, n)
	case Int32:
		return scalars[int32](d, t, n)
	case Float32:
		return scalars[float32](d, t, n)
	case Bool:
		return scalars[bool](d, t, n)
	case Uint64:
		return scalars[uint64](d, t, n)
	case Int64:
		return scalars[int64](d, t, n)
	case Float64:
		return scalars[float64](d, t, n)
	case String:
		return d.strings(n)
	}
	return d.arrays(n, depth)
}

func scalars[T any](d *decoder, t ValueType, n int64) []T {
	out := make([]T, 0, min(n, 1<<12))
	for i := int64(0); i < n && d.err == nil; i++ {
		out = append(out, scalar(t, d.take(int(t.Size()))).(T))
	}
	return out
}

func (d *decoder) strings(n int64) []string {
	out := make([]string, 0, min(n, 1<<12))
	for i := int64(0); i < n && d.err == nil; i++ {
		out = append(out, d.string("a text"))
	}
	return out
}

func (d *decoder) arrays(n int64, depth int) any {
	if d.err == nil && depth == maxNesting {
		d.err = &FormatError{Says: fmt.Sprintf("arrays nested deeper than %d", maxNesting), Unsupported: true}
	}
	if d.err == nil && n == 0 {
		d.err = &FormatError{Says: "an empty array of arrays has no element type", Unsupported: true}
	}
	var items []any
	for i := int64(0); i < n && d.err == nil; i++ {
		items = append(items, d.array(depth+1))
	}
	if d.err != nil {
		return nil
	}
	v, same := nest(items)
	if !same {
		d.err = &FormatError{Says: "an array of arrays of different types", Unsupported: true}
	}
	return v
}
