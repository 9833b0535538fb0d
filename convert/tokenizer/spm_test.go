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

// TestSentencePieceKinds holds what sentencepiece 0.2.3 makes of pieces that are unused, user-defined or there twice.
// kind of piece: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused. want nil: refused.
func TestSentencePieceKinds(t *testing.T) {
	type piece struct {
		text  string
		score float32
		kind  int
	}
	base := []piece{{"<unk>", 0, 2}, {"<s>", 0, 3}, {"</s>", 0, 3}}
	for _, c := range []struct {
		kind   int
		pieces []piece
		text   string
		want   []int32
	}{
		{2, []piece{{"a", -1, 1}, {"b", -1, 5}, {"c", -2, 1}, {"ab", -1, 5}, {"bc", -1, 1}, {"abc", -1, 5}}, "abc", []int32{3, 0, 5}},
		{2, []piece{{"a", -1, 1}, {"b", -1, 5}, {"c", -2, 1}, {"ab", -1, 5}, {"bc", -1, 1}}, "bcab", []int32{7, 3, 0}},
		{4, []piece{{"a", -1, 1}, {"b", -1, 5}, {"c", -2, 4}}, "abbc", []int32{3, 0, 5}},
		{1, []piece{{"a", -1, 1}, {"b", -1, 5}, {"ab", -1, 5}}, "ab", []int32{3, 0}},
		{1, []piece{{"a", -4, 4}, {"ab", -1.5, 1}, {"b", -1, 1}}, "ab", []int32{3, 5}},
		{1, []piece{{"a", -4, 4}, {"ab", -.95, 1}, {"b", -1, 1}}, "ab", []int32{4}},
		{1, []piece{{"é", -4, 4}, {"éb", -.95, 1}, {"b", -1, 1}}, "éb", []int32{3, 5}},
		{1, []piece{{"a", -1, 1}, {"<s>", -1, 1}}, "<s>a", []int32{4, 3}},
		{1, []piece{{"<s>", -1, 3}}, "", nil},
		{2, []piece{{"<s>", -1, 1}}, "", nil},
		{2, []piece{{"a", -1, 1}, {"a", -2, 1}}, "", nil},
	} {
		var file []byte
		for _, p := range append(slices.Clone(base), c.pieces...) {
			file = spmField(file, 1, spmField(spmField(spmField(nil, 1, p.text), 2, p.score), 3, p.kind))
		}
		file = spmField(spmField(file, 2, spmField(nil, 3, c.kind)), 3, spmField(nil, 3, false))
		m, err := ParseSentencePiece(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Check(); (err != nil) != (c.want == nil) {
			t.Errorf("kind %d, %v: %v, want ids %v", c.kind, c.pieces, err, c.want)
		}
		if c.want == nil {
			continue
		}
		if got, err := m.Encode(c.text); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("kind %d, %v on %q: %v %v, want %v", c.kind, c.pieces, c.text, got, err, c.want)
		}
	}
}
