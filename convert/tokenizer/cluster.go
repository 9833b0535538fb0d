package tokenizer

import (
	"sync"
	"unicode/utf8"

	"quern/convert/tokenizer/ucd"
)

// clusterSets are the properties that the boundaries of grapheme clusters depend on. Source: Unicode Standard Annex 29;
// the sets are measured (package ucd). Rule 9c of the annex is left out: clusters count only below six bytes, and a
// consonant with its virama has six.
type clusterSets struct {
	joined, prepend, control, pictographic *ucd.Set
}

var clusters = sync.OnceValue(func() clusterSets {
	return clusterSets{ucd.Compiled("gcb:joined"), ucd.Compiled("gcb:prepend"), ucd.Compiled("gcb:control"), ucd.Compiled("onig:extendedpictographic")}
})

// cluster is the length in bytes of the grapheme cluster that text begins with.
func cluster(text string) int {
	// Nearly all text: a character below U+0300 followed by another, with the one exception of CR LF.
	if len(text) > 1 && text[0] < utf8.RuneSelf && text[1] < utf8.RuneSelf {
		if text[0] == '\r' && text[1] == '\n' {
			return 2
		}
		return 1
	}
	s := clusters()
	prev, n := utf8.DecodeRuneInString(text)
	flags, picture := 0, s.pictographic.Contains(prev)
	if isFlag(prev) {
		flags = 1
	}
	for n < len(text) {
		r, size := utf8.DecodeRuneInString(text[n:])
		if !s.together(prev, r, flags, picture) {
			break
		}
		if isFlag(r) {
			flags++
		}
		// A picture is still open over Extend and up to one joiner.
		picture = picture && s.joined.Contains(r) || s.pictographic.Contains(r)
		prev = r
		n += size
	}
	return n
}

// isFlag tells the regional indicators, which join in pairs.
func isFlag(r rune) bool { return r >= 0x1F1E6 && r <= 0x1F1FF }

// together tells whether no boundary stands between a and b.
func (s *clusterSets) together(a, b rune, flags int, picture bool) bool {
	switch {
	case a == '\r' && b == '\n':
		return true
	case s.control.Contains(a) || s.control.Contains(b):
		return false
	case hangulJoined(a, b):
		return true
	case s.joined.Contains(b) || s.prepend.Contains(a):
		return true
	case picture && a == 0x200D && s.pictographic.Contains(b):
		return true
	}
	return isFlag(a) && isFlag(b) && flags%2 == 1
}

// hangulJoined holds the rules GB6 to GB8: the parts of a syllable stay together.
func hangulJoined(a, b rune) bool {
	isL := func(r rune) bool { return r >= 0x1100 && r <= 0x115F || r >= 0xA960 && r <= 0xA97C }
	isV := func(r rune) bool { return r >= 0x1160 && r <= 0x11A7 || r >= 0xD7B0 && r <= 0xD7C6 }
	isT := func(r rune) bool { return r >= 0x11A8 && r <= 0x11FF || r >= 0xD7CB && r <= 0xD7FB }
	isS := func(r rune) bool { return r >= hangulS && r < hangulS+countL*countV*countT }
	isLV := func(r rune) bool { return isS(r) && (r-hangulS)%countT == 0 }
	switch {
	case isL(a):
		return isL(b) || isV(b) || isS(b)
	case isLV(a) || isV(a):
		return isV(b) || isT(b)
	case isS(a) || isT(a):
		return isT(b)
	}
	return false
}
