package policy

import (
	"fmt"
	"strconv"
	"strings"

	"quern/convert/gguf"
)

// FileType is a file type of llama.cpp, by the number under general.file_type (llama.h, llama_ftype).
type FileType uint32

// The file types that llama-quantize offers (tools/quantize/quantize.cpp).
const (
	F32    FileType = 0
	F16    FileType = 1
	Q4_0   FileType = 2
	Q4_1   FileType = 3
	Q8_0   FileType = 7
	Q5_0   FileType = 8
	Q5_1   FileType = 9
	Q2_K   FileType = 10
	Q3_K_S FileType = 11
	Q3_K_M FileType = 12
	Q3_K_L FileType = 13
	Q4_K_S FileType = 14
	Q4_K_M FileType = 15
	Q5_K_S FileType = 16
	Q5_K_M FileType = 17
	Q6_K   FileType = 18
	IQ2XXS FileType = 19
	IQ2XS  FileType = 20
	Q2_K_S FileType = 21
	IQ3XS  FileType = 22
	IQ3XXS FileType = 23
	IQ1S   FileType = 24
	IQ4NL  FileType = 25
	IQ3S   FileType = 26
	IQ3M   FileType = 27
	IQ2S   FileType = 28
	IQ2M   FileType = 29
	IQ4XS  FileType = 30
	IQ1M   FileType = 31
	BF16   FileType = 32
	TQ1_0  FileType = 36
	TQ2_0  FileType = 37
	MXFP4  FileType = 38
	Q1_0   FileType = 40
	Q2_0   FileType = 41

	// Copy changes no tensor and keeps the source's file type; it has no number of its own.
	Copy FileType = 1 << 31
)

// guessed marks a file type that the reference derives from the tensors because the source does not say it (LLAMA_FTYPE_GUESSED).
const guessed = 1024

// Kind is a row of the table of file types.
type Kind struct {
	Type    FileType
	Name    string
	Aliases []string  // other accepted names
	Default gguf.Type // of tensors that no rule of the mixture names
	Bits    float64   // real bits per weight of Llama 3 8B without an imatrix (shared/data/quant-types.json); names promise less
	Says    string    // what it is, for tables
}

// kinds are ordered from the largest to the smallest by Bits; Copy is last.
var kinds = []Kind{
	{F32, "F32", nil, gguf.F32, 32, "32-bit floats"},
	{F16, "F16", nil, gguf.F16, 16, "16-bit floats, small range"},
	{BF16, "BF16", nil, gguf.BF16, 16, "16-bit floats, short mantissa"},
	{Q8_0, "Q8_0", nil, gguf.Q8_0, 8.5, "8 bits, blocks of 32: as good as the source"},
	{MXFP4, "MXFP4_MOE", nil, gguf.MXFP4, 8.5, "4-bit floats for experts, Q8_0 for the rest: small only for mixtures of experts"},
	{Q6_K, "Q6_K", nil, gguf.Q6_K, 6.5625, "6 bits, super-blocks"},
	{Q5_1, "Q5_1", nil, gguf.Q5_1, 6.0368, "5 bits with an offset, blocks of 32"},
	{Q5_K_M, "Q5_K_M", []string{"Q5_K"}, gguf.Q5_K, 5.7027, "5 bits, super-blocks, some tensors in 6"},
	{Q5_K_S, "Q5_K_S", nil, gguf.Q5_K, 5.5695, "5 bits, super-blocks"},
	{Q5_0, "Q5_0", nil, gguf.Q5_0, 5.5695, "5 bits, blocks of 32"},
	{Q4_1, "Q4_1", nil, gguf.Q4_1, 5.1022, "4 bits with an offset, blocks of 32"},
	{Q4_K_M, "Q4_K_M", []string{"Q4_K"}, gguf.Q4_K, 4.8935, "4 bits, super-blocks, some tensors in 6: the usual choice"},
	{IQ4NL, "IQ4_NL", nil, gguf.IQ4NL, 4.6809, "4 bits, uneven steps, blocks of 32"},
	{Q4_K_S, "Q4_K_S", nil, gguf.Q4_K, 4.6663, "4 bits, super-blocks, a few tensors in 5"},
	{Q4_0, "Q4_0", nil, gguf.Q4_0, 4.6349, "4 bits, blocks of 32: fast on old machines"},
	{IQ4XS, "IQ4_XS", nil, gguf.IQ4XS, 4.4587, "4 bits, uneven steps, super-blocks"},
	{Q3_K_L, "Q3_K_L", nil, gguf.Q3_K, 4.2969, "3 bits, super-blocks, many tensors in 5"},
	{Q3_K_M, "Q3_K_M", []string{"Q3_K"}, gguf.Q3_K, 3.995, "3 bits, super-blocks, some tensors in 4 and 5"},
	{IQ3M, "IQ3_M", nil, gguf.IQ3S, 3.7618, "3 bits from a grid, some tensors in 4"},
	{IQ3S, "IQ3_S", nil, gguf.IQ3S, 3.6597, "3 bits from a grid"},
	{Q3_K_S, "Q3_K_S", nil, gguf.Q3_K, 3.6419, "3 bits, super-blocks"},
	{IQ3XS, "IQ3_XS", nil, gguf.IQ3S, 3.4967, "3 bits from a grid, some tensors smaller; needs an imatrix"},
	{IQ3XXS, "IQ3_XXS", nil, gguf.IQ3XXS, 3.3726, "3 bits from a small grid; needs an imatrix"},
	{Q2_K, "Q2_K", nil, gguf.Q2_K, 3.1584, "2 bits, super-blocks, many tensors in 3"},
	{Q2_K_S, "Q2_K_S", nil, gguf.Q2_K, 2.9688, "2 bits, super-blocks; needs an imatrix"},
	{IQ2M, "IQ2_M", nil, gguf.IQ2S, 2.9284, "2 bits from a grid, some tensors in 3; needs an imatrix"},
	{IQ2S, "IQ2_S", nil, gguf.IQ2XS, 2.7393, "2 bits from a grid, some tensors in 3; needs an imatrix"},
	{Q2_0, "Q2_0", nil, gguf.Q2_0, 2.6793, "2 bits, blocks of 64"},
	{IQ2XS, "IQ2_XS", nil, gguf.IQ2XS, 2.5872, "2 bits from a small grid; needs an imatrix"},
	{TQ2_0, "TQ2_0", nil, gguf.TQ2_0, 2.5164, "ternary, two bits a weight: for models trained so"},
	{IQ2XXS, "IQ2_XXS", nil, gguf.IQ2XXS, 2.3814, "2 bits from the smallest grid; needs an imatrix"},
	{TQ1_0, "TQ1_0", nil, gguf.TQ1_0, 2.1904, "ternary, packed: for models trained so"},
	{IQ1M, "IQ1_M", nil, gguf.IQ1M, 2.145, "under 2 bits from a grid; needs an imatrix"},
	{IQ1S, "IQ1_S", nil, gguf.IQ1S, 2.0032, "under 2 bits from a grid; needs an imatrix"},
	{Q1_0, "Q1_0", nil, gguf.Q1_0, 1.4807, "signs and a scale, blocks of 128: for models trained so"},
	{Copy, "COPY", nil, gguf.F32, 0, "every tensor as it is"},
}

// Kinds lists the file types from the largest to the smallest, then COPY.
func Kinds() []Kind { return append([]Kind(nil), kinds...) }

// ParseFileType reads a name in any case, an alias, or a number.
func ParseFileType(s string) (FileType, error) {
	for _, k := range kinds {
		for _, name := range append([]string{k.Name}, k.Aliases...) {
			if strings.EqualFold(name, s) {
				return k.Type, nil
			}
		}
	}
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		for _, k := range kinds {
			if k.Type == FileType(n) {
				return k.Type, nil
			}
		}
	}
	return 0, &OptionError{Option: "type", Value: s, Says: "is no file type of llama.cpp", Next: nearest(s)}
}

// nearest names the types that start alike.
func nearest(s string) string {
	stem := strings.ToUpper(strings.SplitN(s, "_", 2)[0])
	var like []string
	for _, k := range kinds {
		if stem != "" && strings.HasPrefix(k.Name, stem) {
			like = append(like, k.Name)
		}
	}
	if len(like) == 0 {
		return "such as Q4_K_M, Q5_K_M, Q6_K, Q8_0"
	}
	return "near it: " + strings.Join(like, ", ")
}

func (f FileType) kind() Kind {
	for _, k := range kinds {
		if k.Type == f {
			return k
		}
	}
	return Kind{Name: fmt.Sprintf("file type %d", uint32(f))}
}

// String is the name, such as "Q4_K_M".
func (f FileType) String() string { return f.kind().Name }

// Default is the type of tensors that no rule of the mixture names.
func (f FileType) Default() gguf.Type { return f.kind().Default }

// BelowQ4 tells whether the type's default has fewer than four bits and was made for models that were not trained so: there
// importance is worth the time it takes. Types that refuse to do without are among them.
func (f FileType) BelowQ4() bool {
	switch f.Default() {
	case gguf.Q2_K, gguf.Q3_K, gguf.IQ1S, gguf.IQ1M, gguf.IQ2XXS, gguf.IQ2XS, gguf.IQ2S, gguf.IQ3XXS, gguf.IQ3S:
		return true
	}
	return false
}

// ForAny tells whether the type is a choice for any model: a quantized one that was not made for models trained in it, or for their
// experts alone.
func (f FileType) ForAny() bool {
	switch f {
	case Q1_0, Q2_0, TQ1_0, TQ2_0, MXFP4, Copy:
		return false
	}
	return f.Default().Quantized()
}

// Valid tells whether the file type is one of the table.
func (f FileType) Valid() bool { return f.kind().Says != "" }

// ofMost is the file type that the loader guesses from the type that most tensors have (llama-model-loader.cpp).
var ofMost = map[gguf.Type]FileType{
	gguf.F32: F32, gguf.F16: F16, gguf.BF16: BF16, gguf.Q4_0: Q4_0, gguf.Q4_1: Q4_1, gguf.Q5_0: Q5_0, gguf.Q5_1: Q5_1, gguf.Q8_0: Q8_0,
	gguf.Q2_K: Q2_K, gguf.Q3_K: Q3_K_M, gguf.Q4_K: Q4_K_M, gguf.Q5_K: Q5_K_M, gguf.Q6_K: Q6_K, gguf.TQ1_0: TQ1_0, gguf.TQ2_0: TQ2_0,
	gguf.IQ2XXS: IQ2XXS, gguf.IQ2XS: IQ2XS, gguf.IQ2S: IQ2S, gguf.IQ3XXS: IQ3XXS, gguf.IQ1S: IQ1S, gguf.IQ1M: IQ1M,
	gguf.IQ4NL: IQ4NL, gguf.IQ4XS: IQ4XS, gguf.IQ3S: IQ3S, gguf.NVFP4: 39, gguf.Q1_0: Q1_0, gguf.Q2_0: Q2_0,
}
