package imatrix

import (
	"fmt"
	"slices"
	"strings"
)

// Merge adds up matrices of one model, in order: sums, counts and data sets. Chunks becomes what the largest count stands for.
// An entry with one count for all its experts takes part in one with a count for each, as llama-imatrix has it.
func Merge(all ...*Matrix) (*Matrix, error) {
	out := &Matrix{ChunkSize: fallbackChunk}
	// the legacy format does not say its chunk size: the others' is taken for it
	for _, m := range all {
		if !m.Legacy && m.ChunkSize > 0 {
			out.ChunkSize = m.ChunkSize
			break
		}
	}
	for i, m := range all {
		m = m.asSums(out.ChunkSize)
		for _, e := range m.Entries {
			if err := out.add(e); err != nil {
				err.Says = fmt.Sprintf("imatrix %d: %s", i+1, err.Says)
				return nil, err
			}
		}
		out.Datasets = append(out.Datasets, m.Datasets...)
	}
	out.Chunks = out.chunks()
	return out, nil
}

// add adds the entry to the one of its name, or puts a copy in its place.
func (m *Matrix) add(e Entry) *Error {
	i, ok := slices.BinarySearchFunc(m.Entries, e.Name, func(e Entry, name string) int { return strings.Compare(e.Name, name) })
	if !ok {
		m.Entries = slices.Insert(m.Entries, i, Entry{e.Name, slices.Clone(e.Sums), slices.Clone(e.Counts)})
		return nil
	}
	to := &m.Entries[i]
	if len(to.Sums) != len(e.Sums) {
		return &Error{Entry: e.Name, Says: fmt.Sprintf("%d sums beside %d: matrices of two models", len(e.Sums), len(to.Sums)), Next: "merge matrices of one model"}
	}
	// files older than counts by expert have one for the whole tensor: it stands for each
	switch a, b := len(to.Counts), len(e.Counts); {
	case a == 1 && b > 1:
		to.Counts = spread(to.Counts[0], b)
	case b == 1 && a > 1:
		e.Counts = spread(e.Counts[0], a)
	case a != b:
		return &Error{Entry: e.Name, Says: fmt.Sprintf("%d experts beside %d", b, a), Next: "merge matrices of one model"}
	}
	for j, v := range e.Sums {
		to.Sums[j] += v
	}
	for j, n := range e.Counts {
		to.Counts[j] += n
	}
	if err := to.check(); err != nil {
		return err.(*Error)
	}
	return nil
}

func spread(n int64, over int) []int64 {
	all := make([]int64, over)
	for i := range all {
		all[i] = n
	}
	return all
}

// chunks is the number of whole chunks in the largest count.
func (m *Matrix) chunks() int64 {
	most := int64(0)
	for _, e := range m.Entries {
		most = max(most, slices.Max(e.Counts))
	}
	if m.ChunkSize < 1 {
		return 0
	}
	return most / m.ChunkSize
}
