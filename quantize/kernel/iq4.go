package kernel

import (
	"encoding/binary"

	"quern/quantize/kernel/lanes"
)

// iq4Values are the levels of IQ4_NL and IQ4_XS (kvalues_iq4nl in ggml-common.h).
var iq4Values = [16]float32{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}

// iq4Index is the level nearest to v/2, v from -254 to 226. Bounds between levels are multiples of a half and belong to the
// upper level; the reference's comparison of distances is exact there.
var iq4Index = func() (t [481]byte) {
	for i := range t {
		for t[i] < 15 && float32(i-254) >= iq4Values[t[i]]+iq4Values[t[i]+1] {
			t[i]++
		}
	}
	return t
}()

// nearestIQ4 is the level nearest to f; for a NaN it is the last one, where the reference's binary search ends. The conversion
// matters as in nearest: v+v with a product for v would be fused.
func nearestIQ4(f float32) byte {
	v := float32(f)
	switch {
	case v <= -127:
		return 0
	case !(v < 113):
		return 15
	}
	twice := 2 * v
	i := int32(twice)
	if float32(i) > twice {
		i--
	}
	return iq4Index[i+254]
}

// iq4Candidates are the constants of the inverse scales: -127-7 to -127+7.
var iq4Candidates = func() (c []float32) {
	for i := -7; i <= 7; i++ {
		c = append(c, float32(i)+iq4Values[0])
	}
	return c
}()

// scaleIQ4 searches x ~ scale*value over the 16 values.
func scaleIQ4(x, w []float32) float32 {
	peak, size := peakOf(x)
	if size < tiny {
		return 0
	}
	sums := func(inverse float32) (a, b float32) {
		for i, v := range x {
			q := iq4Values[nearestIQ4(inverse*v)]
			a += float32(w[i] * q * v)
			b += float32(w[i] * q * q)
		}
		return a, b
	}
	var scale float32
	a, b := sums(1 / (peak / -iq4Values[0])) // two divisions, as the reference has a scale first and inverts it
	if b > 0 {
		scale = a / b
	}
	best := scale * a
	for _, c := range iq4Candidates {
		a, b = sums(c / peak)
		if b > 0 && a*a > best*b {
			scale = a / b
			best = scale * a
		}
	}
	return scale
}

// iq4Parameters are what Table32 reads.
func iq4Parameters(set *lanes.Set) []float32 {
	if set == nil {
		return nil
	}
	return append(filled(set.Width, -iq4Values[0]), iq4Candidates...)
}

// scalesIQ4 searches the scales of the n blocks that were filled in.
func (b *smallBatch) scalesIQ4(n int, weighted bool, par []float32, scales []float32) {
	if b.set != nil {
		b.tiles(weighted)
		b.set.Table32(&b.x[0], &b.w[0], &b.state[0], &par[0], len(iq4Candidates))
	}
	for k := range n {
		if b.set == nil || marked(b.of(k, lanes.Redo)) {
			b.redone++
			scales[k] = scaleIQ4(b.block(k, weighted))
			continue
		}
		scales[k] = b.of(k, lanes.Scale)
	}
}

// quantizeIQ4NL writes blocks of a half-precision scale and 32 nibbles.
func (b *smallBatch) quantizeIQ4NL(dst []byte, src []float32, rowLen int, importance []float32) {
	const bytes = 18
	par := iq4Parameters(b.set)
	var scales [mostBlocks]float32
	energy := func(x []float32) float32 { return squares(x) * (2.0 / small) }
	for at := 0; at < len(src); {
		column := at % rowLen
		var weights []float32
		if importance != nil {
			weights = importance[column:]
		}
		n := b.fill(src[at:at+rowLen-column], weights, energy)
		b.scalesIQ4(n, importance != nil, par, scales[:])
		for k, d := range scales[:n] {
			binary.LittleEndian.PutUint16(dst, half(d))
			packIQ4(dst[2:bytes], src[at+k*small:at+(k+1)*small], inverse(d))
			dst = dst[bytes:]
		}
		at += n * small
	}
}

// packIQ4 stores the levels of i and i+16 in one byte.
func packIQ4(q []byte, x []float32, inverse float32) {
	for i := range 16 {
		q[i] = nearestIQ4(float32(inverse*x[i])) | nearestIQ4(float32(inverse*x[i+16]))<<4
	}
}

// quantizeIQ4XS writes super-blocks: a half-precision unit, eight scales of six bits (high pairs, low nibbles), 256 nibbles.
func (b *smallBatch) quantizeIQ4XS(dst []byte, src []float32, rowLen int, importance []float32) {
	const bytes, groups = 136, super / small
	par := iq4Parameters(b.set)
	var scales [mostBlocks]float32
	for at := 0; at < len(src); {
		column := at % rowLen
		// whole super-blocks only; the scalar form holds one small block at a time
		count := max(1, b.capacity()/groups) * super
		count = min(count, rowLen-column)
		for from := 0; from < count; {
			var weights []float32
			if importance != nil {
				weights = importance[column+from:]
			}
			block, energy := from, float32(0)
			n := b.fill(src[at+from:at+count], weights, func([]float32) float32 {
				if block%super == 0 || block == from { // once for all small blocks of a super-block
					energy = squares(src[at+block/super*super:][:super]) * (2.0 / super)
				}
				block += small
				return energy
			})
			b.scalesIQ4(n, importance != nil, par, scales[from/small:])
			from += n * small
		}
		for s := 0; s < count/super; s++ {
			storeIQ4XS(dst[:bytes], src[at+s*super:at+(s+1)*super], scales[s*groups:(s+1)*groups])
			dst = dst[bytes:]
		}
		at += count
	}
}

func storeIQ4XS(y []byte, x, scales []float32) {
	var peak, size float32
	for _, s := range scales {
		if a := magnitude(s); a > size {
			size, peak = a, s
		}
	}
	// scales are signed six-bit numbers around 32; the largest is put at the end that reaches one further
	d := -peak / 32
	binary.LittleEndian.PutUint16(y, half(d))
	id := inverse(d)
	var high uint16
	clear(y[4:8])
	for g, s := range scales {
		l := within(nearest(id*s), -32, 31)
		// levels by the scale as it is stored, not as it was found
		packIQ4(y[8+16*g:24+16*g], x[g*small:(g+1)*small], inverse(float32(d*float32(l))))
		l += 32
		y[4+g/2] |= byte(l&15) << (4 * (g % 2))
		high |= uint16(l>>4) << (2 * g)
	}
	binary.LittleEndian.PutUint16(y[2:], high)
}
