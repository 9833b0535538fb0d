package safetensors

import (
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"unicode/utf8"
)

// parser walks tokens. encoding/json yields them from a buffer that grows with the longest text, at most the header itself.
type parser struct {
	file   string
	tensor string // the tensor being read, for messages
	data   int64  // bytes of the file's data section
	dec    *json.Decoder
}

func (p *parser) fail(format string, args ...any) error {
	return bad(p.file, p.tensor, format, args...)
}

// token is the next token; the end of the header inside a value is an error.
// The error of the UTF-8 reader passes through encoding/json as it is and is shown as the cause.
func (p *parser) token() (json.Token, error) {
	t, err := p.dec.Token()
	if err == nil {
		return t, nil
	}
	var form *FormatError
	if errors.As(err, &form) {
		return nil, err
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return nil, &FormatError{File: p.file, Tensor: p.tensor, Says: "the header is not valid JSON", Err: err}
}

func (p *parser) open(d json.Delim, what string) error {
	t, err := p.token()
	if err != nil {
		return err
	}
	if t != d {
		return p.fail("%s must be a JSON %s, found %s", what, kind(d), kind(t))
	}
	return nil
}

// members calls visit for each key of an object whose "{" has been read, and reads its "}".
// The callback must read exactly the value that belongs to its key; what it leaves would be taken for the next key.
func (p *parser) members(visit func(key string) error) error {
	for p.dec.More() {
		t, err := p.token()
		if err != nil {
			return err
		}
		key, ok := t.(string)
		if !ok {
			return p.fail("a key must be a string, found %s", kind(t))
		}
		if err := visit(key); err != nil {
			return err
		}
	}
	_, err := p.token()
	return err
}

// header reads the one object. Only white space may follow it: writers pad with spaces to align the data.
func (p *parser) header(h *Header) error {
	if err := p.open('{', "the header"); err != nil {
		return err
	}
	seen := false
	err := p.members(func(key string) error {
		if key == "__metadata__" {
			if seen {
				return p.fail("the header has %q twice", key)
			}
			seen = true
			return p.metadata(h)
		}
		e, err := p.entry(key)
		h.Entries = append(h.Entries, e)
		p.tensor = ""
		return err
	})
	if err != nil {
		return err
	}
	if t, err := p.dec.Token(); err != io.EOF {
		if err != nil {
			return &FormatError{File: p.file, Says: "the header is not valid JSON", Err: err}
		}
		return p.fail("%s stands after the end of the header's object", kind(t))
	}
	return nil
}

// metadata reads free texts. They decide nothing, but a header that says a thing twice is not to be trusted in anything.
func (p *parser) metadata(h *Header) error {
	if err := p.open('{', `"__metadata__"`); err != nil {
		return err
	}
	h.Metadata = map[string]string{}
	return p.members(func(key string) error {
		t, err := p.token()
		if err != nil {
			return err
		}
		s, ok := t.(string)
		if !ok {
			return p.fail(`"__metadata__": the value of %q must be a string, found %s`, key, kind(t))
		}
		if _, twice := h.Metadata[key]; twice {
			return p.fail(`"__metadata__" has %q twice`, key)
		}
		h.Metadata[key] = s
		return nil
	})
}

// entry reads one tensor. Its Offset counts from the start of the data until check moves it.
func (p *parser) entry(name string) (Entry, error) {
	p.tensor = name
	e := Entry{Name: name}
	if err := p.open('{', "its entry"); err != nil {
		return e, err
	}
	// The three keys may stand in any order, each once: the list of those seen is short enough to search.
	var ends []int64
	var fields []string
	err := p.members(func(key string) (err error) {
		if slices.Contains(fields, key) {
			return p.fail("its entry has %q twice", key)
		}
		switch key {
		case "dtype":
			e.DType, err = p.dtype()
		case "shape":
			e.Shape, err = p.numbers("shape", MaxDims)
		case "data_offsets":
			ends, err = p.numbers("data_offsets", 2)
		default:
			return p.fail("its entry has the unknown key %q; dtype, shape and data_offsets are known", key)
		}
		fields = append(fields, key)
		return err
	})
	if err != nil {
		return e, err
	}
	if len(fields) != 3 {
		return e, p.fail("its entry has %q; dtype, shape and data_offsets are needed", fields)
	}
	return e, p.span(&e, ends)
}

// span holds data_offsets against shape and type. After it Size fits the file, so sums of sizes cannot overflow.
func (p *parser) span(e *Entry, ends []int64) error {
	if len(ends) != 2 {
		return p.fail("data_offsets has %d numbers, want 2", len(ends))
	}
	lo, hi := ends[0], ends[1]
	switch {
	case hi < lo:
		return p.fail("its data ends at %d before it begins at %d", hi, lo)
	case hi > p.data:
		return p.fail("its data ends at byte %d of the data, the file holds %d", hi, p.data)
	}
	want, ok := bytesOf(e.Shape, e.DType)
	if !ok {
		return p.fail("shape %v of %s is not a whole number of bytes below 2^60", e.Shape, e.DType)
	}
	if want != hi-lo {
		return p.fail("shape %v of %s takes %d bytes, its data_offsets span %d", e.Shape, e.DType, want, hi-lo)
	}
	e.Offset, e.Size = lo, want
	return nil
}

// dtype refuses what it does not know: without the size of an element nothing of the tensor can be checked.
func (p *parser) dtype() (DType, error) {
	t, err := p.token()
	if err != nil {
		return "", err
	}
	s, ok := t.(string)
	if !ok {
		return "", p.fail("dtype must be a string, found %s", kind(t))
	}
	d, known := intern[s]
	if !known {
		return "", p.fail("unknown dtype %q", s)
	}
	return d, nil
}

// One string for all tensors of a type, so that a million entries do not keep a million copies.
var intern = func() map[string]DType {
	m := make(map[string]DType, len(bits))
	for d := range bits {
		m[string(d)] = d
	}
	return m
}()

// numbers reads natural numbers. 1.0 and 1e0 are refused: JSON's numbers are floats to some readers and text to others.
func (p *parser) numbers(what string, most int) ([]int64, error) {
	if err := p.open('[', what); err != nil {
		return nil, err
	}
	ns := make([]int64, 0, min(most, 4))
	for p.dec.More() {
		t, err := p.token()
		if err != nil {
			return nil, err
		}
		s, ok := t.(json.Number)
		if !ok {
			return nil, p.fail("%s must hold numbers, found %s", what, kind(t))
		}
		// Text to integer without a float in between: 2^53 + 1 must stay what it is.
		n, err := strconv.ParseInt(string(s), 10, 64)
		if err != nil || n < 0 {
			return nil, p.fail("%s holds %.40s, want whole numbers from 0 to 2^63-1", what, s)
		}
		if len(ns) == most {
			return nil, p.fail("%s has more than %d numbers", what, most)
		}
		ns = append(ns, n)
	}
	_, err := p.token()
	return ns, err
}

// kind names what was found instead of what was wanted.
func kind(t json.Token) string {
	switch v := t.(type) {
	case json.Delim:
		switch v {
		case '{', '}':
			return "object"
		default:
			return "array"
		}
	case string:
		return "string"
	case bool:
		return "boolean"
	case nil:
		return "null"
	}
	return "number"
}

// utf8Reader fails at bytes that are not UTF-8, which encoding/json would replace in silence.
type utf8Reader struct {
	r    io.Reader
	tail []byte // an incomplete rune at the end of the last read
	at   int64  // of the next byte in the header
}

func (u *utf8Reader) Read(b []byte) (int, error) {
	n, err := u.r.Read(b)
	// A rune may be cut by the end of a read: its beginning waits for the next.
	text := b[:n]
	if len(u.tail) > 0 {
		text = append(u.tail, text...)
	}
	for len(text) > 0 {
		if !utf8.FullRune(text) && err != io.EOF {
			break
		}
		r, size := utf8.DecodeRune(text)
		if r == utf8.RuneError && size <= 1 {
			return 0, errUTF8{u.at}
		}
		text, u.at = text[size:], u.at+int64(size)
	}
	u.tail = append([]byte(nil), text...)
	if err == io.EOF && len(u.tail) > 0 {
		return 0, errUTF8{u.at}
	}
	return n, err
}

type errUTF8 struct{ at int64 }

func (e errUTF8) Error() string {
	return "byte " + strconv.FormatInt(e.at, 10) + " of the header is not UTF-8"
}
