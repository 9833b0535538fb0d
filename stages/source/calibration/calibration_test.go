package calibration

import (
	"bytes"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"quern/stages/source"
	"quern/stages/source/pocket"
)

// The text is UTF-8, of several scripts, and shares nothing with what quality is judged on.
func TestText(t *testing.T) {
	text, err := Text()
	if err != nil {
		t.Fatal(err)
	}
	if !utf8.Valid(text) || len(text) < len(own)+maxBooks/2 {
		t.Fatalf("%d bytes, valid: %v", len(text), utf8.Valid(text))
	}
	for name, script := range map[string]*unicode.RangeTable{"Latin": unicode.Latin, "Cyrillic": unicode.Cyrillic, "Han": unicode.Han, "Hiragana": unicode.Hiragana,
		"Hangul": unicode.Hangul, "Arabic": unicode.Arabic, "Devanagari": unicode.Devanagari} {
		if !strings.ContainsFunc(string(own), func(r rune) bool { return unicode.Is(script, r) }) {
			t.Errorf("no %s letters", name)
		}
	}
	src, err := pocket.FS()
	if err != nil {
		t.Fatal(err)
	}
	judged, err := source.ReadFile(src, pocket.HeldOut)
	if err != nil {
		t.Fatal(err)
	}
	judged = judged[:len(judged)/2]
	for line := range bytes.Lines(text) {
		if len(line) > 80 && bytes.Contains(judged, line) {
			t.Fatalf("quality is judged on %q", line)
		}
	}
}
