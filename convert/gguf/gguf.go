// Package gguf reads and writes GGUF files: bytes only, no model knowledge.
//
// A Plan is complete before any weight is read: metadata, names, types, shapes and offsets, hence the exact size of the
// file. Layout makes one, WriteHeader writes what stands before the weights, Read gives it back from a file.
//
// Held by tests:
//   - The header is gguf-py's, byte for byte (TestLayoutEqualsReference).
//   - A value that was read is written as the same kind and bytes (FuzzRead).
//   - No count in a file costs memory before its bytes are there (TestMemoryStaysBelowTheFile).
package gguf

import "strconv"

// ValueType is the type of a metadata value, by the format's number.
type ValueType uint32

// The value types of the format.
const (
	Uint8   ValueType = 0
	Int8    ValueType = 1
	Uint16  ValueType = 2
	Int16   ValueType = 3
	Uint32  ValueType = 4
	Int32   ValueType = 5
	Float32 ValueType = 6
	Bool    ValueType = 7
	String  ValueType = 8
	Array   ValueType = 9
	Uint64  ValueType = 10
	Int64   ValueType = 11
	Float64 ValueType = 12
)

// KV is one metadata entry.
//
// Value holds the Go type that Type names: uint8, int8, uint16, int16, uint32, int32, float32, bool, string,
// uint64, int64, float64; for Array a slice of one of these ([]string, []int32, []float32, ...), or [][]T for nested arrays.
type KV struct {
	Key   string
	Value any
}

// Output is a tensor of a file to be written.
type Output struct {
	Name   string
	Type   Type
	Shape  []int64 // ne order: the row length first
	Offset int64   // from the start of the data section; a multiple of the alignment
	Size   int64   // bytes of the tensor, without padding
}

// Elements is the number of elements of the tensor.
func (o Output) Elements() int64 {
	n := int64(1)
	for _, d := range o.Shape {
		n *= d
	}
	return n
}

// Plan is a whole file before any weight is read.
type Plan struct {
	Metadata   []KV
	Outputs    []Output
	DataOffset int64 // where the data section starts in the file
	FileSize   int64
}

func uitoa(n uint64) string { return strconv.FormatUint(n, 10) }
