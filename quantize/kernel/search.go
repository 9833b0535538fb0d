package kernel

import "math"

// The searches of llama.cpp's quantization (make_qkx2_quants and its siblings in ggml-quants.c), one group at a time: what the
// vector code of package lanes is proven against, what it leaves undone, and all there is on other machines. Every product that
// meets a sum is rounded by float32(): by the language's rules nothing is then fused, on no platform.

// nearest rounds to even by adding 1.5*2^23 and reading the low bits; beyond 4194303 it wraps, as the reference does. The
// conversion of f matters: without it nearest(a*b), inlined, becomes one fused operation.
func nearest(f float32) int32 {
	const shift = 12582912
	return int32(math.Float32bits(float32(f)+shift)&0x007fffff) - 0x00400000
}

func magnitude(f float32) float32 { return math.Float32frombits(math.Float32bits(f) &^ (1 << 31)) }
func root(f float32) float32      { return float32(math.Sqrt(float64(f))) }

// tiny is the magnitude below which the reference takes a group for zero (GROUP_MAX_EPS).
const tiny = float32(1e-15)

func within(level, lowest, highest int32) int32 { return max(lowest, min(highest, level)) }

// fit searches x ~ scale*level + low with levels 0..most and low <= 0, by least squares at every candidate's levels.
// Errors count squared, or by magnitude.
func fit(most int32, x, w []float32, levels []byte, candidates []float32, byMagnitude bool) (scale, low float32) {
	low, high, sumW, sumX := extremes(x, w)
	if high == low { // the same number throughout, at most zero: the minimum alone says it
		clear(levels[:len(x)])
		return 0, low
	}
	distance := func(d float32) float32 {
		if byMagnitude {
			return magnitude(d)
		}
		return d * d
	}
	inverse := float32(most) / (high - low)
	scale = 1 / inverse
	var best float32
	for i, v := range x {
		l := within(nearest(inverse*(v-low)), 0, most)
		levels[i] = byte(l)
		best += float32(w[i] * distance(float32(scale*float32(l))+low-v))
	}
	var try [32]byte
	for _, c := range candidates {
		inverse = c / (high - low)
		var sl, sl2, sxl float32
		for i, v := range x {
			l := within(nearest(inverse*(v-low)), 0, most)
			try[i] = byte(l)
			q := float32(w[i] * float32(l))
			sl += q
			sl2 += float32(q * float32(l))
			sxl += float32(q * v)
		}
		det := float32(sumW*sl2) - float32(sl*sl)
		if !(det > 0) { // all levels equal, or no weight at all: nothing to solve; a NaN ends here too
			continue
		}
		s := (float32(sumW*sxl) - float32(sumX*sl)) / det
		m := (float32(sl2*sumX) - float32(sl*sxl)) / det
		if m > 0 { // a minimum above zero cannot be stored: the best scale that does without
			m = 0
			s = sxl / sl2
		}
		var e float32
		for i, v := range x {
			e += float32(w[i] * distance(float32(s*float32(try[i]))+m-v))
		}
		if e < best {
			copy(levels[:len(x)], try[:])
			best, scale, low = e, s, m
		}
	}
	return scale, low
}

// extremes are the smallest value or 0, the largest, and the sums of weights and of weighted values.
func extremes(x, w []float32) (low, high, sumW, sumX float32) {
	low, high, sumW = x[0], x[0], w[0]
	sumX = sumW * x[0]
	for i := 1; i < len(x); i++ {
		if x[i] < low {
			low = x[i]
		}
		if x[i] > high {
			high = x[i]
		}
		sumW += w[i]
		sumX += float32(w[i] * x[i])
	}
	if low > 0 {
		low = 0
	}
	return low, high, sumW, sumX
}

// peakOf is the first value of the largest magnitude, and that magnitude. Its sign counts: the side that has the largest value gets
// the level more that signed types have there.
func peakOf(x []float32) (peak, most float32) {
	for _, v := range x {
		if a := magnitude(v); a > most {
			most, peak = a, v
		}
	}
	return peak, most
}

// scaling searches x ~ scale*(level-most) with levels 0..2*most-1. The first candidate is the plain one.
func scaling(most int32, x, w []float32, levels []byte, candidates []float32) float32 {
	peak, size := peakOf(x)
	if size < tiny {
		clear(levels[:len(x)])
		return 0
	}
	// the error that a scale leaves is the sum of w*x^2 less a^2/b: the largest a^2/b wins, and is compared without a division
	sums := func(inverse float32) (a, b float32) {
		for i, v := range x {
			l := float32(within(nearest(inverse*v), -most, most-1))
			a += float32(w[i] * v * l)
			b += float32(w[i] * l * l)
		}
		return a, b
	}
	won := candidates[0] / peak
	a, b := sums(won)
	var scale float32
	if b != 0 {
		scale = a / b
	}
	best := scale * a
	for _, c := range candidates[1:] {
		inverse := c / peak
		a, b = sums(inverse)
		if b > 0 && a*a > best*b {
			won = inverse
			scale = a / b
			best = scale * a
		}
	}
	for i, v := range x {
		levels[i] = byte(most + within(nearest(won*v), -most, most-1))
	}
	return scale
}

// descent searches x ~ scale*(level-most) from plain levels by moving one level at a time, at most five rounds. Weights are x^2.
func descent(most int32, x []float32, levels []byte) float32 {
	peak, size := peakOf(x)
	if size < tiny {
		clear(levels[:len(x)])
		return 0
	}
	inverse := -float32(most) / peak
	var l [16]int32
	var a, b float32
	for i, v := range x {
		l[i] = within(nearest(inverse*v), -most, most-1)
		w, f := v*v, float32(l[i])
		a += float32(w * v * f)
		b += float32(w * f * f)
	}
	for range 5 {
		changed := false
		for i, v := range x {
			w, f := v*v, float32(l[i])
			wl := a - float32(w*v*f) // the sums without this weight say which level it should have
			if !(wl > 0) {
				continue
			}
			l2 := b - float32(w*f*f)
			next := within(nearest(v*l2/wl), -most, most-1)
			if next == l[i] {
				continue
			}
			f = float32(next)
			wl += float32(w * v * f)
			l2 += float32(w * f * f)
			if l2 > 0 && wl*wl*b > a*a*l2 {
				l[i], a, b, changed = next, wl, l2, true
			}
		}
		if !changed {
			break
		}
	}
	for i := range x {
		levels[i] = byte(l[i] + most)
	}
	if b > 0 {
		return a / b
	}
	return 0
}

// positive searches x ~ scale*level for values that are not negative, levels 0..most: candidates by squared error, then single
// levels as descent does. Levels wrap to bytes where they exceed most before the first clamp, as in the reference.
func positive(most int32, x, w []float32, levels []byte, candidates []float32) float32 {
	var high float32
	for _, v := range x {
		if !(high > v) { // the reference's MAX, which takes a NaN over
			high = v
		}
	}
	if high < tiny {
		clear(levels[:len(x)])
		return 0
	}
	inverse := float32(most) / high
	scale := 1 / inverse
	var best float32
	for i, v := range x {
		d := v - float32(scale*float32(byte(nearest(inverse*v))))
		best += float32(w[i] * d * d)
	}
	for _, c := range candidates {
		inv := c / high
		s := 1 / inv
		var e float32
		for i, v := range x {
			d := v - float32(s*float32(min(most, nearest(inv*v))))
			e += float32(w[i] * d * d)
		}
		if e < best {
			best, inverse = e, inv
		}
	}
	// the candidates were compared by their plain scales; from here on the scale is the one that fits best, a/b
	var a, b float32
	for i, v := range x {
		l := min(most, nearest(inverse*v))
		levels[i] = byte(l)
		f := float32(l)
		a += float32(w[i] * v * f)
		b += float32(w[i] * f * f)
	}
	for range 5 {
		if !improve(most, x, w, levels, &a, &b) {
			break
		}
	}
	if b > 0 {
		return a / b
	}
	return 0
}

// improve moves each level to the value that fits best with the others as they are; a and b are the sums of w*x*level and
// w*level^2.
func improve(most int32, x, w []float32, levels []byte, a, b *float32) (changed bool) {
	for i, v := range x {
		f := float32(levels[i])
		wl := *a - float32(w[i]*v*f)
		l2 := *b - float32(w[i]*f*f)
		if !(wl > 0 && l2 > 0) {
			continue
		}
		next := min(most, nearest(v*l2/wl))
		if next == int32(levels[i]) {
			continue
		}
		f = float32(next)
		wl += float32(w[i] * v * f)
		l2 += float32(w[i] * f * f)
		if wl*wl**b > *a**a*l2 {
			levels[i], *a, *b, changed = byte(next), wl, l2, true
		}
	}
	return changed
}
