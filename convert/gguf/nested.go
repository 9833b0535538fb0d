package gguf

// Arrays of arrays: the format allows them, gguf-py writes them (image_grid_pinpoints), llama.cpp refuses to read them.

import "reflect"

func nestedLen(v any) int { return reflect.ValueOf(v).Len() }

func elementAt(v any, i int) any { return reflect.ValueOf(v).Index(i).Interface() }

func appendNested(b []byte, v any) []byte {
	for i, n := 0, nestedLen(v); i < n; i++ {
		b = appendValue(b, elementAt(v, i))
	}
	return b
}

// nest makes [][]T of slices that all have the type of the first; false when they differ or there are none.
func nest(items []any) (any, bool) {
	if len(items) == 0 {
		return nil, false
	}
	t := reflect.TypeOf(items[0])
	out := reflect.MakeSlice(reflect.SliceOf(t), len(items), len(items))
	for i, it := range items {
		if reflect.TypeOf(it) != t {
			return nil, false
		}
		out.Index(i).Set(reflect.ValueOf(it))
	}
	return out.Interface(), true
}
