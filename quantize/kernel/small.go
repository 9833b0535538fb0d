package kernel

import (
	"encoding/binary"
	"math"

	"quern/convert/gguf"
	"quern/quantize/kernel/lanes"
)

const (
	small      = 32                 // weights of a small block
	mostBlocks = 2 * lanes.MaxWidth // that any set takes in one call
)

// smallFormat is a type whose blocks hold 32 weights: levels 0..most with a scale and a minimum, or 0..2*most-1 around most with
// a scale alone. Without importance a level is a plain rounding; with it the scale is searched as for K-quants.
type smallFormat struct {
	bytes      int
	most       int32
	signed     bool
	candidates []float32
	plain      func(y []byte, x []float32)
	// store writes a block; low is the minimum, not negated.
	store func(y []byte, scale, low float32, levels []byte)
}

var smallFormats = map[gguf.Type]*smallFormat{
	gguf.Q4_0: {bytes: 18, most: 8, signed: true, candidates: scalingCandidates(8), plain: plain4_0, store: store4_0},
	gguf.Q4_1: {bytes: 20, most: 15, candidates: fitCandidates(15, -0.9, 0.05, 36), plain: plain4_1, store: store4_1},
	gguf.Q5_0: {bytes: 22, most: 16, signed: true, candidates: scalingCandidates(16), plain: plain5_0, store: store5_0},
	gguf.Q5_1: {bytes: 24, most: 31, candidates: fitCandidates(31, -0.9, 0.05, 36), plain: plain5_1, store: store5_1},
}

// truncated is the integer part as x86 converts it: what no 32-bit integer holds becomes the smallest one.
func truncated(f float32) int32 {
	if !(f > -1<<31 && f < 1<<31) {
		return math.MinInt32
	}
	return int32(f)
}

// nearestLevel is the truncation of v, which has its half added, as a signed byte, cut at most.
func nearestLevel(v float32, most int32) byte { return byte(min(most, int32(int8(truncated(v))))) }

// span is the smallest and the largest value. It starts from the outermost floats, so a block of NaNs alone keeps those, as it does
// in the reference.
func span(x []float32) (low, high float32) {
	low, high = math.MaxFloat32, -math.MaxFloat32
	for _, v := range x {
		if v < low {
			low = v
		}
		if v > high {
			high = v
		}
	}
	return low, high
}

// Without importance a block is as good as its two outermost values: one pass finds them, a second rounds.

func plain4_0(y []byte, x []float32) {
	levels, d := signedLevels(x, 8)
	store4_0(y, d, 0, levels[:])
}

func plain5_0(y []byte, x []float32) {
	levels, d := signedLevels(x, 16)
	store5_0(y, d, 0, levels[:])
}

// signedLevels puts the value of largest magnitude at level 0, the only one without a counterpart of the other sign: so the whole
// range is used. The half that rounds and the offset are one constant, as in the reference: added one after the other they could
// round twice.
func signedLevels(x []float32, most float32) (levels [small]byte, d float32) {
	peak, _ := peakOf(x)
	d = peak / -most
	id := inverse(d)
	for i, v := range x {
		levels[i] = nearestLevel(float32(v*id)+(most+0.5), int32(2*most-1))
	}
	return levels, d
}

func plain4_1(y []byte, x []float32) {
	// values less their minimum are not negative: adding a half and cutting is rounding
	low, high := span(x)
	d := (high - low) / 15
	id := inverse(d)
	var levels [small]byte
	for i, v := range x {
		levels[i] = nearestLevel(float32((v-low)*id)+0.5, 15)
	}
	store4_1(y, d, low, levels[:])
}

func plain5_1(y []byte, x []float32) {
	low, high := span(x)
	d := (high - low) / 31
	id := inverse(d)
	var levels [small]byte
	for i, v := range x {
		levels[i] = byte(truncated(float32((v-low)*id) + 0.5)) // not cut: beyond five bits nothing is stored
	}
	store5_1(y, d, low, levels[:])
}

// Blocks of 32 weights (ggml-common.h): a scale, a minimum where there is one, the fifth bits as one word, nibbles.

func store4_0(y []byte, scale, _ float32, levels []byte) {
	binary.LittleEndian.PutUint16(y, half(scale))
	packHalves(y[2:18], levels)
}

func store4_1(y []byte, scale, low float32, levels []byte) {
	binary.LittleEndian.PutUint16(y, half(scale))
	binary.LittleEndian.PutUint16(y[2:], half(low))
	packHalves(y[4:20], levels)
}

func store5_0(y []byte, scale, _ float32, levels []byte) {
	binary.LittleEndian.PutUint16(y, half(scale))
	binary.LittleEndian.PutUint32(y[2:], fifthBits(levels))
	packHalves(y[6:22], levels)
}

func store5_1(y []byte, scale, low float32, levels []byte) {
	binary.LittleEndian.PutUint16(y, half(scale))
	binary.LittleEndian.PutUint16(y[2:], half(low))
	binary.LittleEndian.PutUint32(y[4:], fifthBits(levels))
	packHalves(y[8:24], levels)
}

// packHalves stores the nibbles of level i and i+16 in one byte.
func packHalves(q, levels []byte) {
	for i := 0; i < 16; i += 8 {
		putEight(q[i:], eight(levels[i:])&nibbles|eight(levels[i+16:])&nibbles<<4)
	}
}

// fifthBits gathers the bits above the nibbles, that of level 0 lowest.
func fifthBits(levels []byte) (h uint32) {
	for i, l := range levels[:small] {
		h |= uint32(l>>4&1) << i
	}
	return h
}

// smallBatch searches small blocks with importance, a few groups of lanes at a time.
type smallBatch struct {
	set        *lanes.Set
	x, w       [small * mostBlocks]float32 // tiles
	aux        [small * mostBlocks]float32
	state      [lanes.Vectors * mostBlocks]float32
	source     [small * mostBlocks]float32 // natural order, filled up with zeros
	importance [small * mostBlocks]float32
	energy     [mostBlocks]float32 // the mean square that goes into a block's weights
	redone     int                 // blocks that left the vector path
}

// quantizeSmall writes rows of small blocks.
func (b *smallBatch) quantizeSmall(f *smallFormat, dst []byte, src []float32, rowLen int, importance []float32) {
	if importance == nil {
		for len(src) > 0 {
			f.plain(dst[:f.bytes], src[:small])
			dst, src = dst[f.bytes:], src[small:]
		}
		return
	}
	var par parameters
	if b.set != nil {
		if par = fitParameters(b.set.Width, f.most, f.candidates); f.signed {
			par = scalingParameters(b.set.Width, f.most, f.candidates)
		}
	}
	for len(src) > 0 {
		row := src[:rowLen]
		// these types weigh by the mean square of the whole row, K-quants by that of the super-block
		energy := squares(row) / float32(rowLen)
		for at := 0; at < rowLen; {
			n := b.fill(row[at:], importance[at:], func([]float32) float32 { return energy })
			b.searchSmall(f, dst, n, par)
			at += n * small
			dst = dst[n*f.bytes:]
		}
		src = src[rowLen:]
	}
}

// capacity is how many blocks go together.
func (b *smallBatch) capacity() int {
	if b.set == nil {
		return 1
	}
	return b.set.Groups * b.set.Width
}

// fill takes the next blocks of a row with their importance (nil: none) and mean squares; it returns how many.
func (b *smallBatch) fill(x, importance []float32, energy func(block []float32) float32) int {
	n := min(b.capacity(), len(x)/small)
	copy(b.source[:], x[:n*small])
	clear(b.source[n*small : b.capacity()*small]) // lanes without a block do zeros, which nobody reads
	if importance != nil {
		copy(b.importance[:], importance[:n*small])
	}
	for k := range n {
		b.energy[k] = energy(x[k*small : (k+1)*small])
	}
	return n
}

// tiles brings the blocks and their weights into tiles: importance * sqrt(energy + x^2), or x^2 without importance.
func (b *smallBatch) tiles(weighted bool) {
	width, rows := b.set.Width, small*b.set.Width
	for g := range b.set.Groups {
		x, w := &b.x[g*rows], &b.w[g*rows]
		b.set.Transpose(x, &b.source[g*rows], small, small)
		if !weighted {
			b.set.WeightSquare(w, x, small)
			continue
		}
		b.set.Transpose(w, &b.importance[g*rows], small, small)
		b.set.WeightRow(w, x, &b.energy[g*width])
	}
}

// block copies the values and the weights of block k, in scalar code.
func (b *smallBatch) block(k int, weighted bool) (x, w []float32) {
	x = b.source[k*small : (k+1)*small]
	w = make([]float32, small)
	for i, v := range x {
		if w[i] = v * v; weighted {
			w[i] = b.importance[k*small+i] * root(b.energy[k]+float32(v*v))
		}
	}
	return x, w
}

func (b *smallBatch) searchSmall(f *smallFormat, dst []byte, n int, par parameters) {
	var levels [small]byte
	if b.set != nil {
		b.tiles(true)
		// both forms read their parameters alike, so one call serves them
		kernel := lanes.Scaling(b.set.Fit32)
		if f.signed {
			kernel = b.set.Scale32
		}
		kernel(&b.x[0], &b.w[0], &b.aux[0], &b.state[0], &par.values[0], par.free, par.clamped)
	}
	for k := range n {
		y := dst[k*f.bytes : (k+1)*f.bytes]
		if b.set == nil || marked(b.of(k, lanes.Redo)) {
			b.redone++ // beyond what vectors round as the reference does
			x, w := b.block(k, true)
			var scale, low float32
			if f.signed {
				scale = scaling(f.most, x, w, levels[:], f.candidates)
			} else {
				scale, low = fit(f.most, x, w, levels[:], f.candidates, false)
			}
			f.store(y, scale, low, levels[:])
			continue
		}
		scale, inverse, base := b.of(k, lanes.Scale), b.of(k, lanes.Inverse), b.of(k, lanes.Base)
		// the vector search keeps sums, no levels: they are rounded once more by the scale that won
		x := b.source[k*small : (k+1)*small]
		switch {
		case f.signed && marked(base): // nothing above tiny: level 0, which is not the level of the value 0
			clear(levels[:])
		case f.signed:
			for i, v := range x {
				levels[i] = byte(f.most + within(nearest(inverse*v), -f.most, f.most-1))
			}
		default:
			for i, v := range x {
				levels[i] = byte(within(nearest(inverse*(v-base)), 0, f.most))
			}
		}
		f.store(y, scale, b.of(k, lanes.Min), levels[:])
	}
}

// of is a field of block k's state.
func (b *smallBatch) of(k, field int) float32 {
	width := b.set.Width
	return b.state[(k/width*lanes.Vectors+field)*width+k%width]
}
