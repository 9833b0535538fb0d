// Package safetensors reads the headers of safetensors files and the bytes of their tensors by range.
//
// It knows the format only: no architecture, no GGUF. Every refusal names the file and the tensor.
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
	F8E8M0  DType = "F8_E8M0"
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
)

var sizes = map[DType]int64{
	F64: 8, F32: 4, F16: 2, BF16: 2, F8E4M3: 1, F8E5M2: 1, F8E8M0: 1,
	I64: 8, I32: 4, I16: 2, I8: 1, U64: 8, U32: 4, U16: 2, U8: 1, Bool: 1,
}

// Size is the number of bytes of one element, 0 for a type that the format does not have.
func (d DType) Size() int64 { return sizes[d] }

// IsFloat tells whether the type's values are floating-point numbers.
func (d DType) IsFloat() bool {
	switch d {
	case F64, F32, F16, BF16, F8E4M3, F8E5M2:
		return true
	}
	return false
}
