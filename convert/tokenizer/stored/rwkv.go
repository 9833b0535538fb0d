package stored

import (
	"fmt"
	"strings"

	"quern/convert/fault"
)

// rwkv takes the longest token at each place. Its tokens are bytes, escaped in the file.
type rwkv struct {
	*Vocabulary
	tokens prefixes
}

func newRWKV(v *Vocabulary) (*rwkv, error) {
	m := &rwkv{v, prefixes{}}
	for i, t := range v.def.Tokens {
		m.tokens.add(unescape(t), int32(i))
	}
	return m, nil
}

// unescape reads \t, \n, \r, \xNN and a backslash before any other character.
func unescape(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			out.WriteByte(s[i])
			continue
		}
		i++
		switch c := s[i]; c {
		case 't':
			out.WriteByte('\t')
		case 'n':
			out.WriteByte('\n')
		case 'r':
			out.WriteByte('\r')
		case 'x':
			var b byte
			for range 2 {
				if i+1 == len(s) {
					break
				}
				i++
				b = b<<4 + hex(s[i])
			}
			out.WriteByte(b)
		default:
			out.WriteByte(c)
		}
	}
	return out.String()
}

// hex is the value of a digit.
func hex(c byte) byte {
	if c >= 'a' {
		return c - 'a' + 10
	}
	return c - '0'
}

func (m *rwkv) encode(text string, _ bool, to []int32) ([]int32, error) {
	for text != "" {
		size, id := 0, None
		m.tokens.each(text, func(n int, t int32) { size, id = n, t })
		if size == 0 {
			if m.def.UNK < 0 {
				return nil, &fault.Invalid{On: "vocabulary", Says: fmt.Sprintf("has no token for the byte 0x%02X and none for what is unknown", text[0])}
			}
			size, id = 1, m.def.UNK
		}
		to, text = append(to, id), text[size:]
	}
	return to, nil
}
