package tokenizer

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"quern/convert/fault"
)

// RWKV is an RWKV World vocabulary (rwkv_vocab_v20230424.txt): byte strings, of which the longest that fits is taken.
type RWKV struct {
	Tokens [][]byte // by id; nil: the file has none
	trie   *trie
}

// ParseRWKV reads lines of an id, a Python literal (a string or bytes) and the literal's length in bytes.
func ParseRWKV(data []byte) (*RWKV, error) {
	if len(data) > maxFile {
		return nil, &fault.Invalid{On: "rwkv vocabulary", Says: fmt.Sprintf("holds %d bytes, at most %d are read", len(data), maxFile)}
	}
	r := &RWKV{}
	t := newTable(1 << 10)
	for n, line := range bytes.Split(data, []byte("\n")) {
		if line = bytes.TrimRight(line, "\r"); len(line) == 0 {
			continue
		}
		id, token, err := rwkvLine(line)
		if err != nil {
			return nil, &fault.Invalid{On: "rwkv vocabulary", Says: fmt.Sprintf("line %d cannot be read", n+1), Err: err}
		}
		for len(r.Tokens) <= int(id) {
			r.Tokens = append(r.Tokens, nil)
		}
		r.Tokens[id] = token
		t.put(token, id)
	}
	if t.len() == 0 {
		return nil, &fault.Invalid{On: "rwkv vocabulary", Says: "has no tokens"}
	}
	r.trie = newTrie(t)
	return r, nil
}

// rwkvLine takes a line apart. The literal may hold blanks, so it reaches from the first to the last of them.
func rwkvLine(line []byte) (id int32, token []byte, err error) {
	first, last := bytes.IndexByte(line, ' '), bytes.LastIndexByte(line, ' ')
	if first < 0 || first == last {
		return 0, nil, fmt.Errorf("not an id, a literal and a length")
	}
	n, err := strconv.ParseUint(string(line[:first]), 10, 32)
	if err != nil {
		return 0, nil, err
	}
	if n > maxID {
		return 0, nil, tooHigh("rwkv vocabulary", uint32(min(n, math.MaxUint32)))
	}
	if token, err = pythonLiteral(bytes.TrimSpace(line[first:last])); err != nil {
		return 0, nil, err
	}
	if size, err := strconv.Atoi(string(line[last+1:])); err != nil || size != len(token) {
		return 0, nil, fmt.Errorf("the literal has %d bytes, the line says %.20q", len(token), line[last+1:])
	}
	return int32(n), token, nil
}

// pythonEscapes are the escapes of one letter.
var pythonEscapes = map[byte]byte{'n': '\n', 't': '\t', 'r': '\r', '\\': '\\', '\'': '\'', '"': '"', 'a': 7, 'b': 8, 'f': 12, 'v': 11}

// pythonLiteral reads '...', "...", b'...' or b"...": text in UTF-8, or bytes.
func pythonLiteral(s []byte) ([]byte, error) {
	isBytes := len(s) > 0 && s[0] == 'b'
	if isBytes {
		s = s[1:]
	}
	if len(s) < 2 || s[0] != '\'' && s[0] != '"' || s[len(s)-1] != s[0] {
		return nil, fmt.Errorf("%.40q is not a Python string", s)
	}
	quote := s[0]
	s = s[1 : len(s)-1]
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); {
		if s[i] == quote {
			return nil, fmt.Errorf("a quote stands inside the string")
		}
		if s[i] != '\\' {
			out = append(out, s[i])
			i++
			continue
		}
		if i+1 == len(s) {
			return nil, fmt.Errorf("the string ends in a backslash")
		}
		n := 0
		var err error
		if out, n, err = pythonEscape(out, s[i+1:], isBytes); err != nil {
			return nil, err
		}
		i += 1 + n
	}
	return out, nil
}

// pythonEscape reads what follows a backslash, and gives how much that is.
func pythonEscape(out, s []byte, isBytes bool) ([]byte, int, error) {
	if c, ok := pythonEscapes[s[0]]; ok {
		return append(out, c), 1, nil
	}
	digits, base, from := 0, 16, 1
	switch {
	case s[0] == 'x':
		digits = 2
	case s[0] == 'u' && !isBytes:
		digits = 4
	case s[0] == 'U' && !isBytes:
		digits = 8
	case s[0] >= '0' && s[0] <= '7':
		base, from = 8, 0
		for digits < 3 && digits < len(s) && s[digits] >= '0' && s[digits] <= '7' {
			digits++
		}
	default: // an escape that is none stands for itself
		return append(out, '\\', s[0]), 1, nil
	}
	if from+digits > len(s) {
		return nil, 0, fmt.Errorf("an escape has too few digits")
	}
	v, err := strconv.ParseUint(string(s[from:from+digits]), base, 32)
	if err != nil || v > utf8.MaxRune || isBytes && v > 255 {
		return nil, 0, fmt.Errorf("the escape \\%.10s is not a character", s)
	}
	if isBytes {
		return append(out, byte(v)), from + digits, nil
	}
	return utf8.AppendRune(out, rune(v)), from + digits, nil
}

// Encode gives the ids of a text. A byte that begins no token is left out as id 0, the end of text, as libllama has it.
func (r *RWKV) Encode(text string) []int32 {
	var ids []int32
	for at := 0; at < len(text); {
		id, end := int32(0), at+1
		for node, i := int32(0), at; i < len(text); i++ {
			if node = r.trie.next(node, text[i]); node < 0 {
				break
			}
			if v := r.trie.value(node); v >= 0 {
				id, end = v, i+1
			}
		}
		ids = append(ids, id)
		at = end
	}
	return ids
}
