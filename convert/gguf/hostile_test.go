package gguf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

// raw builds files by hand: n is a 64-bit count or offset, u a 32-bit number, s a string with its length.
type raw []byte

func (b raw) n(v uint64) raw { return binary.LittleEndian.AppendUint64(b, v) }
func (b raw) u(v uint32) raw { return binary.LittleEndian.AppendUint32(b, v) }
func (b raw) s(v string) raw { return append(b.n(uint64(len(v))), v...) }

func header(version uint32, tensors, keys uint64) raw {
	return raw(Magic).u(version).n(tensors).n(keys)
}

// one is a file with one F32 tensor of four elements at this offset, and its data.
func one(offset uint64) raw {
	b := header(3, 1, 0).s("w").u(1).n(4).u(0).n(offset)
	return append(b, make([]byte, int(Pad(int64(len(b)), 32))-len(b)+32)...)
}

var hostile = map[string]struct {
	file raw
	want string
}{
	"empty":                  {raw{}, "ends inside the header"},
	"magic":                  {raw("GGML\x03\x00\x00\x00"), `begins with "GGML"`},
	"big-endian":             {raw("GGUF\x00\x00\x00\x03"), "big-endian"},
	"big-endian magic":       {raw("FUGG\x03\x00\x00\x00"), "big-endian"},
	"version 0":              {header(0, 0, 0), "version 0"},
	"version 4":              {header(4, 0, 0), "version 4"},
	"cut":                    {header(3, 0, 0)[:20], "ends inside the header"},
	"tensor count":           {header(3, math.MaxUint64, 0), "tensors: a count of 18446744073709551615"},
	"tensor count lesser":    {append(header(3, 1<<30, 0), make([]byte, 100)...), "only 108 bytes are left"},
	"key count":              {header(3, 0, 1<<60), "metadata: a count of"},
	"key length":             {append(header(3, 0, 1).n(1<<62), make([]byte, 20)...), "a key: a count of"},
	"key empty":              {header(3, 0, 1).s("").u(0).n(0), "empty"},
	"key twice":              {header(3, 0, 2).s("k").u(4).u(1).s("k").u(4).u(1), "stands twice"},
	"value type":             {header(3, 0, 1).s("k").u(13).n(0), `key "k": unknown value type 13`},
	"array type":             {header(3, 0, 1).s("k").u(9).u(77).n(0), "unknown value type 77"},
	"array count":            {header(3, 0, 1).s("k").u(9).u(4).n(1 << 40), "an array: a count of"},
	"array count lesser":     {header(3, 0, 1).s("k").u(9).u(4).n(3).u(1).u(2), "only 8 bytes are left"},
	"array of strings":       {header(3, 0, 1).s("k").u(9).u(8).n(2).s("a").n(1 << 33), "a text: a count of"},
	"nested three deep":      {header(3, 0, 1).s("k").u(9).u(9).n(1).u(9).n(1).u(4).n(1).u(1), "deeper than 2"},
	"nested of two kinds":    {header(3, 0, 1).s("k").u(9).u(9).n(2).u(4).n(0).u(5).n(0), "of different types"},
	"nested empty":           {header(3, 0, 1).s("k").u(9).u(9).n(0), "no element type"},
	"alignment 0":            {header(3, 0, 1).s(AlignmentKey).u(4).u(0), "power of two"},
	"alignment kind":         {header(3, 0, 1).s(AlignmentKey).u(10).n(32), "power of two"},
	"dimensions":             {append(header(3, 1, 0).s("w").u(5), make([]byte, 60)...), "5 dimensions"},
	"dimension negative":     {header(3, 1, 0).s("w").u(1).n(math.MaxUint64).u(0).n(0), "a dimension of -1"},
	"elements overflow":      {header(3, 1, 0).s("w").u(2).n(1 << 40).n(1 << 40).u(0).n(0), "2^63 elements"},
	"bytes overflow":         {header(3, 1, 0).s("w").u(1).n(1 << 62).u(0).n(0), "2^63 bytes"},
	"tensor type":            {header(3, 1, 0).s("w").u(1).n(4).u(4).n(0), "unknown tensor type 4"},
	"block":                  {header(3, 1, 0).s("w").u(1).n(100).u(12).n(0), "multiple of 256"},
	"offset beyond":          {one(64), "reach behind"},
	"offset near the top":    {one(1<<63 - 32), "reach behind"},
	"offset negative":        {one(1 << 63), "multiple of the alignment"},
	"offset unaligned":       {one(4), "multiple of the alignment"},
	"data cut":               {one(0)[:64], "reach behind the data's 0 bytes"},
	"name twice":             {header(3, 2, 0).s("w").u(0).u(24).n(0).s("w").u(0).u(24).n(0), "stands twice"},
	"overlap":                {append(header(3, 2, 0).s("a").u(1).n(33).u(24).n(0).s("b").u(1).n(1).u(24).n(32), make([]byte, 200)...), `inside tensor "a"`},
	"overlap in other order": {append(header(3, 2, 0).s("b").u(1).n(1).u(24).n(32).s("a").u(1).n(33).u(24).n(0), make([]byte, 200)...), `inside tensor "a"`},
}

func TestHostileFiles(t *testing.T) {
	for name, c := range hostile {
		_, err := Read("x.gguf", bytes.NewReader(c.file), int64(len(c.file)))
		var bad *FormatError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "x.gguf: ") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// Every cut of a sound file is an error, and no error claims another thing than a *FormatError.
func TestTruncated(t *testing.T) {
	data, err := os.ReadFile("testdata/reference.gguf")
	if err != nil {
		t.Fatal(err)
	}
	for n := range data[:len(data)-29] { // the last tensor's padding is not needed
		if _, err := Read("x", bytes.NewReader(data[:n]), int64(n)); err == nil {
			t.Fatalf("%d of %d bytes were taken for a file", n, len(data))
		}
	}
}

// A size that the source does not have is an error of the source, not a wait or a panic.
func TestShorterThanItSays(t *testing.T) {
	if _, err := Read("x", bytes.NewReader(header(3, 0, 1)), 1<<20); err == nil {
		t.Error("a file shorter than its size was read")
	}
}

// Claimed counts cost nothing before their bytes are there, though the source says that it has them.
func TestMemoryStaysBelowTheFile(t *testing.T) {
	for name, file := range map[string]raw{
		"tensors": header(3, 1<<30, 0),
		"keys":    header(3, 0, 1<<30),
		"text":    header(3, 0, 1).s("k").u(8).n(1 << 27),
		"array":   header(3, 0, 1).s("k").u(9).u(10).n(1 << 27),
		"strings": header(3, 0, 1).s("k").u(9).u(8).n(1 << 27),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := Read(name, bytes.NewReader(file), 1<<40); err == nil {
			t.Errorf("%s: no error", name)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%s: %d bytes for a file of %d", name, n, len(file))
		}
	}
}

// Version 1 counts with 32 bits, version 2 differs from 3 in its number alone.
func TestOlderVersions(t *testing.T) {
	v1 := raw(Magic).u(1).u(1).u(2)
	v1 = append(v1.u(1), 'k').u(9).u(8).u(2)
	v1 = append(append(v1.u(1), 'a').u(2), "bc"...)
	v1 = append(v1.u(2), "k2"...).u(4).u(7)
	v1 = append(v1.u(1), 'w').u(2).u(4).u(2).u(0).n(0)
	v1 = append(v1, make([]byte, int(Pad(int64(len(v1)), 32))-len(v1)+32)...)
	f, err := Read("v1", bytes.NewReader(v1), int64(len(v1)))
	if err != nil {
		t.Fatal(err)
	}
	texts, _ := f.Strings("k")
	k2, _ := f.Uint("k2")
	if f.Version != 1 || !reflect.DeepEqual(texts, []string{"a", "bc"}) || k2 != 7 || !reflect.DeepEqual(f.Outputs[0].Shape, []int64{4, 2}) || f.Outputs[0].Size != 32 {
		t.Errorf("version 1: %+v", f)
	}
	v2 := one(0)
	v2[4] = 2
	if f, err = Read("v2", bytes.NewReader(v2), int64(len(v2))); err != nil || f.Version != 2 || f.Outputs[0].Size != 16 {
		t.Errorf("version 2: %+v, %v", f, err)
	}
}

// Tensors may stand in any order in the data and leave holes: llama.cpp refuses that, a reader need not.
func TestOrderInTheData(t *testing.T) {
	b := append(header(3, 2, 0).s("b").u(1).n(1).u(24).n(64).s("a").u(1).n(1).u(24).n(0), make([]byte, 200)...)
	f, err := Read("x", bytes.NewReader(b), int64(len(b)))
	if err != nil || f.Outputs[0].Name != "b" || f.Outputs[0].Offset != 64 {
		t.Errorf("%+v, %v", f, err)
	}
}

// What is read without error can be laid out and written, and reads as the same metadata, tensors and types.
func FuzzRead(f *testing.F) {
	if data, err := os.ReadFile("testdata/reference.gguf"); err != nil {
		f.Fatal(err)
	} else {
		f.Add(data)
	}
	for _, c := range hostile {
		f.Add([]byte(c.file))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Read("x", bytes.NewReader(data), int64(len(data)))
		if err != nil {
			var bad *FormatError
			if !errors.As(err, &bad) {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		p, err := Layout(file.Metadata, file.Outputs, file.Alignment)
		if err != nil {
			t.Fatalf("what was read cannot be laid out: %v", err)
		}
		var b bytes.Buffer
		if err := p.WriteHeader(&b); err != nil {
			t.Fatal(err)
		}
		b.Write(make([]byte, p.FileSize-p.DataOffset))
		again, err := Read("x", bytes.NewReader(b.Bytes()), p.FileSize)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if len(again.Outputs) != len(file.Outputs) || !sameValues(again.Metadata, file.Metadata) {
			t.Fatalf("%+v came back as %+v", file.Metadata, again.Metadata)
		}
	})
}

// sameValues compares encodings, since a NaN is not equal to itself.
func sameValues(a, b []KV) bool {
	var x, y []byte
	for _, kv := range a {
		x = appendKV(x, kv)
	}
	for _, kv := range b {
		y = appendKV(y, kv)
	}
	return bytes.Equal(x, y)
}
