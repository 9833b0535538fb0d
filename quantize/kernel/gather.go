package kernel

import (
	"math"

	"quern/convert/gguf"
	"quern/quantize/kernel/lanes"
)

// parameters are what a search kernel reads: levels in all lanes, then one candidate after the other.
type parameters struct {
	values        []float32
	free, clamped int
}

type parameterKey struct {
	set      *lanes.Set
	typ      gguf.Type
	weighted bool
}

// parameterSets has the parameters of every set, type and importance; it is complete before the first use.
var parameterSets = func() map[parameterKey]parameters {
	all := map[parameterKey]parameters{}
	for _, set := range lanes.Sets() {
		for typ, f := range superFormats {
			for _, weighted := range []bool{false, true} {
				all[parameterKey{set, typ, weighted}] = f.parameters(set.Width, weighted)
			}
		}
	}
	return all
}()

func (f *superFormat) parameters(width int, weighted bool) parameters {
	candidates := f.plain
	if weighted {
		candidates = f.weighted
	}
	if f.signed() {
		return scalingParameters(width, f.most, candidates)
	}
	return fitParameters(width, f.most, candidates)
}

// Limits stand in all lanes, since clamping reads them for each weight; a candidate is broadcast once for a whole group.

func fitParameters(width int, most int32, candidates []float32) parameters {
	p := parameters{values: append(filled(width, float32(most)), candidates...)}
	p.free, p.clamped = clampFrom(candidates, most)
	return p
}

func scalingParameters(width int, most int32, candidates []float32) parameters {
	p := parameters{values: append(append(filled(width, float32(most-1)), filled(width, -float32(most))...), candidates...)}
	p.free, p.clamped = clampFrom(candidates[1:], most)
	return p
}

// clampFrom counts the candidates that cannot round beyond most, and the others; their magnitudes grow. The first ones go through
// a loop without a clamp.
func clampFrom(candidates []float32, most int32) (free, clamped int) {
	for _, c := range candidates {
		if magnitude(c) < float32(most)+0.49 {
			free++
		}
	}
	return free, len(candidates) - free
}

func filled(n int, v float32) []float32 {
	r := make([]float32, n)
	for i := range r {
		r[i] = v
	}
	return r
}

// marked tells whether a lane of a state's mark vector is set.
func marked(v float32) bool { return math.Float32bits(v) != 0 }

// weigh fills the tile of weights and, with importance, their sums by group. What a weight is differs by type without a reason that
// shows (ggml-quants.c, quantize_row_q*_K_impl and _ref): by magnitude, by square, by both with a mean.
func (b *batch) weigh(f *superFormat, weighted bool) {
	x, w := &b.x[0], &b.w[0]
	if weighted {
		b.set.Transpose(w, &b.importance[0], super, super)
		if f.typ != gguf.Q6_K { // Q6_K weighs by the importance alone
			factors := [2]float32{2, 1.0 / super}
			if f.typ == gguf.Q2_K {
				factors[0] = 1
			}
			b.set.WeightImportance(w, x, &b.sums[0], &factors[0], f.group)
		}
		return
	}
	switch f.typ {
	case gguf.Q4_K, gguf.Q5_K:
		b.set.WeightMean(w, x, f.groups())
	case gguf.Q2_K:
		b.set.WeightAbs(w, x, super)
	case gguf.Q6_K:
		b.set.WeightSquare(w, x, super)
	}
}

// vector is one of a group's vectors in the state of the groups.
func (b *batch) vector(g, field int) []float32 {
	at := (g*lanes.Vectors + field) * b.n
	return b.state[at : at+b.n]
}

// gather brings the searches' results to their blocks, and does marked lanes in scalar code.
func (b *batch) gather(f *superFormat, weighted bool) {
	// a tile has the lanes side by side, a block its groups: here the two orders meet
	for g := range f.groups() {
		scale, low, redo := b.vector(g, lanes.Scale), b.vector(g, lanes.Min), b.vector(g, lanes.Redo)
		for k := range b.n {
			s := &b.blocks[k]
			s.scale[g], s.min[g] = scale[k], -low[k]
			if marked(redo[k]) {
				b.redone++
				var x, w [32]float32
				b.column(b.x[:], x[:f.group], g*f.group, k)
				b.column(b.w[:], w[:f.group], g*f.group, k)
				b.group(f, s, g, k, x[:f.group], w[:f.group], weighted)
			}
		}
	}
}

// column copies rows of one lane out of a tile.
func (b *batch) column(tile, to []float32, row, lane int) {
	for i := range to {
		to[i] = tile[(row+i)*b.n+lane]
	}
}

// group does one group in scalar code and keeps its levels: the vector code has none for it.
func (b *batch) group(f *superFormat, s *superblock, g, lane int, x, w []float32, weighted bool) {
	at := g*b.n + lane
	b.scalar[at] = true
	levels := b.spare[at*f.group : (at+1)*f.group]
	candidates := f.plain
	if weighted {
		candidates = f.weighted
	}
	switch {
	case f.typ == gguf.Q3_K && !weighted:
		s.scale[g], s.min[g] = descent(f.most, x, levels), 0
	case f.signed():
		s.scale[g], s.min[g] = scaling(f.most, x, w, levels, candidates), 0
	default: // Q2_K without importance is the one type that counts errors by magnitude
		scale, low := fit(f.most, x, w, levels, candidates, f.typ == gguf.Q2_K && !weighted)
		s.scale[g], s.min[g] = scale, -low
	}
}

// searched writes the levels that the search of a group found. They matter where the stored scale is zero: the reference does not
// divide by it and leaves the levels of its search in the block, though nothing can be read from them.
func (b *batch) searched(f *superFormat, levels []byte, lane, g int, weighted bool) {
	if at := g*b.n + lane; b.scalar[at] {
		copy(levels, b.spare[at*f.group:])
		return
	}
	inverse, base := b.vector(g, lanes.Inverse)[lane], b.vector(g, lanes.Base)[lane]
	for i := range levels {
		at := (g*f.group+i)*b.n + lane
		switch {
		case f.signed() && marked(base):
			levels[i] = 0
		case f.typ == gguf.Q3_K && !weighted:
			levels[i] = byte(int32(b.levelTile[at]) + f.most)
		case f.signed():
			levels[i] = byte(f.most + within(nearest(inverse*b.x[at]), -f.most, f.most-1))
		default:
			levels[i] = byte(within(nearest(inverse*(b.x[at]-base)), 0, f.most))
		}
	}
}

// fitScales runs the second level of Q2_K, Q4_K and Q5_K with importance: the groups' scales, then their minima.
func (b *batch) fitScales(n int, most int32, candidates []float32) {
	// one block a lane here too: scales of all blocks make a tile, weighted by the sums of their groups
	par := append(filled(b.n, float32(most)), candidates...)
	for _, minima := range []bool{false, true} {
		for k := range b.n {
			v := &b.blocks[k].scale
			if minima {
				v = &b.blocks[k].min
			}
			for j := range n {
				b.scaleTile[j*b.n+k] = v[j]
			}
		}
		b.set.Positive(&b.scaleTile[0], &b.sums[0], &b.secondLevels[0], &b.second[0], &par[0], n)
		for k := range b.n {
			r := &b.blocks[k].scales
			if minima {
				r = &b.blocks[k].mins
			}
			*r = fitted{}
			if marked(b.second[lanes.Redo*b.n+k]) {
				b.redone++
				var x, w [16]float32
				b.column(b.scaleTile[:], x[:n], 0, k)
				b.column(b.sums[:], w[:n], 0, k)
				r.unit = positive(most, x[:n], w[:n], r.levels[:], candidates)
				continue
			}
			r.unit = b.second[lanes.Scale*b.n+k]
			if !marked(b.second[lanes.Base*b.n+k]) { // marked: nothing above tiny, all levels 0
				for j := range n {
					r.levels[j] = byte(int32(b.secondLevels[j*b.n+k]))
				}
			}
		}
	}
}

// fitSigned runs the second level of Q3_K with importance.
func (b *batch) fitSigned() {
	for k := range b.n {
		for j, v := range b.blocks[k].scale {
			b.scaleTile[j*b.n+k] = v
		}
	}
	// signed scales: the search of weights serves them, with 32 for the highest level
	par := scalingParameters(b.n, 32, scaling32)
	b.set.Scale16One(&b.scaleTile[0], &b.sums[0], &b.secondLevels[0], &b.second[0], &par.values[0], par.free, par.clamped)
	for k := range b.n {
		r := &b.blocks[k].scales
		*r = fitted{}
		var x, w [16]float32
		b.column(b.scaleTile[:], x[:], 0, k)
		switch {
		case marked(b.second[lanes.Redo*b.n+k]):
			b.redone++
			b.column(b.sums[:], w[:], 0, k)
			r.unit = scaling(32, x[:], w[:], r.levels[:], scaling32)
		case marked(b.second[lanes.Base*b.n+k]):
		default:
			r.unit = b.second[lanes.Scale*b.n+k]
			inverse := b.second[lanes.Inverse*b.n+k]
			for j := range x {
				r.levels[j] = byte(32 + within(nearest(inverse*x[j]), -32, 31))
			}
		}
	}
}

// searchScalar does the searches of one block in scalar code.
func (b *batch) searchScalar(f *superFormat, src []float32, weighted bool) {
	s := &b.blocks[0]
	w := b.w[:super]
	weighScalar(f, w, src, b.importance[:super], b.sums[:f.groups()], weighted)
	for g := range f.groups() {
		b.group(f, s, g, 0, src[g*f.group:(g+1)*f.group], w[g*f.group:(g+1)*f.group], weighted)
	}
	if !weighted {
		return
	}
	n := f.groups()
	s.scales, s.mins = fitted{}, fitted{}
	switch f.typ {
	case gguf.Q2_K:
		s.scales.unit = positive(15, s.scale[:n], b.sums[:n], s.scales.levels[:], positive15)
		s.mins.unit = positive(15, s.min[:n], b.sums[:n], s.mins.levels[:], positive15)
	case gguf.Q4_K, gguf.Q5_K:
		s.scales.unit = positive(63, s.scale[:n], b.sums[:n], s.scales.levels[:], positive63)
		s.mins.unit = positive(63, s.min[:n], b.sums[:n], s.mins.levels[:], positive63)
	case gguf.Q3_K:
		s.scales.unit = scaling(32, s.scale[:n], b.sums[:n], s.scales.levels[:], scaling32)
	}
}

// weighScalar is weigh for one block in natural order.
func weighScalar(f *superFormat, w, x, importance, sums []float32, weighted bool) {
	if !weighted {
		for g := range f.groups() {
			group := x[g*f.group : (g+1)*f.group]
			var mean float32
			if f.typ == gguf.Q4_K || f.typ == gguf.Q5_K {
				mean = root(float32(squares(group) / 32))
			}
			for i, v := range group {
				if f.typ == gguf.Q6_K {
					w[g*f.group+i] = v * v
				} else {
					w[g*f.group+i] = mean + magnitude(v)
				}
			}
		}
		return
	}
	if f.typ == gguf.Q6_K {
		copy(w, importance)
		return
	}
	s := squares(x)
	if f.typ != gguf.Q2_K {
		s = float32(2 * s)
	}
	s = float32(s / super) // rounded: the compiler makes it a product, which could fuse with the sum below
	for g := range sums {
		var sum float32
		for i := g * f.group; i < (g+1)*f.group; i++ {
			w[i] = importance[i] * root(s+float32(x[i]*x[i]))
			sum += float32(w[i])
		}
		sums[g] = sum
	}
}

// squares is the sum of squares in order.
func squares(x []float32) (s float32) {
	for _, v := range x {
		s += float32(v * v)
	}
	return s
}
