package pickle

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"quern/convert/safetensors"
	"quern/convert/view"
)

func load(t testing.TB, name string) (*File, error) {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return Read(name, bytes.NewReader(data), int64(len(data)))
}

// Every layout that torch.save wrote in testdata/make.py, in both formats, reads as the values that torch itself
// stored contiguously, for whole tensors and for ranges of rows.
func TestEqualsTorch(t *testing.T) {
	expected, err := safetensors.OpenFiles(os.DirFS("testdata"), "expected.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer expected.Close()
	for file, count := range map[string]int{"zip.bin": 33, "legacy.bin": 28} {
		f, err := load(t, file)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if len(f.Tensors) != count || strings.Join(f.Others, " ") != "step config" {
			t.Errorf("%s: %d tensors, want %d; others %v", file, len(f.Tensors), count, f.Others)
		}
		if f.Tensors[0].Name != "plain.weight" || f.Tensors[1].Name != "z.first" || f.Tensors[2].Name != "a.bf16" {
			t.Errorf("%s: not in the dictionary's order", file)
		}
		for _, got := range f.Tensors {
			e, ok := expected.Lookup(got.Name)
			if !ok || e.DType != got.DType || !slices.Equal(e.Shape, got.Shape) {
				t.Errorf("%s: %s is %s %v, want %s %v", file, got.Name, got.DType, got.Shape, e.DType, e.Shape)
				continue
			}
			compare(t, file, got.Tensor, view.FromFile(e.Entry, e.Shard.Reader))
		}
	}
}

func compare(t *testing.T, file string, got, want view.Tensor) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 1))
	rows, width := want.Rows(), want.RowBytes()
	for i := range 5 {
		lo := r.Int64N(rows + 1)
		hi := lo + r.Int64N(rows-lo+1)
		if i == 0 {
			lo, hi = 0, rows
		}
		a, b := make([]byte, (hi-lo)*width), make([]byte, (hi-lo)*width)
		if err := got.ReadRows(context.Background(), a, lo, hi); err != nil {
			t.Errorf("%s: %s: %v", file, got.Name, err)
		}
		if err := want.ReadRows(context.Background(), b, lo, hi); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%s: %s: rows %d to %d differ", file, got.Name, lo, hi)
		}
	}
}

// What is no dictionary of tensors is refused by name.
func TestNoStateDict(t *testing.T) {
	for file, want := range map[string]string{
		"tensor.bin": "it holds a tensor, not a dictionary of tensors",
		"module.bin": `it asks for "torch.nn.modules.linear.Linear"`,
	} {
		if _, err := load(t, file); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), file+": ") {
			t.Errorf("%s: %v, want %q", file, err, want)
		}
	}
}
