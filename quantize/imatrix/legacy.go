package imatrix

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

// The legacy format has no magic: a count of entries, each a name, a count of chunks and its values; then, optionally, the
// number of chunks and the name of the data set. Source: common/imatrix-loader.cpp and tools/imatrix/imatrix.cpp.

// legacy reads it; every length meets what is left of the file before memory is allocated.
type legacy struct {
	in   *bufio.Reader
	left int64
}

func (l *legacy) int(what string) (int32, error) {
	var n int32
	if l.left < 4 {
		return 0, &Error{Says: fmt.Sprintf("ends at %s: %d bytes left", what, l.left), Err: io.ErrUnexpectedEOF}
	}
	l.left -= 4
	return n, binary.Read(l.in, binary.LittleEndian, &n)
}

// length is a count of things of unit bytes that can still stand in the file.
func (l *legacy) length(what string, unit, most int64) (int64, error) {
	n, err := l.int(what)
	if err != nil {
		return 0, err
	}
	if n < 0 || int64(n) > most || int64(n) > l.left/unit {
		return 0, &Error{Says: fmt.Sprintf("%s is %d, with %d bytes left: not an imatrix, or cut off", what, n, l.left)}
	}
	l.left -= int64(n) * unit
	return int64(n), nil
}

func (l *legacy) text(what string) (string, error) {
	n, err := l.length(what, 1, maxName)
	if err != nil {
		return "", err
	}
	b := make([]byte, n)
	_, err = io.ReadFull(l.in, b)
	return string(b), err
}

func readLegacy(_ string, r io.ReaderAt, size int64) (*Matrix, error) {
	l := &legacy{bufio.NewReader(io.NewSectionReader(r, 0, size)), size}
	entries, err := l.int("the number of entries")
	if err == nil && (entries < 1 || int64(entries) > l.left/12) { // 12: the lengths of an entry
		err = &Error{Says: fmt.Sprintf("is neither GGUF nor the legacy format: %d entries in %d bytes", entries, size)}
	}
	m := &Matrix{Legacy: true}
	for i := int32(0); i < entries && err == nil; i++ {
		var e Entry
		if e, err = l.entry(i); err == nil {
			m.Entries = append(m.Entries, e)
		}
	}
	// old files end here
	if err != nil || l.left == 0 {
		return m, err
	}
	chunks, err := l.int("the number of chunks")
	if err != nil {
		return nil, err
	}
	m.Chunks = int64(max(chunks, 0))
	if l.left > 0 {
		var dataset string
		if dataset, err = l.text("the length of the data set's name"); dataset != "" {
			m.Datasets = []string{dataset}
		}
	}
	return m, err
}

func (l *legacy) entry(i int32) (Entry, error) {
	name, err := l.text(fmt.Sprintf("the length of name %d", i))
	if err != nil {
		return Entry{}, err
	}
	calls, err := l.int("the count of " + name)
	if err != nil {
		return Entry{}, err
	}
	n, err := l.length("the number of values of "+name, 4, maxFile)
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Name: name, Sums: make([]float32, n), Counts: []int64{int64(calls)}}
	return e, binary.Read(l.in, binary.LittleEndian, e.Sums)
}

// WriteLegacy writes the legacy format as llama-imatrix does: entries without any data are left out, and columns without a
// count weigh 1. A matrix that was read from that format cannot be written again: its sums are gone.
func (m *Matrix) WriteLegacy(w io.Writer) error {
	if m.Legacy || m.ChunkSize < 1 {
		return &Error{Says: fmt.Sprintf("chunks of %d tokens: the legacy format is written from sums and chunks", m.ChunkSize), Next: "write the GGUF format"}
	}
	var kept []Entry
	for _, e := range m.Entries {
		if slices.Max(e.Counts) > 0 {
			kept = append(kept, e)
		}
	}
	out := bufio.NewWriter(w)
	put := func(v any) { binary.Write(out, binary.LittleEndian, v) } // bufio keeps the first error for Flush
	put(int32(len(kept)))
	for _, e := range kept {
		// rounded up, so that a text shorter than a chunk does not become no call at all
		calls := (slices.Max(e.Counts) + m.ChunkSize - 1) / m.ChunkSize
		put(int32(len(e.Name)))
		out.WriteString(e.Name)
		put([]int32{int32(calls), int32(len(e.Sums))})
		values, row := make([]float32, len(e.Sums)), e.Row()
		for i, v := range e.Sums {
			count := float32(e.Counts[i/row])
			if count == 0 {
				v, count = 1, 1
			}
			mean := v / count // two roundings, in this order
			values[i] = mean * float32(calls)
		}
		put(values)
	}
	last := ""
	if n := len(m.Datasets); n > 0 {
		last = m.Datasets[n-1]
	}
	put([]int32{int32(m.Chunks), int32(len(last))})
	out.WriteString(last)
	return out.Flush()
}
