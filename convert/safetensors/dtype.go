// Package safetensors reads the headers of safetensors files and the bytes of their tensors by range.
//
// It knows the format only: no architecture, no GGUF. Every refusal names the file and the tensor.
// Memory grows with the header (at most MaxHeader bytes a file, a few hundred bytes a tensor), never with the weights.
package safetensors

// DType is the element type of a stored tensor, by its name in the file's header.
type DType string

// The element types of the format.
const (
	F64     DType = "F64"
	F32     DType = "F32"
	F16     DType = "F16"
	BF16    DType = "BF16"
	F8E4M3  DType = "F8_E4M3"
	F8E5M2  DType = "F8_E5M2"
	F8E8M0  DType = "F8_E8M0" // an exponent without sign and mantissa: the block scales of MX types
	F6E2M3  DType = "F6_E2M3" // six bits, packed
	F6E3M2  DType = "F6_E3M2"
	F4      DType = "F4" // E2M1, two elements a byte
	C64     DType = "C64"
	I64     DType = "I64"
	I32     DType = "I32"
	I16     DType = "I16"
	I8      DType = "I8"
	U64     DType = "U64"
	U32     DType = "U32"
	U16     DType = "U16"
	U8      DType = "U8"
	Bool    DType = "BOOL"
	Unknown DType = ""

	F8E4M3FNUZ DType = "F8_E4M3FNUZ"
	F8E5M2FNUZ DType = "F8_E5M2FNUZ"
)

// The format defines a tensor's size in bits, because of its four- and six-bit types.
var bits = map[DType]int64{
	F64: 64, F32: 32, F16: 16, BF16: 16, F8E4M3: 8, F8E5M2: 8, F8E8M0: 8, F8E4M3FNUZ: 8, F8E5M2FNUZ: 8,
	F6E2M3: 6, F6E3M2: 6, F4: 4, C64: 64,
	I64: 64, I32: 32, I16: 16, I8: 8, U64: 64, U32: 32, U16: 16, U8: 8, Bool: 8,
}

// Bits is the number of bits of one element, 0 for a type that the format does not have.
func (d DType) Bits() int64 { return bits[d] }

// Size is the number of bytes of one element: 0 for a type that the format does not have, and for the packed
// types F4, F6_E2M3 and F6_E3M2, whose elements are no whole bytes.
func (d DType) Size() int64 {
	if b := bits[d]; b%8 == 0 {
		return b / 8
	}
	return 0
}

// IsFloat tells whether the type's values are floating-point numbers.
func (d DType) IsFloat() bool {
	switch d {
	// Complex numbers are none: nothing here computes with them.
	case F64, F32, F16, BF16, F8E4M3, F8E5M2, F8E4M3FNUZ, F8E5M2FNUZ, F8E8M0, F6E2M3, F6E3M2, F4:
		return true
	}
	return false
}
