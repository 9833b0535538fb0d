package tokenizer

import (
	"io/fs"
	"path"
	"slices"
	"testing"

	"quern/convert/tokenizer/corpus"
)

// TestSentencePiece holds that models give the ids of the sentencepiece library.
func TestSentencePiece(t *testing.T) {
	src, all := sources(t), texts(t)
	files, err := fs.Glob(src, "tokenizer/*.json")
	if err != nil {
		t.Fatal(err)
	}
	models := 0
	for _, file := range files {
		name := path.Base(file[:len(file)-len(".json")])
		folder, err := fs.Sub(src, "tokenizers/"+name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fs.Stat(folder, "."); err != nil {
			continue
		}
		answer, err := corpus.Answers(name)
		if err != nil || answer.SentencePiece == nil {
			continue
		}
		models++
		t.Run(name, func(t *testing.T) { sameAsSentencePiece(t, folder, answer, all) })
	}
	t.Logf("%d models, %d texts each", models, len(all))
	if models != 5 {
		t.Errorf("%d models were compared, want 5", models)
	}
}

func sameAsSentencePiece(t *testing.T, folder fs.FS, answer *corpus.Answer, all []string) {
	t.Helper()
	data, err := fs.ReadFile(folder, answer.SentencePiece.File)
	if err != nil {
		t.Fatal(err)
	}
	m, err := ParseSentencePiece(data)
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range all {
		got, err := m.Encode(text)
		if err != nil {
			t.Fatalf("text %d: %v", i, err)
		}
		if want := answer.SentencePiece.IDs[i]; !slices.Equal(got, want) {
			t.Errorf("text %d %.60q\ngot  %v\nwant %v", i, text, got, want)
		}
	}
}
