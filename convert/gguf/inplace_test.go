package gguf

import (
	"bytes"
	"io"
	"reflect"
	"strings"
	"testing"
)

// headed is a file with a text of n letters in its metadata, as it is read.
func headed(t *testing.T, n int, alignment int64) (*File, []byte) {
	t.Helper()
	meta := []KV{{"general.architecture", "llama"}, {"text", strings.Repeat("x", n)}}
	if alignment != DefaultAlignment {
		meta = append(meta, KV{AlignmentKey, uint32(alignment)})
	}
	p, err := Layout(meta, []Output{{Name: "a", Type: F32, Shape: []int64{3}}, {Name: "b", Type: Q8_0, Shape: []int64{32, 2}}}, alignment)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := p.WriteHeader(&b); err != nil {
		t.Fatal(err)
	}
	b.Write(bytes.Repeat([]byte{0xAB}, int(p.FileSize-p.DataOffset)))
	f, err := Read("x.gguf", bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return f, b.Bytes()
}

// Whatever the length of the new metadata, either the header ends where the data begins and all reads back, or it does not
// fit; a second edit has the room that the first one filled.
func TestInPlace(t *testing.T) {
	const was = 100
	fits := 0
	for _, alignment := range []int64{8, 32, 64} {
		for n := range 3 * was {
			f, data := headed(t, was, alignment)
			meta := append([]KV{}, f.Metadata...)
			meta[1].Value = strings.Repeat("y", n)
			p, ok, err := f.InPlace(meta)
			if err != nil {
				t.Fatal(err)
			}
			if longest := was + int(f.DataOffset-headerEnd(t, f)); alignment >= DefaultAlignment && ok != (n <= longest) {
				t.Fatalf("alignment %d, %d letters: fits %v, there is room for %d", alignment, n, ok, longest)
			}
			if !ok {
				continue
			}
			fits++
			var head bytes.Buffer
			if err := p.WriteHeader(&head); err != nil {
				t.Fatal(err)
			}
			whole := append(head.Bytes(), data[f.DataOffset:]...)
			got, err := Read("x.gguf", bytes.NewReader(whole), int64(len(whole)))
			if err != nil {
				t.Fatal(err)
			}
			if got.DataOffset != f.DataOffset || len(whole) != len(data) || !reflect.DeepEqual(got.Outputs, f.Outputs) {
				t.Fatalf("alignment %d, %d letters: data at %d of %d bytes, was %d of %d", alignment, n, got.DataOffset, len(whole), f.DataOffset, len(data))
			}
			if back, ok, err := got.InPlace(f.Metadata); err != nil || !ok || back.DataOffset != f.DataOffset || len(back.Metadata) != len(f.Metadata) {
				t.Fatalf("alignment %d, %d letters: the old metadata does not fit again: %v %v", alignment, n, ok, err)
			}
		}
	}
	t.Logf("count: %d of %d lengths fit", fits, 9*was)
}

// headerEnd is where the header of a file ends without padding.
func headerEnd(t *testing.T, f *File) int64 {
	t.Helper()
	n := &counter{w: io.Discard}
	if err := f.encode(n); err != nil {
		t.Fatal(err)
	}
	if size, err := f.headerSize(); err != nil || size != n.n {
		t.Fatalf("a header of %d bytes was counted as %d: %v", n.n, size, err)
	}
	return n.n
}

// Metadata that no file can hold is an error, not a header that does not fit.
func TestInPlaceRefusals(t *testing.T) {
	f, _ := headed(t, 10, DefaultAlignment)
	for name, meta := range map[string][]KV{
		"twice":            {{"a", "x"}, {"a", "y"}},
		"another layout":   {{AlignmentKey, uint32(64)}},
		"no type":          {{"a", struct{}{}}},
		"a key of nothing": {{"", "x"}},
	} {
		if _, _, err := f.InPlace(meta); err == nil {
			t.Errorf("%s: planned", name)
		}
	}
}
