package safetensors

// The header is JSON of one shape: {"__metadata__": {string: string}, name: {"dtype", "shape", "data_offsets"}}.
// It is walked token by token: encoding/json's maps would keep the last of two equal keys in silence, and a
// reader that sees other tensors than the next reader is how a file hides its weights.

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"io"
	"math"
	"slices"
	"strings"
)

// Bounds on what a header may claim before memory is spent on it.
const (
	MaxHeader = 100_000_000 // bytes of JSON, the format's own limit
	MaxDims   = 32          // dimensions of a tensor; the format names no limit, GGUF has four
)

// Entry is one tensor of a file.
type Entry struct {
	Name   string
	DType  DType
	Shape  []int64 // outermost first
	Offset int64   // of the first byte, from the start of the file
	Size   int64   // bytes
}

// Header is what a file says of itself before its data begins.
type Header struct {
	Metadata   map[string]string // the free texts under "__metadata__", nil without them
	Entries    []Entry           // by name, in code-point order
	DataOffset int64             // where the data begins in the file
	Unused     int64             // bytes before or between tensors that belong to none
}

// ReadHeader reads and checks the header of a file of size bytes: no byte of the data belongs to two tensors, and the last one ends the file.
// Errors are *FormatError, or those of r.
func ReadHeader(file string, r io.ReaderAt, size int64) (*Header, error) {
	if size < 8 {
		return nil, bad(file, "", "the file has %d bytes, the format needs at least 8", size)
	}
	// Little-endian, as everything in the format.
	var word [8]byte
	if _, err := r.ReadAt(word[:], 0); err != nil {
		return nil, readFailed(file, err)
	}
	n := binary.LittleEndian.Uint64(word[:])
	// Both bounds come before anything is read or made: a file of 8 bytes may claim any length.
	switch {
	case n > MaxHeader:
		return nil, bad(file, "", "the header claims %d bytes, the limit is %d", n, MaxHeader)
	case int64(n) > size-8:
		return nil, bad(file, "", "the header claims %d bytes, only %d follow its length", n, size-8)
	}
	// A buffer of up to 64 KiB: headers are read once, front to back, also over a network, and there may be hundreds of them.
	p := &parser{file: file, data: size - 8 - int64(n)}
	text := &utf8Reader{r: bufio.NewReaderSize(io.NewSectionReader(r, 8, int64(n)), int(min(n, 64<<10)))}
	p.dec = json.NewDecoder(text)
	p.dec.UseNumber()
	h := &Header{DataOffset: 8 + int64(n)}
	if err := p.header(h); err != nil {
		return nil, err
	}
	slices.SortFunc(h.Entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	if err := h.check(file, size); err != nil {
		return nil, err
	}
	return h, nil
}

func readFailed(file string, err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return &FormatError{File: file, Says: "the header cannot be read", Err: err}
}

// check refuses duplicates, holes, overlaps and a wrong end. It needs Entries sorted by name and sets absolute offsets.
func (h *Header) check(file string, size int64) error {
	for i := 1; i < len(h.Entries); i++ {
		if h.Entries[i].Name == h.Entries[i-1].Name {
			return bad(file, h.Entries[i].Name, "the header names it twice")
		}
	}
	// Indices, not copies, so that a million entries are sorted twice in the memory of one list.
	order := make([]int, len(h.Entries))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		x, y := &h.Entries[a], &h.Entries[b]
		switch {
		case x.Offset != y.Offset:
			return cmpInt(x.Offset, y.Offset)
			// Sizes are compared, since an empty tensor has the offset of a neighbour and must be sorted before it.
		case x.Size != y.Size: // an empty tensor stands before the one that begins where it ends
			return cmpInt(x.Size, y.Size)
		}
		return strings.Compare(x.Name, y.Name)
	})
	// No byte is read twice. The format wants none unread either; some writers leave holes, which hurt nobody and are told.
	end, last := int64(0), ""
	for _, i := range order {
		e := &h.Entries[i]
		switch {
		case e.Offset > end:
			h.Unused += e.Offset - end
		case e.Offset < end:
			return bad(file, e.Name, "its data begins at %d inside tensor %q, which ends at %d", e.Offset, last, end)
		}
		end, last = e.Offset+e.Size, e.Name
		e.Offset += h.DataOffset
	}
	// Bytes behind the last tensor are where a second file, or a half-finished download, would show.
	if data := size - h.DataOffset; end != data {
		return bad(file, "", "the tensors end at byte %d of the data, the file holds %d", end, data)
	}
	return nil
}

func cmpInt(a, b int64) int {
	if a < b {
		return -1
	}
	return 1
}

// bytesOf is shape x element size, or false when it overflows or is no whole number of bytes.
func bytesOf(shape []int64, d DType) (int64, bool) {
	n := d.Bits()
	for _, s := range shape {
		if s != 0 && n > math.MaxInt64/s {
			return 0, false
		}
		n *= s
	}
	return n / 8, n%8 == 0
}
