// Package pocket is the built-in model: a real Llama of five million parameters, its tokenizer and a text that it was not
// trained on, all in the public domain. A fresh machine without a network runs the whole pipeline on it.
package pocket

import (
	"archive/tar"
	"bytes"
	_ "embed"
	"errors"
	"io"
	"io/fs"
	"sort"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Name is how the model is asked for on the command line.
const Name = "pocket"

// HeldOut is the text that the model was not trained on.
const HeldOut = "heldout.txt"

//go:generate go run quern/convert/conformance/pack FOLDER pocket.tar.zst
//go:embed pocket.tar.zst
var packed []byte

// FS is the model's folder, unpacked in memory (some 11 MB) at first use. Its files implement io.ReaderAt.
var FS = sync.OnceValues(func() (fs.FS, error) { return unpack(bytes.NewReader(packed)) })

type folder map[string][]byte

func unpack(r io.Reader) (folder, error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	d := folder{}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return d, nil
		}
		if err != nil {
			return nil, err
		}
		if d[h.Name], err = io.ReadAll(t); err != nil {
			return nil, err
		}
	}
}

// Open opens a file, or "." as a listing.
func (d folder) Open(name string) (fs.File, error) {
	if name == "." {
		return &listing{entries: d.entries()}, nil
	}
	b, ok := d[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &file{bytes.NewReader(b), info{name, int64(len(b)), 0o444}}, nil
}

func (d folder) entries() []fs.DirEntry {
	var es []fs.DirEntry
	for name, b := range d {
		es = append(es, fs.FileInfoToDirEntry(info{name, int64(len(b)), 0o444}))
	}
	sort.Slice(es, func(i, j int) bool { return es[i].Name() < es[j].Name() })
	return es
}

// file is an open file; the reader gives it ReadAt and Seek.
type file struct {
	*bytes.Reader
	info info
}

func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *file) Close() error               { return nil }

type listing struct{ entries []fs.DirEntry }

func (l *listing) Stat() (fs.FileInfo, error) { return info{".", 0, fs.ModeDir | 0o555}, nil }
func (l *listing) Close() error               { return nil }
func (l *listing) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: ".", Err: fs.ErrInvalid}
}

func (l *listing) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 || n > len(l.entries) {
		if n > 0 && len(l.entries) == 0 {
			return nil, io.EOF
		}
		n = len(l.entries)
	}
	es := l.entries[:n]
	l.entries = l.entries[n:]
	return es, nil
}

type info struct {
	name string
	size int64
	mode fs.FileMode
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return nil }
