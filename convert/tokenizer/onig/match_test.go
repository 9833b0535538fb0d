package onig

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/dlclark/regexp2/v2"

	"quern/convert/fault"
)

// all gives the matched parts of a text.
func all(t testing.TB, pattern, text string) []string {
	t.Helper()
	re, err := Compile(pattern)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	if err := re.Each(text, func(lo, hi int) { out = append(out, text[lo:hi]) }); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestSemantics holds what Oniguruma means by a pattern where other engines mean something else; the answers are those
// of tokenizers 0.22.2.
func TestSemantics(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          []string
	}{
		{`^a`, "a\na\n\na", []string{"a", "a", "a"}},
		{`a$`, "a\nab\na", []string{"a", "a"}},
		{`\s+$`, "x  \n  y  ", []string{"  ", "  "}},
		{`a.b`, "a\nb axb", []string{"axb"}},
		{`(?m:a.b)`, "a\nb axb", []string{"a\nb", "axb"}},
		{`(?i:s)`, "sS\u017Ft", []string{"s", "S", "\u017F"}},
		{`(?i:k)`, "kK\u212A", []string{"k", "K", "\u212A"}},
		{`(?i:ss)`, "ss SS \u00DF \u1E9E", []string{"ss", "SS", "\u00DF", "\u1E9E"}},
		{`(?i:\x{DF})`, "ss \u00DF", []string{"ss", "\u00DF"}},
		{`(?i:ffi)`, "ffi \uFB03 \uFB00i f\uFB01", []string{"ffi", "\uFB03"}},
		{`[a[bc]&&[^b]]+`, "abca", []string{"a", "ca"}},
		{`[^a[bc]]+`, "abcdxa", []string{"dx"}},
		{` ?[^(\s|[.,!?])]+`, "a (b, c|d", []string{"a", "b", " c", "d"}},
		{`a?+a`, "aa a", []string{"aa"}},
		{`a++b|a`, "aab aa", []string{"aab", "a", "a"}},
		{`a{2}?b`, "aab b ab", []string{"aab", "b", "b"}},
		{`a{,2}b`, "aaab", []string{"aab"}},
		{`x{2,1}`, "xxx", []string{"xx", "x"}},
		{`(?<=a)b|(?<!a)c`, "abacc", []string{"b", "c"}},
		{`(?<=a|bc)d`, "ad bcd cd", []string{"d", "d"}},
		{`(?>a|ab)c`, "abc ac", []string{"ac"}},
		{`(a|b)\1`, "aabbab", []string{"aa", "bb"}},
		{`(?<x>a|b)\k<x>`, "aab", []string{"aa"}},
		{`a(?i)b|c`, "aB aC ac", []string{"aB", "aC", "ac"}},
		{`\bx`, "x xx ax", []string{"x", "x"}},
		{`\p{Han}+|\p{^Han}+`, "ab\u4E2D\u6587c", []string{"ab", "\u4E2D\u6587", "c"}},
		{`[[:alpha:]]+`, "ab1\u00E9", []string{"ab", "\u00E9"}},
		{`[\w&&[^\d]]+`, "a1b_2", []string{"a", "b_"}},
		{`\R`, "\r\n\n\u2028", []string{"\r\n", "\n", "\u2028"}},
		{`[]a]+`, "]a]", []string{"]a]"}},
		{`[a-]+`, "a-b", []string{"a-"}},
		{`a*`, "baa", []string{"", "aa"}},
		{`\Kb`, "ab", []string{"b"}},
		{`a\Kb`, "ab", []string{"b"}},
		{`\x61\u0062\t`, "ab\t", []string{"ab\t"}},
		{`(?x: a b # c
			c )`, "abc", []string{"abc"}},
		{`a{x`, "a{x", []string{"a{x"}},
	} {
		if got := all(t, c.pattern, c.text); !slices.Equal(got, c.want) {
			t.Errorf("%s on %q: got %q, want %q", c.pattern, c.text, got, c.want)
		}
	}
}

// TestRefused holds that what is not understood is an error that names it.
func TestRefused(t *testing.T) {
	for pattern, says := range map[string]string{
		`(a`:            "group without an end",
		`a)`:            "unmatched )",
		`*a`:            "nothing to repeat",
		`[a`:            "class without an end",
		`\p{Nonsense}`:  "Nonsense is not known",
		`\p{L`:          "property without an end",
		`(?<a>b)\g<a>`:  `\g is not supported`,
		`(?~ab)`:        "(?~...) is not supported",
		`(a)\2`:         "does not exist",
		`[z-a]`:         "empty range",
		`\X`:            `\X is not supported`,
		`a{200000}`:     "more than 100000 times",
		`(?:ab){90000}`: "more than 65536 instructions",
		"\xff":          "not UTF-8",
		`\x{110000}`:    "not a code point",
		`(?<n`:          "without an end",
		"(?#":           "comment without an end",
		strings.Repeat("(", 100) + strings.Repeat(")", 100): "64 deep",
	} {
		_, err := Compile(pattern)
		var unsupported *fault.Unsupported
		if !errors.As(err, &unsupported) || !strings.Contains(err.Error(), says) {
			t.Errorf("%.40q: got %v, want %q", pattern, err, says)
		}
	}
}

// known are splitters of well-known tokenizers that regexp2 understands in the same way.
var known = []string{
	`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`,
	`(?:'[sS]|'[tT]|'[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
	`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
	`\p{N}{1,3}`,
	`[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
	`(?:\r?\n)+(?!\r?\n)`,
	`\s{16}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}`,
	`(?<=\d)(?=(?:\d{3})+(?!\d))`,
	`(?<![a-z])(?:ab|a)+?c*`,
	`(a|b)*?c|(?>a+)b`,
	`(\w)\1+|.`,
}

// TestAgainstRegexp2 holds that this engine and another one agree on patterns that mean the same to both.
func TestAgainstRegexp2(t *testing.T) {
	alphabet := []string{"a", "b", "c", "A", "B", "s", "'", " ", "  ", "\t", "\n", "\r\n", "1", "23", "4567", ".", ",", "!", "é", "e\u0301", "中", "ア", "\u00A0", "🙂", "/", "_", "ll", "re"}
	rng := rand.New(rand.NewPCG(1, 2))
	compared := 0
	for _, pattern := range known {
		re, err := Compile(pattern)
		if err != nil {
			t.Fatal(err)
		}
		other := regexp2.MustCompile(pattern, regexp2.None)
		for range 400 {
			var b strings.Builder
			for range rng.IntN(24) {
				b.WriteString(alphabet[rng.IntN(len(alphabet))])
			}
			text := b.String()
			var got []string
			if err := re.Each(text, func(lo, hi int) { got = append(got, fmt.Sprint(lo, "-", hi)) }); err != nil {
				t.Fatal(err)
			}
			if want := others(t, other, text); !slices.Equal(got, want) {
				t.Fatalf("%s\non %q\ngot  %v\nwant %v", pattern, text, got, want)
			}
			compared++
		}
	}
	t.Logf("%d patterns, %d texts", len(known), compared)
}

// others gives regexp2's matches in bytes, without the empty ones that stand where the last match ended.
func others(t *testing.T, re *regexp2.Regexp, text string) []string {
	t.Helper()
	var out []string
	last := -1
	m, err := re.FindStringMatch(text)
	for m != nil && err == nil {
		lo, size := m.ByteRange()
		hi := lo + size
		if lo != hi || hi != last {
			out = append(out, fmt.Sprint(lo, "-", hi))
		}
		last = hi
		m, err = re.FindNextMatch(m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestLinear holds that patterns that backtrack badly end in time, or with an error that says so: the number of steps is
// bounded by the text, not by a clock.
func TestLinear(t *testing.T) {
	long := strings.Repeat("a", 100_000)
	blanks := strings.Repeat(" ", 100_000) + "x"
	for _, c := range []struct{ pattern, text string }{
		{`(?:a+)+b`, long}, {`(?:a|aa)+b`, long}, {`(?:a*a*)*?b`, "aaaa"}, {`\s+$`, blanks}, {`\s*[\r\n]+|\s+(?!\S)|\s+`, blanks},
		{`(?:a|b|ab)*c`, long}, {`(?:.*)x`, long}, {`a*a*a*a*b`, long},
	} {
		re, err := Compile(c.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if err := re.Each(c.text, func(int, int) {}); err != nil {
			t.Errorf("%s: %v", c.pattern, err)
		}
	}
	// Back-references cannot be remembered: the budget ends them.
	re, err := Compile(`(a*)*\1b`)
	if err != nil {
		t.Fatal(err)
	}
	var invalid *fault.Invalid
	if err := re.Each(strings.Repeat("a", 3000), func(int, int) {}); !errors.As(err, &invalid) {
		t.Errorf("a pattern without a bound ended with %v", err)
	}
}

// FuzzCompile holds that no pattern makes the engine fail otherwise than by an error, and that matches are in order.
func FuzzCompile(f *testing.F) {
	for _, p := range known {
		f.Add(p, "ab 12\n  x")
	}
	f.Add(`(?i:[ß-ÿ&&[^a]])*?(?<=a|bc)\1{2,3}+`, "ß")
	f.Add(`((a{0,3}){0,3}){0,3}$`, "aaaa")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 200 || len(text) > 200 || !utf8.ValidString(text) {
			return
		}
		re, err := Compile(pattern)
		if err != nil {
			return
		}
		last := 0
		_ = re.Each(text, func(lo, hi int) {
			if lo < last || hi < lo || hi > len(text) {
				t.Fatalf("%q on %q: match %d-%d after %d", pattern, text, lo, hi, last)
			}
			last = hi
		})
	})
}
