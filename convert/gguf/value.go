package gguf

// Encoding of metadata values. The Go type of a value is its GGUF type: nothing is guessed, so a value that was read
// is written back as the same bytes (TestValueRoundTrip).

import (
	"encoding/binary"
	"fmt"
	"math"
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

// Size is the number of bytes of a value, 0 for strings and arrays.
func (t ValueType) Size() int64 {
	switch t {
	case Uint8, Int8, Bool:
		return 1
	case Uint16, Int16:
		return 2
	case Uint32, Int32, Float32:
		return 4
	case Uint64, Int64, Float64:
		return 8
	}
	return 0
}

// Kind is the type of v, and for an array the type of its elements and their number. ok is false when no GGUF type fits v.
func Kind(v any) (t, elem ValueType, n int, ok bool) {
	switch v := v.(type) {
	case uint8:
		return Uint8, 0, 0, true
	case int8:
		return Int8, 0, 0, true
	case uint16:
		return Uint16, 0, 0, true
	case int16:
		return Int16, 0, 0, true
	case uint32:
		return Uint32, 0, 0, true
	case int32:
		return Int32, 0, 0, true
	case float32:
		return Float32, 0, 0, true
	case bool:
		return Bool, 0, 0, true
	case string:
		return String, 0, 0, true
	case uint64:
		return Uint64, 0, 0, true
	case int64:
		return Int64, 0, 0, true
	case float64:
		return Float64, 0, 0, true
	default:
		elem, n, ok = arrayKind(v)
		return Array, elem, n, ok
	}
}

func arrayKind(v any) (elem ValueType, n int, ok bool) {
	switch v := v.(type) {
	case []uint8:
		return Uint8, len(v), true
	case []int8:
		return Int8, len(v), true
	case []uint16:
		return Uint16, len(v), true
	case []int16:
		return Int16, len(v), true
	case []uint32:
		return Uint32, len(v), true
	case []int32:
		return Int32, len(v), true
	case []float32:
		return Float32, len(v), true
	case []bool:
		return Bool, len(v), true
	case []string:
		return String, len(v), true
	case []uint64:
		return Uint64, len(v), true
	case []int64:
		return Int64, len(v), true
	case []float64:
		return Float64, len(v), true
	case [][]uint8, [][]int8, [][]uint16, [][]int16, [][]uint32, [][]int32, [][]float32, [][]bool, [][]string,
		[][]uint64, [][]int64, [][]float64:
		return Array, nestedLen(v), true
	}
	return 0, 0, false
}

// appendKV appends a key and its value with the value's type.
func appendKV(b []byte, kv KV) ([]byte, error) {
	b = appendString(b, kv.Key)
	t, _, _, ok := Kind(kv.Value)
	if !ok {
		return nil, badKey(kv.Key, "a value of Go type %T has no GGUF type", kv.Value)
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(t))
	return appendValue(b, kv.Value), nil
}

func appendString(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(len(s)))
	return append(b, s...)
}

// appendValue appends v without its type. Kind must know v.
func appendValue(b []byte, v any) []byte {
	le := binary.LittleEndian
	switch v := v.(type) {
	case uint8:
		return append(b, v)
	case int8:
		return append(b, byte(v))
	case uint16:
		return le.AppendUint16(b, v)
	case int16:
		return le.AppendUint16(b, uint16(v))
	case uint32:
		return le.AppendUint32(b, v)
	case int32:
		return le.AppendUint32(b, uint32(v))
	case float32:
		return le.AppendUint32(b, math.Float32bits(v))
	case bool:
		if v {
			return append(b, 1)
		}
		return append(b, 0)
	case string:
		return appendString(b, v)
	case uint64:
		return le.AppendUint64(b, v)
	case int64:
		return le.AppendUint64(b, uint64(v))
	case float64:
		return le.AppendUint64(b, math.Float64bits(v))
	}
	elem, n, _ := arrayKind(v)
	b = le.AppendUint32(b, uint32(elem))
	b = le.AppendUint64(b, uint64(n))
	return appendElements(b, v)
}

func appendElements(b []byte, v any) []byte {
	switch v := v.(type) {
	case []uint8:
		return append(b, v...)
	case []int8:
		return appendEach(b, v)
	case []uint16:
		return appendEach(b, v)
	case []int16:
		return appendEach(b, v)
	case []uint32:
		return appendEach(b, v)
	case []int32:
		return appendEach(b, v)
	case []float32:
		return appendEach(b, v)
	case []bool:
		return appendEach(b, v)
	case []string:
		return appendEach(b, v)
	case []uint64:
		return appendEach(b, v)
	case []int64:
		return appendEach(b, v)
	case []float64:
		return appendEach(b, v)
	}
	return appendNested(b, v)
}

func appendEach[T any](b []byte, vs []T) []byte {
	for _, v := range vs {
		b = appendValue(b, v)
	}
	return b
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
	for i := 0; i < min(n, most); i++ {
		parts = append(parts, Format(elementAt(v, i), most))
	}
	s := "[" + strings.Join(parts, ", ")
	if n > most {
		s += fmt.Sprintf(", ... %d in all", n)
	}
	return s + "]"
}
