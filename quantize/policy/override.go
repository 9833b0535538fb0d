package policy

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

type overrideKind string

const (
	intOverride    overrideKind = "int"
	floatOverride  overrideKind = "float"
	boolOverride   overrideKind = "bool"
	stringOverride overrideKind = "str"
)

// maxOverride bounds keys and strings of overrides; the reference holds them in arrays of 128 bytes (llama.h).
const maxOverride = 127 // bytes

// Override is one --override-kv: a metadata key to set. Numbers of kind int are written as u32.
type Override struct {
	Key  string
	Note string // what was read otherwise than written, for a warning; may be empty

	kind overrideKind
	i    int64
	f    float64
	b    bool
	s    string
}

// ParseOverride reads KEY=int:N, KEY=float:X, KEY=bool:true or false, KEY=str:TEXT.
func ParseOverride(s string) (Override, error) {
	fail := func(says string) (Override, error) {
		return Override{}, &OptionError{Option: "--override-kv", Value: s, Says: says, Next: "such as --override-kv general.name=str:Tiny"}
	}
	key, value, ok := strings.Cut(s, "=")
	if !ok {
		return fail("is not KEY=TYPE:VALUE")
	}
	if key == "" { // the reference's list of overrides ends at such a one: it and those behind it would be lost without a word
		return fail("has no key before the =")
	}
	if len(key) > maxOverride {
		return fail(fmt.Sprintf("the key has %d bytes, at most %d are taken", len(key), maxOverride))
	}
	kind, text, ok := strings.Cut(value, ":")
	if !ok {
		return fail("the value has no type: int:, float:, bool: or str:")
	}
	o := Override{Key: key, kind: overrideKind(kind)}
	// numbers are read leniently, as the reference reads them; the note makes the leniency visible
	switch o.kind {
	case intOverride:
		o.i, o.Note = leadingInt(text)
	case floatOverride:
		o.f, o.Note = leadingFloat(text)
	case boolOverride:
		if text != "true" && text != "false" {
			return fail(fmt.Sprintf("%q is neither true nor false", text))
		}
		o.b = text == "true"
	case stringOverride:
		if len(text) > maxOverride {
			return fail(fmt.Sprintf("the text has %d bytes, at most %d are taken", len(text), maxOverride))
		}
		o.s = text
	default:
		return fail(fmt.Sprintf("%q is no type of a value: int, float, bool or str", kind))
	}
	return o, nil
}

// value is what the file gets (llama-quant.cpp: integers as u32 of their absolute value).
func (o Override) value() any {
	switch o.kind {
	case intOverride:
		if o.i < 0 {
			return uint32(-o.i)
		}
		return uint32(o.i)
	case floatOverride:
		return float32(o.f)
	case boolOverride:
		return o.b
	}
	return cutNUL(o.s)
}

var (
	intStart   = regexp.MustCompile(`^[ \t\n\v\f\r]*([+-]?[0-9]+)`)
	floatStart = regexp.MustCompile(`^[ \t\n\v\f\r]*([+-]?(?i:inf(?:inity)?|nan|0x(?:[0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)(?:p[+-]?[0-9]+)?|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?))`)
)

// leadingInt reads as C's atol: the digits at the start, 0 without any, saturated at 64 bits.
func leadingInt(s string) (n int64, note string) {
	m := intStart.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Sprintf("%q is read as 0", s)
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	switch {
	case err != nil || len(m[0]) != len(s):
		note = fmt.Sprintf("%q is read as %d", s, n)
	case n > math.MaxUint32 || n < 0:
		note = fmt.Sprintf("%d is written as %d, an unsigned number of 32 bits", n, Override{kind: intOverride, i: n}.value())
	}
	return n, note
}

// leadingFloat reads as C's atof: the number at the start, 0 without one.
func leadingFloat(s string) (f float64, note string) {
	m := floatStart.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Sprintf("%q is read as 0", s)
	}
	text := m[1]
	if hex := strings.ToLower(text); strings.Contains(hex, "0x") && !strings.Contains(hex, "p") {
		text += "p0" // strconv wants the exponent
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil && !math.IsInf(f, 0) || len(m[0]) != len(s) {
		note = fmt.Sprintf("%q is read as %v", s, f)
	}
	return f, note
}

// cutNUL ends a string where C would.
func cutNUL(s string) string {
	if i := strings.IndexByte(s, 0); i >= 0 {
		return s[:i]
	}
	return s
}
