package arch

import (
	"fmt"
	"math"
	"math/big"
	"strings"

	"quern/convert/config"
	"quern/convert/gguf"
)

// keyKind says which GGUF types the value of a metadata key may have.
type keyKind struct {
	scalar gguf.ValueType // of a single value
	single bool           // a single value is allowed
	list   bool           // a list is allowed
	item   gguf.ValueType // of a list's elements, where their values do not decide it
	fixed  bool           // item holds
}

var kindNames = map[string]keyKind{
	"u16": {scalar: gguf.Uint16, single: true}, "u32": {scalar: gguf.Uint32, single: true},
	"u64": {scalar: gguf.Uint64, single: true}, "i32": {scalar: gguf.Int32, single: true},
	"f32": {scalar: gguf.Float32, single: true}, "bool": {scalar: gguf.Bool, single: true},
	"str": {scalar: gguf.String, single: true}, "list": {list: true},
	"u64list": {list: true, item: gguf.Uint64, fixed: true},
}

func parseKind(text string) (keyKind, error) {
	var k keyKind
	for name := range strings.SplitSeq(text, ",") {
		one, ok := kindNames[name]
		if !ok {
			return k, fmt.Errorf("no kind %q", name)
		}
		if one.single {
			k.scalar, k.single = one.scalar, true
		} else {
			k.list, k.item, k.fixed = true, one.item, one.fixed
		}
	}
	return k, nil
}

// value turns a configuration's value into the one that is written; nil, nil drops the key: an empty text or list.
func (k keyKind) value(v any) (any, error) {
	if list, ok := asList(v); ok {
		if !k.list {
			return nil, fmt.Errorf("a list of %d where one value is needed", len(list))
		}
		return k.array(list)
	}
	if !k.single {
		return nil, fmt.Errorf("%v where a list is needed", v)
	}
	// An empty text is dropped as an empty list is; a 0 or a false is not.
	if s, ok := v.(string); ok && s == "" && k.scalar == gguf.String {
		return nil, nil
	}
	return scalar(k.scalar, v)
}

// array makes a typed slice. The type is that of the first element, and all must agree, as in the reference.
func (k keyKind) array(list []any) (any, error) {
	if len(list) == 0 {
		return nil, nil
	}
	item := k.item
	// Python's list has no type of its own, so the file's is inferred: [1, 2.5] is refused there too, while [1.0, 2.5] and [1, 2] differ.
	if !k.fixed {
		item = itemType(list[0])
		for i, v := range list {
			if itemType(v) != item {
				return nil, fmt.Errorf("element %d is %v, the first is %v: all must be of one type", i, v, list[0])
			}
		}
	}
	switch item {
	case gguf.Int32:
		return fill[int32](item, list)
	case gguf.Float32:
		return fill[float32](item, list)
	case gguf.Bool:
		return fill[bool](item, list)
	case gguf.Uint64:
		return fill[uint64](item, list)
	case gguf.String:
		return fill[string](item, list)
	}
	return nil, fmt.Errorf("a list of %T cannot be written", list[0])
}

func fill[T any](t gguf.ValueType, list []any) (any, error) {
	out := make([]T, len(list))
	for i, v := range list {
		x, err := scalar(t, v)
		if err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
		out[i] = x.(T)
	}
	return out, nil
}

// itemType is the type that the reference infers for a list's element.
func itemType(v any) gguf.ValueType {
	switch v.(type) {
	case bool:
		return gguf.Bool
	case int64, int, *big.Int:
		return gguf.Int32
	case float64:
		return gguf.Float32
	case string:
		return gguf.String
	}
	return gguf.Array
}

// scalar converts one value. A float is never an integer, not even 2.0; an integer may be a float; any value has a truth.
// Source of the rules: Python's struct.pack, which the reference writes with.
func scalar(t gguf.ValueType, v any) (any, error) {
	switch t {
	case gguf.Bool:
		return config.Truth(v), nil
	case gguf.String:
		if s, ok := v.(string); ok {
			return s, nil
		}
		return nil, fmt.Errorf("%v where a text is needed", v)
	case gguf.Float32:
		f, ok := number(v)
		if !ok {
			return nil, fmt.Errorf("%v where a number is needed", v)
		}
		// An infinity of the configuration may be written (Gemma 3n's sparsity has them), a number that becomes one may not.
		if g := float32(f); !math.IsInf(float64(g), 0) || math.IsInf(f, 0) {
			return g, nil
		}
		return nil, fmt.Errorf("%v is beyond the range of a 32-bit float", v)
	}
	i, ok := integer(v)
	if !ok {
		return nil, fmt.Errorf("%v where an integer is needed", v)
	}
	return sized(t, i)
}

// sized narrows an integer to a type, or says that it does not fit.
func sized(t gguf.ValueType, i *big.Int) (any, error) {
	switch {
	case t == gguf.Uint16 && i.IsUint64() && i.Uint64() <= math.MaxUint16:
		return uint16(i.Uint64()), nil
	case t == gguf.Uint32 && i.IsUint64() && i.Uint64() <= math.MaxUint32:
		return uint32(i.Uint64()), nil
	case t == gguf.Uint64 && i.IsUint64():
		return i.Uint64(), nil
	case t == gguf.Int32 && i.IsInt64() && i.Int64() == int64(int32(i.Int64())):
		return int32(i.Int64()), nil
	}
	return nil, fmt.Errorf("%v does not fit the type of the key", i)
}

// asList accepts the slices that expressions make as well as a configuration's own.
func asList(v any) ([]any, bool) {
	switch v := v.(type) {
	case []any:
		return v, true
	case []int64:
		return boxed(v), true
	case []float64:
		return boxed(v), true
	case []bool:
		return boxed(v), true
	case []string:
		return boxed(v), true
	}
	return nil, false
}

func boxed[T any](list []T) []any {
	out := make([]any, len(list))
	for i, v := range list {
		out[i] = v
	}
	return out
}

func integer(v any) (*big.Int, bool) {
	switch v := v.(type) {
	case int64:
		return big.NewInt(v), true
	case int:
		return big.NewInt(int64(v)), true
	case *big.Int:
		return v, true
	case bool:
		if v {
			return big.NewInt(1), true
		}
		return new(big.Int), true
	}
	return nil, false
}

func number(v any) (float64, bool) {
	if f, ok := v.(float64); ok {
		return f, true
	}
	i, ok := integer(v)
	if !ok {
		return 0, false
	}
	f, _ := new(big.Float).SetInt(i).Float64()
	return f, true
}
