package convert_test

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"testing"

	"quern/convert"
	"quern/convert/conformance"
)

// jinaAdapters are the digests of the files that the reference writes beside the model of the case jina-v3.
var jinaAdapters = map[string]string{
	"lora-classification-m.gguf":    "64b5087f7e8e8e41cf4556b23e709cab3cea5685a7f21c831e3294fb9740b7cd",
	"lora-retrieval.passage-m.gguf": "b90934012d5149c8b8e36d4322794606434f14d2587d0162e32f6397ed5328bb",
	"lora-retrieval.query-m.gguf":   "a17556ea18c72ebe1770d9a9dd2d54a228651757044363a191fe50a6b187d446",
	"lora-separation-m.gguf":        "68988b4e2674d83b59d96f571f90bd5fa62006365e4356d3dd8871567e5a0e20",
	"lora-text-matching-m.gguf":     "38350fa5054de80a4d8839b87b9093a4c2c177b9eb2309186669fc8eaaca8120",
}

// TestAdapters wants the adapters that Jina 3 carries to be the reference's files.
func TestAdapters(t *testing.T) {
	tree, err := corpus()
	if err != nil {
		t.Fatal(err)
	}
	c, err := conformance.OpenCase(tree, "convert/jina-v3")
	if err != nil {
		t.Fatal(err)
	}
	src, err := c.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	m, err := convert.Open(t.Context(), src, convert.Options{Dir: c.Dir, Type: "bf16"})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	got := map[string]string{}
	for i := range m.Adapters {
		a := &m.Adapters[i]
		data, err := write(t.Context(), &convert.Model{Plan: a.Plan, Sources: a.Sources, Raw: make([]bool, len(a.Sources))})
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(data)
		got[a.FileName("m.gguf")] = hex.EncodeToString(sum[:])
	}
	for _, name := range slices.Sorted(maps.Keys(jinaAdapters)) {
		if got[name] != jinaAdapters[name] {
			t.Errorf("%s: %s, want %s", name, got[name], jinaAdapters[name])
		}
	}
	if len(got) != len(jinaAdapters) {
		t.Errorf("%d adapters: %v", len(got), got)
	}
}
