package tokenizer

import (
	"io/fs"
	"slices"
	"strconv"
	"testing"

	"quern/convert/tokenizer/corpus"
)

// sources opens the small tokenizers of the corpus.
func sources(t testing.TB) fs.FS {
	t.Helper()
	src, err := corpus.FS()
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// folders are the small tokenizers with their answers.
func folders(t testing.TB) []corpus.Folder {
	t.Helper()
	list, err := corpus.Folders()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// texts are the texts of the corpus.
func texts(t testing.TB) []string {
	t.Helper()
	_, texts, err := corpus.Texts()
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

// TestConformance holds that every tokenizer.json of the corpus gives the ids that the library gave, with and without
// special tokens.
func TestConformance(t *testing.T) {
	all := texts(t)
	tokenizers, compared := 0, 0
	for _, f := range folders(t) {
		data, err := fs.ReadFile(f.FS, "tokenizer.json")
		if err != nil {
			continue
		}
		tokenizers++
		t.Run(f.Name, func(t *testing.T) {
			tok, err := Load(data)
			if err != nil {
				t.Fatal(err)
			}
			compared += compare(t, tok, f.Answer, all)
		})
	}
	t.Logf("%d tokenizers, %d texts each, %d lists of ids compared", tokenizers, len(all), compared)
	if tokenizers != 50 {
		t.Errorf("%d tokenizers were compared, want 50", tokenizers)
	}
}

func compare(t *testing.T, tok *Tokenizer, answer *corpus.Answer, all []string) int {
	t.Helper()
	for i, text := range all {
		same(t, tok, i, text, answer.IDs[i], false)
		want, ok := answer.Full[strconv.Itoa(i)]
		if !ok {
			want = slices.Concat(answer.Prefix, answer.IDs[i], answer.Suffix)
		}
		same(t, tok, i, text, want, true)
	}
	return 2 * len(all)
}

func same(t *testing.T, tok *Tokenizer, i int, text string, want []int32, special bool) {
	t.Helper()
	got, err := tok.Encode(text, special)
	if err != nil {
		t.Errorf("text %d %.60q: %v", i, text, err)
	} else if !slices.Equal(got, want) {
		words, _ := tok.Words(text)
		t.Errorf("text %d %.60q (special %v)\ngot  %v\nwant %v\nwords %q", i, text, special, got, want, words)
	}
}
