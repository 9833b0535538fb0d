package kernel

import "math"

// quantizeMXFP4 writes blocks of an exponent byte and 32 four-bit floats. The exponent is that of the largest magnitude, less 2,
// from a float32 logarithm, which rounds up just below a power of two.
func quantizeMXFP4(dst []byte, src []float32) {
	const bytes = 17
	for len(src) > 0 {
		x, y := src[:small], dst[:bytes]
		var e byte
		if _, size := peakOf(x); size > 0 {
			log := float32(math.Log2(float64(size)))
			e = byte(truncated(float32(math.Floor(float64(log))) - 2 + 127))
		}
		y[0] = e
		d := halfPower(e)
		// the middles between levels, in units of the block, as bits: compared as integers
		var bounds [7]int32
		for i, b := range [...]float32{0.5, 1.5, 2.5, 3.5, 5, 7, 10} {
			bounds[i] = int32(math.Float32bits(b * d))
			if fp4Values[i+1]*d > math.MaxFloat32 { // infinitely far from everything
				bounds[i] = 0x7f800000
			}
		}
		for i := range 16 {
			y[1+i] = fp4(x[i], &bounds) | fp4(x[i+16], &bounds)<<4
		}
		dst, src = dst[bytes:], src[small:]
	}
}

// halfPower is 2^(e-128): levels are counted in halves.
func halfPower(e byte) float32 {
	if e < 2 {
		return math.Float32frombits(0x00200000 << e)
	}
	return math.Float32frombits(uint32(e-1) << 23)
}

// fp4 is the nearest of 0, 1, 2, 3, 4, 6, 8, 12 in units of the block, with a sign bit: the number of bounds that the magnitude
// exceeds. Halfway goes to the smaller one; 0 has no sign. Bits of magnitudes are ordered as the magnitudes are, which spares
// seven unpredictable branches.
func fp4(x float32, bounds *[7]int32) byte {
	b := math.Float32bits(x)
	a := int32(b &^ (1 << 31))
	if a > 0x7f800000 { // a NaN is nearest to nothing
		return 0
	}
	var level uint32
	for _, bound := range bounds {
		level += uint32(bound-a) >> 31
	}
	sign := b >> 31 & (-level >> 31) // none for level 0
	return byte(level | sign<<3)
}
