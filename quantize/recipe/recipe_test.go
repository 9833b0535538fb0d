package recipe

import (
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"reflect"
	"strings"
	"testing"

	"quern/convert/conformance"
	"quern/convert/gguf"
	"quern/quantize/policy"
)

type zeros struct{ *bytes.Reader }

func (z zeros) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	n, err := z.Reader.ReadAt(p, off)
	if err == io.EOF {
		n, err = len(p), nil
	}
	return n, err
}

// pocket is the header of quern's pocket model in BF16, and what Measure found in it with llama.cpp's kernels and its imatrix.
func pocket(t *testing.T) (*gguf.Plan, policy.Options, []Measured) {
	t.Helper()
	tree, err := conformance.OpenBundle("../policy/testdata/quantize.tar.zst")
	if err != nil {
		t.Fatal(err)
	}
	header, err := fs.ReadFile(tree, "headers/pocket-llama.bf16")
	if err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Read("pocket-llama", zeros{bytes.NewReader(header)}, 1<<32)
	if err != nil {
		t.Fatal(err)
	}
	var measured []Measured
	data, err := os.ReadFile("testdata/pocket.json")
	if err == nil {
		err = json.Unmarshal(data, &measured)
	}
	if err != nil {
		t.Fatal(err)
	}
	m := &policy.Imatrix{File: "imatrix.gguf", Entries: map[string]int{}}
	for _, o := range f.Outputs {
		if len(o.Shape) == 2 && o.Name != "token_embd.weight" {
			m.Entries[o.Name] = int(o.Shape[0])
		}
	}
	return &f.Plan, policy.Options{Imatrix: m}, measured
}

func TestFitBeatsTheNamedTypesByItsOwnMeasure(t *testing.T) {
	p, o, measured := pocket(t)
	for _, ft := range []policy.FileType{policy.Q2_K, policy.Q3_K_M, policy.IQ4XS, policy.Q4_K_M, policy.Q5_K_M, policy.Q6_K} {
		named, err := policy.Plan([]*gguf.Plan{p}, ft, o)
		if err != nil {
			t.Fatal(err)
		}
		r, err := Fit([]*gguf.Plan{p}, ft, o, measured, Budget{Bytes: named.Size()})
		if err != nil {
			t.Fatal(err)
		}
		sum, weight := 0.0, weigher(named.Decisions)
		for _, m := range measured {
			for i, typ := range m.Types {
				for _, d := range named.Decisions {
					if d.Name == m.Name && d.To == typ {
						sum += m.Errors[i] * weight(m.Name)
					}
				}
			}
		}
		if r.Size > named.Size() || r.Error > sum || (r.Error-r.Bound)/r.Error > 0.005 {
			t.Errorf("%v: %d bytes with error %v, bound %v; the named type has %d and %v", ft, r.Size, r.Error, r.Bound, named.Size(), sum)
		}
		t.Logf("%v: error %.4f of the named type's", ft, r.Error/sum)
	}
}

func TestRecipeReplays(t *testing.T) {
	p, o, measured := pocket(t)
	r, err := Fit([]*gguf.Plan{p}, policy.Q4_K_M, o, measured, Budget{Bits: 4.3})
	if err != nil {
		t.Fatal(err)
	}
	if r.Bits > 4.3 || r.Bits < 4.2 {
		t.Errorf("%v bits per weight", r.Bits)
	}
	r.Model, r.Kernel = "pocket", "llamacpp"
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	again, err := Read("x", bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatalf("%v\n%s", err, b.String())
	}
	if !reflect.DeepEqual(again, r) {
		t.Errorf("read %+v, wrote %+v", again, r)
	}
	if err := again.Check(p); err != nil {
		t.Error(err)
	}
	o.Recipe = again.Types()
	out, err := policy.Plan([]*gguf.Plan{p}, policy.Q4_K_M, o)
	if err != nil || out.Size() != r.Size {
		t.Errorf("replayed: %v, %d bytes, want %d", err, out.Size(), r.Size)
	}
	for _, d := range out.Decisions {
		if want, ok := o.Recipe[d.Name]; ok && (d.To != want || d.Rule != "the recipe") {
			t.Errorf("%s: %v by %s, the recipe says %v", d.Name, d.To, d.Rule, want)
		}
	}
	p.Outputs[0].Name = "other.weight"
	again.Tensors = append(again.Tensors, Tensor{Name: "output_norm.weight", Type: TypeName(gguf.F32)})
	if err := again.Check(p); err == nil {
		t.Error("a recipe for another model passes")
	}
}

func TestFitRefusesTooSmall(t *testing.T) {
	p, o, measured := pocket(t)
	if _, err := Fit([]*gguf.Plan{p}, policy.Q4_K_M, o, measured, Budget{Bytes: 1 << 20}); err == nil || !strings.Contains(err.Error(), "smallest mixture takes") {
		t.Errorf("got %v", err)
	}
}

func TestReadRefuses(t *testing.T) {
	for want, text := range map[string]string{
		"version 9":       `{"version": 9}`,
		"version 0":       `{}`,
		"is not a recipe": `[`,
		"no tensor type":  `{"version": 1, "tensors": [{"name": "a", "type": "Q9"}]}`,
		"stands twice":    `{"version": 1, "tensors": [{"name": "a", "type": "F16"}, {"name": "a", "type": "F16"}]}`,
		"or has no name":  `{"version": 1, "tensors": [{"type": "F16"}]}`,
	} {
		if _, err := Read("x", strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestParseSize(t *testing.T) {
	for s, want := range map[string]int64{"3.5GiB": 3758096384, "800MB": 800e6, "1k": 1024, "123": 123, "2 gib": 2 << 30, "7B": 7} {
		if b, err := ParseSize(s); err != nil || b.Bytes != want {
			t.Errorf("%s: %v %v, want %d", s, b, err, want)
		}
	}
	for _, s := range []string{"", "GiB", "-1GB", "x", "1e30TB", "NaN"} {
		if b, err := ParseSize(s); err == nil {
			t.Errorf("%q is %v", s, b)
		}
	}
}

func TestCandidatesAndBase(t *testing.T) {
	wide := policy.Decision{From: gguf.BF16, Importance: true}
	if got := Candidates(wide, 256); len(got) != len(ladder)+1 {
		t.Errorf("%d of %d types", len(got), len(ladder)+1)
	}
	wide.Importance = false
	for _, typ := range Candidates(wide, 96) {
		if typ.Block() > 32 {
			t.Errorf("%v for rows of 96", typ)
		}
	}
	if Candidates(policy.Decision{Kept: true}, 256) != nil {
		t.Error("types for a tensor that keeps its own")
	}
	for bits, want := range map[float64]policy.FileType{4.3: policy.Q3_K_L, 4.9: policy.Q4_K_M, 1: policy.Q2_K, 16: policy.Q8_0} {
		if got := Base(bits); got != want {
			t.Errorf("%v bits: %v, want %v", bits, got, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"version": 1, "tensors": [{"name": "a", "type": "q4_K", "error": 0.1}]}`))
	f.Add([]byte(`{"version": 1e9}`))
	f.Add([]byte(`{"tensors": {}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Read("f", bytes.NewReader(b))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := r.Write(&again); err != nil {
			t.Fatal(err)
		}
		if _, err := Read("g", &again); err != nil {
			t.Fatalf("written, but not read: %v", err)
		}
	})
}
