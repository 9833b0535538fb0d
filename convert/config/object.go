package config

import (
	"fmt"
	"math/big"
	"strings"

	"quern/convert/fault"
)

// Object is a JSON object, in no order: nothing in the reference depends on the order of a configuration's keys, but
// for two other names of one key in a Whisper part (see base).
//
// Every accessor takes several keys and looks at the first that is present, as the reference's find_hparam does: a
// key that is present with null hides the ones after it. The second result tells whether a value of that type stands
// there. Nothing is converted on the way: 2.0 is no integer, and "2" is no number.
type Object map[string]any

// Find gives the value of the first key that is present; the value may be nil (null).
func (o Object) Find(keys ...string) (any, bool) {
	for _, k := range keys {
		if v, ok := o[k]; ok {
			return v, true
		}
	}
	return nil, false
}

// Has tells whether one of the keys is present, null included.
func (o Object) Has(keys ...string) bool { _, ok := o.Find(keys...); return ok }

// Null tells whether the first present key holds null, or none is present.
func (o Object) Null(keys ...string) bool { v, _ := o.Find(keys...); return v == nil }

// Int is an integer within int64; false for anything else, 2.0 included.
func (o Object) Int(keys ...string) (int64, bool) {
	v, _ := o.Find(keys...)
	i, ok := v.(int64)
	return i, ok
}

// Float is any number, integers included.
func (o Object) Float(keys ...string) (float64, bool) {
	v, _ := o.Find(keys...)
	return asFloat(v)
}

// Bool is true or false; false, false for anything else.
func (o Object) Bool(keys ...string) (value, ok bool) {
	v, _ := o.Find(keys...)
	value, ok = v.(bool)
	return value, ok
}

// True is Python's truth of the first present key: a number but 0, a text, list or object that is not empty, true.
func (o Object) True(keys ...string) bool { v, _ := o.Find(keys...); return Truth(v) }

// String is a text.
func (o Object) String(keys ...string) (string, bool) {
	v, _ := o.Find(keys...)
	s, ok := v.(string)
	return s, ok
}

// Object is a nested object; nil, false for anything else.
func (o Object) Object(keys ...string) (Object, bool) {
	v, _ := o.Find(keys...)
	m, ok := v.(Object)
	return m, ok
}

// List is an array of any values.
func (o Object) List(keys ...string) ([]any, bool) {
	v, _ := o.Find(keys...)
	l, ok := v.([]any)
	return l, ok
}

// Ints is an array in which every element is an integer within int64.
func (o Object) Ints(keys ...string) ([]int64, bool) {
	return each(o, keys, func(v any) (int64, bool) { i, ok := v.(int64); return i, ok })
}

// Floats is an array in which every element is a number.
func (o Object) Floats(keys ...string) ([]float64, bool) { return each(o, keys, asFloat) }

// Strings is an array in which every element is a text.
func (o Object) Strings(keys ...string) ([]string, bool) {
	return each(o, keys, func(v any) (string, bool) { s, ok := v.(string); return s, ok })
}

// each converts a whole list or refuses it.
func each[T any](o Object, keys []string, as func(any) (T, bool)) ([]T, bool) {
	list, ok := o.List(keys...)
	if !ok {
		return nil, false
	}
	out := make([]T, len(list))
	for i, v := range list {
		if out[i], ok = as(v); !ok {
			return nil, false
		}
	}
	return out, true
}

// NeedInt is Int, or a *fault.Invalid that says what stands there instead.
func (o Object) NeedInt(keys ...string) (int64, error) {
	if i, ok := o.Int(keys...); ok {
		return i, nil
	}
	return 0, o.lacks("an integer", keys)
}

// NeedFloat is Float, or a *fault.Invalid that says what stands there instead.
func (o Object) NeedFloat(keys ...string) (float64, error) {
	if f, ok := o.Float(keys...); ok {
		return f, nil
	}
	return 0, o.lacks("a number", keys)
}

// lacks names the key that was found with a wrong value, else all that were looked for.
func (o Object) lacks(want string, keys []string) error {
	for _, k := range keys {
		if v, ok := o[k]; ok {
			return &fault.Invalid{On: "config.json: " + k, Says: want + " is needed, not " + kind(v)}
		}
	}
	return &fault.Invalid{On: "config.json", Says: want + " is needed under " + strings.Join(keys, " or ")}
}

// Merge is a new object with o's keys and over's, which win: {**o, **over}. Nested values are shared.
func (o Object) Merge(over Object) Object {
	m := make(Object, len(o)+len(over))
	for k, v := range o {
		m[k] = v
	}
	for k, v := range over {
		m[k] = v
	}
	return m
}

// Clone is a copy in which nested objects and lists are copies too.
func (o Object) Clone() Object { return clone(o).(Object) }

// clone shares big integers, which nothing changes.
func clone(v any) any {
	switch v := v.(type) {
	case Object:
		m := make(Object, len(v))
		for k, e := range v {
			m[k] = clone(e)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, e := range v {
			l[i] = clone(e)
		}
		return l
	}
	return v
}

// Truth is Python's bool(v).
func Truth(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case *big.Int:
		return v.Sign() != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case []any:
		return len(v) > 0
	case Object:
		return len(v) > 0
	}
	return true
}

// asFloat rounds an integer beyond 53 bits to the nearest double, as Python does.
func asFloat(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	case *big.Int:
		f, _ := new(big.Float).SetInt(v).Float64()
		return f, true
	}
	return 0, false
}

// kind names a value for an error message, with the value itself where it is short.
func kind(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		if len(v) > 40 {
			return fmt.Sprintf("a text of %d bytes", len(v))
		}
		return fmt.Sprintf("the text %q", v)
	case Object:
		return "an object"
	case []any:
		return fmt.Sprintf("a list of %d", len(v))
	case *big.Int:
		return fmt.Sprintf("an integer of %d bits", v.BitLen())
	}
	return fmt.Sprint(v)
}
