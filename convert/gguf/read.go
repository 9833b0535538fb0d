package gguf

// Reading trusts no number in the file: a count is compared with the bytes that are left before anything is made of it,
// and slices grow as their bytes arrive. So memory stays below a small multiple of the header's real size.

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Bounds on what a file may claim; those of llama.cpp are 1 GiB for both (gguf.cpp:19).
const (
	MaxString = 1 << 28 // bytes of a key, name or text
	MaxArray  = 1 << 28 // elements of an array
)

// File is a GGUF file as it was read: its plan holds absolute facts, no weights.
type File struct {
	Plan
	Name      string
	Version   uint32
	Alignment int64
}

// Read reads the header of a file of size bytes: versions 1, 2 and 3, little-endian. Tensors keep the file's order;
// they may stand in any order in the data, but must be aligned, must not overlap and must end inside the file.
// Errors are *FormatError, or those of r.
func Read(name string, r io.ReaderAt, size int64) (*File, error) {
	d := &decoder{r: bufio.NewReaderSize(io.NewSectionReader(r, 0, size), 1<<16), left: size}
	f := &File{Name: name, Alignment: DefaultAlignment}
	f.FileSize = size
	err := d.file(f)
	if d.err != nil { // it came first: what followed was read as zeros
		err = d.err
	}
	if err == nil {
		return f, nil
	}
	var bad *FormatError
	if errors.As(err, &bad) {
		bad.File = name
		return nil, bad
	}
	return nil, &FormatError{File: name, Says: "the header cannot be read", Err: err}
}

// decoder reads forward only, so that a header behind HTTP ranges is fetched once and in order. The first error stays
// and turns every later read into zeros: loops check it where they would go on, not after every field.
type decoder struct {
	r       *bufio.Reader
	left    int64 // bytes of the file behind what was read
	version uint32
	err     error
	buf     [8]byte
}

// take reads n <= 8 bytes; after an error it yields zeros, and the error stays.
func (d *decoder) take(n int) []byte {
	b := d.buf[:n]
	clear(b)
	if d.err != nil {
		return b
	}
	if int64(n) > d.left {
		d.err = &FormatError{Says: fmt.Sprintf("the file ends inside the header: %d bytes wanted, %d left", n, d.left)}
		return b
	}
	if _, err := io.ReadFull(d.r, b); err != nil {
		d.err = err
		clear(b)
	}
	d.left -= int64(n)
	return b
}

// The numbers of the header, little-endian in all versions that are read.
func (d *decoder) u32() uint32 { return binary.LittleEndian.Uint32(d.take(4)) }
func (d *decoder) u64() uint64 { return binary.LittleEndian.Uint64(d.take(8)) }

// count is a length: 32 bits wide in version 1, 64 later.
func (d *decoder) count() uint64 {
	if d.version == 1 {
		return uint64(d.u32())
	}
	return d.u64()
}

// lengthBytes is the size of a count in this version.
func (d *decoder) lengthBytes() int64 {
	if d.version == 1 {
		return 4
	}
	return 8
}

// bounded is a count of things of at least each bytes, no more than most.
func (d *decoder) bounded(what string, each, most int64) int64 {
	n := d.count()
	switch {
	case d.err != nil:
		return 0
	case n > uint64(most):
		d.err = &FormatError{Says: fmt.Sprintf("%s: a count of %d, the limit is %d", what, n, most)}
		return 0
	case each > 0 && n > uint64(d.left/each):
		d.err = &FormatError{Says: fmt.Sprintf("%s: a count of %d, but only %d bytes are left", what, n, d.left)}
		return 0
	}
	return int64(n)
}

// string reads a text with its length. It may hold anything, also NUL and what is not UTF-8: keys and tokens are bytes.
func (d *decoder) string(what string) string {
	n := d.bounded(what, 1, MaxString)
	return string(d.bytes(n))
}

// bytes reads n bytes, 64 KiB at a time, so that a length without its bytes costs nothing.
func (d *decoder) bytes(n int64) []byte {
	if d.err != nil || n == 0 {
		return nil
	}
	b := make([]byte, 0, min(n, 1<<16))
	for int64(len(b)) < n {
		k := min(n-int64(len(b)), 1<<16)
		b = slices.Grow(b, int(k))
		if _, err := io.ReadFull(d.r, b[len(b):len(b)+int(k)]); err != nil {
			d.err = err
			return nil
		}
		b = b[:len(b)+int(k)]
	}
	d.left -= n
	return b
}

// file reads magic, version, counts, metadata and tensors, and places the data section behind them.
func (d *decoder) file(f *File) error {
	if magic := d.take(4); d.err == nil && string(magic) != Magic {
		if string(magic) == "FUGG" {
			return bigEndian(f.Name)
		}
		return &FormatError{Says: fmt.Sprintf("it begins with %q, a GGUF file with %q", magic, Magic)}
	}
	f.Version = d.u32()
	d.version = f.Version
	switch {
	case d.err != nil:
		return d.err
	case f.Version == 0:
		return &FormatError{Says: "it says version 0; 1, 2 and 3 exist"}
	case f.Version&0xFFFF == 0:
		return bigEndian(f.Name)
	case f.Version > Version:
		return &FormatError{Says: fmt.Sprintf("it is of version %d, up to %d are read", f.Version, Version), Unsupported: true,
			Next: "a newer program wrote it: update quern"}
	}
	// The least that one of each takes: a name's length, dimensions, type and offset; a key's length, type and one byte.
	width := d.lengthBytes()
	tensors := d.bounded("tensors", width+4+4+8, 1<<40)
	keys := d.bounded("metadata", width+4+1, 1<<40)
	if err := d.metadata(f, keys); err != nil {
		return err
	}
	size := f.FileSize
	if err := d.tensors(f, tensors); err != nil {
		return err
	}
	// A file without tensors may end right behind its header, without padding.
	f.DataOffset = min(Pad(size-d.left, f.Alignment), size)
	return f.checkData()
}

// bigEndian is told by the version, whose bytes stand in the other order; gguf-py reverses no magic, others might.
func bigEndian(string) error {
	return &FormatError{Says: "it is big-endian; little-endian files are read", Unsupported: true,
		Next: "convert the checkpoint again without --bigendian, or swap the file with gguf-py's gguf_convert_endian.py"}
}

// metadata reads n keys. Every reader of a duplicate may see another value, hence none is let through.
func (d *decoder) metadata(f *File, n int64) error {
	f.Metadata = make([]KV, 0, min(n, 1<<10))
	seen := map[string]bool{}
	for i := int64(0); i < n && d.err == nil; i++ {
		key := d.string("a key")
		if d.err == nil && (key == "" || seen[key]) {
			return badKey(key, "the key is empty or stands twice")
		}
		seen[key] = true
		v := d.value(ValueType(d.u32()))
		if d.err != nil {
			return wrapKey(key, d.err)
		}
		f.Metadata = append(f.Metadata, KV{key, v})
	}
	if d.err != nil {
		return d.err
	}
	if v, ok := f.Lookup(AlignmentKey); ok {
		a, isU32 := v.(uint32)
		if !isU32 || a == 0 || a > maxAlignment || a&(a-1) != 0 {
			return badKey(AlignmentKey, "%s is not a power of two up to %d of kind u32", Format(v, 4), maxAlignment)
		}
		f.Alignment = int64(a)
	}
	return nil
}

// wrapKey names the key that an error inside of its value belongs to.
func wrapKey(key string, err error) error {
	var bad *FormatError
	if errors.As(err, &bad) && bad.On == "" {
		bad.On = fmt.Sprintf("key %q", key)
	}
	return err
}

// tensors reads n entries. Names of 64 bytes and more are read, though llama.cpp refuses them: inspecting must work.
func (d *decoder) tensors(f *File, n int64) error {
	f.Outputs = make([]Output, 0, min(n, 1<<10))
	seen := make(map[string]bool, min(n, 1<<10))
	for i := int64(0); i < n && d.err == nil; i++ {
		o := Output{Name: d.string("a tensor's name")}
		dims := d.u32()
		if dims > MaxDims {
			return badTensor(o.Name, "%d dimensions, the format has at most %d", dims, MaxDims)
		}
		o.Shape = make([]int64, dims)
		for j := range o.Shape {
			o.Shape[j] = int64(d.count())
		}
		o.Type, o.Offset = Type(d.u32()), int64(d.u64())
		if d.err != nil {
			return d.err
		}
		if seen[o.Name] {
			return badTensor(o.Name, "the name stands twice")
		}
		seen[o.Name] = true
		var err error
		if o.Size, err = tensorBytes(o); err != nil {
			return err
		}
		f.Outputs = append(f.Outputs, o)
	}
	return d.err
}

// checkData holds the tensors against the data section: aligned, inside, apart.
func (f *File) checkData() error {
	data := f.FileSize - f.DataOffset
	order := make([]*Output, len(f.Outputs))
	for i := range f.Outputs {
		o := &f.Outputs[i]
		switch {
		case o.Offset < 0 || o.Offset%f.Alignment != 0:
			return badTensor(o.Name, "its offset %d is not a multiple of the alignment %d", uint64(o.Offset), f.Alignment)
		case o.Offset > data || o.Size > data-o.Offset:
			return badTensor(o.Name, "its %d bytes at offset %d reach behind the data's %d bytes", o.Size, o.Offset, data)
		}
		order[i] = o
	}
	// By offset, then size: a tensor of no bytes may share the offset of the next.
	slices.SortStableFunc(order, func(a, b *Output) int {
		if a.Offset != b.Offset {
			return cmp64(a.Offset, b.Offset)
		}
		return cmp64(a.Size, b.Size)
	})
	for i := 1; i < len(order); i++ {
		a, b := order[i-1], order[i]
		if a.Offset+a.Size > b.Offset {
			return badTensor(b.Name, "its offset %d lies inside tensor %q, which ends at %d", b.Offset, a.Name, a.Offset+a.Size)
		}
	}
	return nil
}

func cmp64(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
