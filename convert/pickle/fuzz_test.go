package pickle

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"

	"quern/convert/fault"
)

// seeds are all files of the tests that are small.
func seeds(f *testing.F) {
	for _, name := range []string{"zip.bin", "legacy.bin", "tensor.bin", "module.bin"} {
		data, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, c := range hostile {
		if len(c.file) < 1<<16 {
			f.Add(c.file)
		}
	}
	f.Add(legacy("\x04\x00\x00\x00\x00\x00\x00\x00abcdefghijklmnop"))
}

// A file is refused with a typed error or its tensors can be read, first and last row, inside the file.
func FuzzRead(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) { check(t, data) })
}

// FuzzPickle puts the bytes where a ZIP archive has its pickle, which random changes of a whole archive rarely reach.
func FuzzPickle(f *testing.F) {
	for _, s := range []string{dictTop + text("w") + rebuilt(4, 1, numbers(1, 2), numbers(0, 2)) + setEnd, "\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00}\x94h\x00.",
		"\x80\x02]q\x00(h\x00h\x00e.", "\x80\x02ctorch\nSize\n" + numbers(1) + "\x85R."} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, pickle []byte) { check(t, archived(string(pickle), 64, nil)) })
}

func check(t *testing.T, data []byte) {
	file, err := Read("x", bytes.NewReader(data), int64(len(data)))
	if err != nil {
		var bad *fault.Invalid
		var no *fault.Unsupported
		if !errors.As(err, &bad) && !errors.As(err, &no) {
			t.Fatalf("%T: %v", err, err)
		}
		return
	}
	for _, x := range file.Tensors {
		if x.Elements() == 0 || x.RowBytes() > 1<<16 {
			continue
		}
		row := make([]byte, x.RowBytes())
		for _, at := range []int64{0, x.Rows() - 1} {
			if err := x.ReadRows(context.Background(), row, at, at+1); err != nil {
				t.Fatalf("%s %v: row %d: %v", x.Name, x.Shape, at, err)
			}
		}
	}
}
