package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

// file is a safetensors file with this header and so many bytes of data.
func file(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

func read(b []byte) (*Header, error) {
	return ReadHeader("m.safetensors", bytes.NewReader(b), int64(len(b)))
}

func TestReadHeader(t *testing.T) {
	h, err := read(file(`{"b":{"dtype":"F16","shape":[2,3],"data_offsets":[4,16]},"__metadata__":{"format":"pt","x":"é"},`+
		`"a":{"shape":[],"data_offsets":[0,4],"dtype":"F32"},"z":{"dtype":"I8","shape":[0,5],"data_offsets":[4,4]},`+
		`"f4":{"dtype":"F4","shape":[2,3],"data_offsets":[16,19]},"e":{"dtype":"F8_E8M0","shape":[1],"data_offsets":[19,20]}}   `, 20))
	if err != nil {
		t.Fatal(err)
	}
	d := h.DataOffset
	want := []Entry{
		{"a", F32, []int64{}, d, 4}, {"b", F16, []int64{2, 3}, d + 4, 12}, {"e", F8E8M0, []int64{1}, d + 19, 1},
		{"f4", F4, []int64{2, 3}, d + 16, 3}, {"z", I8, []int64{0, 5}, d + 4, 0},
	}
	if !reflect.DeepEqual(h.Entries, want) {
		t.Errorf("entries %+v, want %+v", h.Entries, want)
	}
	if !reflect.DeepEqual(h.Metadata, map[string]string{"format": "pt", "x": "é"}) {
		t.Errorf("metadata %v", h.Metadata)
	}
}

// Names sort by code point, as Python sorts str: U+FF5E before U+1F600, which UTF-16 would exchange.
func TestNamesByCodePoint(t *testing.T) {
	h, err := read(file(`{"😀":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"～":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},`+
		`"layers.10":{"dtype":"U8","shape":[1],"data_offsets":[2,3]},"layers.2":{"dtype":"U8","shape":[1],"data_offsets":[3,4]}}`, 4))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range h.Entries {
		names = append(names, e.Name)
	}
	if got := strings.Join(names, " "); got != "layers.10 layers.2 ～ 😀" {
		t.Errorf("order %s", got)
	}
}

var hostileHeaders = map[string]struct {
	file []byte
	want string
}{
	"empty":             {nil, "0 bytes, the format needs at least 8"},
	"seven bytes":       {make([]byte, 7), "7 bytes"},
	"length huge":       {[]byte("\xff\xff\xff\xff\xff\xff\xff\xff{}"), "claims 18446744073709551615 bytes"},
	"length over limit": {binary.LittleEndian.AppendUint64(nil, MaxHeader+1), "the limit is 100000000"},
	"length past end":   {binary.LittleEndian.AppendUint64(nil, 3), "only 0 follow"},
	"not JSON":          {file("hello", 0), "not valid JSON"},
	"no header":         {file("", 0), "not valid JSON"},
	"array":             {file("[]", 0), "must be a JSON object, found array"},
	"cut":               {file(`{"a":{"dtype":"U8","shape":[1],"data_off`, 1), `tensor "a": the header is not valid JSON`},
	"open":              {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}`, 1), "not valid JSON"},
	"two objects":       {file(`{}{}`, 0), "after the end"},
	"trailing text":     {file(`{} x`, 0), "not valid JSON"},
	"not UTF-8":         {file("{\"\xff\":1}", 0), "byte 2 of the header is not UTF-8"},
	"cut rune":          {file("{\"\xc3", 0), "not UTF-8"},
	"name twice":        {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2), `tensor "a": the header names it twice`},
	"name twice hidden": {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\u0061":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2), `tensor "a": the header names it twice`},
	"dtype twice":       {file(`{"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}}`, 1), `"dtype" twice`},
	"metadata twice":    {file(`{"__metadata__":{},"__metadata__":{}}`, 0), "twice"},
	"metadata key":      {file(`{"__metadata__":{"a":"1","a":"2"}}`, 0), `has "a" twice`},
	"metadata number":   {file(`{"__metadata__":{"a":1}}`, 0), "must be a string, found number"},
	"unknown dtype":     {file(`{"a":{"dtype":"F17","shape":[1],"data_offsets":[0,1]}}`, 1), `tensor "a": unknown dtype "F17"`},
	"dtype null":        {file(`{"a":{"dtype":null,"shape":[1],"data_offsets":[0,1]}}`, 1), "found null"},
	"no dtype":          {file(`{"a":{"shape":[1],"data_offsets":[0,1]}}`, 1), "are needed"},
	"other key":         {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1}}`, 1), `unknown key "x"`},
	"entry a number":    {file(`{"a":1}`, 0), "found number"},
	"shape negative":    {file(`{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}`, 1), "holds -1"},
	"shape float":       {file(`{"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}}`, 1), "holds 1.0"},
	"shape exponent":    {file(`{"a":{"dtype":"U8","shape":[1e0],"data_offsets":[0,1]}}`, 1), "holds 1e0"},
	"shape huge":        {file(`{"a":{"dtype":"U8","shape":[99999999999999999999],"data_offsets":[0,1]}}`, 1), "holds 99999999999999999999"},
	"shape nested":      {file(`{"a":{"dtype":"U8","shape":[[1]],"data_offsets":[0,1]}}`, 1), "must hold numbers, found array"},
	"shape overflow":    {file(`{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, 0), "not a whole number of bytes"},
	"shape wraps to 0":  {file(`{"a":{"dtype":"U8","shape":[9223372036854775807,2],"data_offsets":[0,0]}}`, 0), "not a whole number of bytes"},
	"dimensions":        {file(`{"a":{"dtype":"U8","shape":[`+strings.Repeat("1,", 32)+`1],"data_offsets":[0,1]}}`, 1), "more than 32"},
	"half a byte":       {file(`{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}`, 2), "not a whole number of bytes"},
	"offsets three":     {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}}`, 1), "more than 2"},
	"offsets one":       {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}}`, 1), "has 1 numbers"},
	"offsets backwards": {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}}`, 1), "ends at 0 before it begins at 1"},
	"offsets past end":  {file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, 1), "ends at byte 2 of the data, the file holds 1"},
	"span":              {file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, 4), "takes 8 bytes, its data_offsets span 4"},
	"overlap":           {file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, 3), `tensor "b": its data begins at 1 inside tensor "a"`},
	"same data":         {file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, 2), "inside tensor"},
	"data left over":    {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 2), "end at byte 1 of the data, the file holds 2"},
	"deep":              {file(`{"a":`+strings.Repeat("[", 20000)+strings.Repeat("]", 20000)+"}", 0), "found array"},
	"metadata deep":     {file(`{"__metadata__":{"a":{"b":{}}}}`, 0), "found object"},
}

func TestHostileHeaders(t *testing.T) {
	for name, c := range hostileHeaders {
		_, err := read(c.file)
		var bad *FormatError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "m.safetensors: ") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if bad != nil && bad.Hint() == "" {
			t.Errorf("%s: no hint", name)
		}
	}
}

// Holes between tensors are counted; what fills them is never read.
func TestHoles(t *testing.T) {
	h, err := read(file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[5,7]}}`, 7))
	if err != nil || h.Unused != 4 {
		t.Errorf("%+v, %v: want 4 bytes", h, err)
	}
}

// A header of a hundred thousand tensors takes memory in proportion to its size.
func TestMemoryIsProportional(t *testing.T) {
	var b strings.Builder
	b.WriteString("{")
	n := 100_000
	for i := range n {
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, `"model.layers.%d.weight":{"dtype":"U8","shape":[1,1],"data_offsets":[%d,%d]}`, i, i, i+1)
	}
	b.WriteString("}")
	data := file(b.String(), n)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	h, err := read(data)
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	kept := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	if len(h.Entries) != n || kept > 3*int64(len(data)) {
		t.Errorf("%d tensors keep %d bytes, the file has %d", len(h.Entries), kept, len(data))
	}
	runtime.KeepAlive(data)
}

// What is read without error is a partition of the data, and what encoding/json makes of the header agrees with it.
func FuzzReadHeader(f *testing.F) {
	f.Add(file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"__metadata__":{"a":"b"}}`, 4))
	for _, c := range hostileHeaders {
		f.Add(c.file)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := read(data)
		if err != nil {
			var bad *FormatError
			if !errors.As(err, &bad) {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		sum := int64(0)
		var plain map[string]json.RawMessage
		if err := json.Unmarshal(data[8:h.DataOffset], &plain); err != nil {
			t.Fatalf("encoding/json refuses what was read: %v", err)
		}
		delete(plain, "__metadata__")
		for _, e := range h.Entries {
			sum += e.Size
			if _, ok := plain[e.Name]; !ok || e.Offset < h.DataOffset || e.Offset+e.Size > int64(len(data)) {
				t.Fatalf("entry %+v", e)
			}
		}
		if sum != int64(len(data))-h.DataOffset || len(plain) != len(h.Entries) {
			t.Fatalf("%d of %d tensors take %d of %d bytes", len(h.Entries), len(plain), sum, int64(len(data))-h.DataOffset)
		}
	})
}
