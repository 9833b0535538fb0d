package config

import (
	"bytes"
	"encoding/json"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// MarshalJSON is the object in canonical form: keys in code-point order, numbers as Python prints them (1e-05,
// 1.0, integers of any size), infinities and NaN as the texts "inf", "-inf", "nan" because JSON has no word for them.
func (o Object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	writeJSON(&b, o)
	return b.Bytes(), nil
}

// JSON is the completed configuration as one line of canonical JSON. `_name_or_path` is left out at every level:
// there AutoConfig puts the folder of this machine.
func (c *Config) JSON() []byte {
	var b bytes.Buffer
	writeJSON(&b, withoutPath(c.Object))
	return b.Bytes()
}

// withoutPath copies what it changes.
func withoutPath(v any) any {
	switch v := v.(type) {
	case Object:
		m := make(Object, len(v))
		for k, e := range v {
			if k != "_name_or_path" {
				m[k] = withoutPath(e)
			}
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, e := range v {
			l[i] = withoutPath(e)
		}
		return l
	}
	return v
}

// writeJSON cannot fail: an Object holds only what Parse makes. Lists keep their order, objects get one.
func writeJSON(b *bytes.Buffer, v any) {
	switch v := v.(type) {
	case nil:
		b.WriteString("null")
	case bool:
		b.WriteString(strconv.FormatBool(v))
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case *big.Int:
		b.WriteString(v.String())
	case float64:
		if s := FormatFloat(v); math.IsInf(v, 0) || math.IsNaN(v) {
			writeText(b, s)
		} else {
			b.WriteString(s)
		}
	case string:
		writeText(b, v)
	case []any:
		for i, e := range v {
			b.WriteByte("[,"[min(i, 1)])
			writeJSON(b, e)
		}
		if len(v) == 0 {
			b.WriteByte('[')
		}
		b.WriteByte(']')
	case Object:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		b.WriteByte('{')
		for i, k := range keys {
			if i > 0 {
				b.WriteByte(',')
			}
			writeText(b, k)
			b.WriteByte(':')
			writeJSON(b, v[k])
		}
		b.WriteByte('}')
	}
}

// writeText leaves <, > and & readable: the text goes to a terminal, not into a page.
func writeText(b *bytes.Buffer, s string) {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s)         // a buffer takes everything
	b.Truncate(b.Len() - 1) // the encoder ends with a newline
}

// FormatFloat is Python's repr of a float: the shortest digits that give the number back, with an exponent below
// 1e-4 and from 1e16 on.
func FormatFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	s := strconv.FormatFloat(f, 'e', -1, 64)
	_, exp, _ := strings.Cut(s, "e")
	if n, _ := strconv.Atoi(exp); f != 0 && (n < -4 || n >= 16) {
		return s
	}
	if s = strconv.FormatFloat(f, 'f', -1, 64); !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
