package gguf

// Decoding of metadata values: the mirror of value.go. Every slice grows as its bytes arrive, never by what a count says.

import (
	"encoding/binary"
	"fmt"
	"reflect"
)

// maxNesting is the depth of arrays that is read: an array of arrays, which gguf-py writes (image_grid_pinpoints) and
// llama.cpp refuses. Nothing known nests deeper.
const maxNesting = 2

func (d *decoder) value(t ValueType) any {
	switch {
	case t == String:
		return d.string("a text")
	case t == Array:
		return d.array(1)
	case t.Size() > 0:
		v := reflect.New(goTypes[t])
		d.decode(d.take(int(t.Size())), v.Interface())
		return v.Elem().Interface()
	}
	if d.err == nil {
		d.err = &FormatError{Says: fmt.Sprintf("unknown %s", t)}
	}
	return nil
}

// decode fills what into points to, or a slice. It cannot fail: the types of goTypes have fixed sizes and b is that long.
func (d *decoder) decode(b []byte, into any) {
	if _, err := binary.Decode(b, binary.LittleEndian, into); err != nil && d.err == nil {
		d.err = err
	}
}

// array reads element type, count and elements. Empty arrays keep the type of the elements that they do not have.
func (d *decoder) array(depth int) any {
	t := ValueType(d.u32())
	each := t.Size() // the least that an element takes, to hold the count against what is left of the file
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
	if d.err != nil {
		return nil
	}
	switch t {
	case String:
		return d.strings(n)
	case Array:
		return d.arrays(n, depth)
	}
	return d.numbers(t, n)
}

// numbers reads n elements of a fixed size, a piece at a time.
func (d *decoder) numbers(t ValueType, n int64) any {
	const piece = 1 << 12
	kind := reflect.SliceOf(goTypes[t])
	out := reflect.MakeSlice(kind, 0, int(min(n, piece)))
	for left := n; left > 0 && d.err == nil; {
		k := min(left, piece)
		part := reflect.MakeSlice(kind, int(k), int(k))
		if b := d.bytes(k * t.Size()); d.err == nil {
			d.decode(b, part.Interface())
		}
		out = reflect.AppendSlice(out, part)
		left -= k
	}
	return out.Interface()
}

func (d *decoder) strings(n int64) []string {
	out := make([]string, 0, min(n, 1<<12))
	for i := int64(0); i < n && d.err == nil; i++ {
		out = append(out, d.string("a text"))
	}
	return out
}

// arrays reads an array of arrays as [][]T. Arrays of different element types have no such Go type, nor has an array of
// none; both are sound GGUF that nobody writes, and refused as unsupported.
func (d *decoder) arrays(n int64, depth int) any {
	if depth == maxNesting {
		d.err = &FormatError{Says: fmt.Sprintf("arrays nested deeper than %d", maxNesting), Unsupported: true}
		return nil
	}
	if n == 0 {
		d.err = &FormatError{Says: "an empty array of arrays has no element type", Unsupported: true}
		return nil
	}
	var out reflect.Value
	for i := int64(0); i < n; i++ {
		item := reflect.ValueOf(d.array(depth + 1))
		if d.err != nil {
			return nil
		}
		if i == 0 {
			out = reflect.MakeSlice(reflect.SliceOf(item.Type()), 0, int(min(n, 1<<10)))
		}
		if item.Type() != out.Type().Elem() {
			d.err = &FormatError{Says: "an array of arrays of different types", Unsupported: true}
			return nil
		}
		out = reflect.Append(out, item)
	}
	return out.Interface()
}
