package kernel

import (
	"quern/convert/gguf"
	"quern/quantize/kernel/lanes"
)

// batch quantizes super-blocks, as many at a time as the vector set has lanes; without a set, one. It is the scratch memory of
// one goroutine, about 200 KB.
type batch struct {
	set *lanes.Set
	n   int // lanes

	x, w         [super * lanes.MaxWidth]float32 // tiles: values, weights
	aux          [64 * lanes.MaxWidth]float32    // of the groups in flight
	levelTile    [super * lanes.MaxWidth]float32 // Q3_K's levels
	state        [16 * lanes.Vectors * lanes.MaxWidth]float32
	second       [lanes.Vectors * lanes.MaxWidth]float32 // state of the fit of scales
	sums         [16 * lanes.MaxWidth]float32            // of weights, by group
	scaleTile    [16 * lanes.MaxWidth]float32            // scales or minima of all lanes
	secondLevels [16 * lanes.MaxWidth]float32

	source, importance [super * lanes.MaxWidth]float32 // natural order, for a last batch that is not full, and importance
	out                [lanes.MaxWidth * super]byte
	levels             [super * lanes.MaxWidth]byte
	steps, bases       [16 * lanes.MaxWidth]float32 // natural order
	blocks             [lanes.MaxWidth]superblock
	spare              [super * lanes.MaxWidth]byte // levels of groups that scalar code did
	scalar             [16 * lanes.MaxWidth]bool    // which groups those are

	redone int // groups that left the vector path
}

// newBatch prepares a batch for a set, or for scalar code where set is nil.
func newBatch(set *lanes.Set) *batch {
	if set == nil {
		return &batch{n: 1}
	}
	return &batch{set: set, n: set.Width}
}

// quantize writes the blocks of src, rows of rowLen values; importance is nil or of rowLen.
func (b *batch) quantize(f *superFormat, dst []byte, src []float32, rowLen int, importance []float32) {
	count := len(src) / super
	for at := 0; at < count; at += b.n {
		k := min(b.n, count-at)
		x, out := src[at*super:(at+k)*super], dst[at*f.bytes:(at+k)*f.bytes]
		if importance != nil {
			for i := range k {
				o := (at + i) * super % rowLen // a batch may span rows; all have the same importance
				copy(b.importance[i*super:(i+1)*super], importance[o:o+super])
			}
		}
		if k < b.n { // the lanes without a block do zeros
			copy(b.source[:], x)
			clear(b.source[k*super : b.n*super])
			x, out = b.source[:b.n*super], b.out[:b.n*f.bytes]
		}
		b.run(f, out, x, importance != nil)
		if k < b.n {
			copy(dst[at*f.bytes:], out[:k*f.bytes])
		}
	}
}

// run does one full batch.
func (b *batch) run(f *superFormat, out []byte, src []float32, weighted bool) {
	// search, fit and store the scales, then the levels by the scales as stored: the order of the reference, for all lanes at once
	clear(b.scalar[:])
	if b.set == nil {
		b.searchScalar(f, src, weighted)
	} else {
		b.search(f, src, weighted)
	}
	groups := f.groups()
	for k := range b.n {
		s := &b.blocks[k]
		s.zero = false
		f.scale(f, out[k*f.bytes:(k+1)*f.bytes], s, weighted)
		copy(b.steps[k*groups:], s.step[:groups])
		copy(b.bases[k*groups:], s.base[:groups])
	}
	b.requantize(f, src)
	for k := range b.n {
		levels := b.levels[k*super : (k+1)*super]
		for g := range groups {
			if b.blocks[k].step[g] == 0 { // nothing to divide by: the levels of the search stay
				b.searched(f, levels[g*f.group:(g+1)*f.group], k, g, weighted)
			}
		}
		f.finish(out[k*f.bytes:(k+1)*f.bytes], &b.blocks[k], levels)
	}
}

// requantize computes the levels of all weights with the scales as stored.
func (b *batch) requantize(f *superFormat, src []float32) {
	if b.set != nil {
		step := 0
		if f.group == 16 {
			step = 4
		}
		b.set.Requantize(&b.levels[0], &src[0], &b.steps[0], &b.bases[0], &f.limit[0], b.n*super/32, step)
		return
	}
	lowest, highest, offset := int32(f.limit[0]), int32(f.limit[1]), int32(f.limit[2])
	for g := range f.groups() {
		d, m := b.steps[g], b.bases[g]
		if d == 0 {
			continue
		}
		for i := g * f.group; i < (g+1)*f.group; i++ {
			b.levels[i] = byte(within(nearest((src[i]+m)/d), lowest, highest) + offset)
		}
	}
}

// search runs the vector searches of all groups and gathers their results by lane.
func (b *batch) search(f *superFormat, src []float32, weighted bool) {
	b.set.Transpose(&b.x[0], &src[0], super, super)
	b.weigh(f, weighted)
	rows, states := f.group*b.n, lanes.Vectors*b.n
	par := parameterSets[parameterKey{b.set, f.typ, weighted}]
	for g := 0; g < f.groups(); g += b.set.Groups {
		x, w, s := &b.x[g*rows], &b.w[g*rows], &b.state[g*states]
		switch {
		case f.typ == gguf.Q3_K && !weighted:
			if g%4 == 0 { // four groups in one call
				b.set.Descent16(x, w, &b.aux[0], &b.levelTile[g*rows], s, &par.values[0])
			}
		case f.signed():
			b.set.Scale16(x, w, &b.aux[0], s, &par.values[0], par.free, par.clamped)
		case f.group == 32:
			b.set.Fit32(x, w, &b.aux[0], s, &par.values[0], par.free, par.clamped)
		case weighted:
			b.set.Fit16(x, w, &b.aux[0], s, &par.values[0], par.free, par.clamped)
		default:
			b.set.Fit16Magnitude(x, w, &b.aux[0], s, &par.values[0], par.free, par.clamped)
		}
	}
	b.gather(f, weighted)
	if !weighted {
		return
	}
	switch f.typ {
	case gguf.Q2_K:
		b.fitScales(16, 15, positive15)
	case gguf.Q4_K, gguf.Q5_K:
		b.fitScales(8, 63, positive63)
	case gguf.Q3_K:
		b.fitSigned()
	}
}
