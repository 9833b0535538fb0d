package kernel

import (
	"encoding/binary"
	"math"
)

// half rounds to half precision, ties to even, as ggml does: every NaN becomes 0x7e00 with its sign.
func half(f float32) uint16 {
	const (
		infinity  = 0x7f800000
		overflow  = 0x47800000 // 65536
		subnormal = 0x38800000 // 2^-14
		rebias    = 0x38000000 // 112 << 23, the distance of the exponents' biases
	)
	b := math.Float32bits(f)
	sign := uint16(b>>16) & 0x8000
	b &= 0x7fffffff
	switch {
	case b > infinity:
		return sign | 0x7e00
	case b >= overflow:
		return sign | 0x7c00
	case b < subnormal: // the float adder rounds at the place of the last bit of a subnormal half
		return sign | uint16(math.Float32bits(math.Float32frombits(b)+0.5)-0x3f000000)
	}
	return sign | uint16((b-rebias+0xfff+b>>13&1)>>13)
}

// wide is the float32 of a half.
func wide(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exponent, fraction := uint32(h>>10)&0x1f, uint32(h&0x3ff)
	switch exponent {
	case 0:
		return math.Float32frombits(sign | math.Float32bits(float32(fraction)/(1<<24)))
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+112)<<23 | fraction<<13)
}

func fromHalf(b []byte) float32 { return wide(binary.LittleEndian.Uint16(b)) }

// storeHalf writes f as a half and returns the value that a reader will see.
func storeHalf(b []byte, f float32) float32 {
	h := half(f)
	binary.LittleEndian.PutUint16(b, h)
	return wide(h)
}
