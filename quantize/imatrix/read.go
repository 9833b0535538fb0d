package imatrix

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"quern/convert/gguf"
)

// Bounds of what is read.
const (
	maxFile = 8 << 30 // bytes; the largest published models' files have about one GiB
	maxName = 1 << 16 // bytes of a name in the legacy format
)

// Names in files of the GGUF format (common/imatrix-loader.h).
const (
	sumsSuffix   = ".in_sum2"
	countsSuffix = ".counts"
	datasetsKey  = "imatrix.datasets"
	chunksKey    = "imatrix.chunk_count"
	chunkSizeKey = "imatrix.chunk_size"
)

// Read reads a file in either format, which it tells by the first bytes. Errors are *Error.
func Read(name string, r io.ReaderAt, size int64) (*Matrix, error) {
	if size > maxFile {
		return nil, &Error{File: name, Says: fmt.Sprintf("%d bytes, at most %d are read", size, int64(maxFile))}
	}
	// the legacy format begins with a number of entries, which is not the magic for any file under two billion entries
	magic := make([]byte, len(gguf.Magic))
	if _, err := r.ReadAt(magic, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, &Error{File: name, Says: "cannot be read", Err: err}
	}
	read := readLegacy
	if string(magic) == gguf.Magic {
		read = readGGUF
	}
	m, err := read(name, r, size)
	if err == nil {
		err = m.finish()
	}
	var known *Error
	switch {
	case err == nil:
		return m, nil
	case errors.As(err, &known):
		known.File = name
		return nil, known
	}
	return nil, &Error{File: name, Says: "cannot be read as an imatrix", Err: err}
}

func readGGUF(name string, r io.ReaderAt, size int64) (*Matrix, error) {
	f, err := gguf.Read(name, r, size)
	if err != nil {
		return nil, err
	}
	m := &Matrix{}
	var ok [3]bool
	m.Datasets, ok[0] = f.Strings(datasetsKey)
	m.Chunks, ok[1] = f.Int(chunksKey)
	m.ChunkSize, ok[2] = f.Int(chunkSizeKey)
	if ok != [3]bool{true, true, true} {
		return nil, &Error{Says: fmt.Sprintf("is a GGUF file without %s, %s and %s", datasetsKey, chunksKey, chunkSizeKey),
			Next: "a model is not an imatrix; `quern imatrix` computes one from it"}
	}
	if m.Chunks < 0 || m.ChunkSize < 0 || m.Chunks > maxCount || m.ChunkSize > maxCount {
		return nil, &Error{Says: fmt.Sprintf("%d chunks of %d tokens", m.Chunks, m.ChunkSize)}
	}
	// every entry is a pair of tensors; others are passed over, as llama.cpp does
	for _, o := range f.Outputs {
		entry, isSums := strings.CutSuffix(o.Name, sumsSuffix)
		if !isSums {
			if entry, isCounts := strings.CutSuffix(o.Name, countsSuffix); isCounts {
				if _, ok := f.Tensor(entry + sumsSuffix); !ok {
					return nil, &Error{Entry: entry, Says: "counts without sums"}
				}
			}
			continue
		}
		counts, ok := f.Tensor(entry + countsSuffix)
		if !ok {
			return nil, &Error{Entry: entry, Says: "sums without counts"}
		}
		e, err := readEntry(r, f, entry, o, counts)
		if err != nil {
			return nil, err
		}
		m.Entries = append(m.Entries, e)
	}
	if len(m.Entries) == 0 {
		return nil, &Error{Says: "holds no entries"}
	}
	return m, nil
}

func readEntry(r io.ReaderAt, f *gguf.File, name string, sums, counts gguf.Output) (Entry, error) {
	e := Entry{Name: name}
	if sums.Type != gguf.F32 || counts.Type != gguf.F32 {
		return e, &Error{Entry: name, Says: fmt.Sprintf("sums in %s and counts in %s, want F32", sums.Type, counts.Type)}
	}
	var err error
	if e.Sums, err = readFloats(r, f.DataOffset+sums.Offset, sums.Size); err != nil {
		return e, err
	}
	// counts are whole numbers that the format holds as floats
	rounded, err := readFloats(r, f.DataOffset+counts.Offset, counts.Size)
	if err != nil {
		return e, err
	}
	for _, c := range rounded {
		if !(c >= 0 && c <= maxCount) { // also NaN
			return e, &Error{Entry: name, Says: fmt.Sprintf("a count of %v", c)}
		}
		e.Counts = append(e.Counts, int64(math.Round(float64(c))))
	}
	return e, nil
}

// readFloats reads size bytes at offset; gguf.Read, or a check against the file's size, has bounded size.
func readFloats(r io.ReaderAt, offset, size int64) ([]float32, error) {
	out := make([]float32, size/4)
	return out, binary.Read(io.NewSectionReader(r, offset, size), binary.LittleEndian, out)
}
