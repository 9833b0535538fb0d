package tokenizer

import (
	"io/fs"
	"path"
	"slices"
	"strconv"
	"testing"

	"quern/convert/tokenizer/corpus"
)

// TestAuto holds that a folder gives the ids that AutoTokenizer gives, with and without special tokens.
func TestAuto(t *testing.T) {
	src, all := sources(t), texts(t)
	files, err := fs.Glob(src, "tokenizer/*.json")
	if err != nil {
		t.Fatal(err)
	}
	folders := 0
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
		if err != nil || answer.Auto.Error != nil || answer.Auto.Class == "QWenTokenizer" {
			continue // the class is the checkpoint's own code
		}
		folders++
		t.Run(name, func(t *testing.T) { sameAsAuto(t, folder, answer, all) })
	}
	t.Logf("%d folders, %d texts each", folders, len(all))
	if folders != 51 {
		t.Errorf("%d folders were compared, want 51", folders)
	}
}

func sameAsAuto(t *testing.T, folder fs.FS, answer *corpus.Answer, all []string) {
	t.Helper()
	tok, err := LoadFolder(folder)
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range all {
		want, ok := answer.Auto.Differs[strconv.Itoa(i)]
		if !ok {
			want = answer.IDs[i]
		}
		same(t, tok, i, text, want, false)
		same(t, tok, i, text, slices.Concat(answer.Auto.Prefix, want, answer.Auto.Suffix), true)
	}
}
