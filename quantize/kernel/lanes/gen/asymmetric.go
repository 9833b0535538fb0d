package main

import "fmt"

// Vectors of one group of lanes in its state: results first, then what a search keeps between candidates.
const (
	stScale   = iota // result: the scale
	stMin            // result: the minimum, not negated
	stInverse        // the inverse scale of the winning candidate, from which the levels follow
	stBase           // asymmetric: the minimum that the winning candidate started from; else: the lanes that are zero
	stRedo           // lanes that the scalar code has to do
	stHigh           // the largest value, or the one of largest magnitude
	stLow            // the smallest value, or the largest magnitude
	stWeight         // sum of weights
	stMoment         // sum of weight * value
	stError          // of the best candidate, or its merit
	stClamped        // min(smallest, 0)
	stCurrent        // inverse scale of the candidate at work
	stValid          // lanes whose system of equations has a solution
	stVectors
)

// group addresses the state and the tiles of group g of n rows.
type group struct {
	k    kernel
	g, n int
	s    gp
}

func (g group) state(f int) mem        { return mem{base: g.s, off: (g.g*stVectors + f) * g.k.bytes} }
func (g group) row(tile gp, i int) mem { return g.k.row(tile, g.g*g.n+i) }
func (g group) get(f int) vec          { return g.k.load(g.state(f)) }
func (g group) put(f int, v vec)       { g.k.store(v, g.state(f)) }
func (g group) getMask(f int) mask     { return g.k.loadMask(g.state(f)) }
func (g group) putMask(f int, m mask)  { g.k.storeMask(m, g.state(f)) }
func (k kernel) groups(count, n int, s gp) (r []group) {
	for g := range count {
		r = append(r, group{k, g, n, s})
	}
	return r
}

// outOfRange marks lanes where rounding (x-low)*inverse could leave the range in which the float rounding is the reference's.
// The argument is monotone in x, so the smallest and the largest x decide.
func (g group) outOfRange(redo mask, inverse, low vec) mask {
	k := g.k
	a := k.abs(k.mul(k.sub(g.get(stLow), low), inverse))
	b := k.abs(k.mul(k.sub(g.get(stHigh), low), inverse))
	return k.either(k.either(redo, k.compare(notLess, a, k.constant(limitBits))), k.compare(notLess, b, k.constant(limitBits)))
}

// deviation is the weighted distance of a fitted value: squared, or its magnitude.
func (k kernel) deviation(d vec, magnitude bool) vec {
	if magnitude {
		return k.abs(d)
	}
	return k.mul(d, d)
}

// asymmetric emits the search of scale and minimum: x ~ scale*level + min with levels 0..most and min <= 0. count groups of n
// rows go together, because a sum of errors is one chain of additions. Candidates are constants c with inverse = c/(high-min);
// the first free ones are below most+0.49, cannot round above most, and need no upper clamp.
func asymmetric(k kernel, n int, magnitude bool, count int) {
	name := fmt.Sprintf("fit%d", n)
	if magnitude {
		name += "Magnitude"
	}
	k.begin(name, fmt.Sprintf("fits %d groups of %d rows by scale and minimum. par is the highest level in all lanes, then the candidates. levels is scratch of %d rows.", count, n, count*n),
		param{"x", "*float32"}, param{"w", "*float32"}, param{"levels", "*float32"}, param{"state", "*float32"}, param{"par", "*float32"}, param{"free", "int"}, param{"clamped", "int"})
	x, w, levels, s, par, left := k.arg("x"), k.arg("w"), k.arg("levels"), k.arg("state"), k.arg("par"), k.arg("free")
	most := mem{base: par}
	groups := k.groups(count, n, s)
	for _, g := range groups {
		k.firstFit(g, x, w, most, magnitude)
	}
	c := k.addressOf(mem{base: par, off: k.bytes})
	for _, clamp := range []bool{false, true} {
		label := "free"
		if clamp {
			label, left = "clamped", k.arg("clamped")
		}
		k.label(label)
		k.candidate(groups, x, w, levels, c, most, clamp, magnitude)
		k.advance(c, 4)
		k.countdown(left, label)
	}
	for _, g := range groups {
		low := g.get(stClamped)
		flat := k.compare(equal, low, g.state(stHigh)) // one value, not positive: scale 0
		g.put(stScale, k.drop(flat, g.get(stScale)))
		g.put(stMin, k.choose(flat, low, g.get(stMin)))
		g.putMask(stRedo, k.either(k.without(g.getMask(stRedo), flat), k.notFinite(g.get(stMoment))))
		g.put(stInverse, k.drop(flat, g.get(stInverse)))
	}
	k.end()
}

// firstFit finds extremes and sums of a group and the error of the plain scale.
func (k kernel) firstFit(g group, x, w gp, most mem, magnitude bool) {
	low, high := k.load(g.row(x, 0)), k.load(g.row(x, 0))
	weight := k.load(g.row(w, 0))
	moment := k.mul(weight, low)
	for i := 1; i < g.n; i++ {
		v, q := k.load(g.row(x, i)), k.load(g.row(w, i))
		k.lower(low, v)
		k.upper(high, v)
		k.sum(weight, q)
		k.sum(moment, k.mul(q, v))
	}
	g.put(stLow, low)
	g.put(stHigh, high)
	g.put(stWeight, weight)
	g.put(stMoment, moment)
	zero := k.zero()
	base := k.copyOf(low)
	k.lower(base, zero) // a negative zero stays, as in the comparison of the reference
	g.put(stClamped, base)
	g.put(stBase, base)
	g.put(stMin, base)
	inverse := k.div(k.load(most), k.sub(high, base))
	g.put(stInverse, inverse)
	g.putMask(stRedo, g.outOfRange(k.notFinite(moment), inverse, base))
	scale := k.div(k.value(k.constant(oneBits)), inverse)
	g.put(stScale, scale)
	e, top := k.zero(), k.load(most)
	for i := range g.n {
		v := k.load(g.row(x, i))
		level := k.max(k.min(k.round(k.mul(inverse, k.sub(v, base))), top), zero)
		d := k.deviation(k.sub(k.add(k.mul(scale, level), base), v), magnitude)
		k.sum(e, k.mul(d, g.row(w, i)))
	}
	g.put(stError, e)
}

// candidate tries the constant at c in all groups: levels, least squares for scale and minimum, error, the better one stays.
func (k kernel) candidate(groups []group, x, w, levels, c gp, most mem, clamp, magnitude bool) {
	zero := k.zero()
	var low, inverse, sl, sl2, sxl, scale, min, e []vec
	for _, g := range groups {
		m := g.get(stMin)
		spread := k.sub(g.get(stHigh), m)
		inv := k.div(k.broadcast(mem{base: c}), spread)
		redo := k.either(g.outOfRange(g.getMask(stRedo), inv, m), k.compare(notLess, k.sub(zero, spread), zero))
		g.putMask(stRedo, redo)
		g.put(stCurrent, inv)
		low, inverse = append(low, m), append(inverse, inv)
		sl, sl2, sxl = append(sl, k.zero()), append(sl2, k.zero()), append(sxl, k.zero())
	}
	var top vec
	if clamp {
		top = k.load(most)
	}
	for i := range groups[0].n {
		for j, g := range groups {
			v := k.load(g.row(x, i))
			level := k.round(k.mul(k.sub(v, low[j]), inverse[j]))
			if clamp {
				level = k.min(level, top)
			}
			level = k.max(level, zero)
			k.store(level, g.row(levels, i))
			q := k.mul(level, g.row(w, i))
			k.sum(sl[j], q)
			k.sum(sl2[j], k.mul(level, q))
			k.sum(sxl[j], k.mul(v, q))
		}
	}
	for j, g := range groups {
		sw, sx := g.get(stWeight), g.get(stMoment)
		det := k.sub(k.mul(sw, sl2[j]), k.mul(sl[j], sl[j]))
		a := k.div(k.sub(k.mul(sw, sxl[j]), k.mul(sx, sl[j])), det)
		b := k.div(k.sub(k.mul(sl2[j], sx), k.mul(sl[j], sxl[j])), det)
		positive := k.compare(greater, b, zero) // such a minimum is cut to 0 and the scale fitted alone
		k.pick(a, positive, k.div(sxl[j], sl2[j]))
		scale, min, e = append(scale, a), append(min, k.drop(positive, b)), append(e, k.zero())
		g.putMask(stValid, k.compare(greater, det, zero))
	}
	for i := range groups[0].n {
		for j, g := range groups {
			d := k.sub(k.add(k.mul(scale[j], g.row(levels, i)), min[j]), g.row(x, i))
			k.sum(e[j], k.mul(k.deviation(d, magnitude), g.row(w, i)))
		}
	}
	for j, g := range groups {
		best, old := g.get(stError), g.get(stMin)
		won := k.both(k.compare(less, e[j], best), g.getMask(stValid))
		g.put(stError, k.choose(won, e[j], best))
		g.put(stScale, k.choose(won, scale[j], g.get(stScale)))
		g.put(stBase, k.choose(won, old, g.get(stBase)))
		g.put(stMin, k.choose(won, min[j], old))
		g.put(stInverse, k.choose(won, g.get(stCurrent), g.get(stInverse)))
	}
}
