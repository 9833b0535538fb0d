package kernel

import (
	"encoding/binary"

	"quern/convert/gguf"
)

// superblock is what the searches found for 256 weights in 16 groups of 16 or 8 groups of 32, and what of it was stored.
type superblock struct {
	scale, min [16]float32 // of each group; values are scale*level - min
	// With importance the scales themselves are fitted: the common scale and the levels of scales and minima.
	scales, mins fitted
	zero         bool // Q6_K: nothing above 1e-15, the block is all zero bytes
	// As a reader will see them: the scale and the minimum with which the levels are computed.
	step, base [16]float32
}

// fitted is a group of scales in quantized form.
type fitted struct {
	unit   float32
	levels [16]byte
}

// superFormat is one K-quant type: its search and its block.
type superFormat struct {
	typ   gguf.Type
	bytes int
	group int      // weights of a group: 16 or 32
	most  int32    // levels are 0..most, or -most..most-1 where signed
	limit [3]int16 // lowest and highest level, and what is added for storing
	// candidates of the search without and with importance
	plain, weighted []float32
	// scale encodes the groups' scales at their place in the block and fills step and base
	scale func(f *superFormat, y []byte, b *superblock, weighted bool)
	// pack writes the levels, one a byte, into the block; it may use them up
	pack func(y, levels []byte)
}

func (f *superFormat) groups() int  { return super / f.group }
func (f *superFormat) signed() bool { return f.limit[0] < 0 }

const super = 256 // weights of a super-block

// fitCandidates are most + from + step*i (the parameters of make_qkx2_quants and make_qkx3_quants).
func fitCandidates(most, from, step float32, count int) (c []float32) {
	for i := range count + 1 {
		c = append(c, float32(float32(from+float32(step*float32(i)))+most))
	}
	return c
}

// scalingCandidates are -most, then -(most + i/10) for i from -9 to 9 but 0 (make_qx_quants).
func scalingCandidates(most float32) []float32 {
	c := []float32{-most}
	for i := -9; i <= 9; i++ {
		if i != 0 {
			c = append(c, -float32(most+float32(float32(0.1)*float32(i))))
		}
	}
	return c
}

// positiveCandidates are most + i/10 for i from -4 to 4 but 0 (make_qp_quants).
func positiveCandidates(most float32) (c []float32) {
	for i := -4; i <= 4; i++ {
		if i != 0 {
			c = append(c, float32(float32(float32(0.1)*float32(i))+most))
		}
	}
	return c
}

// The candidates of the second level, which several types share.
var (
	scaling32  = scalingCandidates(32)
	positive15 = positiveCandidates(15)
	positive63 = positiveCandidates(63)
)

var superFormats = map[gguf.Type]*superFormat{
	gguf.Q2_K: {typ: gguf.Q2_K, bytes: 84, group: 16, most: 3, limit: [3]int16{0, 3, 0},
		plain: fitCandidates(3, -0.5, 0.1, 15), weighted: fitCandidates(3, -0.9, 0.05, 36), scale: scale2, pack: func(y, l []byte) { pack2(y[16:80], l) }},
	gguf.Q3_K: {typ: gguf.Q3_K, bytes: 110, group: 16, most: 4, limit: [3]int16{-4, 3, 4},
		plain: []float32{-4}, weighted: scalingCandidates(4), scale: scale3, pack: pack3},
	gguf.Q4_K: {typ: gguf.Q4_K, bytes: 144, group: 32, most: 15, limit: [3]int16{0, 15, 0},
		plain: fitCandidates(15, -1, 0.1, 20), weighted: fitCandidates(15, -0.9, 0.05, 36), scale: scale45, pack: func(y, l []byte) { pack4(y[16:], l) }},
	gguf.Q5_K: {typ: gguf.Q5_K, bytes: 176, group: 32, most: 31, limit: [3]int16{0, 31, 0},
		plain: fitCandidates(31, -0.5, 0.1, 15), weighted: fitCandidates(31, -0.9, 0.05, 36), scale: scale45, pack: func(y, l []byte) { pack5(y[16:], l) }},
	gguf.Q6_K: {typ: gguf.Q6_K, bytes: 210, group: 16, most: 32, limit: [3]int16{-32, 31, 32},
		plain: scaling32, weighted: scaling32, scale: scale6, pack: pack6},
}

// byPeak quantizes scales against the largest one: levels 0..most. The unit is divided anew and not 1/inverse, which may differ in
// the last bit.
func byPeak(v []float32, most float32) (q fitted, peak float32) {
	for _, s := range v {
		if s > peak {
			peak = s
		}
	}
	var inverse float32
	if peak > 0 {
		inverse = most / peak
	}
	for i, s := range v {
		q.levels[i] = byte(nearest(inverse * s))
	}
	q.unit = peak / most
	return q, peak
}

// scale2 writes Q2_K's scales: 16 bytes of two nibbles (scale, minimum), and after the levels their units.
func scale2(_ *superFormat, y []byte, b *superblock, weighted bool) {
	s, m := b.scales, b.mins
	if !weighted {
		s, _ = byPeak(b.scale[:], 15)
		m, _ = byPeak(b.min[:], 15)
	}
	// levels are computed with the scales as half precision holds them: what a reader will multiply by
	d, dm := storeHalf(y[80:], s.unit), storeHalf(y[82:], m.unit)
	for j := range 16 {
		code := s.levels[j] | m.levels[j]<<4
		y[j] = code
		b.step[j], b.base[j] = float32(d*float32(code&15)), float32(dm*float32(code>>4))
	}
}

// scale3 writes Q3_K's 16 signed scales of six bits: low nibbles in 8 bytes, high pairs in 4, and the unit.
func scale3(_ *superFormat, y []byte, b *superblock, weighted bool) {
	s := b.scales // levels with offset 32
	if !weighted {
		s = fitted{}
		if peak, _ := peakOf(b.scale[:]); peak != 0 {
			inverse := -32 / peak
			for j, v := range b.scale {
				// by way of a signed byte, in which the reference keeps it before it clamps
				s.levels[j] = byte(within(int32(int8(nearest(inverse*v))), -32, 31) + 32)
			}
			s.unit = 1 / inverse
		}
	}
	code := y[96:108]
	clear(code)
	for j, v := range s.levels {
		if j < 8 {
			code[j] = v & 15
		} else {
			code[j-8] |= v << 4
		}
		code[8+j%4] |= v >> 4 << (2 * (j / 4))
	}
	d := storeHalf(y[108:], s.unit)
	for j := range 16 { // what was stored: codes of more than six bits spill over
		v := code[j&7]>>(4*(j>>3))&15 | code[8+j%4]>>(2*(j/4))&3<<4
		b.step[j], b.base[j] = float32(d*float32(int32(v)-32)), 0
	}
}

// scale45 writes the units and the eight pairs of six-bit scales and minima of Q4_K and Q5_K.
func scale45(f *superFormat, y []byte, b *superblock, weighted bool) {
	s, m := b.scales, b.mins
	if !weighted {
		s, _ = byPeak(b.scale[:8], 63)
		m, _ = byPeak(b.min[:8], 63)
	}
	d, dm := storeHalf(y, s.unit), storeHalf(y[2:], m.unit)
	code := y[4:16]
	clear(code)
	for j := range 8 {
		ls, lm := s.levels[j], m.levels[j]
		if !weighted || f.typ == gguf.Q5_K { // the reference does not clamp Q4_K's codes with importance
			ls, lm = min(63, ls), min(63, lm)
		}
		if j < 4 {
			code[j], code[j+4] = ls, lm
		} else {
			code[j+4] = ls&15 | lm<<4
			code[j-4] |= ls >> 4 << 6
			code[j] |= lm >> 4 << 6
		}
	}
	for j := range 4 { // what was stored: unclamped codes spill into their neighbours
		b.step[j], b.base[j] = float32(d*float32(code[j]&63)), float32(dm*float32(code[j+4]&63))
		b.step[j+4] = float32(d * float32(code[j+8]&15|code[j]>>6<<4))
		b.base[j+4] = float32(dm * float32(code[j+8]>>4|code[j+4]>>6<<4))
	}
}

// scale6 writes Q6_K's 16 signed byte scales and their unit, after the levels.
func scale6(_ *superFormat, y []byte, b *superblock, _ bool) {
	peak, size := peakOf(b.scale[:])
	if b.zero = size < tiny; b.zero { // steps of one keep the rounding that follows away from a division by zero
		for j := range 16 {
			b.step[j], b.base[j] = 1, 0
		}
		return
	}
	// the largest scale becomes -128, whatever its sign: a signed byte has no +128
	inverse := -128 / peak
	d := storeHalf(y[208:], 1/inverse)
	for j, v := range b.scale {
		s := int8(min(127, nearest(inverse*v)))
		y[192+j] = byte(s)
		b.step[j], b.base[j] = float32(d*float32(s)), 0
	}
}

// finish writes a block from its levels; zero blocks of Q6_K have level 0, not the level of the value 0.
func (f *superFormat) finish(y []byte, b *superblock, levels []byte) {
	if b.zero {
		clear(y)
		return
	}
	f.pack(y, levels)
}

// Packing works on eight levels at a time.
const (
	nibbles = 0x0f0f0f0f0f0f0f0f
	pairs   = 0x0303030303030303
	bits    = 0x0101010101010101
)

func eight(b []byte) uint64       { return binary.LittleEndian.Uint64(b) }
func putEight(b []byte, v uint64) { binary.LittleEndian.PutUint64(b, v) }

// pack2: level i of each run of 128 stands with those at +32, +64 and +96 in one byte.
func pack2(q, l []byte) {
	for j := 0; j < super; j += 128 {
		for i := 0; i < 32; i += 8 {
			putEight(q[j/4+i:], eight(l[j+i:])|eight(l[j+i+32:])<<2|eight(l[j+i+64:])<<4|eight(l[j+i+96:])<<6)
		}
	}
}

// pack3: the third bits first, eight runs of 32 in one byte each, then the low pairs.
func pack3(y, l []byte) {
	for i := 0; i < 32; i += 8 {
		var high uint64
		for run := range 8 {
			v := eight(l[run*32+i:])
			high |= v >> 2 & bits << run
			putEight(l[run*32+i:], v&pairs)
		}
		putEight(y[i:], high)
	}
	pack2(y[32:96], l)
}

// pack4: level i of each run of 64 with the one at +32.
func pack4(q, l []byte) {
	for j := 0; j < super; j += 64 {
		for i := 0; i < 32; i += 8 {
			putEight(q[j/2+i:], eight(l[j+i:])|eight(l[j+i+32:])<<4)
		}
	}
}

// pack5: the fifth bits of eight runs of 32, then nibbles as pack4 does.
func pack5(y, l []byte) {
	high, low := y[:32], y[32:160]
	for i := 0; i < 32; i += 8 {
		var h uint64
		for j := 0; j < super; j += 64 {
			a, b := eight(l[j+i:]), eight(l[j+i+32:])
			h |= a>>4&bits<<(j/32) | b>>4&bits<<(j/32+1)
			putEight(low[j/2+i:], a&nibbles|b&nibbles<<4)
		}
		putEight(high[i:], h)
	}
}

// pack6: nibbles of i with +64, of i+32 with +96, then the high pairs of all four in one byte.
func pack6(y, l []byte) {
	low, high := y[:128], y[128:192]
	for j := 0; j < super; j += 128 {
		for i := 0; i < 32; i += 8 {
			a, b, c, d := eight(l[j+i:]), eight(l[j+i+32:]), eight(l[j+i+64:]), eight(l[j+i+96:])
			putEight(low[j/2+i:], a&nibbles|c&nibbles<<4)
			putEight(low[j/2+i+32:], b&nibbles|d&nibbles<<4)
			putEight(high[j/4+i:], a>>4&pairs|b>>4&pairs<<2|c>>4&pairs<<4|d>>4&pairs<<6)
		}
	}
}
