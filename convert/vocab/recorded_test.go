package vocab

import (
	"encoding/json"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"quern/convert/conformance"
)

// TestVariants holds the entries of checkpoints that come in less common ways: without tokenizer.json, with odd added tokens,
// with classes that bring their own special tokens, at sizes that cut or pad. The answers are the reference's.
func TestVariants(t *testing.T) {
	tree, err := conformance.OpenBundle("testdata/variants.tar.zst")
	if err != nil {
		t.Fatal(err)
	}
	names, err := conformance.Cases(tree, "convert")
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, name := range names {
		t.Run(name, func(t *testing.T) { compared += testCase(t, tree, name) })
	}
	if compared != 31 {
		t.Errorf("%d answers compared, want 31", compared)
	}
}

// TestRecordedSpecials holds what the reference reads of random small files (testdata/specials.py makes them).
func TestRecordedSpecials(t *testing.T) {
	tree, err := conformance.OpenBundle("testdata/specials.tar.zst")
	if err != nil {
		t.Fatal(err)
	}
	data, err := fs.ReadFile(tree, "specials.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		Files  map[string]string
		Types  []string
		Merges bool
		N      int
		Want   [][2]any
	}
	if err := json.Unmarshal(data, &rows); err != nil || len(rows) != 1000 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for i, r := range rows {
		src := folderOf(r.Files)
		root, err := readObject(src, "config.json")
		if err != nil {
			t.Fatal(err)
		}
		s, err := loadSpecials(src, root, specialOptions{types: r.Types, merges: r.Merges, tokens: r.N}, func(string, ...any) {})
		if err != nil {
			t.Errorf("row %d: %v", i, err)
			continue
		}
		var e entries
		s.write(&e)
		got := make([][2]any, 0, len(e))
		for _, kv := range e {
			got = append(got, [2]any{kv.Key, plain(t, kv.Value)})
		}
		for _, kv := range r.Want {
			if kv[0] == keyTemplates { // in the order of a hash set there
				slices.SortFunc(kv[1].([]any), func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
			}
		}
		if d := cmp.Diff(append([][2]any{}, r.Want...), got); d != "" {
			t.Errorf("row %d, %v: %s", i, r.Files, d)
		}
	}
}

// plain is a value as JSON gives it back.
func plain(t *testing.T, v any) any {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}
