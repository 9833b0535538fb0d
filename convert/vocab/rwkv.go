package vocab

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"quern/convert/fault"
)

const rwkvFile = "rwkv_vocab_v20230424.txt"

// rwkv writes the World vocabulary: token 0 ends a text, every line of the file is an id, a Python literal and its
// length in bytes; the token is written as Python prints the bytes.
func (b *builder) rwkv() error {
	text, found, err := readText(b.src, rwkvFile)
	if err != nil {
		return err
	}
	if !found {
		return &fault.Unsupported{On: rwkvFile, Says: "not in the checkpoint, and RWKV's vocabulary is read from it"}
	}
	list := []token{{"<s>", 0, Control}}
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		t, err := rwkvLine(line)
		if err != nil {
			return &fault.Invalid{On: fmt.Sprintf("%s: line %d", rwkvFile, i+1), Says: "not a token", Err: err}
		}
		list = append(list, token{pythonBytes(t), 0, Normal})
	}
	size, ok, err := b.size("vocab_size")
	if err != nil {
		return err
	}
	if !ok {
		size = 65536
	}
	if size < len(list) {
		return &fault.Invalid{On: rwkvFile, Says: fmt.Sprintf("%d tokens, the configuration says %d", len(list), size)}
	}
	list = append(list, padding(size, 0)[len(list):]...)
	b.write("rwkv", "", list, false)
	s, err := b.specials(specialOptions{})
	if err != nil {
		return err
	}
	// Two line feeds end a turn; 0 begins and ends whatever the configuration says.
	s.setID("eot", 261)
	s.ids.set("bos", 0)
	s.ids.set("eos", 0)
	if !s.template.some {
		b.withoutTemplate()
	}
	s.write(&b.kv)
	return nil
}

func rwkvLine(line string) ([]byte, error) {
	parts := strings.Split(line, " ")
	if len(parts) < 3 {
		return nil, fmt.Errorf("%d fields, want an id, a literal and a length", len(parts))
	}
	n, err := strconv.Atoi(strings.TrimSpace(parts[len(parts)-1]))
	if err != nil {
		return nil, err
	}
	t, err := pythonLiteral(strings.Join(parts[1:len(parts)-1], " "))
	if err == nil && len(t) != n {
		err = fmt.Errorf("%d bytes, the line says %d", len(t), n)
	}
	return t, err
}

// escapes are Python's one-letter escapes.
var escapes = map[byte]byte{'n': '\n', 't': '\t', 'r': '\r', 'a': 7, 'b': 8, 'f': 12, 'v': 11, '\\': '\\', '\'': '\'', '"': '"'}

// pythonLiteral reads one Python text or bytes literal on one line.
func pythonLiteral(s string) ([]byte, error) {
	raw := s
	isBytes := strings.HasPrefix(s, "b")
	s = strings.TrimPrefix(s, "b")
	if len(s) < 2 || s[0] != '\'' && s[0] != '"' || s[len(s)-1] != s[0] {
		return nil, fmt.Errorf("%q is no literal", raw)
	}
	quote := s[0]
	s = s[1 : len(s)-1]
	var out []byte
	for i := 0; i < len(s); i++ {
		if s[i] == quote {
			return nil, fmt.Errorf("%q ends early", raw)
		}
		if s[i] != '\\' {
			out = append(out, s[i])
			continue
		}
		i++
		if i == len(s) {
			return nil, fmt.Errorf("%q ends in an escape", raw)
		}
		if c, ok := escapes[s[i]]; ok {
			out = append(out, c)
			continue
		}
		digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[i]]
		if digits == 0 || isBytes && digits > 2 || i+digits >= len(s) {
			return nil, fmt.Errorf("%q has an escape that is not read", raw)
		}
		v, err := strconv.ParseUint(s[i+1:i+1+digits], 16, 32)
		if err != nil {
			return nil, err
		}
		i += digits
		if isBytes {
			out = append(out, byte(v))
		} else {
			out = utf8.AppendRune(out, rune(v))
		}
	}
	return out, nil
}

// pythonBytes is what stands between the quotes when Python prints bytes.
func pythonBytes(b []byte) string {
	s := string(b)
	quote := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	var out strings.Builder
	for _, c := range b {
		switch {
		case c == '\\' || c == quote:
			out.WriteByte('\\')
			out.WriteByte(c)
		case c == '\n':
			out.WriteString(`\n`)
		case c == '\t':
			out.WriteString(`\t`)
		case c == '\r':
			out.WriteString(`\r`)
		case c < 0x20 || c >= 0x7f:
			fmt.Fprintf(&out, `\x%02x`, c)
		default:
			out.WriteByte(c)
		}
	}
	return out.String()
}
