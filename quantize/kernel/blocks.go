package kernel

// Layouts and arithmetic of the blocks: ggml-common.h and gguf-py's quants.py. All products are rounded to float32
// before anything is added to them, so that no platform fuses them.

import (
	"encoding/binary"
	"math"
)

// scaled is round(x*id), halves away from zero, as the low byte of a 32-bit integer. What no 32-bit integer holds
// becomes 0, as on x86: only where id is infinite, for blocks whose largest value is below 2^-121.
func scaled(x, id float32) int32 {
	v := float32(x * id)
	if !(v > -1<<31 && v < 1<<31) {
		return 0
	}
	n := int32(v)
	return n + int32(2*(v-float32(n)))
}

// inverse is 1/d, and 0 for 0: a block of zeros then gets the level of zero, not of infinity.
func inverse(d float32) float32 {
	if d == 0 {
		return 0
	}
	return 1 / d
}

func largest(v []float32) float32 {
	var most uint32 // the bits of magnitudes are ordered as they are
	for _, x := range v {
		most = max(most, math.Float32bits(x)&0x7FFFFFFF)
	}
	return math.Float32frombits(most)
}

// Q8_0: a half-precision scale and 32 signed bytes.
func quantizeQ8_0(dst []byte, src []float32) {
	for len(src) >= 32 {
		x, q := src[:32:32], dst[:34:34]
		d := largest(x) / 127
		id := inverse(d)
		binary.LittleEndian.PutUint16(q, half(d))
		q = q[2:34]
		for i, v := range x {
			q[i] = byte(scaled(v, id))
		}
		dst, src = dst[34:], src[32:]
	}
}

func dequantizeQ8_0(dst []float32, src []byte) {
	for len(dst) >= 32 {
		d := fromHalf(src)
		for i, q := range src[2:34] {
			dst[i] = float32(int8(q)) * d
		}
		dst, src = dst[32:], src[34:]
	}
}

// ternary is 0, 1 or 2 for what rounds to -1, 0 or 1.
func ternary(x, id float32) byte { return byte(scaled(x, id)) + 1 }

// fifth stores a number of five base-3 digits (below 243) as a byte whose multiples by 3 overflow digit by digit.
func fifth(n byte) byte { return byte((uint16(n)*256 + 242) / 243) }

// TQ1_0: five ternary digits a byte. 160 values as 32 bytes, 80 as 16, the last 16 as four bytes of four digits, a scale.
func quantizeTQ1_0(dst []byte, src []float32) {
	for len(src) >= 256 {
		x := src[:256:256]
		d := largest(x)
		id := inverse(d)
		// the first digit is the highest; four digits leave the lowest place empty
		digits := func(first, step, count int) byte {
			n := byte(0)
			for i := 0; i < 5; i++ {
				n *= 3
				if i < count {
					n += ternary(x[first+i*step], id)
				}
			}
			return fifth(n)
		}
		for i := range 32 {
			dst[i] = digits(i, 32, 5)
		}
		for i := range 16 {
			dst[32+i] = digits(160+i, 16, 5)
		}
		for i := range 4 {
			dst[48+i] = digits(240+i, 4, 4)
		}
		binary.LittleEndian.PutUint16(dst[52:], half(d))
		dst, src = dst[54:], src[256:]
	}
}

func dequantizeTQ1_0(dst []float32, src []byte) {
	for len(dst) >= 256 {
		d := fromHalf(src[52:])
		digits := func(b byte, first, step, count int) {
			for i := 0; i < count; i++ {
				dst[first+i*step] = float32(int(uint16(b)*3>>8)-1) * d
				b *= 3
			}
		}
		for i := range 32 {
			digits(src[i], i, 32, 5)
		}
		for i := range 16 {
			digits(src[32+i], 160+i, 16, 5)
		}
		for i := range 4 {
			digits(src[48+i], 240+i, 4, 4)
		}
		dst, src = dst[256:], src[54:]
	}
}

// TQ2_0: two bits a value, four values that stand 32 apart in a byte, twice; a scale.
func quantizeTQ2_0(dst []byte, src []float32) {
	for len(src) >= 256 {
		x := src[:256:256]
		d := largest(x)
		id := inverse(d)
		for i := range 64 {
			at := i/32*128 + i%32
			dst[i] = ternary(x[at], id) | ternary(x[at+32], id)<<2 | ternary(x[at+64], id)<<4 | ternary(x[at+96], id)<<6
		}
		binary.LittleEndian.PutUint16(dst[64:], half(d))
		dst, src = dst[66:], src[256:]
	}
}

func dequantizeTQ2_0(dst []float32, src []byte) {
	for len(dst) >= 256 {
		d := fromHalf(src[64:])
		for i, b := range src[:64] {
			at := i/32*128 + i%32
			for j := range 4 {
				dst[at+32*j] = float32(int(b>>(2*j)&3)-1) * d
			}
		}
		dst, src = dst[256:], src[66:]
	}
}
