package config

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"quern/convert/fault"
)

// encoding/json is no choice here: it has no NaN, turns numbers into floats or texts, matches keys without regard to
// case in structs, and replaces broken UTF-8 in silence. The number's kind decides the type of a metadata array, so it
// must survive.

// Bounds of a JSON file. Python's reader has the same limits on depth (about 1000 frames) and on digits (4300).
const (
	maxBytes  = 64 << 20 // no model's config.json is near it
	maxDepth  = 900
	maxDigits = 4300
)

// Parse reads one JSON value as Python's json does: NaN, Infinity and -Infinity are numbers, a key that comes
// again replaces the earlier one, an integer stays an integer whatever its size.
// Values are nil, bool, int64, *big.Int, float64, string, []any and Object. Half a surrogate pair becomes U+FFFD.
// An error is a *fault.Invalid that names file, line and column.
func Parse(file string, data []byte) (any, error) {
	if len(data) > maxBytes {
		return nil, &fault.Invalid{On: file, Says: fmt.Sprintf("%d bytes, at most %d are read", len(data), maxBytes)}
	}
	p := parser{file: file, s: data}
	if !utf8.Valid(data) {
		for p.i < len(data) {
			r, n := utf8.DecodeRune(data[p.i:])
			if r == utf8.RuneError && n == 1 {
				break
			}
			p.i += n
		}
		return nil, p.fail("not UTF-8")
	}
	v, err := p.value(0)
	if err != nil {
		return nil, err
	}
	if p.space(); p.i < len(data) {
		return nil, p.fail("text after the value")
	}
	return v, nil
}

type parser struct {
	file string
	s    []byte
	i    int
}

// fail says where the reader stands. Lines and columns count bytes from 1.
func (p *parser) fail(says string) error {
	line, col := 1, 1
	for _, c := range p.s[:min(p.i, len(p.s))] {
		if col++; c == '\n' {
			line, col = line+1, 1
		}
	}
	return &fault.Invalid{On: fmt.Sprintf("%s:%d:%d", p.file, line, col), Says: "not JSON: " + says}
}

func (p *parser) space() {
	for p.i < len(p.s) {
		switch p.s[p.i] {
		case ' ', '\t', '\n', '\r':
			p.i++
		default:
			return
		}
	}
}

// next skips space and gives the byte that stands there, 0 at the end.
func (p *parser) next() byte {
	if p.space(); p.i < len(p.s) {
		return p.s[p.i]
	}
	return 0
}

// words come before numbers: -Infinity starts like one.
var words = []struct {
	text  string
	value any
}{
	{"null", nil}, {"true", true}, {"false", false},
	{"NaN", math.NaN()}, {"Infinity", math.Inf(1)}, {"-Infinity", math.Inf(-1)},
}

func (p *parser) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, p.fail(fmt.Sprintf("nested deeper than %d", maxDepth))
	}
	switch p.next() {
	case '{':
		return p.object(depth)
	case '[':
		return p.array(depth)
	case '"':
		return p.text()
	}
	for _, w := range words {
		if len(p.s)-p.i >= len(w.text) && string(p.s[p.i:p.i+len(w.text)]) == w.text {
			p.i += len(w.text)
			return w.value, nil
		}
	}
	return p.number()
}

// object keeps the last value of a key that stands twice, as a Python dict does.
func (p *parser) object(depth int) (any, error) {
	o := Object{}
	p.i++
	if p.next() == '}' {
		p.i++
		return o, nil
	}
	for {
		if p.next() != '"' {
			return nil, p.fail("a key in double quotes is missing")
		}
		key, err := p.text()
		if err != nil {
			return nil, err
		}
		if p.next() != ':' {
			return nil, p.fail("a colon is missing")
		}
		p.i++
		if o[key], err = p.value(depth + 1); err != nil {
			return nil, err
		}
		if more, err := p.more('}'); !more {
			return o, err
		}
	}
}

func (p *parser) array(depth int) (any, error) {
	a := []any{}
	p.i++
	if p.next() == ']' {
		p.i++
		return a, nil
	}
	for {
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		a = append(a, v)
		if more, err := p.more(']'); !more {
			return a, err
		}
	}
}

// more reads a comma (true) or the closing byte (false).
func (p *parser) more(end byte) (bool, error) {
	switch p.next() {
	case ',':
		p.i++
		return true, nil
	case end:
		p.i++
		return false, nil
	}
	return false, p.fail("a comma or " + string(rune(end)) + " is missing")
}

// digits skips decimal digits and counts them.
func (p *parser) digits() int {
	n := 0
	for p.i < len(p.s) && p.s[p.i] >= '0' && p.s[p.i] <= '9' {
		p.i, n = p.i+1, n+1
	}
	return n
}

func (p *parser) at(set ...byte) bool {
	for _, c := range set {
		if p.i < len(p.s) && p.s[p.i] == c {
			return true
		}
	}
	return false
}

// number follows the grammar by hand, because strconv takes more than JSON does (01, 1., +1, hexadecimal).
func (p *parser) number() (any, error) {
	start := p.i
	if p.at('-') {
		p.i++
	}
	zero := p.at('0')
	n := p.digits()
	if n == 0 || zero && n > 1 {
		p.i = start
		return nil, p.fail("a value is missing")
	}
	whole := true
	if p.at('.') {
		p.i++
		if whole = false; p.digits() == 0 {
			return nil, p.fail("a digit is missing after the point")
		}
	}
	if p.at('e', 'E') {
		p.i++
		if p.at('+', '-') {
			p.i++
		}
		if whole = false; p.digits() == 0 {
			return nil, p.fail("a digit is missing in the exponent")
		}
	}
	text := string(p.s[start:p.i])
	if !whole {
		f, _ := strconv.ParseFloat(text, 64) // out of range is infinity, as in Python
		return f, nil
	}
	if n > maxDigits {
		return nil, p.fail(fmt.Sprintf("an integer of %d digits, at most %d are read", n, maxDigits))
	}
	if v, err := strconv.ParseInt(text, 10, 64); err == nil {
		return v, nil
	}
	b, _ := new(big.Int).SetString(text, 10)
	return b, nil
}

// escapes are all that may follow a backslash, u apart.
var escapes = map[byte]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// text reads a string; control characters are refused as in Python's strict mode.
func (p *parser) text() (string, error) {
	p.i++
	var out []byte
	for p.i < len(p.s) {
		c := p.s[p.i]
		switch {
		case c == '"':
			p.i++
			return string(out), nil
		case c < 0x20:
			return "", p.fail("a control character in a string")
		case c != '\\':
			out = append(out, c)
			p.i++
			continue
		}
		p.i++
		if p.at('u') {
			r, err := p.unicode()
			if err != nil {
				return "", err
			}
			out = utf8.AppendRune(out, r)
			continue
		}
		e, ok := byte(0), false
		if p.i < len(p.s) {
			e, ok = escapes[p.s[p.i]]
		}
		if !ok {
			return "", p.fail("an unknown escape in a string")
		}
		out = append(out, e)
		p.i++
	}
	return "", p.fail("a string without end")
}

// unicode reads uXXXX and, where that is the first half of a surrogate pair, the second half.
func (p *parser) unicode() (rune, error) {
	r, ok := p.hex4(p.i + 1)
	if !ok {
		return 0, p.fail("four hexadecimal digits are missing")
	}
	p.i += 5
	if utf16.IsSurrogate(r) {
		if p.i+1 < len(p.s) && p.s[p.i] == '\\' && p.s[p.i+1] == 'u' {
			if low, ok := p.hex4(p.i + 2); ok {
				if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
					p.i += 6
					return pair, nil
				}
			}
		}
		return utf8.RuneError, nil
	}
	return r, nil
}

func (p *parser) hex4(at int) (rune, bool) {
	if at+4 > len(p.s) {
		return 0, false
	}
	var r rune
	for _, c := range p.s[at : at+4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
