package gguf

import (
	"bytes"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
)

// reference is what testdata/reference.py wrote, as Go values.
var reference = []KV{
	{"general.architecture", "quern"},
	{"t.u8", uint8(200)}, {"t.i8", int8(-100)}, {"t.u16", uint16(60000)}, {"t.i16", int16(-30000)},
	{"t.u32", uint32(4000000000)}, {"t.i32", int32(-2000000000)}, {"t.f32", float32(0.1)}, {"t.bool", true},
	{"t.str", "grüße\x00nul"}, {"t.u64", uint64(math.MaxUint64)}, {"t.i64", int64(math.MinInt64)}, {"t.f64", 0.1},
	{"a.u8", []uint8{0, 255}}, {"a.i8", []int8{-128, 127}}, {"a.u16", []uint16{0, 65535}}, {"a.i16", []int16{-32768}},
	{"a.u32", []uint32{1, 2, math.MaxUint32}}, {"a.f32", []float32{1.5, float32(math.Inf(1))}}, {"a.bool", []bool{true, false}},
	{"a.u64", []uint64{math.MaxUint64}}, {"a.i64", []int64{-1}}, {"a.f64", []float64{1e300}},
	{"a.i32", []int32{1, -2, 3}}, {"a.str", []string{"a", "", "ü"}},
	{"a.nested", [][]int32{{1, 2}, {3}, {4, 5, 6}}}, {"a.texts", [][]string{{"x"}, {"y", "z"}}},
}

var referenceTensors = []Output{
	{Name: "one.weight", Type: F32, Shape: []int64{5}},
	{Name: "two.weight", Type: F16, Shape: []int64{7, 3}},
	{Name: "ids", Type: I64, Shape: []int64{3, 2, 1}},
	{Name: "q.weight", Type: Q8_0, Shape: []int64{64, 2}},
	{Name: "four", Type: I8, Shape: []int64{3, 1, 2, 1}},
}

// A layout of the same metadata and tensors is gguf-py's file up to the data, byte for byte, and as long.
func TestLayoutEqualsReference(t *testing.T) {
	want, err := os.ReadFile("testdata/reference.gguf")
	if err != nil {
		t.Fatal(err)
	}
	p, err := Layout(reference, referenceTensors, 0)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := p.WriteHeader(&b); err != nil {
		t.Fatal(err)
	}
	if p.FileSize != int64(len(want)) || p.DataOffset != int64(b.Len()) {
		t.Errorf("file of %d bytes, data at %d; want %d, %d", p.FileSize, p.DataOffset, len(want), b.Len())
	}
	if !bytes.Equal(b.Bytes(), want[:b.Len()]) {
		t.Error("the header differs")
	}
}

func TestReadReference(t *testing.T) {
	data, err := os.ReadFile("testdata/reference.gguf")
	if err != nil {
		t.Fatal(err)
	}
	f, err := Read("reference.gguf", bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if f.Version != 3 || f.Alignment != 32 || f.FileSize != int64(len(data)) {
		t.Errorf("version %d, alignment %d, size %d", f.Version, f.Alignment, f.FileSize)
	}
	for i, kv := range f.Metadata {
		if !reflect.DeepEqual(kv, reference[i]) {
			t.Errorf("%s = %#v, want %s = %#v", kv.Key, kv.Value, reference[i].Key, reference[i].Value)
		}
	}
	p, err := Layout(reference, referenceTensors, 0)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(f.Plan, p) {
		t.Errorf("read %+v\nlaid out %+v", f.Plan, p)
	}
}

func TestLookups(t *testing.T) {
	p, err := Layout(reference, referenceTensors, 0)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	ok := func(v any, ok bool) any {
		if !ok {
			return nil
		}
		return v
	}
	wrap := func(key string) any { v, k := p.Uint(key); return ok(v, k) }
	check("uint of u8", wrap("t.u8"), uint64(200))
	check("uint of u64", wrap("t.u64"), uint64(math.MaxUint64))
	check("uint of negative", wrap("t.i16"), nil)
	check("uint of float", wrap("t.f32"), nil)
	check("uint of nothing", wrap("no.key"), nil)
	for key, want := range map[string]any{"t.i8": int64(-100), "t.i16": int64(-30000), "t.u16": int64(60000), "t.u32": int64(4000000000), "t.i32": int64(-2000000000),
		"t.i64": int64(math.MinInt64), "t.u64": nil, "t.bool": int64(1), "t.str": nil} {
		v, k := p.Int(key)
		check("int of "+key, ok(v, k), want)
	}
	for key, want := range map[string]any{"t.f32": float64(float32(0.1)), "t.f64": 0.1, "t.u8": nil} {
		v, k := p.Float(key)
		check("float of "+key, ok(v, k), want)
	}
	s, _ := p.String("t.str")
	check("string", s, "grüße\x00nul")
	b, isBool := p.Bool("t.bool")
	check("bool", []bool{b, isBool}, []bool{true, true})
	ss, _ := p.Strings("a.str")
	check("strings", ss, []string{"a", "", "ü"})
	fs, _ := p.Floats("a.f32")
	check("floats", fs, []float32{1.5, float32(math.Inf(1))})
	for key, want := range map[string]any{"a.u8": []int64{0, 255}, "a.bool": []int64{1, 0}, "a.i32": []int64{1, -2, 3}, "a.u64": []int64(nil), "a.f32": []int64(nil), "t.u8": []int64(nil)} {
		v, _ := p.Ints(key)
		check("ints of "+key, any(v), want)
	}
	o, found := p.Tensor("q.weight")
	check("tensor", []any{found, o.Type, o.Size}, []any{true, Q8_0, int64(136)})
	check("architecture", p.Architecture(), "quern")
	check("format", Format([]int32{1, 2, 3, 4}, 2), "[1, 2, ... 4 in all]")
	check("format", Format([]string{"a"}, 2), `["a"]`)
}

func TestParseType(t *testing.T) {
	for typ := range types {
		for _, name := range []string{typ.String(), strings.ToLower(typ.String())} {
			if got, ok := ParseType(name); !ok || got != typ {
				t.Errorf("ParseType(%q) = %v, %v", name, got, ok)
			}
		}
	}
	if _, ok := ParseType("Q4_K_M"); ok {
		t.Error("a file type was taken for a tensor type")
	}
	if got := Type(99).String(); got != "type 99" {
		t.Errorf("unknown type is called %q", got)
	}
}

func TestSplitNames(t *testing.T) {
	if got := SplitName("dir/m.gguf", 2, 3); got != "dir/m-00002-of-00003.gguf" {
		t.Errorf("split name %q", got)
	}
	stem, no, count, ok := ParseSplitName("m-00002-of-00003.gguf")
	if stem != "m" || no != 2 || count != 3 || !ok {
		t.Errorf("%q %d %d %v", stem, no, count, ok)
	}
	for _, name := range []string{"m.gguf", "m-00004-of-00003.gguf", "m-00000-of-00003.gguf", "m-1-of-3.gguf", "-00001-of-00001.gguf"} {
		if _, _, _, ok := ParseSplitName(name); ok {
			t.Errorf("%q was taken for a part", name)
		}
	}
}

// What cannot become a readable file is refused before it exists, by key or tensor.
func TestLayoutRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		kv        []KV
		outs      []Output
		alignment int64
		want      string
	}{
		"key twice":         {kv: []KV{{"k", true}, {"k", true}}, want: `key "k"`},
		"key empty":         {kv: []KV{{"", true}}, want: "empty"},
		"go int":            {kv: []KV{{"k", 1}}, want: "Go type int"},
		"nil":               {kv: []KV{{"k", nil}}, want: "Go type"},
		"nested thrice":     {kv: []KV{{"k", [][][]int32{}}}, want: "Go type"},
		"name twice":        {outs: []Output{{Name: "a", Type: F32}, {Name: "a", Type: F32}}, want: "stands twice"},
		"unknown type":      {outs: []Output{{Name: "a", Type: 4}}, want: "type 4"},
		"five dimensions":   {outs: []Output{{Name: "a", Shape: []int64{1, 1, 1, 1, 1}}}, want: "5 dimensions"},
		"negative":          {outs: []Output{{Name: "a", Shape: []int64{-1}}}, want: "-1"},
		"block":             {outs: []Output{{Name: "a", Type: Q4_K, Shape: []int64{128, 2}}}, want: "multiple of 256"},
		"scalar block":      {outs: []Output{{Name: "a", Type: Q8_0}}, want: "multiple of 32"},
		"elements":          {outs: []Output{{Name: "a", Type: I8, Shape: []int64{1 << 32, 1 << 32}}}, want: "2^63"},
		"bytes":             {outs: []Output{{Name: "a", Type: F64, Shape: []int64{1 << 31, 1 << 30}}}, want: "2^63"},
		"sum":               {outs: []Output{{Name: "a", Type: I8, Shape: []int64{1 << 62}}, {Name: "b", Type: I8, Shape: []int64{1 << 62}}}, want: "2^63"},
		"alignment odd":     {alignment: 48, want: "power of two"},
		"alignment silent":  {alignment: 64, want: "the metadata says 32, the layout 64"},
		"alignment differs": {kv: []KV{{AlignmentKey, uint32(64)}}, want: "the metadata says 64, the layout 32"},
		"alignment kind":    {kv: []KV{{AlignmentKey, uint64(32)}}, want: "must be u32"},
	} {
		if _, err := Layout(c.kv, c.outs, c.alignment); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	p, err := Layout([]KV{{AlignmentKey, uint32(4096)}}, []Output{{Name: "a", Type: I8, Shape: []int64{1}}, {Name: "b", Type: I8, Shape: []int64{1}}}, 4096)
	if err != nil || p.DataOffset != 4096 || p.Outputs[1].Offset != 4096 || p.FileSize != 3*4096 {
		t.Errorf("alignment 4096: %+v, %v", p, err)
	}
}
