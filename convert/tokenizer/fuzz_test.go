package tokenizer

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"quern/convert/fault"
)

// typed holds that an error is one of the two kinds that callers tell apart.
func typed(t *testing.T, err error) {
	t.Helper()
	var invalid *fault.Invalid
	var unsupported *fault.Unsupported
	if err != nil && !errors.As(err, &invalid) && !errors.As(err, &unsupported) {
		t.Fatalf("error %T %v is of no kind that callers know", err, err)
	}
}

// use exercises a loaded tokenizer.
func use(t *testing.T, tok *Tokenizer, text string) {
	t.Helper()
	ids, err := tok.Encode(text, true)
	typed(t, err)
	if _, err := tok.Decode(ids, true); err != nil {
		typed(t, errors.Unwrap(err))
	}
	_, err = tok.EncodeFitted(text, true)
	typed(t, err)
	tok.Vocab()
	tok.Size()
}

// hostile are tokenizer.json files that are wrong in one way each, with a part of what is said about it.
var hostile = map[string]string{
	``:                                `expected '{'`,
	`{}`:                              `lacks model`,
	`[]`:                              `expected '{'`,
	`{"version": "2.0", "model": {}}`: `version "2.0"`,
	`{"model": {"type": "BPE"}}`:      `a vocab that is an object`,
	`{"model": {"type": "BPE", "vocab": {}}}`:                                                                                                `lacks merges`,
	`{"added_tokens": null, "model": {}}`:                                                                                                    `added_tokens`,
	`{"model": {"type": "WordLevel", "vocab": {}}}`:                                                                                          `lacks unk_token`,
	`{"model": {"type": "Magic", "vocab": {}}}`:                                                                                              `kind "Magic"`,
	`{"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}`:                                                                           `whole number`,
	`{"model": {"type": "BPE", "vocab": {"a": 1.5}, "merges": []}}`:                                                                          `fraction`,
	`{"model": {"type": "BPE", "vocab": {"a": 4000000000}, "merges": []}}`:                                                                   `ids up to 16777216`,
	`{"model": {"type": "BPE", "vocab": {"a": 99999999999}, "merges": []}}`:                                                                  `above 4294967295`,
	`{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}}`:                                                                       `"b" is not in the vocabulary`,
	`{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a"]}}`:                                                                         `not two tokens`,
	`{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a"]]}}`:                                                                       `2 are needed`,
	`{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a a"]}}`:                                                                       `"aa" is not in the vocabulary`,
	`{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [], "dropout": 2}}`:                                                              `dropout`,
	`{"model": {"type": "Unigram", "vocab": [["a", 0]], "unk_id": 7}}`:                                                                       `unk_id is 7`,
	`{"model": {"type": "Unigram", "vocab": [["a"]]}}`:                                                                                       `a text and a score`,
	`{"model": {"type": "Unigram", "vocab": [["a", 1e999]]}}`:                                                                                `not a number`,
	`{"model": {"type": "WordPiece", "vocab": {}}}`:                                                                                          `lacks`,
	`{"model": {"type": "WordLevel", "vocab": {}, "unk_token": "u"}, "added_tokens": [{"content": "x"}]}`:                                    `added_tokens[0]`,
	`{"model": {"type": "WordLevel", "vocab": {}, "unk_token": "u"}, "normalizer": {"type": "Strip"}}`:                                       `strip_left`,
	`{"model": {"type": "WordLevel", "vocab": {}, "unk_token": "u"}, "normalizer": {"type": "Upper"}}`:                                       `kind "Upper"`,
	`{"model": {"type": "WordLevel", "vocab": {}, "unk_token": "u"}, "normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}}`: `at least 4`,
	`{"model": {"type": "WordLevel", "vocab": {}, "unk_token": "u"}, "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": false}}`:               `group without an end`,
	`{"model": {"type": "WordLevel", "vocab": {}, "unk_token": "u"}, "pre_tokenizer": {"type": "FixedLength", "length": 0}}`:                                                                `at least 1`,
	`{"model": {"type": "WordLevel", "vocab": {}, "unk_token": "u"}, "padding": {"strategy": {"Fixed": 99999999999}, "direction": "Left", "pad_id": 0, "pad_type_id": 0, "pad_token": ""}}`: `out of bounds`,
	`{"model": ` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`:                                                                                                                `expected '{'`,
	`{"x": 1, "model": {}}`: `no member that the library knows`,
	`{"decoder": ` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`: `nested more than 128`,
	`{"model": {"type": "WordLevel", "vocab": {"\ud800": 0}}}`:                 `surrogate`,
	"{\"model\": {\"type\": \"WordLevel\", \"vocab\": {\"\xff\": 0}}}":         `not UTF-8`,
	`{"model": {"type": "WordLevel", "vocab": {}, "unk_token": "u"}} x`:        `text after`,
}

// TestHostile holds that damaged and hostile files are errors that say what is wrong.
func TestHostile(t *testing.T) {
	for file, says := range hostile {
		_, err := Load([]byte(file))
		typed(t, err)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.120s: got %v, want %q", file, err, says)
		}
	}
}

func FuzzLoad(f *testing.F) {
	for file := range hostile {
		f.Add([]byte(file), "a b")
	}
	for _, name := range []string{"bpe-gpt2", "wpm", "spm-phi3", "bpe-gemma4", "adv-falcon"} {
		f.Add(readCorpus(f, name+"/tokenizer.json"), "Hello, wörld <s> 123")
	}
	f.Add([]byte(`{"added_tokens": [{"id": 0, "content": "ab", "single_word": true, "lstrip": true, "rstrip": true, "normalized": true, "special": false}],
		"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Replace", "pattern": {"Regex": "a*"}, "content": "b"}, {"type": "Prepend", "prepend": "_"}]},
		"pre_tokenizer": {"type": "Metaspace", "replacement": "_", "prepend_scheme": "first"}, "post_processor": null,
		"model": {"type": "Unigram", "unk_id": 0, "byte_fallback": true, "vocab": [["a", -1], ["b", -1.5], ["<0x41>", 0]]}}`), "ab aab")
	f.Fuzz(func(t *testing.T, file []byte, text string) {
		if len(text) > 1000 {
			return
		}
		tok, err := Load(file)
		typed(t, err)
		if err == nil {
			use(t, tok, text)
		}
	})
}

func FuzzSentencePiece(f *testing.F) {
	for _, name := range []string{"spm/tokenizer.model", "ugm-t5/spiece.model"} {
		data := readCorpus(f, name)
		f.Add(data[:min(len(data), 6000)], " Hello  wörld")
	}
	f.Add([]byte("\x0a\x05\x0a\x01a\x18\x02\x0a\x05\x0a\x01b\x18\x04\x12\x02\x18\x02"), "ab")
	f.Add([]byte("\x0a\xff\xff\xff\xff\x7f"), "")
	f.Fuzz(func(t *testing.T, file []byte, text string) {
		m, err := ParseSentencePiece(file)
		typed(t, err)
		if err != nil || len(text) > 1000 {
			return
		}
		_, err = m.Encode(text)
		typed(t, err)
	})
}

func FuzzMerges(f *testing.F) {
	f.Add("#version: 0.2\na b\nab c\n", "abcab")
	f.Add("h\n  \n\u00a0\na a\naa aa\n", "aaaaaaa")
	f.Fuzz(func(t *testing.T, file, word string) {
		v := &vocabulary{table: newTable(8)}
		id := int32(0)
		add := func(s string) {
			if _, ok := v.findString(s); !ok && s != "" {
				v.put([]byte(s), id)
				id++
			}
		}
		lines := mergesFile(file)
		for _, l := range lines {
			for _, r := range l {
				add(string(r))
			}
			l, r, _ := strings.Cut(l, " ")
			add(l)
			add(r)
			add(l + r)
		}
		v.reverse()
		m := &bpe{vocabulary: v}
		err := m.prepare(mergeLines(lines))
		typed(t, err)
		if err != nil || !utf8.ValidString(word) {
			return
		}
		sameMerges(t, m, word)
	})
}

// sameMerges holds that the two ways to merge agree.
func sameMerges(t *testing.T, m *bpe, word string) {
	t.Helper()
	short, long := newCache(), newCache()
	exact, err := m.symbols(word, short)
	if err != nil || len(short.sym) < 2 || len(short.sym) > shortWord || !exact {
		return
	}
	long.sym = append(long.sym, short.sym...)
	m.mergeShort(short)
	m.mergeLong(long)
	i := 0
	for _, s := range long.sym {
		if s.len == 0 {
			continue
		}
		if i >= len(short.sym) || short.sym[i].id != s.id {
			t.Fatalf("%q: the short way gives %v, the long way %v", word, short.sym, long.sym)
		}
		i++
	}
	if i != len(short.sym) {
		t.Fatalf("%q: the short way gives %v, the long way %v", word, short.sym, long.sym)
	}
}

func FuzzRWKV(f *testing.F) {
	f.Add([]byte("1 'a' 1\n2 b'\\xff' 1\n3 \"\\u4e2d'\" 4\n"), "a中")
	f.Add([]byte("1 '\\400' 2\n9999999999 'a' 1"), "")
	f.Fuzz(func(t *testing.T, file []byte, text string) {
		r, err := ParseRWKV(file)
		typed(t, err)
		if err == nil {
			r.Encode(text)
		}
		_, err = ParseTiktoken(file)
		typed(t, err)
	})
}

// TestLinear holds that a long word of one letter takes no time that grows with its square: merging, the search of the
// unigram model, and the expressions all pass a megabyte.
func TestLinear(t *testing.T) {
	for _, name := range []string{"bpe-gpt2", "bpe-llama3", "adv-jais2", "spm-phi3", "ugm-t5", "wpm", "bpe-gemma4"} {
		tok, err := Load(readCorpus(t, filepath.Join(name, "tokenizer.json")))
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{strings.Repeat("a", 1<<20), strings.Repeat(" ", 1<<20) + "x", strings.Repeat("\u0301", 1<<18), strings.Repeat("<", 1<<20)} {
			ids, err := tok.Encode(text, false)
			if err != nil {
				t.Errorf("%s: %.10q: %v", name, text, err)
			} else if len(ids) == 0 && name != "wpm" && name != "ugm-t5" {
				t.Errorf("%s: %.10q has no ids", name, text)
			}
		}
	}
}

// TestCacheBounded holds that remembered words do not grow without end.
func TestCacheBounded(t *testing.T) {
	c := newCache()
	for i := range cacheWords * 3 {
		c.remember(strings.Repeat("x", i%50)+string(rune('a'+i%26))+string(rune(0x4E00+i%20000)), []int32{1})
	}
	c.remember(strings.Repeat("x", cacheLength+1), []int32{1})
	if len(c.words) > cacheWords {
		t.Errorf("%d words are remembered, at most %d should be", len(c.words), cacheWords)
	}
}
