package tokenizer

import (
	"io/fs"
	"slices"
	"testing"

	"quern/convert/tokenizer/corpus"
)

// TestSentencePiece holds that models give the ids of the sentencepiece library.
func TestSentencePiece(t *testing.T) {
	all, models := texts(t), 0
	for _, f := range folders(t) {
		if f.Answer.SentencePiece != nil {
			t.Run(f.Name, func(t *testing.T) { sameAsSentencePiece(t, f.FS, f.Answer, all) })
			models++
		}
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
