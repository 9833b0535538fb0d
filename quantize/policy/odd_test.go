package policy

import (
	"bytes"
	"io/fs"
	"testing"

	"quern/convert/conformance"
	"quern/convert/gguf"
)

// testdata/odd.tar.zst: a model that no converter writes, and what llama-quantize of llama.cpp v0.5.0 made of it. Strings with NUL,
// trailing dimensions of one, names that end like no weight, layers out of order and in the middle of names, a short
// name that its test for "weight" lets pass, types that stay.
func TestOddModel(t *testing.T) {
	tree, err := conformance.OpenBundle("testdata/odd.tar.zst")
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) (*gguf.Plan, *conformance.File) {
		t.Helper()
		b, err := fs.ReadFile(tree, name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := gguf.Read(name, bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		return &f.Plan, conformance.Planned(&f.Plan)
	}
	src, _ := read("odd.gguf")
	for file, args := range map[string][]string{
		"Q4_0.gguf": {"odd.gguf", "o", "Q4_0"}, "Q4_K_M.gguf": {"odd.gguf", "o", "Q4_K_M"}, "IQ4_XS.gguf": {"odd.gguf", "o", "IQ4_XS"},
		"Q3_K_L.gguf": {"odd.gguf", "o", "Q3_K_L"}, "MXFP4_MOE.gguf": {"odd.gguf", "o", "MXFP4_MOE"}, "COPY.gguf": {"odd.gguf", "o", "COPY"},
		"prune.gguf": {"--prune-layers", "2,3,10", "odd.gguf", "o", "Q4_0"}, "ks-00001-of-00001.gguf": {"--keep-split", "odd.gguf", "o", "Q4_0"},
	} {
		r, err := parse(args)
		if err != nil {
			t.Fatal(err)
		}
		out, err := Plan([]*gguf.Plan{src}, r.ft, r.o)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		_, want := read(file)
		if err := conformance.Compare(want, conformance.Planned(&out.Files[0].Plan), conformance.Tolerance{}); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}
