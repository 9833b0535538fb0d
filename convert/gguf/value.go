package gguf

// Encoding of metadata values. The Go type of a value is its GGUF type: nothing is guessed, so a value that was read
// is written back as the same bytes (FuzzRead). The one table below ties the two together; encoding/binary does the rest.

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"strings"
)

var valueNames = [...]string{"u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "str", "arr", "u64", "i64", "f64"}

// String is the short name of the value type: u8, i8, u16, i16, u32, i32, f32, bool, str, arr, u64, i64, f64.
func (t ValueType) String() string {
	if int(t) < len(valueNames) {
		return valueNames[t]
	}
	return "value type " + uitoa(uint64(t))
}

// goTypes are the Go types of single values, by value type.
var goTypes = map[ValueType]reflect.Type{
	Uint8: reflect.TypeFor[uint8](), Int8: reflect.TypeFor[int8](), Uint16: reflect.TypeFor[uint16](), Int16: reflect.TypeFor[int16](),
	Uint32: reflect.TypeFor[uint32](), Int32: reflect.TypeFor[int32](), Float32: reflect.TypeFor[float32](), Bool: reflect.TypeFor[bool](),
	String: reflect.TypeFor[string](), Uint64: reflect.TypeFor[uint64](), Int64: reflect.TypeFor[int64](), Float64: reflect.TypeFor[float64](),
}

// valueTypes is goTypes the other way round. Named types are not in it: their kind would not come back from a file.
var valueTypes = func() map[reflect.Type]ValueType {
	m := make(map[reflect.Type]ValueType, len(goTypes))
	for v, t := range goTypes {
		m[t] = v
	}
	return m
}()

// Size is the number of bytes of a value, 0 for strings and arrays, whose length stands before them.
func (t ValueType) Size() int64 {
	if g, ok := goTypes[t]; ok && t != String {
		return int64(g.Size())
	}
	return 0
}

// Kind is the type of v, and for an array the type of its elements and their number. ok is false when no GGUF type fits v.
func Kind(v any) (t, elem ValueType, n int, ok bool) {
	g := reflect.TypeOf(v)
	if g == nil {
		return 0, 0, 0, false
	}
	if t, ok = valueTypes[g]; ok {
		return t, 0, 0, true
	}
	elem, n, ok = arrayKind(v)
	return Array, elem, n, ok
}

// arrayKind is the type and number of the elements of a slice; a slice of slices has elements of type Array.
func arrayKind(v any) (elem ValueType, n int, ok bool) {
	g := reflect.TypeOf(v)
	if g == nil || g.Kind() != reflect.Slice {
		return 0, 0, false
	}
	n = reflect.ValueOf(v).Len()
	if elem, ok = valueTypes[g.Elem()]; ok {
		return elem, n, true
	}
	if g.Elem().Kind() == reflect.Slice {
		_, ok = valueTypes[g.Elem().Elem()]
	}
	return Array, n, ok
}

// texts is a slice of strings of any name.
func texts(v any) []string {
	return reflect.ValueOf(v).Convert(reflect.TypeFor[[]string]()).Interface().([]string)
}

// elementAt is element i of a slice of any type.
func elementAt(v any, i int) any { return reflect.ValueOf(v).Index(i).Interface() }

// appendKV appends a key and its value with the value's type. Kind must know the value.
func appendKV(b []byte, kv KV) []byte {
	b = appendString(b, kv.Key)
	t, _, _, _ := Kind(kv.Value)
	b = binary.LittleEndian.AppendUint32(b, uint32(t))
	return appendValue(b, kv.Value)
}

func appendString(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(len(s)))
	return append(b, s...)
}

// appendValue appends v without its type. Kind must know v: then encoding/binary knows what is no string and no array.
func appendValue(b []byte, v any) []byte {
	if s, ok := v.(string); ok {
		return appendString(b, s)
	}
	elem, n, isArray := arrayKind(v)
	if !isArray {
		b, _ = binary.Append(b, binary.LittleEndian, v)
		return b
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(elem))
	b = binary.LittleEndian.AppendUint64(b, uint64(n))
	switch elem {
	case String:
		for _, s := range texts(v) {
			b = appendString(b, s)
		}
	case Array: // elements with lengths of their own
		for i := range n {
			b = appendValue(b, elementAt(v, i))
		}
	default:
		b, _ = binary.Append(b, binary.LittleEndian, v)
	}
	return b
}

// valueSize is the number of bytes that appendValue appends.
func valueSize(v any) int64 {
	if s, ok := v.(string); ok {
		return 8 + int64(len(s))
	}
	elem, n, isArray := arrayKind(v)
	if !isArray {
		return int64(binary.Size(v))
	}
	size := int64(4 + 8)
	switch elem {
	case String:
		for _, s := range texts(v) {
			size += 8 + int64(len(s))
		}
	case Array:
		for i := range n {
			size += valueSize(elementAt(v, i))
		}
	default:
		size += int64(n) * elem.Size()
	}
	return size
}

// Format shows a value for people: texts quoted, arrays cut after most elements with their number.
func Format(v any, most int) string {
	t, _, n, ok := Kind(v)
	switch {
	case !ok:
		return fmt.Sprintf("%v", v)
	case t == String:
		return fmt.Sprintf("%q", v)
	case t != Array:
		return fmt.Sprint(v)
	}
	var parts []string
	for i := range min(n, most) {
		parts = append(parts, Format(elementAt(v, i), most))
	}
	s := "[" + strings.Join(parts, ", ")
	if n > most {
		s += fmt.Sprintf(", ... %d in all", n)
	}
	return s + "]"
}
