package tokenizer

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestAutomaton holds leftmost-longest matching against a search that tries every pattern at every place.
func TestAutomaton(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	word := func(n int) string {
		b := make([]byte, 1+rng.IntN(n))
		for i := range b {
			b[i] = "ab<>"[rng.IntN(4)]
		}
		return string(b)
	}
	for range 3000 {
		var patterns []string
		for range 1 + rng.IntN(6) {
			patterns = append(patterns, word(5))
		}
		text, a := word(24), newAutomaton(patterns)
		for from := 0; from <= len(text); {
			lo, hi, i, ok := a.find(text, from)
			wantLo, wantHi, wantI, wantOK := naive(patterns, text, from)
			if ok != wantOK || ok && (lo != wantLo || hi != wantHi || i != wantI) {
				t.Fatalf("%q in %q from %d: got %d-%d of %d (%v), want %d-%d of %d (%v)", patterns, text, from, lo, hi, i, ok, wantLo, wantHi, wantI, wantOK)
			}
			if !ok {
				break
			}
			from = hi
		}
	}
}

func naive(patterns []string, text string, from int) (lo, hi, pattern int, ok bool) {
	for at := from; at < len(text); at++ {
		for i, p := range patterns {
			if strings.HasPrefix(text[at:], p) && (!ok || at+len(p) > hi) {
				lo, hi, pattern, ok = at, at+len(p), i, true
			}
		}
		if ok {
			return lo, hi, pattern, true
		}
	}
	return 0, 0, 0, false
}

// TestTable holds the table of texts, the trie over it and the table of pairs against Go's maps.
func TestTable(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	texts, want := newTable(0), map[string]int32{}
	merges, wantPair := newPairs(5000), map[[2]int32][2]int32{}
	for i := range int32(5000) {
		s := strings.Repeat("x", rng.IntN(3)) + fmt.Sprint(rng.IntN(3000))
		texts.put([]byte(s), i)
		want[s] = i
		l, r := int32(rng.IntN(70)), int32(rng.IntN(70))
		merges.put(l, r, i, i+1)
		wantPair[[2]int32{l, r}] = [2]int32{i, i + 1}
	}
	got := map[string]int32{}
	for e := 1; e <= texts.len(); e++ {
		got[string(texts.entry(e))] = texts.ids[e]
	}
	if !maps.Equal(got, want) || texts.len() != len(want) {
		t.Errorf("the table holds %d texts, want %d", texts.len(), len(want))
	}
	tr := newTrie(texts)
	for s, id := range want {
		if found, ok := texts.findString(s); !ok || found != id {
			t.Fatalf("%q: got %d, want %d", s, found, id)
		}
		node := int32(0)
		for i := range len(s) {
			if node = tr.next(node, s[i]); node < 0 {
				t.Fatalf("%q is not in the trie", s)
			}
		}
		if tr.value(node) != id {
			t.Fatalf("%q: the trie has %d, want %d", s, tr.value(node), id)
		}
	}
	if _, ok := texts.findString("absent"); ok {
		t.Error("an absent text was found")
	}
	if tr.next(0, 'q') >= 0 {
		t.Error("an absent child was found")
	}
	for l := range int32(70) {
		for r := range int32(70) {
			rank, id, ok := merges.find(l, r)
			w, there := wantPair[[2]int32{l, r}]
			if ok != there || ok && (rank != w[0] || id != w[1]) {
				t.Fatalf("pair %d %d: got %d %d %v, want %v %v", l, r, rank, id, ok, w, there)
			}
		}
	}
}

// TestBehaviors holds what becomes of "The-final--countdown" cut at hyphens: the library's own example.
func TestBehaviors(t *testing.T) {
	for b, want := range map[behavior][]string{
		removed:            {"The", "final", "countdown"},
		isolated:           {"The", "-", "final", "-", "-", "countdown"},
		mergedWithPrevious: {"The-", "final-", "-", "countdown"},
		mergedWithNext:     {"The", "-final", "-", "-countdown"},
		contiguous:         {"The", "-", "final", "--", "countdown"},
	} {
		var scratch []match
		pieces, err := patternSplitter{textPattern("-"), b}.split(span{text: "The-final--countdown", id: -1}, nil, &scratch)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range pieces {
			got = append(got, p.text)
		}
		if !slices.Equal(got, want) {
			t.Errorf("behavior %d: got %q, want %q", b, got, want)
		}
	}
}

// TestOrigins holds where characters came from after each normalizer, which is what Metaspace's "first" asks.
func TestOrigins(t *testing.T) {
	for _, c := range []struct {
		name string
		n    normalizer
		text string
		want string
		at   []int32 // by byte of the result
	}{
		{"strip", stripNormalizer{true, true}, "  ab ", "ab", []int32{2, 3}},
		{"prepend", prependNormalizer("__"), "éa", "__éa", []int32{0, 0, 0, 0, 2}},
		{"replace", replaceNormalizer{textPattern("bb"), "x"}, "abba", "axa", []int32{0, 2, 3}},
		{"filter", stripAccents{}, "\u0301ab\u0301", "ab", []int32{2, 3}},
		{"decompose", nfd, "éa", "e\u0301a", []int32{0, 0, 0, 2}},
		{"compose", nfc, "e\u0301a", "éa", []int32{0, 0, 3}},
		{"lower", lowercase{}, "AİB", "ai\u0307b", []int32{0, 1, 1, 1, 3}},
		{"bytes", byteNormalizer{}, "é", "Ã©", []int32{0, 0, 0, 0}},
		{"apart", bertNormalizer{chinese: true}, "中", " 中 ", []int32{0, 0, 0, 0, 0}},
	} {
		s := span{text: c.text, tracked: true, id: -1}
		if err := c.n.normalize(&s); err != nil {
			t.Fatal(err)
		}
		if s.text != c.want || !slices.Equal(s.origin, c.at) {
			t.Errorf("%s of %q: got %q %v, want %q %v", c.name, c.text, s.text, s.origin, c.want, c.at)
		}
	}
}

// TestCutOrigins holds where pieces begin in the input.
func TestCutOrigins(t *testing.T) {
	s := span{text: "aéb", tracked: true, id: -1}
	if p := s.cut(1, 4); p.shift != 1 || p.text != "éb" {
		t.Errorf("got %+v", p)
	}
	if err := (stripNormalizer{left: true}).normalize(&s); err != nil {
		t.Fatal(err)
	}
	s = span{text: "  xy", tracked: true, id: -1}
	if err := (stripNormalizer{left: true}).normalize(&s); err != nil {
		t.Fatal(err)
	}
	if p := s.cut(0, 1); p.shift != 2 {
		t.Errorf("a stripped piece begins at %d, want 2", p.shift)
	}
	if p := s.cut(1, 2); p.shift != 3 || p.text != "y" {
		t.Errorf("got %+v", p)
	}
}

// TestDecoders holds each decoder on tokens; the answers are the library's.
func TestDecoders(t *testing.T) {
	for part, cases := range map[string][][2][]string{
		`{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true}`: {{{"ĠHi", "Ã©"}, {" Hié"}}, {{"Ã", "中"}, {"\uFFFD中"}}},
		`{"type": "ByteFallback"}`: {{{"<0xC3>", "<0xA9>", "a"}, {"é", "a"}}, {{"<0xC3>", "a", "<0x41>"}, {"\uFFFD", "a", "A"}}, {{"<0xZZ>"}, {"<0xZZ>"}}},
		`{"type": "Fuse"}`:         {{{"a", "b"}, {"ab"}}},
		`{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}`:           {{{"▁Hi", "▁you"}, {"Hi", " you"}}},
		`{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never"}`:            {{{"▁Hi", "▁you"}, {" Hi", " you"}}},
		`{"type": "BPEDecoder", "suffix": "</w>"}`:                                        {{{"a", "b</w>", "c</w>"}, {"a", "b ", "c"}}},
		`{"type": "WordPiece", "prefix": "##", "cleanup": true}`:                          {{{"un", "##able", "n't", ",", "x"}, {"un", "able", "n't", ",", " x"}}},
		`{"type": "WordPiece", "prefix": "##", "cleanup": false}`:                         {{{"##a", ",", "##b"}, {"##a", " ,", "b"}}},
		`{"type": "CTC", "pad_token": "_", "word_delimiter_token": "|", "cleanup": true}`: {{{"h", "h", "_", "i", "|", "_", "i"}, {"h", "i", " ", "i"}}},
		`{"type": "Strip", "content": " ", "start": 1, "stop": 1}`:                        {{{"  a ", "b", ""}, {" a", "b", ""}}},
		`{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}`:                 {{{"▁a▁", "b"}, {" a ", "b"}}},
		`{"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]}`:  {{{"<0x41>", "b"}, {"Ab"}}},
	} {
		d, err := parseDecoder([]byte(part), 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cases {
			got, err := d(c[0])
			if err != nil || !slices.Equal(got, c[1]) {
				t.Errorf("%s of %q: got %q %v, want %q", part, c[0], got, err, c[1])
			}
		}
	}
}

// TestLossy holds how much of broken UTF-8 one U+FFFD stands for: as in Rust, a maximal beginning of some character.
func TestLossy(t *testing.T) {
	for in, want := range map[string]string{
		"a\xffb": "a\uFFFDb", "\xe4\xb8": "\uFFFD", "\xe4\xb8a": "\uFFFDa", "\xf0\x9f\x98": "\uFFFD", "\xf0\x9f\x98\xf0": "\uFFFD\uFFFD",
		"\xed\xa0\x80": "\uFFFD\uFFFD\uFFFD", "\xc0\x80": "\uFFFD\uFFFD", "\xe0\x80\x80": "\uFFFD\uFFFD\uFFFD", "\xf4\x90\x80\x80": "\uFFFD\uFFFD\uFFFD\uFFFD", "é": "é",
	} {
		if got := lossy([]byte(in)); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// TestFit holds truncation and padding as the library does them for one text.
func TestFit(t *testing.T) {
	ids := []int32{1, 2, 3, 4, 5}
	for _, c := range []struct {
		truncation, padding string
		extra               int
		want                []int32
		fails               bool
	}{
		{`{"max_length": 3, "direction": "Right", "strategy": "LongestFirst", "stride": 0}`, "", 0, []int32{1, 2, 3}, false},
		{`{"max_length": 3, "direction": "Left", "strategy": "LongestFirst", "stride": 0}`, "", 0, []int32{3, 4, 5}, false},
		{`{"max_length": 3, "direction": "Right", "strategy": "LongestFirst", "stride": 0}`, "", 2, []int32{1}, false},
		{`{"max_length": 1, "direction": "Right", "strategy": "LongestFirst", "stride": 0}`, "", 2, nil, true},
		{`{"max_length": 3, "direction": "Right", "strategy": "OnlySecond", "stride": 0}`, "", 0, nil, true},
		{"", `{"strategy": {"Fixed": 7}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 9, "pad_type_id": 0, "pad_token": "x"}`, 0, []int32{1, 2, 3, 4, 5, 9, 9}, false},
		{"", `{"strategy": {"Fixed": 6}, "direction": "Left", "pad_to_multiple_of": 4, "pad_id": 9, "pad_type_id": 0, "pad_token": "x"}`, 0, []int32{9, 9, 9, 1, 2, 3, 4, 5}, false},
		{"", `{"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": null, "pad_id": 9, "pad_type_id": 0, "pad_token": "x"}`, 0, ids, false},
	} {
		raw := func(s string) []byte {
			if s == "" {
				return nil
			}
			return []byte(s)
		}
		f, err := parseFit(raw(c.truncation), raw(c.padding))
		if err != nil {
			t.Fatal(err)
		}
		got, err := f.truncate(ids, c.extra)
		if (err != nil) != c.fails {
			t.Errorf("%s: error %v", c.truncation, err)
		}
		if err == nil && !slices.Equal(f.pad(got), c.want) {
			t.Errorf("%s %s: got %v, want %v", c.truncation, c.padding, f.pad(got), c.want)
		}
	}
}

// TestPythonLiteral holds the literals of an RWKV vocabulary.
func TestPythonLiteral(t *testing.T) {
	for in, want := range map[string]string{
		`'a'`: "a", `"it's"`: "it's", `'\n\t\\\''`: "\n\t\\'", `'\x41\u4e2d\U0001f600'`: "A中😀", `b'\xff\x00'`: "\xff\x00", `'\xe9'`: "é", `'\101\0'`: "A\x00", `'\q'`: `\q`, `b'\u0041'`: `\u0041`,
	} {
		if got, err := pythonLiteral([]byte(in)); err != nil || string(got) != want {
			t.Errorf("%s: got %q %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []string{``, `a`, `'a`, `'a"`, `'\x4'`, `'\u12'`, `'a'b'`, `'\'`, `b'\400'`, `'\U00110000'`} {
		if got, err := pythonLiteral([]byte(in)); err == nil {
			t.Errorf("%s was read as %q", in, got)
		}
	}
}

// TestMergesFile holds what counts as a merge in a merges.txt.
func TestMergesFile(t *testing.T) {
	got := mergesFile("#version: 0.2\na b\n\n c d \n#version x\n# e\n")
	if want := []string{"a b", "c d", "# e"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestScoredMerges holds the order of merges that a SentencePiece model implies.
func TestScoredMerges(t *testing.T) {
	pieces := []scoredPiece{{"a", -1}, {"b", -2}, {"ab", -3}, {"ba", -3}, {"aba", -2.5}, {"c", 0}}
	known := newTable(0)
	for i, p := range pieces {
		known.put([]byte(p.text), int32(i))
	}
	got := fmt.Sprint(scoredMerges(pieces, known))
	if want := "[[ab a] [a ba] [a b] [b a]]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestConcurrent holds that one tokenizer serves many goroutines.
func TestConcurrent(t *testing.T) {
	tok, err := Load(readCorpus(t, "bpe-llama3/tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	all := texts(t)
	want := make([][]int32, len(all))
	for i, text := range all {
		if want[i], err = tok.Encode(text, true); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan string)
	for range 4 {
		go func() {
			for i, text := range all {
				if got, err := tok.Encode(text, true); err != nil || !slices.Equal(got, want[i]) {
					done <- fmt.Sprintf("text %d: got %v %v, want %v", i, got, err, want[i])
					return
				}
			}
			done <- ""
		}()
	}
	for range 4 {
		if says := <-done; says != "" {
			t.Error(says)
		}
	}
}

// TestAccessors holds what conversion asks of a tokenizer.
func TestAccessors(t *testing.T) {
	tok, err := Load(readCorpus(t, "bpe-gpt2/tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	tokens, known := tok.Vocab()
	if len(tokens) != len(known) || tok.Size() > len(tokens) || tok.Kind() != "BPE" || tok.ByteFallback() || tok.IgnoreMerges() {
		t.Errorf("%d tokens, %d known, size %d, kind %s", len(tokens), len(known), tok.Size(), tok.Kind())
	}
	for id, text := range tokens {
		if got, ok := tok.Token(int32(id)); ok != known[id] || got != text {
			t.Errorf("id %d: %q and %q", id, got, text)
		}
		if got, ok := tok.ID(text); known[id] && (!ok || got != int32(id)) {
			t.Errorf("%q: id %d, want %d", text, got, id)
		}
	}
	for _, m := range tok.Merges() {
		if _, ok := tok.ModelID(m[0] + m[1]); !ok {
			t.Errorf("the merge %q makes no token", m)
		}
	}
	for _, a := range tok.Added() {
		if b, ok := tok.AddedByID(a.ID); !ok || b != a {
			t.Errorf("added token %q is %+v by id", a.Content, b)
		}
	}
	if tok.Scores() != nil || tok.Structure().PreTokenizer == nil {
		t.Error("a BPE model has scores, or its pre-tokenizer is not described")
	}
}
