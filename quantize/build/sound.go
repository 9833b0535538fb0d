package build

import (
	"encoding/binary"
	"fmt"
	"math"

	"quern/convert/gguf"
)

// halves are where the half-precision scales and minima stand in a block, in bytes from its start (ggml-common.h).
var halves = map[gguf.Type][]int{
	gguf.F16: {0}, gguf.Q1_0: {0}, gguf.Q2_0: {0}, gguf.Q4_0: {0}, gguf.Q4_1: {0, 2}, gguf.Q5_0: {0}, gguf.Q5_1: {0, 2}, gguf.Q8_0: {0},
	gguf.Q2_K: {80, 82}, gguf.Q3_K: {108}, gguf.Q4_K: {0, 2}, gguf.Q5_K: {0, 2}, gguf.Q6_K: {208}, gguf.TQ1_0: {52}, gguf.TQ2_0: {64},
	gguf.IQ1S: {0}, gguf.IQ2XXS: {0}, gguf.IQ2XS: {0}, gguf.IQ2S: {0}, gguf.IQ3XXS: {0}, gguf.IQ3S: {0}, gguf.IQ4NL: {0}, gguf.IQ4XS: {0},
}

const (
	halfExponent = 0x7C00 // all ones: infinity or NaN
	bf16Exponent = 0x7F80
	e8m0NaN      = 0xFF
)

// unsound is the index of the first block whose scale is no finite number, -1 without one. llama-quantize holds each row that
// it has written to the same (ggml-quants.c, ggml_validate_row_data): a finite weight can be too large for a scale.
func unsound(b []byte, t gguf.Type) int64 {
	size := int(t.BlockBytes())
	le := binary.LittleEndian
	switch t {
	case gguf.BF16:
		for i := 0; i+2 <= len(b); i += 2 {
			if le.Uint16(b[i:])&bf16Exponent == bf16Exponent {
				return int64(i / 2)
			}
		}
	case gguf.MXFP4:
		for i := 0; i+size <= len(b); i += size {
			if b[i] == e8m0NaN {
				return int64(i / size)
			}
		}
	case gguf.IQ1M: // the scale is spread over the top bits of four words at the end
		for i := 0; i+size <= len(b); i += size {
			s := b[i+48:]
			if d := le.Uint16(s)>>12 | le.Uint16(s[2:])>>8&0xF0 | le.Uint16(s[4:])>>4&0xF00 | le.Uint16(s[6:])&0xF000; d&halfExponent == halfExponent {
				return int64(i / size)
			}
		}
	default:
		for _, at := range halves[t] {
			for i := at; i+2 <= len(b); i += size {
				if le.Uint16(b[i:])&halfExponent == halfExponent {
					return int64(i / size)
				}
			}
		}
	}
	return -1
}

// check holds rows that were made, or taken over, to what llama-quantize demands of them.
func (w *worker) check(s slab, g *target, b []byte) error {
	if !w.Finite || !g.Type.Quantized() && g.how != narrow {
		return nil // the source's own numbers are looked at where they are widened
	}
	i := unsound(b, g.Type)
	if i < 0 {
		return nil
	}
	e := &UnsoundError{Tensor: s.Name, Row: s.lo + i/(g.rowBytes/g.Type.BlockBytes()), Type: g.Type}
	if !g.Copy {
		e.Column, e.Value = greatest(w.floats[(e.Row-s.lo)*s.rowLen:][:s.rowLen])
	}
	return e
}

// greatest is the value of the largest magnitude and where it stands.
func greatest(v []float32) (at int64, value float32) {
	for i, x := range v {
		if math.Abs(float64(x)) > math.Abs(float64(value)) {
			at, value = int64(i), x
		}
	}
	return at, value
}

// UnsoundError says that a row cannot be written in a type: its scale would be infinite or no number.
type UnsoundError struct {
	Tensor      string
	Type        gguf.Type
	Row, Column int64   // of the source, rows counted over all outer dimensions
	Value       float32 // the largest of the row, in that column; 0 where blocks were copied as they are
}

// Error names tensor, row and column.
func (e *UnsoundError) Error() string {
	if e.Value == 0 {
		return fmt.Sprintf("tensor %q: row %d has a block of %s whose scale is not a finite number", e.Tensor, e.Row, e.Type)
	}
	return fmt.Sprintf("tensor %q: the value in row %d, column %d is %v, too large for %s", e.Tensor, e.Row, e.Column, e.Value, e.Type)
}

// Hint is the next step for the user.
func (e *UnsoundError) Hint() string {
	if e.Value == 0 {
		return "the file is damaged: compare its digest, or make it again from the checkpoint"
	}
	return "keep that tensor wider with --tensor-type, or look whether the checkpoint is damaged"
}
