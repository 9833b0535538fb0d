package tokenizer

import "unicode/utf8"

// byteChars spells every byte as a printable character, as GPT-2 does: those that print stand for themselves, the
// others follow from U+0100 on, in order.
var byteChars = func() (chars [256]rune) {
	next := rune(256)
	for b := range chars {
		switch {
		case b >= '!' && b <= '~', b >= 0xA1 && b <= 0xAC, b >= 0xAE:
			chars[b] = rune(b)
		default:
			chars[b] = next
			next++
		}
	}
	return chars
}()

// charBytes is the way back.
var charBytes = func() map[rune]byte {
	m := make(map[rune]byte, len(byteChars))
	for b, r := range byteChars {
		m[r] = byte(b)
	}
	return m
}()

// toByteChars spells out the bytes of a span.
func (s *span) toByteChars() {
	if !s.tracked {
		s.text = string(appendByteChars(make([]byte, 0, len(s.text)*2), s.text))
		return
	}
	w := s.rewrite()
	for i := range len(s.text) {
		w.put(byteChars[s.text[i]], !utf8.RuneStart(s.text[i]), 0)
	}
	w.done()
}

// appendByteChars adds the spelling of a text's bytes.
func appendByteChars(to []byte, text string) []byte {
	for i := range len(text) {
		to = utf8.AppendRune(to, byteChars[text[i]])
	}
	return to
}
