// Package imatrix reads, writes, merges and accumulates importance matrices: for every weight matrix of a model, how strongly each
// column was driven by a calibration text.
//
// Held by tests, not by the compiler:
//   - A file written from a Matrix has llama-imatrix's very bytes, in both formats (TestRewrite, TestRuleFiles).
//   - Importance has the values with which llama-quantize calls its kernels (TestImportance).
//
// Price: a Matrix is held in memory whole: four bytes for each column of each matrix, about a two-thousandth of the weights.
package imatrix

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Matrix is an importance matrix: sums of squared activations with the number of rows that went into them.
type Matrix struct {
	Entries   []Entry // by name, in byte order
	Datasets  []string
	Chunks    int64 // of text, that the largest count stands for
	ChunkSize int64 // tokens of a chunk; 0 in files of the legacy format, which do not say
	Legacy    bool  // read from the legacy format: Sums are averages times the count of chunks
}

// Entry is what one weight tensor saw.
type Entry struct {
	Name   string
	Sums   []float32 // row length x number of matrices
	Counts []int64   // one for all matrices, or one for each expert; rows, or chunks in the legacy format
}

// Row is the number of columns of a matrix as far as the entry tells: experts that share a count are not told apart.
func (e Entry) Row() int { return len(e.Sums) / max(len(e.Counts), 1) }

// Find is the entry of a tensor, or nil.
func (m *Matrix) Find(name string) *Entry {
	if i, ok := slices.BinarySearchFunc(m.Entries, name, func(e Entry, name string) int { return strings.Compare(e.Name, name) }); ok {
		return &m.Entries[i]
	}
	return nil
}

// Sizes is the number of values of each entry, by name.
func (m *Matrix) Sizes() map[string]int {
	sizes := make(map[string]int, len(m.Entries))
	for _, e := range m.Entries {
		sizes[e.Name] = len(e.Sums)
	}
	return sizes
}

// Importance is the mean square of each column, for one matrix after another: what quantization kernels take. Columns of an
// expert that no token reached weigh 1, so that it is quantized as without an imatrix. nil without an entry.
// Source: tools/quantize/quantize.cpp, load_imatrix.
func (m *Matrix) Importance(name string) []float32 {
	e := m.Find(name)
	if e == nil {
		return nil
	}
	out, row := make([]float32, len(e.Sums)), e.Row()
	for i, sum := range e.Sums {
		count := float32(e.Counts[i/row])
		switch {
		case count > 0:
			out[i] = sum / count
		case m.Legacy:
			out[i] = sum
		default:
			out[i] = 1
		}
	}
	return out
}

// Keep leaves the entries whose name contains one of include, all if that is empty, and none of exclude.
func (m *Matrix) Keep(include, exclude []string) {
	has := func(name string, parts []string) bool {
		return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(name, p) })
	}
	m.Entries = slices.DeleteFunc(m.Entries, func(e Entry) bool {
		return has(e.Name, exclude) || len(include) > 0 && !has(e.Name, include)
	})
}

// Error says what is wrong with an importance matrix.
type Error struct {
	File  string // or "", for one in memory
	Entry string // may be empty
	Says  string
	Next  string // what to do; may be empty
	Err   error  // the cause; may be nil
}

// Error is one line: the file, the entry, what is wrong.
func (e *Error) Error() string {
	parts := slices.DeleteFunc([]string{e.File, e.Entry, e.Says}, func(s string) bool { return s == "" })
	s := strings.Join(parts, ": ")
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Hint is what to do next.
func (e *Error) Hint() string { return e.Next }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// check holds what every reader relies on: whole rows, finite sums, counts that are counts.
func (e Entry) check() error {
	if n := len(e.Counts); n == 0 || len(e.Sums) == 0 || len(e.Sums)%n != 0 {
		return &Error{Entry: e.Name, Says: fmt.Sprintf("%d sums do not divide among %d matrices", len(e.Sums), n)}
	}
	for i, v := range e.Sums {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return notFinite(e.Name, i/e.Row(), i%e.Row(), v)
		}
	}
	for i, n := range e.Counts {
		if n < 0 || n > maxCount {
			return &Error{Entry: e.Name, Says: fmt.Sprintf("matrix %d: a count of %d, want 0 to %d", i, n, int64(maxCount))}
		}
	}
	return nil
}

func notFinite(entry string, matrix, column int, v float32) *Error {
	return &Error{Entry: entry, Next: "compute the imatrix again; the model may overflow in its precision",
		Says: fmt.Sprintf("matrix %d, column %d: %v is not a finite number", matrix, column, v)}
}

// maxCount bounds counts, which files hold as float32 or int32; sums of two still fit.
const maxCount = math.MaxInt32

// finish sorts and checks what a reader found.
func (m *Matrix) finish() error {
	slices.SortFunc(m.Entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	for i, e := range m.Entries {
		if i > 0 && m.Entries[i-1].Name == e.Name {
			return &Error{Entry: e.Name, Says: "the entry stands twice"}
		}
		if err := e.check(); err != nil {
			return err
		}
	}
	return nil
}
