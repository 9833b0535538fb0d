package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"quern/convert/gguf"
)

// elsewhere are refusals of damaged files and of values, held by the tests of the packages that read them.
var elsewhere = map[string]string{
	"nan-": "TestReferenceRefusalsWithBytes", "inf-": "TestReferenceRefusalsWithBytes", "large-f32": "quantize/build",
	"imatrix-truncated": "quantize/imatrix", "imatrix-nan": "quantize/imatrix", "imatrix-is-a-model": "quantize/imatrix", "imatrix-absent": "quantize/imatrix",
	"input-absent": "stages", "same-file": "stages", "output-folder-absent": "stages", "buffer-0": "stages", "arguments-8": "stages", "include-and-exclude": "stages",
	"truncated-": "convert/gguf", "empty-file": "convert/gguf", "not-gguf": "convert/gguf", "gguf-": "convert/gguf", "split-": "stages",
}

type refusal struct {
	Name, Input, Run string
	ImatrixOf        string `json:"imatrix_of"`
	Args             []string
	Exit             int
	Message          []string
	Report           []string
	Edit             []struct{ File, Replace, By string }
}

func (c refusal) held() string {
	for prefix, where := range elsewhere {
		if strings.HasPrefix(c.Name, prefix) {
			return where
		}
	}
	return ""
}

// source is the header with the case's edits.
func (c refusal) source(t *testing.T) (*gguf.Plan, error) {
	b, err := fs.ReadFile(data(t), "headers/"+c.Input+"."+c.Run)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range c.Edit {
		b = bytes.Replace(b, []byte(e.Replace), []byte(e.By), 1)
	}
	f, err := gguf.Read(c.Input, zeros{bytes.NewReader(b)}, 1<<32)
	if err != nil {
		return nil, err
	}
	return &f.Plan, nil
}

func (c refusal) plan(t *testing.T) (*Output, error) {
	p, err := c.source(t)
	if err != nil {
		return nil, err
	}
	r, err := parse(c.Args)
	if err != nil {
		return nil, err
	}
	if r.imatrix != "" {
		of, from := c.Input, p
		if c.ImatrixOf != "" {
			of = c.ImatrixOf
			from = input(t, of, "bf16")
		}
		r.o.Imatrix = r.choose(importance(t, of, r.imatrix, from))
	}
	decide := Plan
	if r.dryRun {
		decide = Decide
	}
	return decide(r.parts(p), r.ft, r.o)
}

// What the reference refuses is refused before anything is written, and what it takes is taken.
func TestReferenceRefusals(t *testing.T) {
	var d struct{ Cases []refusal }
	readJSON(t, "answers/refusals.json", &d)
	refused, taken, other := 0, 0, 0
	for _, c := range d.Cases {
		if where := c.held(); where != "" {
			other++
			continue
		}
		out, err := c.plan(t)
		switch {
		case c.Exit == 0 && err != nil:
			t.Errorf("%s: the reference does it, quern says: %v", c.Name, err)
		case c.Exit == 0:
			taken++
			checkReport(t, c.Name, c.Report, out)
		case err == nil:
			t.Errorf("%s: the reference says %q, quern nothing", c.Name, c.Message)
		default:
			refused++
			checkRefusal(t, c, err)
		}
	}
	t.Logf("%d refused, %d taken, %d held by other packages", refused, taken, other)
}

// checkRefusal wants a typed error with a hint that is about what the reference complains of.
func checkRefusal(t *testing.T, c refusal, err error) {
	t.Helper()
	var refusal *Refusal
	var option *OptionError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case !errors.As(err, &refusal) && !errors.As(err, &option):
		t.Errorf("%s: untyped: %v", c.Name, err)
	case refusal != nil && (refusal.Next == "" || refusal.Tensor == ""):
		t.Errorf("%s: %#v has no hint or no tensor", c.Name, refusal)
	}
	if i := slices.IndexFunc(c.Message, func(m string) bool { return strings.HasPrefix(m, "- offending tensor: ") }); i >= 0 {
		if want := strings.TrimPrefix(c.Message[i], "- offending tensor: "); refusal == nil || refusal.Why != NeedsImatrix || refusal.Tensor != want {
			t.Errorf("%s: want %s to need an imatrix, got %v", c.Name, want, err)
		}
	}
}

func TestReasons(t *testing.T) {
	for name, want := range map[string]Reason{
		"requantize": Requantize, "requantize-mxfp4": Requantize, "no-fallback": NoFallback, "output-type-unfit": BadShape, "pure-iq2": NeedsImatrix,
		"tensor-type-q8_1": BadType, "tensor-type-i32": BadType, "imatrix-other-model": ImatrixDiffer, "imatrix-entry-missing": NeedsImatrix,
		"unknown-architecture": BadModel, "key-missing": BadModel, "override-experts-of-a-dense-model": BadModel,
	} {
		var d struct{ Cases []refusal }
		readJSON(t, "answers/refusals.json", &d)
		i := slices.IndexFunc(d.Cases, func(c refusal) bool { return c.Name == name })
		if i < 0 {
			t.Fatalf("no case %s", name)
		}
		var r *Refusal
		if _, err := d.Cases[i].plan(t); !errors.As(err, &r) || r.Why != want {
			t.Errorf("%s: want %s, got %v", name, want, err)
		}
	}
}

// Another model's imatrix of the same width passes the reference in silence.
func TestForeignImatrixIsSaid(t *testing.T) {
	p := input(t, "dense-llama", "bf16")
	m := importance(t, "moe-mixtral", "imatrix.gguf", nil)
	out, err := Plan([]*gguf.Plan{p}, Q4_K_M, Options{Imatrix: m})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Warnings) != 2 || !strings.Contains(out.Warnings[0].Says, "computed for another") {
		t.Errorf("warnings: %v", out.Warnings)
	}
	out, err = Plan([]*gguf.Plan{p}, Q4_K_M, Options{Imatrix: importance(t, "dense-llama", "imatrix.gguf", p)})
	if err != nil || len(out.Warnings) != 0 {
		t.Errorf("its own imatrix: %v %v", err, out.Warnings)
	}
}

func TestParseOverride(t *testing.T) {
	for s, want := range map[string]any{
		"k=int:5": uint32(5), "k=int:-5": uint32(5), "k=int:abc": uint32(0), "k=int: 12x": uint32(12), "k=int:4294967297": uint32(1),
		"k=int:99999999999999999999": uint32(1<<32 - 1), "k=float:0.1": float32(0.1), "k=float:1e3x": float32(1000), "k=float:x": float32(0),
		"k=float:0x10": float32(16), "k=float:-.5": float32(-0.5), "k=bool:true": true, "k=str:a=b:c": "a=b:c", "k=str:": "",
	} {
		o, err := ParseOverride(s)
		if err != nil || o.value() != want {
			t.Errorf("%s: %v %v, want %v", s, o.value(), err, want)
		}
	}
	if o, _ := ParseOverride("k=int:abc"); o.Note == "" {
		t.Error("a number that is none passes without a note")
	}
	for _, s := range []string{"k", "=int:5", "k=5", "k=bool:true ", "k=bool:1", "k=INT:5", "k=arr:[1]", "k=str", strings.Repeat("k", 128) + "=int:1", "k=str:" + strings.Repeat("x", 128)} {
		var e *OptionError
		if _, err := ParseOverride(s); !errors.As(err, &e) || e.Hint() == "" {
			t.Errorf("%.40s: %v, want a refusal with a hint", s, err)
		}
	}
}

func TestPatterns(t *testing.T) {
	for _, test := range []struct {
		pattern, name string
		want          bool
	}{
		{"attn_v", "blk.0.attn_v.weight", true},
		{"^attn_v", "blk.0.attn_v.weight", false},
		{"blk\\.[02]\\.", "blk.2.ffn_up.weight", true},
		{"blk.([[:digit:]]+).ffn", "blk.12.ffn_up.weight", true},
		{"blk\\.(1[0-9]|2)\\.", "blk.3.ffn_up.weight", false},
		{"(?!x)ffn", "blk.3.ffn_up.weight", true},
		{"[.]weight$", "output.weight", true},
	} {
		tt, err := NewTensorType(test.pattern, gguf.Q8_0)
		if err != nil {
			t.Errorf("%s: %v", test.pattern, err)
			continue
		}
		if got := match([]TensorType{tt}, test.name) != nil; got != test.want {
			t.Errorf("%s in %s: %v", test.pattern, test.name, got)
		}
	}
	for _, bad := range []string{"(", "[", "(?<n>x)", "(?<=x)y", "[[:no:]]", "*", "a{2,1}"} {
		if _, err := NewTensorType(bad, gguf.Q8_0); err == nil {
			t.Errorf("%q compiled", bad)
		}
	}
}

func FuzzParseTensorType(f *testing.F) {
	for _, s := range []string{"attn_v=q8_0", "=", "a=", "[=q8_0", "blk\\.(\\d+)=q4_k", "(?:x)=bf16", "[[:alpha:]]=q6_k", "\\=q6_k"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tt, err := ParseTensorType(s)
		if err == nil && !tt.Type.Valid() {
			t.Errorf("%q: type %v", s, tt.Type)
		}
	})
}

func FuzzParseOverride(f *testing.F) {
	for _, s := range []string{"k=int:1", "k=float:1e400", "k=bool:x", "k=str:", "=", "k=int:-9223372036854775808", "k=float:0x.p1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if o, err := ParseOverride(s); err == nil {
			switch o.value().(type) {
			case uint32, float32, bool, string:
			default:
				t.Errorf("%q: %s", s, fmt.Sprintf("%T", o.value()))
			}
		}
	})
}

// Overrides of the keys by which the parts of a source are found must say what is there; others pass.
func TestSplitOverrides(t *testing.T) {
	for _, test := range []struct {
		parts int
		text  string
		fits  bool
	}{
		{1, "split.count=int:3", false}, {1, "split.count=int:1", true}, {1, "split.count=int:65536", true}, {1, "split.no=int:5", true},
		{3, "split.count=int:3", true}, {3, "split.count=int:65539", true}, {3, "split.count=int:1", false}, {3, "split.count=str:1", true},
		{3, "split.no=int:0", true}, {3, "split.no=int:1", false}, {3, "split.no=bool:true", true}, {3, "split.tensors.count=int:1", false}, {3, "split.tensors.count=int:6", true}, {1, "split.tensors.count=int:9", true},
	} {
		parts := make([]*gguf.Plan, test.parts)
		for i := range parts {
			parts[i] = &gguf.Plan{Outputs: make([]gguf.Output, 2)}
		}
		o, err := ParseOverride(test.text)
		if err != nil {
			t.Fatal(err)
		}
		var r *Refusal
		if err := splitting(parts, []Override{o}); errors.As(err, &r) == test.fits {
			t.Errorf("%s for a source of %d parts: %v", test.text, test.parts, err)
		}
	}
}
