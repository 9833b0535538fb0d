package tokenizer

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"quern/convert/tokenizer/onig"
)

// TestDifferential compares random tokenizers on random texts with the library, for the seconds that
// QUERN_DIFFERENTIAL_SECONDS names (20) from the seed QUERN_DIFFERENTIAL_SEED (1) on.
func TestDifferential(t *testing.T) {
	o := newOracle(t)
	seconds, seed := number("QUERN_DIFFERENTIAL_SECONDS", 20), number("QUERN_DIFFERENTIAL_SEED", 1)
	end := time.Now().Add(time.Duration(seconds) * time.Second)
	g := &generator{charsmap: charsmapOf(t)}
	files, lists, refused, bad := 0, 0, 0, 0
	for ; time.Now().Before(end) && bad < 20; seed++ {
		g.Rand = rand.New(rand.NewPCG(uint64(seed), 7))
		file, asked := g.tokenizer(), []string{"", " "}
		if g.IntN(2) == 0 {
			file = g.mutate(file)
		}
		for range 30 {
			asked = append(asked, g.text())
		}
		tok, err := Load([]byte(file))
		var answer any
		o.ask(t, map[string]any{"load": file}, &answer)
		files++
		if panicked(answer) && err == nil || err != nil && (strings.Contains(err.Error(), "the normalizer leaves nothing of") || strings.Contains(err.Error(), "at least 1 is needed")) {
			continue
		}
		if (answer != nil) != (err != nil) {
			bad++
			t.Errorf("seed %d: the library says %v, we say %v\n%.1500s", seed, answer, err, brief(file))
		}
		if err != nil || answer != nil {
			refused++
			continue
		}
		var want [][]any
		o.ask(t, map[string]any{"encode": asked}, &want)
		for i, text := range asked {
			lists += 2
			if says := differs(tok, text, want[i]); says != "" {
				bad++
				t.Errorf("seed %d on %q: %s\n%.1500s", seed, text, says, brief(file))
				break
			}
		}
	}
	t.Logf("%d tokenizers (%d refused by both), %d lists of ids, next seed %d", files, refused, lists, seed)
}

// panicked tells whether the library's own bookkeeping of offsets broke down, or its search gave up, which is not for us
// to follow.
func panicked(answer any) bool {
	says := fmt.Sprint(answer)
	return strings.Contains(says, "out of bounds") || strings.Contains(says, "out of range") || strings.Contains(says, "bad split") || strings.Contains(says, "retry-limit")
}

// brief leaves the vocabulary out of a file.
func brief(file string) string {
	var f map[string]any
	_ = json.Unmarshal([]byte(file), &f)
	if n, ok := f["normalizer"].(map[string]any); ok {
		delete(n, "precompiled_charsmap")
	}
	if m, ok := f["model"].(map[string]any); ok {
		delete(m, "vocab")
		delete(m, "merges")
	}
	b, _ := json.Marshal(f)
	return string(b)
}

func number(variable string, def int) int {
	if n, err := strconv.Atoi(os.Getenv(variable)); err == nil {
		return n
	}
	return def
}

func charsmapOf(t testing.TB) string {
	t.Helper()
	var f struct {
		Normalizer struct {
			Charsmap string `json:"precompiled_charsmap"`
		} `json:"normalizer"`
	}
	if err := json.Unmarshal(readCorpus(t, "ugm-t5/tokenizer.json"), &f); err != nil {
		t.Fatal(err)
	}
	return f.Normalizer.Charsmap
}

// differs compares ids without and with special tokens, and the decoded text.
func differs(tok *Tokenizer, text string, want []any) string {
	for k, special := range []bool{false, true} {
		got, err := tok.Encode(text, special)
		ids, ok := want[k].([]any)
		if !ok || err != nil {
			if !ok && (err != nil || panicked(want[k])) {
				continue
			}
			return fmt.Sprintf("special %v: the library says %v, we say %v %v", special, want[k], got, err)
		}
		var list []int32
		for _, x := range ids {
			list = append(list, int32(x.(float64)))
		}
		if !slices.Equal(got, list) {
			words, _ := tok.Words(text)
			return fmt.Sprintf("special %v\ngot  %v\nwant %v\nwords %q", special, got, list, words)
		}
		if decoded, isText := want[2].(string); special && isText {
			if back, err := tok.Decode(got, true); err != nil || back != decoded {
				return fmt.Sprintf("decoded: got %q %v, want %q", back, err, decoded)
			}
		}
	}
	return ""
}

// generator makes random tokenizers and texts.
type generator struct {
	*rand.Rand
	charsmap string
	bytes    bool // the last pre-tokenizer spells bytes
}

var letters = []string{"a", "b", "c", "ab", "A", "B", "é", "e\u0301", "ß", "ss", "ſ", "K", "İ", "ﬁ", "Å", "1", "2", "½", "٣", " ", "  ", "\t", "\n", "\r\n", "\u00A0", "\u3000", "\u200b", "\u200d",
	".", ",", "!", "-", "_", "'", "'s", "<", ">", "中", "文", "ア", "ｶﾞ", "가", "각", "я", "ё", "अ", "ि", "क्ष", "🙂", "👩\u200d🚀", "🇩🇪", "\u0301", "\u0323", "Ġ", "▁", "▁▁", "##", "[X]", "<s>", "yes", "№", "\u0085", "\u2028", "\ufeff", "\U0001F3FD", "ﬃ", "ĳ", "\u0344", "\u1E9B"}

func (g *generator) pick(list []string) string { return list[g.IntN(len(list))] }

// text is made of the letters; now and then of any characters, or of one again and again.
func (g *generator) text() string {
	var b strings.Builder
	switch g.IntN(12) {
	case 0:
		for range g.IntN(20) {
			b.WriteRune(g.anyRune())
		}
	case 1:
		s := g.pick(letters)
		b.WriteString(strings.Repeat(s, 1+g.IntN(60)) + g.pick(letters))
	default:
		for range g.IntN(14) {
			b.WriteString(g.pick(letters))
		}
	}
	return b.String()
}

// anyRune is a character of any block that has some, those of the lower ones more often.
func (g *generator) anyRune() rune {
	top := []rune{0x80, 0x250, 0x3000, 0xD800, 0x20000, 0x110000}[g.IntN(6)]
	for {
		if r := rune(g.IntN(int(top))); r != 0 && (r < 0xD800 || r > 0xDFFF) {
			return r
		}
	}
}

// atoms are what random expressions are made of.
var atoms = []string{`a`, `b`, `[a-c]`, `[^a-c\s]`, `\p{L}`, `\p{Lu}`, `\p{Ll}`, `\p{N}`, `\p{M}`, `\p{P}`, `\P{L}`, `\s`, `\S`, `\d`, `\w`, `\W`, ` `, `'`, `.`, `[\r\n]`, `[^\r\n\p{L}\p{N}]`, `[\p{L}\p{M}]`, `中`, `(?i:s|é)`,
	`\h`, `[[:alpha:]]`, `[[:^space:]]`, `[a-z&&[^b]]`, `\p{Han}`, `\R`, `(?:ab)`, `[ßſ]`, `(?i:ß)`, `[^\W_]`, `\x{41}`, `\n`, `\t`, `_`, `\p{Script=Greek}`, `\p{^L}`}

// expression is a random one: atoms with quantifiers, in alternatives, with looks around.
func (g *generator) expression() string {
	var alts []string
	for range 1 + g.IntN(3) {
		var s strings.Builder
		if g.IntN(8) == 0 {
			s.WriteString(g.pick([]string{`^`, `(?<=a)`, `(?<!\s)`, `(?=\S)`, `(?!b)`, `\b`, `\A`}))
		}
		for range 1 + g.IntN(3) {
			atom := g.pick(atoms)
			if g.IntN(6) == 0 {
				atom = "(" + atom + "|" + g.pick(atoms) + ")"
			}
			s.WriteString(atom + g.pick([]string{``, ``, ``, `?`, `+`, `*`, `{1,3}`, `+?`, `*+`, `++`, `{2}`, `{2,}`, `??`}))
		}
		if g.IntN(6) == 0 {
			s.WriteString(g.pick([]string{`$`, `(?!\S)`, `(?=\s|$)`, `\b`, `\z`, `\Z`, `\B`}))
		}
		alts = append(alts, s.String())
	}
	return strings.Join(alts, "|")
}

func (g *generator) flip() bool { return g.IntN(2) == 0 }

func (g *generator) tokenizer() string {
	g.bytes = false
	norm, pre := g.several("normalizers", 3, g.normalizer), g.several("pretokenizers", 3, g.splitter)
	f := j{"version": "1.0", "truncation": nil, "padding": nil, "normalizer": norm, "pre_tokenizer": pre, "model": g.model(), "added_tokens": g.added(), "post_processor": g.post(), "decoder": g.several("decoders", 3, g.decoder)}
	b, _ := json.Marshal(f)
	return string(b)
}

// several makes nothing, one part, or a sequence.
func (g *generator) several(key string, most int, part func() j) any {
	switch n := g.IntN(most + 1); n {
	case 0:
		return nil
	case 1:
		return part()
	default:
		var list []any
		for range n {
			list = append(list, part())
		}
		return sequence(key, list...)
	}
}

var expressions = []string{gpt2, qwen2, cl100k, ` ?[^(\s|[.,!?…])]+`, `\p{N}{1,3}`, `\s+$`, `[\r\n]`, `\s?\p{L}+`, `(?i:s|k)`, ` {2,}`, `\d(?=(?:\d{3})*\b)`, `(?:\r?\n)+(?!\r?\n)`,
	`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n/]*|\s+`, `a*`, `(a|b)\1?`, `(?<=a)b|c(?!c)`, `^.|.$`, `[[:punct:]]+`, `\b`, `[^\w\s]`}

func (g *generator) pattern() j {
	if g.IntN(4) == 0 {
		return j{"String": g.pick(letters)}
	}
	if g.IntN(2) == 0 {
		return j{"Regex": g.expression()}
	}
	return j{"Regex": g.pick(expressions)}
}

func (g *generator) normalizer() j {
	switch g.IntN(14) {
	case 0:
		return j{"type": "Strip", "strip_left": g.flip(), "strip_right": g.flip()}
	case 1:
		return j{"type": "Prepend", "prepend": g.pick([]string{"▁", "_ ", "x"})}
	case 2, 3:
		p := g.pattern()
		if re, ok := p["Regex"].(string); ok && matchesEmpty(re) { // empty matches put the library's offsets out of order
			p = j{"Regex": "a+"}
		}
		return j{"type": "Replace", "pattern": p, "content": g.pick([]string{"", "▁", " ", "xy"})}
	case 4:
		return j{"type": "BertNormalizer", "clean_text": g.flip(), "handle_chinese_chars": g.flip(), "strip_accents": []any{nil, true, false}[g.IntN(3)], "lowercase": g.flip()}
	case 5:
		return j{"type": "Precompiled", "precompiled_charsmap": g.charsmap}
	case 6:
		return j{"type": "ByteLevel"}
	}
	return j{"type": g.pick([]string{"NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt"})}
}

// matchesEmpty tells an expression that may match nothing at all.
func matchesEmpty(re string) bool {
	compiled, err := onig.Compile(re)
	if err != nil {
		return true
	}
	empty := false
	for _, text := range append(letters, "", "x y", "aab b") {
		_ = compiled.Each(text, func(lo, hi int) { empty = empty || lo == hi })
	}
	return empty
}

func (g *generator) behavior() string {
	return g.pick([]string{"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"})
}

func (g *generator) splitter() j {
	g.bytes = false
	switch g.IntN(12) {
	case 0, 1, 2:
		return j{"type": "Split", "pattern": g.pattern(), "behavior": g.behavior(), "invert": g.flip()}
	case 3, 4:
		g.bytes = true
		return byteLevel(g.flip(), g.flip())
	case 5:
		return j{"type": "Digits", "individual_digits": g.flip()}
	case 6:
		return j{"type": "Punctuation", "behavior": g.behavior()}
	case 7, 8:
		return j{"type": "Metaspace", "replacement": "▁", "prepend_scheme": g.pick([]string{"first", "never", "always"}), "split": g.flip()}
	case 9:
		return j{"type": "CharDelimiterSplit", "delimiter": g.pick([]string{" ", "a", "中"})}
	case 10:
		return j{"type": "FixedLength", "length": 1 + g.IntN(4)}
	}
	return j{"type": g.pick([]string{"Whitespace", "WhitespaceSplit", "BertPreTokenizer", "UnicodeScripts"})}
}

// tokens makes texts for a vocabulary: characters, and strings of them.
func (g *generator) tokens() []string {
	var out []string
	seen := map[string]bool{}
	add := func(s string) {
		if g.bytes {
			s = ByteChars([]byte(s))
		}
		if !seen[s] && s != "" {
			seen[s] = true
			out = append(out, s)
		}
	}
	for _, l := range letters {
		for i, r := range l {
			if g.IntN(12) > 0 {
				add(l[i : i+len(string(r))])
			}
		}
	}
	if g.bytes {
		for b := range 256 {
			if g.IntN(20) > 0 {
				add(string([]byte{byte(b)}))
			}
		}
	}
	for range 40 {
		add(g.pick(letters) + g.pick(letters))
	}
	return out
}

func (g *generator) model() any {
	tokens := append([]string{"<unk>", "<s>", "</s>"}, g.tokens()...)
	if g.flip() {
		for b := range 256 {
			if g.IntN(60) > 0 {
				tokens = append(tokens, fmt.Sprintf("<0x%02X>", b))
			}
		}
	}
	switch g.IntN(6) {
	case 0:
		return g.unigram(tokens)
	case 1:
		vocab := g.vocab(tokens)
		for _, s := range tokens[3:] {
			if _, ok := vocab["##"+s]; !ok && g.flip() {
				vocab["##"+s] = len(vocab)
			}
		}
		return j{"type": "WordPiece", "unk_token": "<unk>", "continuing_subword_prefix": "##", "max_input_chars_per_word": 1 + g.IntN(30), "vocab": vocab}
	case 2:
		return j{"type": "WordLevel", "unk_token": "<unk>", "vocab": g.vocab(tokens)}
	}
	return g.bpe(tokens)
}

func (g *generator) vocab(tokens []string) map[string]int {
	v := map[string]int{}
	for _, s := range tokens {
		if _, ok := v[s]; !ok {
			v[s] = len(v)
		}
	}
	return v
}

func (g *generator) unigram(tokens []string) any {
	var list []any
	for _, s := range tokens {
		list = append(list, []any{s, -float64(g.IntN(40)) / 4})
	}
	m := j{"type": "Unigram", "vocab": list, "unk_id": 0, "byte_fallback": g.flip()}
	if g.IntN(6) == 0 {
		m["unk_id"] = nil
	}
	return m
}

func (g *generator) bpe(tokens []string) any {
	m := j{"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil, "end_of_word_suffix": nil, "fuse_unk": g.flip(), "byte_fallback": g.flip(), "ignore_merges": g.flip()}
	if g.flip() {
		m["unk_token"] = "<unk>"
	}
	prefix := ""
	if g.IntN(6) == 0 {
		prefix = "##"
		m["continuing_subword_prefix"] = prefix
	}
	vocab := g.vocab(tokens)
	if g.IntN(6) == 0 {
		m["end_of_word_suffix"] = "</w>"
		for s := range g.vocab(tokens) {
			if _, ok := vocab[s+"</w>"]; !ok {
				vocab[s+"</w>"] = len(vocab)
			}
		}
	}
	if prefix != "" {
		for _, s := range tokens {
			if _, ok := vocab[prefix+s]; !ok {
				vocab[prefix+s] = len(vocab)
			}
		}
	}
	have := make([]string, 0, len(vocab))
	for s := range vocab {
		have = append(have, s)
	}
	slices.Sort(have)
	var merges []any
	for range 120 {
		a, b := g.pick(have), g.pick(have)
		if !strings.HasPrefix(b, prefix) || strings.Contains(a+b, " ") || len(a+b) > 20 {
			continue
		}
		joined := a + b[len(prefix):]
		if _, ok := vocab[joined]; !ok {
			vocab[joined] = len(vocab)
			have = append(have, joined)
		}
		merges = append(merges, []string{a, b})
	}
	m["vocab"], m["merges"] = vocab, merges
	if merges == nil {
		m["merges"] = []any{}
	}
	return m
}

func (g *generator) added() []any {
	list := []any{}
	for i := range g.IntN(6) {
		special := g.flip()
		list = append(list, j{"id": 1000 + i, "content": g.pick([]string{"<s>", "</s>", "[X]", "yes", "a", "ab", "é", " ", "  ", "▁", "中文", "ss", "\n", "'s", "А"}), "single_word": g.IntN(3) == 0,
			"lstrip": g.IntN(3) == 0, "rstrip": g.IntN(3) == 0, "normalized": g.flip(), "special": special})
	}
	return list
}

func (g *generator) post() any {
	switch g.IntN(5) {
	case 0:
		return nil
	case 1:
		return j{"type": "BertProcessing", "sep": []any{"</s>", 2}, "cls": []any{"<s>", 1}}
	case 2:
		return j{"type": "RobertaProcessing", "sep": []any{"</s>", 2}, "cls": []any{"<s>", 1}, "trim_offsets": g.flip(), "add_prefix_space": g.flip()}
	case 3:
		return byteLevel(g.flip(), g.flip())
	}
	return sequence("processors", byteLevel(true, true), j{"type": "TemplateProcessing", "single": []any{j{"SpecialToken": j{"id": "<s>", "type_id": 0}}, j{"Sequence": j{"id": "A", "type_id": 0}}},
		"pair": []any{j{"Sequence": j{"id": "A", "type_id": 0}}, j{"Sequence": j{"id": "B", "type_id": 1}}}, "special_tokens": j{"<s>": j{"id": "<s>", "ids": []int{1, 2}, "tokens": []string{"<s>", "</s>"}}}})
}

func (g *generator) decoder() j {
	switch g.IntN(10) {
	case 0:
		return j{"type": "Metaspace", "replacement": "▁", "prepend_scheme": g.pick([]string{"first", "never", "always"}), "split": true}
	case 1:
		return j{"type": "WordPiece", "prefix": "##", "cleanup": g.flip()}
	case 2:
		return j{"type": "BPEDecoder", "suffix": "</w>"}
	case 3:
		return j{"type": "CTC", "pad_token": "a", "word_delimiter_token": "b", "cleanup": g.flip()}
	case 4:
		return j{"type": "Strip", "content": g.pick([]string{" ", "▁", "a"}), "start": g.IntN(3), "stop": 0}
	case 5:
		return j{"type": "Replace", "pattern": g.pattern(), "content": " "}
	case 6:
		return byteLevel(true, true)
	}
	return j{"type": g.pick([]string{"ByteFallback", "Fuse"})}
}
