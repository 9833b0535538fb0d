package kernel

import (
	"encoding/binary"

	"quern/convert/gguf"
)

// Widening, in the reference's order of products and sums (dequantize_row_* of ggml-quants.c), none of them fused.

// widen has the function of each type that Native widens: one block of src into dst.
var widen = map[gguf.Type]func(dst []float32, src []byte){
	gguf.Q8_0: dequantizeQ8_0, gguf.TQ1_0: dequantizeTQ1_0, gguf.TQ2_0: dequantizeTQ2_0,
	gguf.Q4_0: widen4_0, gguf.Q4_1: widen4_1, gguf.Q5_0: widen5_0, gguf.Q5_1: widen5_1,
	gguf.Q2_K: widen2, gguf.Q3_K: widen3, gguf.Q4_K: widen4, gguf.Q5_K: widen5, gguf.Q6_K: widen6,
	gguf.IQ4NL: func(dst []float32, src []byte) { widenIQ4(dst, src[2:], fromHalf(src)) }, gguf.IQ4XS: widenIQ4XS, gguf.MXFP4: widenMXFP4,
}

// halves gives the 32 levels of nibbles, low ones first.
func halves(q []byte, each func(i int, level byte)) {
	for i, b := range q[:16] {
		each(i, b&15)
		each(i+16, b>>4)
	}
}

func widen4_0(dst []float32, src []byte) {
	d := fromHalf(src)
	halves(src[2:], func(i int, l byte) { dst[i] = float32(int(l)-8) * d })
}

func widen4_1(dst []float32, src []byte) {
	d, m := fromHalf(src), fromHalf(src[2:])
	halves(src[4:], func(i int, l byte) { dst[i] = float32(float32(l)*d) + m })
}

func widen5_0(dst []float32, src []byte) {
	d, high := fromHalf(src), binary.LittleEndian.Uint32(src[2:])
	halves(src[6:], func(i int, l byte) { dst[i] = float32(int(l|byte(high>>i&1)<<4)-16) * d })
}

func widen5_1(dst []float32, src []byte) {
	d, m, high := fromHalf(src), fromHalf(src[2:]), binary.LittleEndian.Uint32(src[4:])
	halves(src[8:], func(i int, l byte) { dst[i] = float32(float32(l|byte(high>>i&1)<<4)*d) + m })
}

// K-quants of 16-weight groups lie in runs of 128: 32 bytes hold four weights each, 32 apart, in bits 0-1, 2-3, 4-5 and 6-7.

func widen2(dst []float32, src []byte) {
	d, m := fromHalf(src[80:]), fromHalf(src[82:])
	for g, code := range src[:16] {
		scale, low := float32(d*float32(code&15)), float32(m*float32(code>>4))
		run, shift := g/8, g%8/2*2
		q := src[16+32*run+16*(g%2):]
		for i := range 16 {
			dst[16*g+i] = float32(scale*float32(q[i]>>shift&3)) - low
		}
	}
}

func widen3(dst []float32, src []byte) {
	d, code := fromHalf(src[108:]), src[96:108]
	for g := range 16 {
		s := code[g&7]>>(4*(g>>3))&15 | code[8+g%4]>>(2*(g/4))&3<<4
		scale := float32(d * float32(int(s)-32))
		run, shift := g/8, g%8/2*2
		q := src[32+32*run+16*(g%2):]
		for i := range 16 {
			level := int(q[i] >> shift & 3)
			if src[16*(g%2)+i]>>(g/2)&1 == 0 { // levels are stored four higher: without the third bit they are below zero
				level -= 4
			}
			dst[16*g+i] = scale * float32(level)
		}
	}
}

// pair45 unpacks scale and minimum j of Q4_K and Q5_K.
func pair45(code []byte, j int) (scale, low byte) {
	if j < 4 {
		return code[j] & 63, code[j+4] & 63
	}
	return code[j+4]&15 | code[j-4]>>6<<4, code[j+4]>>4 | code[j]>>6<<4
}

// Of 32-weight groups two share 32 bytes: the even ones have the low nibbles.

func widen4(dst []float32, src []byte) {
	d, m := fromHalf(src), fromHalf(src[2:])
	for g := range 8 {
		s, l := pair45(src[4:16], g)
		scale, low := float32(d*float32(s)), float32(m*float32(l))
		for i, q := range src[16+32*(g/2) : 48+32*(g/2)] {
			dst[32*g+i] = float32(scale*float32(q>>(4*(g%2))&15)) - low
		}
	}
}

func widen5(dst []float32, src []byte) {
	d, m := fromHalf(src), fromHalf(src[2:])
	for g := range 8 {
		s, l := pair45(src[4:16], g)
		scale, low := float32(d*float32(s)), float32(m*float32(l))
		for i, q := range src[48+32*(g/2) : 80+32*(g/2)] {
			level := q>>(4*(g%2))&15 | src[16+i]>>g&1<<4
			dst[32*g+i] = float32(scale*float32(level)) - low
		}
	}
}

func widen6(dst []float32, src []byte) {
	d := fromHalf(src[208:])
	for g := range 16 { // groups of 16: 8 a run of 128
		run, quarter, second := g/8, g%8/2, 16*(g%2)
		scale := float32(d * float32(int8(src[192+g])))
		low, high := src[64*run+32*(quarter%2)+second:], src[128+32*run+second:]
		for i := range 16 {
			level := low[i]>>(4*(quarter/2))&15 | high[i]>>(2*quarter)&3<<4
			dst[16*g+i] = scale * float32(int(level)-32)
		}
	}
}

func widenIQ4(dst []float32, q []byte, d float32) {
	halves(q, func(i int, l byte) { dst[i] = d * iq4Values[l] })
}

func widenIQ4XS(dst []float32, src []byte) {
	d, high := fromHalf(src), binary.LittleEndian.Uint16(src[2:])
	for g := range 8 {
		s := int(src[4+g/2]>>(4*(g%2))&15) | int(high>>(2*g)&3)<<4
		widenIQ4(dst[32*g:], src[8+16*g:], float32(d*float32(s-32)))
	}
}

// fp4Values are twice the values of a four-bit float (kvalues_mxfp4 in ggml-common.h).
var fp4Values = [16]float32{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}

func widenMXFP4(dst []float32, src []byte) {
	d := halfPower(src[0])
	halves(src[1:], func(i int, l byte) { dst[i] = fp4Values[l] * d })
}
