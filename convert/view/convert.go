package view

// Widening to float32 and rounding back. All little-endian, so that the same bytes come out on every platform.

import (
	"encoding/binary"
	"fmt"
	"math"

	"quern/convert/safetensors"

	"github.com/x448/float16"
)

// Widens tells whether Widen knows the type.
func Widens(d safetensors.DType) bool {
	switch d {
	case safetensors.C64, safetensors.F8E4M3FNUZ, safetensors.F8E5M2FNUZ:
		return false
	}
	return d.Size() > 0
}

// Widen converts len(dst) elements of type d to float32, rounding to nearest even where float32 is too narrow
// (F64 and the wide integers). Bools are 0 and 1. The error says that the type has no meaning as a number here.
func Widen(dst []float32, src []byte, d safetensors.DType) error {
	le := binary.LittleEndian
	src = src[:int64(len(dst))*d.Size()]
	switch d {
	case safetensors.F32:
		for i := range dst {
			dst[i] = math.Float32frombits(le.Uint32(src[4*i:]))
		}
	case safetensors.BF16:
		widenBF16(dst, src)
	case safetensors.F16:
		for i := range dst {
			dst[i] = halves[le.Uint16(src[2*i:])]
		}
	case safetensors.F64:
		for i := range dst {
			dst[i] = float32(math.Float64frombits(le.Uint64(src[8*i:])))
		}
	case safetensors.F8E4M3:
		widenTable(dst, src, &e4m3)
	case safetensors.F8E5M2:
		widenTable(dst, src, &e5m2)
	case safetensors.F8E8M0:
		widenTable(dst, src, &e8m0)
	case safetensors.Bool:
		for i, b := range src {
			dst[i] = 0
			if b != 0 {
				dst[i] = 1
			}
		}
	default:
		return widenInts(dst, src, d)
	}
	return nil
}

// widenBF16 takes four elements a word: the type of nearly every checkpoint, and the loop that hides behind no other work.
func widenBF16(dst []float32, src []byte) {
	for len(dst) >= 4 && len(src) >= 8 {
		w := binary.LittleEndian.Uint64(src)
		dst[0] = math.Float32frombits(uint32(w) << 16)
		dst[1] = math.Float32frombits(uint32(w>>16) << 16)
		dst[2] = math.Float32frombits(uint32(w>>32) << 16)
		dst[3] = math.Float32frombits(uint32(w>>48) << 16)
		dst, src = dst[4:], src[8:]
	}
	for i := range dst {
		dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16)
	}
}

// Table is what each byte of an eight-bit float stands for; nil for other types.
func Table(d safetensors.DType) *[256]float32 {
	switch d {
	case safetensors.F8E4M3:
		return &e4m3
	case safetensors.F8E5M2:
		return &e5m2
	case safetensors.F8E8M0:
		return &e8m0
	}
	return nil
}

func widenTable(dst []float32, src []byte, table *[256]float32) {
	for i, b := range src {
		dst[i] = table[b]
	}
}

// widenInts rounds what float32 cannot hold, to nearest even, as torch converts.
func widenInts(dst []float32, src []byte, d safetensors.DType) error {
	le := binary.LittleEndian
	switch d {
	case safetensors.U8:
		for i, b := range src {
			dst[i] = float32(b)
		}
	case safetensors.I8:
		for i, b := range src {
			dst[i] = float32(int8(b))
		}
	case safetensors.U16:
		for i := range dst {
			dst[i] = float32(le.Uint16(src[2*i:]))
		}
	case safetensors.I16:
		for i := range dst {
			dst[i] = float32(int16(le.Uint16(src[2*i:])))
		}
	case safetensors.U32:
		for i := range dst {
			dst[i] = float32(le.Uint32(src[4*i:]))
		}
	case safetensors.I32:
		for i := range dst {
			dst[i] = float32(int32(le.Uint32(src[4*i:])))
		}
	case safetensors.U64:
		for i := range dst {
			dst[i] = float32(le.Uint64(src[8*i:]))
		}
	case safetensors.I64:
		for i := range dst {
			dst[i] = float32(int64(le.Uint64(src[8*i:])))
		}
	default:
		return fmt.Errorf("elements of type %s cannot be read as numbers", d)
	}
	return nil
}

// Narrow rounds float32 values to F32, F16 or BF16, to nearest even; a NaN becomes quiet in BF16, as in
// ggml-impl.h and gguf-py. F64 is exact. The error says that d is none of these.
func Narrow(dst []byte, src []float32, d safetensors.DType) error {
	le := binary.LittleEndian
	switch d {
	case safetensors.F32:
		dst = dst[:4*len(src)]
		for i, v := range src {
			le.PutUint32(dst[4*i:], math.Float32bits(v))
		}
	case safetensors.BF16:
		narrowBF16(dst[:2*len(src)], src)
	case safetensors.F16:
		narrowF16(dst[:2*len(src)], src)
	case safetensors.F64:
		dst = dst[:8*len(src)]
		for i, v := range src {
			le.PutUint64(dst[8*i:], math.Float64bits(float64(v)))
		}
	default:
		return fmt.Errorf("float32 values cannot be rounded to %s", d)
	}
	return nil
}

// Both loops write four elements as one word, which the compiler does not do by itself.
func narrowF16(dst []byte, src []float32) {
	for ; len(src) >= 4 && len(dst) >= 8; dst, src = dst[8:], src[4:] {
		a, b, c, d := math.Float32bits(src[0]), math.Float32bits(src[1]), math.Float32bits(src[2]), math.Float32bits(src[3])
		if normalHalf(a) && normalHalf(b) && normalHalf(c) && normalHalf(d) {
			binary.LittleEndian.PutUint64(dst, uint64(roundHalf(a))|uint64(roundHalf(b))<<16|uint64(roundHalf(c))<<32|uint64(roundHalf(d))<<48)
			continue
		}
		binary.LittleEndian.PutUint64(dst, uint64(F16(src[0]))|uint64(F16(src[1]))<<16|uint64(F16(src[2]))<<32|uint64(F16(src[3]))<<48)
	}
	for i, v := range src {
		binary.LittleEndian.PutUint16(dst[2*i:], F16(v))
	}
}

func narrowBF16(dst []byte, src []float32) {
	for ; len(src) >= 4 && len(dst) >= 8; dst, src = dst[8:], src[4:] {
		// Two elements in the halves of a word: rounding carries over the end of neither. Half a unit added to a magnitude above
		// infinity's sets its top bit.
		const top, one, half, magnitude, above = 0x8000000080000000, 0x0000000100000001, 0x00007FFF00007FFF, 0x7FFFFFFF7FFFFFFF, 0x007FFFFF007FFFFF
		a := uint64(math.Float32bits(src[0])) | uint64(math.Float32bits(src[1]))<<32
		b := uint64(math.Float32bits(src[2])) | uint64(math.Float32bits(src[3]))<<32
		if ((a&magnitude+above)|(b&magnitude+above))&top != 0 {
			binary.LittleEndian.PutUint64(dst, uint64(BF16(src[0]))|uint64(BF16(src[1]))<<16|uint64(BF16(src[2]))<<32|uint64(BF16(src[3]))<<48)
			continue
		}
		a += half + a>>16&one
		b += half + b>>16&one
		binary.LittleEndian.PutUint64(dst, a>>16&0xFFFF|a>>32&0xFFFF0000|b<<16&0x0000FFFF00000000|b&0xFFFF000000000000)
	}
	for i, v := range src {
		binary.LittleEndian.PutUint16(dst[2*i:], BF16(v))
	}
}

// Round replaces each value by the nearest one of F16 or BF16; other types leave the values alone.
func Round(v []float32, d safetensors.DType) {
	switch d {
	case safetensors.BF16:
		for i, x := range v {
			v[i] = math.Float32frombits(uint32(BF16(x)) << 16)
		}
	case safetensors.F16:
		for i, x := range v {
			v[i] = halves[F16(x)]
		}
	}
}

// BF16 is the bfloat16 nearest to v, ties to even. A NaN keeps its upper bits and becomes quiet.
func BF16(v float32) uint16 {
	u := math.Float32bits(v)
	if u&0x7FFFFFFF > 0x7F800000 {
		return uint16(u>>16) | 0x40
	}
	return uint16((u + 0x7FFF + u>>16&1) >> 16)
}

// F16 is the half-precision number nearest to v, ties to even, infinite from 65520 on. A NaN keeps its upper bits, as
// numpy's astype leaves them (TestRoundingEqualsReference).
func F16(v float32) uint16 {
	u := math.Float32bits(v)
	switch {
	case normalHalf(u):
		return roundHalf(u)
	case u&0x7FFFFFFF > 0x7F800000:
		return uint16(u>>16&0x8000 | 0x7C00 | max(1, u&0x7FFFFF>>13))
	}
	return uint16(float16.Fromfloat32(v))
}

// normalHalf tells whether the float32 with bits u is neither subnormal nor infinite nor NaN as a half.
func normalHalf(u uint32) bool { return u&0x7FFFFFFF-0x38800000 < 0x477FF000-0x38800000 }

// roundHalf is the half for what normalHalf holds of.
func roundHalf(u uint32) uint16 {
	return uint16(u>>16&0x8000 | (u&0x7FFFFFFF+0xFFF+u>>13&1-0x38000000)>>13)
}

// FromF16 is the value of a half-precision number.
func FromF16(h uint16) float32 { return halves[h] }

// halves is 256 KiB that stay in a core's second-level cache; a table beats the bit work by a factor of two.
var halves = func() *[1 << 16]float32 {
	t := new([1 << 16]float32)
	for i := range t {
		t[i] = float16.Frombits(uint16(i)).Float32()
	}
	return t
}()

// E4M3 "fn": no infinities, NaN at all ones (OCP 8-bit floating point specification).
var e4m3 = func() (t [256]float32) {
	for i := range t {
		exp, man := i>>3&15, float64(i&7)
		v := math.Ldexp(1+man/8, exp-7)
		switch {
		case i&0x7F == 0x7F:
			v = math.NaN()
		case exp == 0:
			v = math.Ldexp(man/8, -6)
		}
		if i&0x80 != 0 {
			v = math.Copysign(v, -1)
		}
		t[i] = float32(v)
	}
	return t
}()

// E5M2 is the upper byte of a half.
var e5m2 = func() (t [256]float32) {
	for i := range t {
		t[i] = halves[i<<8]
	}
	return t
}()

// E8M0: a power of two, NaN at 255 (OCP microscaling specification).
var e8m0 = func() (t [256]float32) {
	for i := range t {
		t[i] = float32(math.Ldexp(1, i-127))
	}
	t[255] = float32(math.NaN())
	return t
}()
