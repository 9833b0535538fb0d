package imatrix

import (
	"bufio"
	"encoding/binary"
	"io"

	"quern/convert/gguf"
)

// Write writes the GGUF format with llama-imatrix's order of keys and tensors. A matrix read from the legacy format is
// brought to sums first, by a chunk size of fallbackChunk.
func (m *Matrix) Write(w io.Writer) error {
	m = m.asSums(fallbackChunk)
	datasets := m.Datasets
	if datasets == nil {
		datasets = []string{}
	}
	metadata := []gguf.KV{
		{Key: "general.type", Value: "imatrix"}, {Key: datasetsKey, Value: datasets},
		{Key: chunksKey, Value: uint32(m.Chunks)}, {Key: chunkSizeKey, Value: uint32(m.ChunkSize)},
	}
	// dimensions of one are not written at the end of a shape, as ggml has it
	var outs []gguf.Output
	for _, e := range m.Entries {
		sums := gguf.Output{Name: e.Name + sumsSuffix, Type: gguf.F32, Shape: []int64{int64(e.Row())}}
		counts := gguf.Output{Name: e.Name + countsSuffix, Type: gguf.F32, Shape: []int64{1}}
		if n := int64(len(e.Counts)); n > 1 {
			sums.Shape, counts.Shape = append(sums.Shape, n), append(counts.Shape, n)
		}
		outs = append(outs, sums, counts)
	}
	plan, err := gguf.Layout(metadata, outs, gguf.DefaultAlignment)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, 1<<16)
	if err := plan.WriteHeader(out); err != nil {
		return err
	}
	for _, e := range m.Entries {
		counts := make([]float32, len(e.Counts))
		for i, n := range e.Counts {
			counts[i] = float32(n)
		}
		for _, values := range [][]float32{e.Sums, counts} {
			if err := binary.Write(out, binary.LittleEndian, values); err != nil {
				return err
			}
			if _, err := out.Write(make([]byte, gguf.Pad(int64(len(values))*4, gguf.DefaultAlignment)-int64(len(values))*4)); err != nil {
				return err
			}
		}
	}
	return out.Flush()
}

// fallbackChunk is llama-imatrix's default context, by which it brings the legacy format to sums.
const fallbackChunk = 512 // tokens

// asSums turns the averages of the legacy format into sums over chunks of the size.
// Source: tools/imatrix/imatrix.cpp, load_imatrix.
func (m *Matrix) asSums(chunk int64) *Matrix {
	if !m.Legacy {
		return m
	}
	out := &Matrix{Datasets: m.Datasets, Chunks: m.Chunks, ChunkSize: chunk}
	for _, e := range m.Entries {
		sums := Entry{Name: e.Name, Sums: make([]float32, len(e.Sums)), Counts: []int64{e.Counts[0] * chunk}}
		for i, v := range e.Sums {
			sums.Sums[i] = v * float32(chunk)
		}
		out.Entries = append(out.Entries, sums)
	}
	return out
}
