package gguf

import "strings"

// Type is the element type of a tensor in a GGUF file, by ggml's number.
type Type uint32

// The tensor types of llama.cpp v0.5.0 (ggml.h). Retired numbers are left out.
const (
	F32    Type = 0
	F16    Type = 1
	Q4_0   Type = 2
	Q4_1   Type = 3
	Q5_0   Type = 6
	Q5_1   Type = 7
	Q8_0   Type = 8
	Q8_1   Type = 9
	Q2_K   Type = 10
	Q3_K   Type = 11
	Q4_K   Type = 12
	Q5_K   Type = 13
	Q6_K   Type = 14
	Q8_K   Type = 15
	IQ2XXS Type = 16
	IQ2XS  Type = 17
	IQ3XXS Type = 18
	IQ1S   Type = 19
	IQ4NL  Type = 20
	IQ3S   Type = 21
	IQ2S   Type = 22
	IQ4XS  Type = 23
	I8     Type = 24
	I16    Type = 25
	I32    Type = 26
	I64    Type = 27
	F64    Type = 28
	IQ1M   Type = 29
	BF16   Type = 30
	TQ1_0  Type = 34
	TQ2_0  Type = 35
	MXFP4  Type = 39
	NVFP4  Type = 40
	Q1_0   Type = 41
	Q2_0   Type = 42
)

type typeInfo struct {
	name  string
	block int64 // elements of a block
	bytes int64 // bytes of a block
}

var types = map[Type]typeInfo{
	F32: {"F32", 1, 4}, F16: {"F16", 1, 2}, BF16: {"BF16", 1, 2}, F64: {"F64", 1, 8},
	I8: {"I8", 1, 1}, I16: {"I16", 1, 2}, I32: {"I32", 1, 4}, I64: {"I64", 1, 8},
	Q4_0: {"Q4_0", 32, 18}, Q4_1: {"Q4_1", 32, 20}, Q5_0: {"Q5_0", 32, 22}, Q5_1: {"Q5_1", 32, 24},
	Q8_0: {"Q8_0", 32, 34}, Q8_1: {"Q8_1", 32, 36},
	Q2_K: {"Q2_K", 256, 84}, Q3_K: {"Q3_K", 256, 110}, Q4_K: {"Q4_K", 256, 144}, Q5_K: {"Q5_K", 256, 176},
	Q6_K: {"Q6_K", 256, 210}, Q8_K: {"Q8_K", 256, 292},
	IQ2XXS: {"IQ2_XXS", 256, 66}, IQ2XS: {"IQ2_XS", 256, 74}, IQ3XXS: {"IQ3_XXS", 256, 98}, IQ1S: {"IQ1_S", 256, 50},
	IQ4NL: {"IQ4_NL", 32, 18}, IQ3S: {"IQ3_S", 256, 110}, IQ2S: {"IQ2_S", 256, 82}, IQ4XS: {"IQ4_XS", 256, 136},
	IQ1M: {"IQ1_M", 256, 56}, TQ1_0: {"TQ1_0", 256, 54}, TQ2_0: {"TQ2_0", 256, 66},
	MXFP4: {"MXFP4", 32, 17}, NVFP4: {"NVFP4", 64, 36}, Q1_0: {"Q1_0", 128, 18}, Q2_0: {"Q2_0", 64, 18},
}

// String is ggml's name of the type.
func (t Type) String() string {
	if i, ok := types[t]; ok {
		return i.name
	}
	return "type " + uitoa(uint64(t))
}

// Valid tells whether llama.cpp v0.5.0 knows the type.
func (t Type) Valid() bool { _, ok := types[t]; return ok }

// Block is the number of elements of a block: 1 for plain types.
func (t Type) Block() int64 { return types[t].block }

// BlockBytes is the number of bytes of a block.
func (t Type) BlockBytes() int64 { return types[t].bytes }

// RowBytes is the number of bytes of a row of n elements; n must be a multiple of Block.
func (t Type) RowBytes(n int64) int64 { return n / types[t].block * types[t].bytes }

// Quantized tells whether elements share a block.
func (t Type) Quantized() bool { return types[t].block > 1 }

// ParseType finds a type by ggml's name, in any case: "q4_K", "Q4_K", "bf16", "iq4_nl".
func ParseType(name string) (Type, bool) {
	t, ok := byName[strings.ToUpper(name)]
	return t, ok
}

var byName = func() map[string]Type {
	m := make(map[string]Type, len(types))
	for t, i := range types {
		m[strings.ToUpper(i.name)] = t
	}
	return m
}()
