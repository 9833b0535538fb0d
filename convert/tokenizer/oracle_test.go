package tokenizer

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// oracle is a Python process that asks the library itself.
type oracle struct {
	in  io.WriteCloser
	out *bufio.Reader
}

// newOracle starts the Python interpreter that QUERN_HF_PYTHON names; it has to have tokenizers 0.22.
func newOracle(t testing.TB) *oracle {
	t.Helper()
	python := os.Getenv("QUERN_HF_PYTHON")
	if python == "" {
		t.Skip("QUERN_HF_PYTHON names no Python interpreter with tokenizers 0.22: nothing to compare with")
	}
	cmd := exec.Command(python, filepath.Join("testdata", "oracle.py"))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	return &oracle{in, bufio.NewReaderSize(out, 1<<20)}
}

func (o *oracle) ask(t testing.TB, request, answer any) {
	t.Helper()
	q, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.in.Write(append(q, '\n')); err != nil {
		t.Fatal(err)
	}
	line, err := o.out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("the oracle ended: %v", err)
	}
	if err := json.Unmarshal(line, answer); err != nil {
		t.Fatalf("%v: %.200s", err, line)
	}
}

// probe is one stage whose treatment of every code point is held.
type probe struct {
	stage, part, context string // context: %s is the character
}

var probes = []probe{
	{"normalizer", `{"type": "NFC"}`, "e%s\u0301"},
	{"normalizer", `{"type": "NFD"}`, "e%s\u0334"},
	{"normalizer", `{"type": "NFKC"}`, "%s\u0301"},
	{"normalizer", `{"type": "NFKD"}`, "a%s"},
	{"normalizer", `{"type": "Lowercase"}`, "%s"},
	{"normalizer", `{"type": "StripAccents"}`, "x%s"},
	{"normalizer", `{"type": "Strip", "strip_left": true, "strip_right": true}`, "%s"},
	{"normalizer", `{"type": "Nmt"}`, "x%s"},
	{"normalizer", `{"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true}`, "x%sy"},
	{"pre_tokenizer", `{"type": "BertPreTokenizer"}`, "x%sy"},
	{"pre_tokenizer", `{"type": "Whitespace"}`, "x%s."},
	{"pre_tokenizer", `{"type": "WhitespaceSplit"}`, "x%sy"},
	{"pre_tokenizer", `{"type": "Digits", "individual_digits": true}`, "x%sy"},
	{"pre_tokenizer", `{"type": "Punctuation", "behavior": "Isolated"}`, "x%sy"},
	{"pre_tokenizer", `{"type": "UnicodeScripts"}`, "x%sя"},
	{"pre_tokenizer", `{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}`, " x%s1"},
	{"pre_tokenizer", `{"type": "Split", "pattern": {"Regex": "\\p{Lu}|\\p{Lt}|\\p{Lm}|\\p{M}+|[\\p{S}\\p{Pd}]|\\w+"}, "behavior": "Isolated", "invert": false}`, "%s%[1]sx"},
	{"pre_tokenizer", `{"type": "Split", "pattern": {"Regex": "\\s|\\p{Cyrillic}|\\p{Han}|[[:alpha:]]|[[:punct:]]|\\p{Extended_Pictographic}|\\p{Cn}"}, "behavior": "Isolated", "invert": false}`, "%s%[1]s"},
	{"pre_tokenizer", `{"type": "Split", "pattern": {"Regex": "(?i:[a-zß-öǅα-ω]|k|ss|ſ)"}, "behavior": "Isolated", "invert": false}`, "%s%[1]s"},
}

func (p probe) file() string {
	return fmt.Sprintf(`{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null,
		%q: %s, "model": {"type": "WordLevel", "vocab": {"[UNK]": 0}, "unk_token": "[UNK]"}}`, p.stage, p.part)
}

// blocks gives all code points that are or may soon be assigned, 256 to a list of texts.
func (p probe) blocks(f func(block rune, texts []string)) {
	for _, r := range [][2]rune{{0x01, 0xD7FF}, {0xE000, 0x33FFF}, {0xE0000, 0xE01FF}, {0xF0000, 0xF0010}, {0x10FFF0, 0x10FFFF}} {
		var texts []string
		block := r[0]
		for c := r[0]; c <= r[1]; c++ {
			texts = append(texts, strings.ReplaceAll(fmt.Sprintf(p.context, string(c)), "%!(EXTRA string="+string(c)+")", ""))
			if len(texts) == 256 || c == r[1] {
				f(block, texts)
				block, texts = c+1, nil
			}
		}
	}
}

// TestCodePoints holds that every code point is treated as the library treats it: the digests were recorded when
// TestCodePointsLive compared word by word.
func TestCodePoints(t *testing.T) {
	data, err := os.ReadFile("testdata/codepoints.json")
	if err != nil {
		t.Fatal(err)
	}
	var recorded map[string]string
	if err := json.Unmarshal(data, &recorded); err != nil {
		t.Fatal(err)
	}
	if len(recorded) != len(probes) {
		t.Errorf("%d digests are recorded, want %d", len(recorded), len(probes))
	}
	for _, p := range probes {
		if got := p.digest(t); got != recorded[p.part] {
			t.Errorf("%s: digest %s, want %s", p.part, got, recorded[p.part])
		}
	}
}

func (p probe) digest(t *testing.T) string {
	t.Helper()
	tok, err := Load([]byte(p.file()))
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	p.blocks(func(_ rune, texts []string) {
		for _, text := range texts {
			for _, w := range spelled(t, tok, text) {
				h.Write([]byte(w + "\x00"))
			}
			h.Write([]byte{1})
		}
	})
	return hex.EncodeToString(h.Sum(nil)[:12])
}

// spelled are the words of a text with their bytes spelled out, as the library shows them.
func spelled(t testing.TB, tok *Tokenizer, text string) []string {
	t.Helper()
	words, err := tok.Words(text)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(tok.splitters); n > 0 {
		if b, ok := tok.splitters[n-1].(byteSplitter); ok && b.raw {
			for i := range words {
				words[i] = ByteChars([]byte(words[i]))
			}
		}
	}
	return words
}

// TestCodePointsLive compares every code point with the library, and records the digests where all are equal.
func TestCodePointsLive(t *testing.T) {
	o := newOracle(t)
	digests := map[string]string{}
	for _, p := range probes {
		tok, err := Load([]byte(p.file()))
		if err != nil {
			t.Fatal(err)
		}
		var answer any
		if o.ask(t, map[string]any{"load": p.file()}, &answer); answer != nil {
			t.Fatalf("%s: %v", p.part, answer)
		}
		bad := 0
		p.blocks(func(block rune, texts []string) {
			var want [][]string
			o.ask(t, map[string]any{"words": texts}, &want)
			for i, text := range texts {
				got := spelled(t, tok, text)
				if len(want[i]) == 1 && want[i][0] == "" {
					want[i] = nil
				}
				if !slices.Equal(got, want[i]) && !(len(got) == 0 && len(want[i]) == 0) {
					if bad++; bad < 10 {
						t.Errorf("%s: U+%04X in %q: got %q, want %q", p.part, block+rune(i), text, got, want[i])
					}
				}
			}
		})
		t.Logf("%s: %d differences", p.part, bad)
		digests[p.part] = p.digest(t)
	}
	if t.Failed() {
		return
	}
	data, err := json.MarshalIndent(digests, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("testdata/codepoints.json", append(data, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}
