package policy

import (
	"fmt"

	"quern/convert/gguf"
)

// fallbacks are the types with small blocks that stand in where rows do not divide by a large block.
// Source: llama-quant.cpp, tensor_type_fallback. Types with blocks of 32 have none and become F16.
var fallbacks = map[gguf.Type]gguf.Type{
	gguf.IQ1S: gguf.IQ4NL, gguf.IQ1M: gguf.IQ4NL, gguf.IQ2XXS: gguf.IQ4NL, gguf.IQ2XS: gguf.IQ4NL, gguf.IQ2S: gguf.IQ4NL,
	gguf.IQ3XXS: gguf.IQ4NL, gguf.IQ3S: gguf.IQ4NL, gguf.IQ4XS: gguf.IQ4NL,
	gguf.Q2_0: gguf.Q4_0, gguf.Q2_K: gguf.Q4_0, gguf.Q3_K: gguf.Q4_0, gguf.TQ1_0: gguf.Q4_0, gguf.TQ2_0: gguf.Q4_0,
	gguf.Q4_K: gguf.Q5_0, gguf.Q5_K: gguf.Q5_1, gguf.Q6_K: gguf.Q8_0,
}

// smallBlock is the block of the types that the reference demotes no further.
const smallBlock = 32

// fit is the type that rows of n elements get where t is wanted.
func fit(tensor string, t gguf.Type, n int64) (gguf.Type, error) {
	if n%t.Block() == 0 {
		return t, nil
	}
	to, ok := fallbacks[t]
	if !ok && t.Block() > smallBlock {
		return 0, &Refusal{Why: NoFallback, Tensor: tensor, Next: "give the tensor another type with --tensor-type, or choose another file type",
			Says: fmt.Sprintf("its rows of %d do not divide by %s's blocks of %d, and nothing stands in for %s", n, t, t.Block(), t)}
	}
	if !ok || n%to.Block() != 0 {
		return gguf.F16, nil
	}
	return to, nil
}

// unwritable are types that ggml_quantize_chunk does not write.
var unwritable = map[gguf.Type]bool{
	gguf.Q8_1: true, gguf.Q8_K: true, gguf.I8: true, gguf.I16: true, gguf.I32: true, gguf.I64: true, gguf.F64: true,
}

// unreadable are types that cannot be widened (ggml.c: no to_float, or not a float type in llama-quant.cpp).
var unreadable = unwritable

// blind are types whose kernels stop the process without importance (ggml.c, ggml_quantize_requires_imatrix).
var blind = map[gguf.Type]bool{gguf.IQ2XXS: true, gguf.IQ2XS: true, gguf.IQ1S: true}

// worthless are types that the reference does not write without importance, but for embeddings and output.
var worthless = map[gguf.Type]bool{
	gguf.IQ3XXS: true, gguf.IQ2XXS: true, gguf.IQ2XS: true, gguf.IQ2S: true, gguf.IQ1M: true, gguf.IQ1S: true,
}

// needsImatrix follows llama-quant.cpp, tensor_requires_imatrix.
func needsImatrix(r role, t gguf.Type, ft FileType) bool {
	if r == embedding || r == output {
		return false
	}
	return worthless[t] || t == gguf.Q2_K && ft == Q2_K_S
}
