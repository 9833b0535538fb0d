package kernel

import (
	"fmt"

	"quern/convert/gguf"
)

// Go quantizes in plain Go what the reference's converter can write by itself: Q8_0, TQ1_0 and TQ2_0, with the bits
// of gguf-py's quants.py (TestVectors). Importance is ignored, as llama.cpp ignores it for these types.
// It needs no library, so conversion to these types works on any machine.
type Go struct{}

// Name is "go".
func (Go) Name() string { return "go" }

// Supports is true for Q8_0, TQ1_0 and TQ2_0.
func (Go) Supports(t gguf.Type) bool { return t == gguf.Q8_0 || t == gguf.TQ1_0 || t == gguf.TQ2_0 }

// Quantize writes rows of rowLen values as blocks.
func (k Go) Quantize(dst []byte, src []float32, t gguf.Type, rowLen int, importance []float32) error {
	if err := k.check(len(dst), len(src), t); err != nil {
		return err
	}
	if rowLen <= 0 || int64(rowLen)%t.Block() != 0 || len(src)%rowLen != 0 {
		return fmt.Errorf("%d values in rows of %d as %s, whose blocks have %d", len(src), rowLen, t, t.Block())
	}
	switch t {
	case gguf.Q8_0:
		quantizeQ8_0(dst, src)
	case gguf.TQ1_0:
		quantizeTQ1_0(dst, src)
	default:
		quantizeTQ2_0(dst, src)
	}
	return nil
}

// Dequantize widens whole blocks.
func (k Go) Dequantize(dst []float32, src []byte, t gguf.Type) error {
	if err := k.check(len(src), len(dst), t); err != nil {
		return err
	}
	switch t {
	case gguf.Q8_0:
		dequantizeQ8_0(dst, src)
	case gguf.TQ1_0:
		dequantizeTQ1_0(dst, src)
	default:
		dequantizeTQ2_0(dst, src)
	}
	return nil
}

func (k Go) check(bytes, values int, t gguf.Type) error {
	if !k.Supports(t) {
		return fmt.Errorf("the Go kernel does not know %s; it knows Q8_0, TQ1_0 and TQ2_0", t)
	}
	if int64(values)%t.Block() != 0 || int64(bytes) != t.RowBytes(int64(values)) {
		return fmt.Errorf("%d values as %s in %d bytes, want %d", values, t, bytes, t.RowBytes(int64(values)))
	}
	return nil
}
