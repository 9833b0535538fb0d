package imatrix

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"quern/convert/conformance"
	"quern/convert/gguf"
)

var bundle = sync.OnceValues(func() (fs.FS, error) { return conformance.OpenBundle("testdata/imatrix.tar.zst") })

func file(t testing.TB, name string) []byte {
	t.Helper()
	tree, err := bundle()
	if err != nil {
		t.Fatal(err)
	}
	b, err := fs.ReadFile(tree, name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func read(t testing.TB, name string) *Matrix {
	t.Helper()
	b := file(t, "imatrix/"+name)
	m, err := Read(name, bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func sha(t testing.TB, write func(io.Writer) error) string {
	t.Helper()
	h := sha256.New()
	if err := write(h); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// zeros is a file of which only the header is kept.
type zeros struct{ *bytes.Reader }

func (z zeros) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	n, err := z.Reader.ReadAt(p, off)
	if err == io.EOF {
		n, err = len(p), nil
	}
	return n, err
}

func model(t testing.TB, name string) *gguf.Plan {
	t.Helper()
	f, err := gguf.Read(name, zeros{bytes.NewReader(file(t, "headers/"+name+".bf16"))}, 1<<32)
	if err != nil {
		t.Fatal(err)
	}
	return &f.Plan
}

// byRule is the importance matrix with which the answers on quantization were recorded.
func byRule(p *gguf.Plan) *Matrix {
	m := &Matrix{Datasets: []string{conformance.ImportanceDataset}, Chunks: conformance.ImportanceChunks, ChunkSize: conformance.ImportanceChunkSize}
	for _, e := range conformance.ImportanceByRule(p) {
		m.Entries = append(m.Entries, Entry{e.Name, e.Sums, e.Counts})
	}
	slices.SortFunc(m.Entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return m
}

// The answers name the digest of every generated file; two are stored in both formats.
func TestRuleFiles(t *testing.T) {
	var digests map[string]struct {
		SHA256 string `json:"imatrix_sha256"`
	}
	if err := json.Unmarshal(file(t, "digests.json"), &digests); err != nil || len(digests) == 0 {
		t.Fatal(err)
	}
	for name, want := range digests {
		if got := sha(t, byRule(model(t, name)).Write); got != want.SHA256 {
			t.Errorf("%s: %s, want %s", name, got, want.SHA256)
		}
	}
	for _, name := range []string{"dense-llama", "moe-mixtral"} {
		var b bytes.Buffer
		if err := byRule(model(t, name)).WriteLegacy(&b); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b.Bytes(), file(t, "imatrix/"+name+"/imatrix.dat")) {
			t.Errorf("%s: the legacy file differs", name)
		}
	}
	t.Logf("%d GGUF files and 2 legacy files, byte for byte", len(digests))
}

// Files that llama-imatrix wrote are the same after reading and writing; pocket-llama's was computed from text.
func TestRewrite(t *testing.T) {
	for _, name := range []string{"dense-llama", "moe-mixtral", "pocket-llama"} {
		var b bytes.Buffer
		if err := read(t, name+"/imatrix.gguf").Write(&b); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b.Bytes(), file(t, "imatrix/"+name+"/imatrix.gguf")) {
			t.Errorf("%s: the file differs after reading and writing", name)
		}
	}
	var b bytes.Buffer
	if err := read(t, "pocket-llama/imatrix.gguf").WriteLegacy(&b); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), file(t, "imatrix/pocket-llama/imatrix.dat")) {
		t.Error("pocket-llama: the legacy file differs from llama-imatrix's")
	}
}

// Digests of what `llama-imatrix --in-file A,B -o OUT` of llama.cpp v0.5.0 wrote.
func TestMerge(t *testing.T) {
	dense, denseDat := "dense-llama/imatrix.gguf", "dense-llama/imatrix.dat"
	moe, moeDat := "moe-mixtral/imatrix.gguf", "moe-mixtral/imatrix.dat"
	for _, test := range []struct {
		in     []string
		legacy bool
		want   string
	}{
		{[]string{dense, denseDat}, false, "a161027d28239b7f807b4629f6c918eddc0ae5976936f2cb34270acc70a9e17b"},
		{[]string{moe, moe}, false, "9186649a373194d7fdc6b3ef8e23a59cd9ba16172d7840fc9ebbca8ef69be49c"},
		{[]string{moe, moeDat}, false, "da4c48182c5c9b77827e39be07da01b3a84e2dca93007759a4c806cc94a03a8b"},
		{[]string{moeDat, moe}, false, "da4c48182c5c9b77827e39be07da01b3a84e2dca93007759a4c806cc94a03a8b"},
		{[]string{moeDat}, false, "fa0103348e94aa9c40ce529056d7a9adec500f2c1a5a9fdd1ca2bcc1a358ecd1"},
		{[]string{moe}, true, "f71b175bb3e0e873ed0ec340b64e3b2fe1e4bea8337174615e68589ca52ca505"},
	} {
		var in []*Matrix
		for _, name := range test.in {
			in = append(in, read(t, name))
		}
		m, err := Merge(in...)
		if err != nil {
			t.Fatal(err)
		}
		write := m.Write
		if test.legacy {
			write = m.WriteLegacy
		}
		if got := sha(t, write); got != test.want {
			t.Errorf("%v: %s, want %s", test.in, got, test.want)
		}
	}
	if _, err := Merge(read(t, dense), byRule(model(t, "llama-odd"))); err == nil {
		t.Error("matrices of two models merged")
	}
}

// Both formats of one matrix give the kernels nearly the same: the legacy one rounds once more.
func TestImportance(t *testing.T) {
	g, l := read(t, "moe-mixtral/imatrix.gguf"), read(t, "moe-mixtral/imatrix.dat")
	silent := 0
	for _, e := range g.Entries {
		a, b := g.Importance(e.Name), l.Importance(e.Name)
		if len(a) != len(e.Sums) || len(b) != len(a) {
			t.Fatalf("%s: %d and %d values of %d", e.Name, len(a), len(b), len(e.Sums))
		}
		for i := range a {
			if diff := math.Abs(float64(a[i] - b[i])); diff > 1e-6*float64(a[i]) {
				t.Errorf("%s %d: %v and %v", e.Name, i, a[i], b[i])
			}
			if want := e.Sums[i] / float32(e.Counts[i/e.Row()]); e.Counts[i/e.Row()] > 0 && a[i] != want {
				t.Errorf("%s %d: %v, want %v", e.Name, i, a[i], want)
			}
			if e.Counts[i/e.Row()] == 0 {
				silent++
				if a[i] != 1 {
					t.Errorf("%s %d: %v without a token, want 1", e.Name, i, a[i])
				}
			}
		}
	}
	if silent == 0 {
		t.Error("no expert without a token was seen")
	}
	if g.Importance("blk.9.none.weight") != nil {
		t.Error("importance of a tensor without an entry")
	}
}

func TestKeep(t *testing.T) {
	for _, test := range []struct {
		include, exclude []string
		want             int
	}{{nil, nil, 21}, {nil, []string{"ffn"}, 12}, {[]string{"attn_q", "ffn_up"}, nil, 6}, {[]string{"blk.0"}, []string{"attn"}, 3}, {[]string{"none"}, nil, 0}} {
		m := read(t, "dense-llama/imatrix.gguf")
		m.Keep(test.include, test.exclude)
		if len(m.Entries) != test.want {
			t.Errorf("%v %v: %d entries, want %d", test.include, test.exclude, len(m.Entries), test.want)
		}
	}
}

func TestCover(t *testing.T) {
	moe := read(t, "moe-mixtral/imatrix.gguf")
	c := moe.Cover(model(t, "moe-mixtral"))
	if len(c.Missing)+len(c.Foreign)+len(c.Misfit) > 0 || c.Covered != len(moe.Entries) || !c.Fits() || c.Experts != 6*8 || c.Silent == 0 {
		t.Errorf("its own model: %+v", c)
	}
	if text := strings.Join(c.Lines(), "\n"); !strings.Contains(text, "experts were reached; the least: blk.") {
		t.Error(text)
	}
	for _, other := range []string{"dense-llama", "llama-odd", "bert"} {
		if c := moe.Cover(model(t, other)); c.Fits() {
			t.Errorf("%s: a foreign matrix fits: %+v", other, c)
		}
	}
}

// refused changes a file and wants a typed error that names the file and says what.
func refused(t *testing.T, name string, b []byte, want string) {
	t.Helper()
	_, err := Read("x.imatrix", bytes.NewReader(b), int64(len(b)))
	var e *Error
	if !errors.As(err, &e) || e.File != "x.imatrix" || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: want %q, got %v", name, want, err)
	}
}

func TestRefuses(t *testing.T) {
	good, old := file(t, "imatrix/dense-llama/imatrix.gguf"), file(t, "imatrix/dense-llama/imatrix.dat")
	refused(t, "cut GGUF", good[:5000], "reach behind")
	refused(t, "cut legacy", old[:5000], "not an imatrix, or cut off")
	refused(t, "cut in a length", old[:2], "ends at the number of entries")
	refused(t, "empty", nil, "ends at the number of entries")
	refused(t, "a model", file(t, "headers/dense-llama.bf16"), "reach behind")
	refused(t, "text", []byte("this is no imatrix at all, but a text"), "neither GGUF nor the legacy format")

	f, err := gguf.Read("", bytes.NewReader(good), int64(len(good)))
	if err != nil {
		t.Fatal(err)
	}
	o, _ := f.Tensor("blk.1.ffn_up.weight.in_sum2")
	nan := slices.Clone(good)
	copy(nan[f.DataOffset+o.Offset+7*4:], "\x00\x00\xc0\x7f")
	refused(t, "NaN", nan, "blk.1.ffn_up.weight: matrix 0, column 7: NaN")
	o, _ = f.Tensor("blk.1.ffn_up.weight.counts")
	negative := slices.Clone(good)
	copy(negative[f.DataOffset+o.Offset:], "\x00\x00\x80\xbf")
	refused(t, "negative count", negative, "a count of -1")
	refused(t, "no sums", bytes.Replace(slices.Clone(good), []byte("ffn_up.weight.in_sum2"), []byte("ffn_up.weight.in_sum9"), 1), "counts without sums")
	refused(t, "no counts", bytes.Replace(slices.Clone(good), []byte("ffn_up.weight.counts"), []byte("ffn_up.weight.coun9s"), 1), "sums without counts")
	refused(t, "no metadata", bytes.Replace(slices.Clone(good), []byte("imatrix.chunk_size"), []byte("imatrix.chunk_s9ze"), 1), "without imatrix.datasets")
}

func FuzzRead(f *testing.F) {
	for _, name := range []string{"dense-llama/imatrix.gguf", "dense-llama/imatrix.dat"} {
		b := file(f, "imatrix/"+name)
		f.Add(b[:2000])
		f.Add(b[:len(b)-3])
	}
	f.Add([]byte("\x01\x00\x00\x00\xff\xff\xff\x7f"))
	f.Add([]byte("\x01\x00\x00\x00\x01\x00\x00\x00a\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x80\x3f\x03\x00\x00\x00\x01\x00\x00\x00d"))
	f.Add([]byte("\x01\x00\x00\x00\x01\x00\x00\x00a\x01\x00\x00\x00\xff\xff\xff\x3f"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Read("f", bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		for _, e := range m.Entries {
			m.Importance(e.Name)
		}
		if err := m.Write(io.Discard); err != nil {
			t.Skip(err) // names that GGUF cannot hold
		}
	})
}
