package vocab

import (
	"fmt"
	"strings"

	"quern/convert/fault"
	"quern/convert/tokenizer"
)

const rwkvFile = "rwkv_vocab_v20230424.txt"

// rwkv writes the World vocabulary: token 0 ends a text, every line of the file is an id, a Python literal and its
// length in bytes; the token is written as Python prints the bytes.
func (b *builder) rwkv() error {
	raw, err := read(b.src, rwkvFile)
	if err != nil {
		return err
	}
	if raw == nil {
		return &fault.Unsupported{On: rwkvFile, Says: "not in the checkpoint, and RWKV's vocabulary is read from it"}
	}
	world, err := tokenizer.ParseRWKV(raw)
	if err != nil {
		return err
	}
	list := []token{{"<s>", 0, Control}}
	for _, t := range world.Tokens { // in the order of their ids, which stand in the file without holes from 1 on
		if t != nil {
			list = append(list, token{pythonBytes(t), 0, Normal})
		}
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
