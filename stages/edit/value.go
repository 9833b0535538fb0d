package edit

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"quern/convert/fault"
	"quern/convert/gguf"
)

// ParseSet reads KEY=TYPE:VALUE: u8 i8 u16 i16 u32 i32 u64 i64 f32 f64 bool str, or one of them with [] and a JSON array.
func ParseSet(s string) (gguf.KV, error) {
	key, rest, ok := strings.Cut(s, "=")
	typ, text, typed := strings.Cut(rest, ":")
	if !ok || !typed || key == "" {
		return gguf.KV{}, &fault.Invalid{On: s, Says: "it is not KEY=TYPE:VALUE", Next: `such as general.name=str:My model, or general.tags=str[]:["a", "b"]`}
	}
	v, err := parseValue(typ, text)
	if err != nil {
		return gguf.KV{}, &fault.Invalid{On: key, Says: err.Error(), Next: "types are u8 i8 u16 i16 u32 i32 u64 i64 f32 f64 bool str, and each with []"}
	}
	return gguf.KV{Key: key, Value: v}, nil
}

// ParseRename reads OLD=NEW.
func ParseRename(s string) ([2]string, error) {
	from, to, ok := strings.Cut(s, "=")
	if !ok || from == "" || to == "" {
		return [2]string{}, &fault.Invalid{On: s, Says: "it is not OLD=NEW"}
	}
	return [2]string{from, to}, nil
}

func parseValue(typ, text string) (any, error) {
	elem, array := strings.CutSuffix(typ, "[]")
	read, ok := scalars[elem]
	if !ok {
		return nil, fmt.Errorf("type %q is not known", typ)
	}
	if !array {
		return read.one(text)
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var list []any
	if err := d.Decode(&list); err != nil || d.More() {
		return nil, fmt.Errorf("%q is no JSON array", text)
	}
	var texts []string
	for _, v := range list {
		if _, isText := v.(string); isText != (elem == "str") {
			return nil, fmt.Errorf("element %v is no %s", v, elem)
		}
		texts = append(texts, fmt.Sprint(v))
	}
	return read.many(texts)
}

// scalar reads one value, or a list of them, of a type.
type scalar struct {
	one  func(string) (any, error)
	many func([]string) (any, error)
}

func scalarOf[T any](read func(string) (T, error)) scalar {
	return scalar{
		func(s string) (any, error) { return read(s) },
		func(list []string) (any, error) {
			out := make([]T, len(list))
			for i, s := range list {
				var err error
				if out[i], err = read(s); err != nil {
					return nil, err
				}
			}
			return out, nil
		},
	}
}

func unsigned[T uint8 | uint16 | uint32 | uint64](bits int) scalar {
	return scalarOf(func(s string) (T, error) {
		n, err := strconv.ParseUint(s, 10, bits)
		return T(n), unfit(err, s, "u", bits)
	})
}

func signed[T int8 | int16 | int32 | int64](bits int) scalar {
	return scalarOf(func(s string) (T, error) {
		n, err := strconv.ParseInt(s, 10, bits)
		return T(n), unfit(err, s, "i", bits)
	})
}

func float[T float32 | float64](bits int) scalar {
	return scalarOf(func(s string) (T, error) {
		f, err := strconv.ParseFloat(s, bits)
		return T(f), unfit(err, s, "f", bits)
	})
}

func unfit(err error, s, kind string, bits int) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%q is no %s%d", s, kind, bits)
}

var scalars = map[string]scalar{
	"u8": unsigned[uint8](8), "u16": unsigned[uint16](16), "u32": unsigned[uint32](32), "u64": unsigned[uint64](64),
	"i8": signed[int8](8), "i16": signed[int16](16), "i32": signed[int32](32), "i64": signed[int64](64),
	"f32": float[float32](32), "f64": float[float64](64),
	"str": scalarOf(func(s string) (string, error) { return s, nil }),
	"bool": scalarOf(func(s string) (bool, error) {
		switch s {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
		return false, fmt.Errorf("%q is neither true nor false", s)
	}),
}
