// Package kernel turns rows of float32 into blocks of a GGUF type, and back.
//
// Rows are independent: any split of a tensor into slabs of whole rows gives the same bytes.
package kernel

import "quern/convert/gguf"

// Quantizer is the one interface of quantization kernels: rows of float32 in, blocks out.
// Implementations are safe for concurrent use.
type Quantizer interface {
	// Name tells receipts which kernel wrote the blocks, such as "llamacpp" or "avx2".
	Name() string
	// Supports tells whether Quantize can write type t.
	Supports(t gguf.Type) bool
	// Quantize writes len(src)/rowLen rows into dst, which has exactly their bytes in type t.
	// importance is nil or holds rowLen weights that apply to every row.
	Quantize(dst []byte, src []float32, t gguf.Type, rowLen int, importance []float32) error
	// Dequantize widens whole blocks of type t into len(dst) values.
	Dequantize(dst []float32, src []byte, t gguf.Type) error
}
