package llamacpp

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/ebitengine/purego"

	"quern/convert/gguf"
)

// Kernels quantizes and dequantizes with the functions of libggml-base. It implements kernel.Quantizer: it is safe for
// concurrent use, copies nothing, and costs under a microsecond a call beyond the work.
//
// Bits depend on the build of libggml-base: x86-64 builds are plain SSE2, arm64 builds fuse multiply and add.
type Kernels struct {
	chunk  uintptr                 // ggml_quantize_chunk
	widen  map[gguf.Type]uintptr   // to_float of the type's traits
	writes map[gguf.Type]rowWriter // the types that Quantize accepts
}

// rowWriter says what has to hold before ggml_quantize_chunk may be called for a type.
type rowWriter struct {
	needsImportance bool // ggml_quantize_requires_imatrix
	searches        bool // the type looks its blocks up in a grid and aborts on values that its float32 sums cannot hold
}

// quantizable are the types that ggml_quantize_chunk writes (ggml.c); the others end in a failed assertion there.
var quantizable = []gguf.Type{
	gguf.F32, gguf.F16, gguf.BF16, gguf.Q1_0, gguf.Q2_0, gguf.Q4_0, gguf.Q4_1, gguf.Q5_0, gguf.Q5_1, gguf.Q8_0,
	gguf.MXFP4, gguf.NVFP4, gguf.Q2_K, gguf.Q3_K, gguf.Q4_K, gguf.Q5_K, gguf.Q6_K, gguf.TQ1_0, gguf.TQ2_0,
	gguf.IQ2XXS, gguf.IQ2XS, gguf.IQ2S, gguf.IQ3XXS, gguf.IQ3S, gguf.IQ1S, gguf.IQ1M, gguf.IQ4NL, gguf.IQ4XS,
}

// searching are the types whose kernels assert that a grid point was found (ggml-quants.c).
var searching = map[gguf.Type]bool{
	gguf.IQ2XXS: true, gguf.IQ2XS: true, gguf.IQ2S: true, gguf.IQ3XXS: true, gguf.IQ3S: true, gguf.IQ1S: true, gguf.IQ1M: true,
}

// OpenKernels loads libggml-base of a runtime, and nothing else of it. It checks ggml's version and that its block
// sizes are the ones of gguf.Type. The first use of an IQ type builds its grid inside ggml, which takes seconds.
func OpenKernels(r *Runtime) (*Kernels, error) {
	l, err := openLibrary(r.Path("ggml-base"))
	if err != nil {
		return nil, err
	}
	got, err := l.text("ggml_version")
	if err != nil {
		return nil, err
	}
	if got != BaseVersion {
		return nil, &Error{Fault: Mismatch, Op: "load", On: r.Path("ggml-base"), Says: "libggml is version " + got + ", quern is made for " + BaseVersion + " (llama.cpp " + Version + ")", Next: installHint}
	}
	k := &Kernels{widen: make(map[gguf.Type]uintptr), writes: make(map[gguf.Type]rowWriter)}
	if k.chunk, err = l.symbol("ggml_quantize_chunk"); err != nil {
		return nil, err
	}
	if err := k.readTraits(l); err != nil {
		return nil, err
	}
	return k, k.readRules(l)
}

// typeTraits is struct ggml_type_traits (ggml.h).
type typeTraits struct {
	_       uintptr // name
	block   int64
	_       int64 // interleave
	size    uintptr
	_       bool    // quantized
	toFloat uintptr // void (const void * x, float * y, int64_t k)
	_       uintptr // from float
}

func (k *Kernels) readTraits(l library) error {
	traits, err := l.symbol("ggml_get_type_traits")
	if err != nil {
		return err
	}
	for t := gguf.Type(0); t <= gguf.Q2_0; t++ {
		if !t.Valid() {
			continue
		}
		p, _, _ := purego.SyscallN(traits, uintptr(t))
		tt := *(**typeTraits)(unsafe.Pointer(&p))
		if tt.block != t.Block() || int64(tt.size) != t.BlockBytes() {
			return &Error{Fault: Mismatch, Op: "load", Says: fmt.Sprintf("libggml stores %d elements of %s in %d bytes, quern %d in %d", tt.block, t, tt.size, t.Block(), t.BlockBytes()), Next: installHint}
		}
		if tt.toFloat != 0 {
			k.widen[t] = tt.toFloat
		}
	}
	return nil
}

func (k *Kernels) readRules(l library) error {
	requires, err := l.symbol("ggml_quantize_requires_imatrix")
	if err != nil {
		return err
	}
	for _, t := range quantizable {
		needs, _, _ := purego.SyscallN(requires, uintptr(t))
		k.writes[t] = rowWriter{needsImportance: needs&0xff != 0, searches: searching[t]}
	}
	return nil
}

// Name is what receipts call these kernels.
func (k *Kernels) Name() string { return "llamacpp" }

// Supports tells whether Quantize can write type t.
func (k *Kernels) Supports(t gguf.Type) bool { _, ok := k.writes[t]; return ok }

// RequiresImportance tells whether Quantize refuses type t without importance weights.
func (k *Kernels) RequiresImportance(t gguf.Type) bool { return k.writes[t].needsImportance }

// Quantize writes len(src)/rowLen rows into dst, which has exactly their bytes in type t. importance is nil or holds
// rowLen weights that apply to every row. Any wrong argument is an error: ggml itself would abort the process.
func (k *Kernels) Quantize(dst []byte, src []float32, t gguf.Type, rowLen int, importance []float32) error {
	w, ok := k.writes[t]
	if !ok {
		return fmt.Errorf("quantize: llama.cpp does not write type %s", t)
	}
	if rowLen <= 0 || len(src)%rowLen != 0 || int64(rowLen)%t.Block() != 0 {
		return fmt.Errorf("quantize %s: %d values are no rows of %d values in blocks of %d", t, len(src), rowLen, t.Block())
	}
	rows := len(src) / rowLen
	if want := int64(rows) * t.RowBytes(int64(rowLen)); int64(len(dst)) != want {
		return fmt.Errorf("quantize %s: the destination has %d bytes, %d rows of %d values need %d", t, len(dst), rows, rowLen, want)
	}
	if importance == nil && w.needsImportance {
		return fmt.Errorf("quantize %s: the type needs an importance matrix", t)
	}
	if importance != nil && len(importance) != rowLen {
		return fmt.Errorf("quantize %s: %d importance weights for rows of %d", t, len(importance), rowLen)
	}
	if rows == 0 {
		return nil
	}
	if w.searches {
		if err := searchable(src, importance); err != nil {
			return fmt.Errorf("quantize %s: %w", t, err)
		}
	}
	// SyscallN keeps the arguments' memory alive and unmoved for the call (go:uintptrescapes).
	n, _, _ := purego.SyscallN(k.chunk, uintptr(t), uintptr(unsafe.Pointer(unsafe.SliceData(src))), uintptr(unsafe.Pointer(unsafe.SliceData(dst))),
		0, uintptr(rows), uintptr(rowLen), uintptr(unsafe.Pointer(unsafe.SliceData(importance))))
	if int(n) != len(dst) {
		return fmt.Errorf("quantize %s: ggml wrote %d bytes, %d were expected", t, n, len(dst))
	}
	return nil
}

// Dequantize widens whole blocks of type t into len(dst) values.
func (k *Kernels) Dequantize(dst []float32, src []byte, t gguf.Type) error {
	if !t.Valid() || int64(len(dst))%t.Block() != 0 || t.RowBytes(int64(len(dst))) != int64(len(src)) {
		return fmt.Errorf("dequantize %s: %d bytes do not hold %d values", t, len(src), len(dst))
	}
	if len(dst) == 0 {
		return nil
	}
	if t == gguf.F32 {
		copy(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(dst))), len(src)), src)
		return nil
	}
	f, ok := k.widen[t]
	if !ok {
		return fmt.Errorf("dequantize: llama.cpp does not widen type %s", t)
	}
	purego.SyscallN(f, uintptr(unsafe.Pointer(unsafe.SliceData(src))), uintptr(unsafe.Pointer(unsafe.SliceData(dst))), uintptr(len(dst)))
	return nil
}

// The grid searches sum products in float32, square the sums, and abort where nothing finite comes out best. The squares are
// of importance * value^2, or of value^3 without importance, times some thousands: these bounds on them and on the value alone
// leave room for that. All that half precision holds is within them.
const (
	maxSearchEnergy = 1e15
	maxSearchValue  = 1e9
)

// searchable tells why values would make a grid search abort: not finite, or too large for its float32 sums.
func searchable(src, importance []float32) error {
	peak, at := peakOf(src)
	if at >= 0 {
		return fmt.Errorf("value %d is %v", at, src[at])
	}
	p := float64(peak)
	weight, energy := peak*peak, p*p*p
	if importance != nil {
		if weight, at = peakOf(importance); at >= 0 {
			return fmt.Errorf("importance weight %d is %v", at, importance[at])
		}
		for i, v := range importance {
			if v < 0 {
				return fmt.Errorf("importance weight %d is negative: %v", i, v)
			}
		}
		energy = float64(weight) * p * p
	}
	if p > maxSearchValue || energy > maxSearchEnergy {
		return fmt.Errorf("values up to %v with weights up to %v are beyond the range of the search", peak, weight)
	}
	return nil
}

// peakOf is the largest magnitude, or the index of the first value that is not finite.
func peakOf(v []float32) (float32, int) {
	const magnitude, infinity = 0x7fffffff, 0x7f800000
	var peak uint32
	for i, x := range v {
		if b := math.Float32bits(x) & magnitude; b > peak {
			if b >= infinity {
				return 0, i
			}
			peak = b
		}
	}
	return math.Float32frombits(peak), -1
}
