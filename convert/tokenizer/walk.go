package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxNesting bounds the depth of JSON values: deeper files are an attack on the stack, not a tokenizer.
const maxNesting = 128

// walker reads JSON in one pass without building a tree: a tokenizer.json holds several hundred thousand small values,
// and a generic decoder spends its time on boxing them. The first error sticks; every method is a no-op after it.
type walker struct {
	data []byte
	pos  int
	err  error
	buf  []byte // unescaped text of the last string that held an escape
}

// newWalker reads text that has to be UTF-8; it is checked once, not string by string.
func newWalker(data []byte) *walker {
	w := &walker{data: data}
	if !utf8.Valid(data) {
		w.err = errors.New("the file is not UTF-8")
	}
	return w
}

// fail keeps the first error, with the place.
func (w *walker) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf("offset %d: "+format, append([]any{w.pos}, args...)...)
	}
}

// space skips JSON's four blanks.
func (w *walker) space() {
	for w.pos < len(w.data) {
		switch w.data[w.pos] {
		case ' ', '\n', '\r', '\t':
			w.pos++
		default:
			return
		}
	}
}

// peek is the first byte of the next token, 0 at the end or after an error.
func (w *walker) peek() byte {
	w.space()
	if w.err != nil || w.pos >= len(w.data) {
		return 0
	}
	return w.data[w.pos]
}

// take reads c if it is the next token.
func (w *walker) take(c byte) bool {
	if w.peek() != c {
		return false
	}
	w.pos++
	return true
}

// expect asks for c.
func (w *walker) expect(c byte) {
	if !w.take(c) {
		w.fail("expected %q", c)
	}
}

// object calls member for each key with the walker at its value; member has to consume it.
func (w *walker) object(member func(key string)) {
	w.objectBytes(func(key []byte) { member(string(key)) })
}

// objectBytes is object for members that read no string while they use their key.
func (w *walker) objectBytes(member func(key []byte)) {
	w.expect('{')
	if w.take('}') {
		return
	}
	for w.err == nil {
		key := w.text()
		w.expect(':')
		if w.err == nil {
			member(key)
		}
		if !w.take(',') {
			break
		}
	}
	w.expect('}')
}

// array calls element with the walker at each element.
func (w *walker) array(element func(i int)) {
	w.expect('[')
	if w.take(']') {
		return
	}
	for i := 0; w.err == nil; i++ {
		element(i)
		if !w.take(',') {
			break
		}
	}
	w.expect(']')
}

// text reads a string. The bytes are valid until the next call.
func (w *walker) text() []byte {
	w.expect('"')
	start := w.pos
	for w.err == nil && w.pos < len(w.data) {
		switch c := w.data[w.pos]; {
		case c == '"':
			s := w.data[start:w.pos]
			w.pos++
			return s
		case c == '\\':
			return w.escaped(start)
		case c < 0x20:
			w.fail("control character in a string")
		default:
			w.pos++
		}
	}
	w.fail("string without an end")
	return nil
}

// escaped goes on with a string at its first backslash.
func (w *walker) escaped(start int) []byte {
	b := append(w.buf[:0], w.data[start:w.pos]...)
	for w.err == nil && w.pos < len(w.data) {
		c := w.data[w.pos]
		w.pos++
		switch {
		case c == '"':
			w.buf = b
			return b
		case c == '\\':
			b = w.escape(b)
		case c < 0x20:
			w.fail("control character in a string")
		default:
			b = append(b, c)
		}
	}
	w.fail("string without an end")
	return nil
}

var jsonEscapes = map[byte]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escape adds the character that the escape at pos stands for. Half a surrogate pair is an error, as in the library.
func (w *walker) escape(b []byte) []byte {
	if w.pos >= len(w.data) {
		w.fail("escape without an end")
		return b
	}
	c := w.data[w.pos]
	w.pos++
	if c != 'u' {
		e, ok := jsonEscapes[c]
		if !ok {
			w.fail("unknown escape \\%c", c)
		}
		return append(b, e)
	}
	r := w.hex()
	if utf16.IsSurrogate(r) {
		if w.pos+1 >= len(w.data) || w.data[w.pos] != '\\' || w.data[w.pos+1] != 'u' {
			w.fail("half of a surrogate pair")
			return b
		}
		w.pos += 2
		if r = utf16.DecodeRune(r, w.hex()); r == utf8.RuneError {
			w.fail("half of a surrogate pair")
		}
	}
	return utf8.AppendRune(b, r)
}

// hex reads four hexadecimal digits.
func (w *walker) hex() rune {
	if w.pos+4 > len(w.data) {
		w.fail("escape without an end")
		return 0
	}
	n, err := strconv.ParseUint(string(w.data[w.pos:w.pos+4]), 16, 16)
	if err != nil {
		w.fail("escape \\u without four hexadecimal digits")
	}
	w.pos += 4
	return rune(n)
}

// integer reads a whole number that fits 32 bits without a sign, as every id has to.
func (w *walker) integer() uint32 {
	w.space()
	start, n := w.pos, uint64(0)
	for w.err == nil && w.pos < len(w.data) && w.data[w.pos] >= '0' && w.data[w.pos] <= '9' {
		n = n*10 + uint64(w.data[w.pos]-'0')
		if w.pos++; n > math.MaxUint32 {
			w.fail("number above %d", uint32(math.MaxUint32))
		}
	}
	if w.pos == start {
		w.fail("expected a whole number")
	} else if w.pos < len(w.data) && (w.data[w.pos] == '.' || w.data[w.pos]|0x20 == 'e') {
		w.fail("expected a whole number, found a fraction")
	}
	return uint32(n)
}

// float reads a number; one that does not fit 64 bits is an error rather than an infinity, which would win every path.
func (w *walker) float() float64 {
	raw := w.raw()
	if w.err != nil {
		return 0
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || math.IsInf(f, 0) {
		w.fail("%.40q is not a number", raw)
	}
	return f
}

// raw skips one value of any kind and gives its text.
func (w *walker) raw() json.RawMessage {
	w.space()
	start := w.pos
	w.skip(0)
	if w.err != nil {
		return nil
	}
	return json.RawMessage(w.data[start:w.pos])
}

// skip passes over a value. Depth is bounded, because every level is a level of the stack.
func (w *walker) skip(depth int) {
	if depth > maxNesting {
		w.fail("values nested more than %d deep", maxNesting)
		return
	}
	switch c := w.peek(); {
	case c == '{':
		w.object(func(string) { w.skip(depth + 1) })
	case c == '[':
		w.array(func(int) { w.skip(depth + 1) })
	case c == '"':
		w.text()
	default:
		w.scalar()
	}
}

// scalar skips a number, true, false or null.
func (w *walker) scalar() {
	start := w.pos
	for w.pos < len(w.data) {
		switch c := w.data[w.pos]; {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c == '-', c == '+', c == '.', c == 'E':
			w.pos++
			continue
		}
		break
	}
	if s := w.data[start:w.pos]; len(s) == 0 || !json.Valid(s) {
		w.fail("%.40q is not a JSON value", s)
	}
}

// end fails unless only white space is left.
func (w *walker) end() {
	if w.space(); w.err == nil && w.pos != len(w.data) {
		w.fail("text after the value")
	}
}
