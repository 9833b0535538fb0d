package arch

import (
	"math"
	"sync"
)

// torch on x86-64 leaves square roots to MKL, which on a processor not of Intel's make refines the processor's estimate of
// 1/sqrt(x) (RSQRTPS) without fused multiply-adds: one result in five is off by one unit in the last place. The reference's
// answers were made on AMD's Zen, whose estimate is what the tables below say; it was read off the processor.
// TestTorchSqrt holds half a million values. torch on arm64 rounds correctly, and MKL's way for Intel's AVX-512 all but one in 160.

// torchSqrt is the square root of x with the reference's bits; a NaN is torch's own, without a sign.
func torchSqrt(x float32) float32 {
	const most = 0x7f7ff000 // from here on, and below normal numbers, MKL rounds correctly
	b := math.Float32bits(x)
	if b < 0x00800000 || b > most {
		if x != x || x < 0 {
			return math.Float32frombits(0x7fc00000)
		}
		return float32(math.Sqrt(float64(x)))
	}
	r := rootEstimate(b)
	s, h := float32(x*r), float32(0.5*r)
	e := float32(0.5 - float32(s*h))
	s = float32(float32(s*e) + s)
	h = float32(float32(h*e) + h)
	return float32(float32(float32(x-float32(s*s))*h) + s)
}

// halfSqrt is the square root of a half, which torch takes without MKL and rounds once more than here; a NaN has the processor's sign.
func halfSqrt(x float32) float32 {
	if !(x >= 0) {
		return math.Float32frombits(0xffc00000)
	}
	return float32(math.Sqrt(float64(x)))
}

// rootEstimate is Zen's RSQRTPS of a normal positive number, given and had as bits: twelve bits of 1/sqrt(x) that depend on whether
// the exponent is even and on the first twelve bits of the fraction. It is a table of the first eight less a correction by the first
// and the last four of the twelve, in units of 2^-13.
func rootEstimate(b uint32) float32 {
	odd, fraction := (b>>23&1)^1, b>>11&0xfff
	start := rootStarts()[odd][fraction>>4]
	less := rootSlopes[odd<<4|fraction>>8] >> (4 * (15 - fraction&15)) & 15
	v := uint32(0x3f000000) + (uint32(start)-uint32(less))<<11
	half := (int32(b>>23) - 127 - int32(odd)) / 2
	return math.Float32frombits(v - uint32(half)<<23)
}

// rootSteps are the differences between the table's neighbours, a letter each, from "a" for none; after 1/sqrt(1) and 1/sqrt(2).
var rootSteps = [2]string{
	"aqqpqqppqppppppoppopooooooooononononnnnnnnmnnmnmnmnmmmmmmmlmmlmlnllmllllllllllkllklklklkkklkkkkkkkkkkjkkjkjkjkjjkjjkjjjjjjjjjijj" +
		"ijjijijijijiijiijiiiiiiiiiiiihiiiihiihihihihihhihhhhihhhhhhhhhhhihhghhhhghhghhghghghghghgghgghgghgggggghgggggggggggggfggggfgggfg",
	"allmlkllllkllklklkklkkkkkjkkkjkjkkjjkjjjjjjjjjjjjijjijijiijiijiiiiiiiiiiiihiihihihihihhihhhihhhhhhhhhhhhghhhghhghghghghgghgghggg" +
		"hggggggggggggggfgggfgggfgfggfgfgffgfgffgffgffffgffffffffffffffffgefffffefffeffeffefeffefefefefeefefeefeefeeefeeefeeeeeefeeeeeeee",
}

// rootSlopes are the corrections: sixteen of four bits each, for each first four bits of a fraction.
var rootSlopes = [32]uint64{
	0x01234567789abcde, 0x01233456789aabcd, 0x012234566789abbc, 0x0122344567789aab,
	0x001223455677899a, 0x011233455667889a, 0x0012233445667889, 0x0011223445566788,
	0x0112233445566778, 0x0011223344556677, 0x0011223334455667, 0x0112223344556667,
	0x0011122333445566, 0x0011222334445556, 0x0011122333445556, 0x0001112233344455,
	0x011233455677899a, 0x0012233455677899, 0x0012233445667788, 0x0012233445566778,
	0x0011223344556677, 0x0111223344556667, 0x0011222334455566, 0x0011222334445566,
	0x0001122233344555, 0x0011122233344455, 0x0011122233344455, 0x0111222333444455,
	0x0001112222333444, 0x0001112222333444, 0x0011112222333344, 0x0011112222333344,
}

// rootStarts adds the steps up.
var rootStarts = sync.OnceValue(func() (t [2][256]uint16) {
	for odd, at := range [2]int{4095, 1696} {
		for i, step := range rootSteps[odd] {
			at -= int(step - 'a')
			t[odd][i] = uint16(at)
		}
	}
	return t
})
