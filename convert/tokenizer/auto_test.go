package tokenizer

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"testing"

	"quern/convert/tokenizer/corpus"
)

// fingerprint is the hash by which the reference knows a pre-tokenizer: of the list of ids, as Python prints it, that a
// fixed text gets.
func fingerprint(t testing.TB, tok *Tokenizer) string {
	t.Helper()
	var table struct{ Text string }
	data, err := fs.ReadFile(sources(t), "pretokenizers.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &table); err != nil {
		t.Fatal(err)
	}
	ids, err := tok.Encode(table.Text, true)
	if err != nil {
		t.Fatal(err)
	}
	parts := make([]string, len(ids))
	for i, id := range ids {
		parts[i] = strconv.Itoa(int(id))
	}
	sum := sha256.Sum256([]byte("[" + strings.Join(parts, ", ") + "]"))
	return hex.EncodeToString(sum[:])
}

// TestAuto holds that a folder gives the ids that AutoTokenizer gives, with and without special tokens.
func TestAuto(t *testing.T) {
	all, compared := texts(t), 0
	for _, f := range folders(t) {
		if f.Answer.Auto.Error != nil || f.Answer.Auto.Class == "QWenTokenizer" {
			continue // the class is the checkpoint's own code
		}
		t.Run(f.Name, func(t *testing.T) { sameAsAuto(t, f.FS, f.Answer, all) })
		compared++
	}
	t.Logf("%d folders, %d texts each", compared, len(all))
	if compared != 51 {
		t.Errorf("%d folders were compared, want 51", compared)
	}
}

// sameAsAuto tells how many lists of ids it compared.
func sameAsAuto(t *testing.T, folder fs.FS, answer *corpus.Answer, all []string) int {
	t.Helper()
	tok, err := LoadFolder(folder)
	if err != nil {
		t.Fatal(err)
	}
	if h := answer.Auto.Hash; h != nil && fingerprint(t, tok) != *h {
		t.Errorf("the hash of the fixed text is %s, want %s", fingerprint(t, tok), *h)
	}
	for i, text := range all {
		want, ok := answer.Auto.Differs[strconv.Itoa(i)]
		if !ok {
			want = answer.IDs[i]
		}
		same(t, tok, i, text, want, false)
		same(t, tok, i, text, slices.Concat(answer.Auto.Prefix, want, answer.Auto.Suffix), true)
	}
	return 2 * len(all)
}
