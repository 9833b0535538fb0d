package main

import "fmt"

// symmetric emits the search of one scale: x ~ scale*level with levels lowest..highest, weights w. The merit of a candidate is
// (sum w*x*l)^2 / (sum w*l^2). par holds highest and lowest in all lanes, then the constants c of inverse = c/peak: the first
// pass, then the candidates; the free ones cannot round below lowest.
func symmetric(k kernel, n, count int) {
	name := fmt.Sprintf("scale%d", n)
	if count == 1 {
		name += "One"
	}
	k.begin(name, fmt.Sprintf("fits %d groups of %d rows by a scale. par is the highest and the lowest level in all lanes, then the candidates. wx is scratch of %d rows.", count, n, count*n),
		param{"x", "*float32"}, param{"w", "*float32"}, param{"wx", "*float32"}, param{"state", "*float32"}, param{"par", "*float32"}, param{"free", "int"}, param{"clamped", "int"})
	x, w, wx, s, par, left := k.arg("x"), k.arg("w"), k.arg("wx"), k.arg("state"), k.arg("par"), k.arg("free")
	groups := k.groups(count, n, s)
	c := k.addressOf(mem{base: par, off: 2 * k.bytes})
	// groups are interleaved row by row: the sum of one is a chain of additions, and the others run in its latency
	sums := func(inverse []vec, clamp bool) (a, b []vec) {
		// loaded anew each time: held over the whole kernel they would cost two registers that the sums need
		highest, lowest := k.load(k.row(par, 0)), k.load(k.row(par, 1))
		for range groups {
			a, b = append(a, k.zero()), append(b, k.zero())
		}
		for i := range n {
			for j, g := range groups {
				level := k.min(k.round(k.mul(inverse[j], g.row(x, i))), highest)
				if clamp {
					level = k.max(level, lowest)
				}
				k.sum(a[j], k.mul(level, g.row(wx, i)))
				k.sum(b[j], k.mul(level, k.mul(level, g.row(w, i))))
			}
		}
		return a, b
	}
	var inverse []vec
	for _, g := range groups {
		// w*x is the same for all candidates; the reference multiplies in this order, so storing it changes no bit
		peak := k.peak(g, x, func(i int, v vec) { k.store(k.mul(v, g.row(w, i)), g.row(wx, i)) })
		inverse = append(inverse, k.div(k.broadcast(mem{base: c}), peak))
		g.put(stInverse, inverse[g.g])
	}
	a, b := sums(inverse, false)
	for j, g := range groups {
		// the first pass asks for b != 0, the candidates below for b > 0: so it is in the reference
		scale := k.keep(k.compare(differs, b[j], k.zero()), k.div(a[j], b[j]))
		g.put(stScale, scale)
		g.put(stError, k.mul(scale, a[j]))
		// comparisons with sums that are not finite are where the two codes could part: scalar code does such lanes again
		g.putMask(stRedo, k.either(k.notFinite(a[j]), k.notFinite(b[j])))
	}
	k.advance(c, 4)
	// the candidates come in the order of the reference; the free ones are its first, as magnitudes grow
	for _, clamp := range []bool{false, true} {
		label := "free"
		if clamp {
			label, left = "clamped", k.arg("clamped")
		}
		k.label(label)
		inverse = inverse[:0]
		for _, g := range groups {
			inverse = append(inverse, k.div(k.broadcast(mem{base: c}), g.state(stHigh)))
		}
		a, b = sums(inverse, clamp)
		for j, g := range groups {
			best := g.get(stError)
			won := k.both(k.compare(greater, b[j], k.zero()), k.compare(greater, k.mul(a[j], a[j]), k.mul(best, b[j])))
			scale := k.div(a[j], b[j])
			g.put(stScale, k.choose(won, scale, g.get(stScale)))
			g.put(stError, k.choose(won, k.mul(scale, a[j]), best))
			g.put(stInverse, k.choose(won, inverse[j], g.get(stInverse)))
		}
		k.advance(c, 4)
		k.countdown(left, label)
	}
	for _, g := range groups {
		k.zeroGroup(g, stInverse)
	}
	k.end()
}

// peak finds the first value of largest magnitude in a group and gives each value to visit.
func (k kernel) peak(g group, x gp, visit func(i int, v vec)) vec {
	magnitude, peak := k.zero(), k.zero()
	// "greater" and not "at least": of equal magnitudes the first one counts, and its sign
	for i := range g.n {
		v := k.load(g.row(x, i))
		visit(i, v)
		a := k.abs(v)
		k.pick(peak, k.compare(greater, a, magnitude), v)
		k.upper(magnitude, a)
	}
	g.put(stHigh, peak)
	g.put(stLow, magnitude)
	return peak
}

// zeroGroup gives lanes without a value above 1e-15 scale 0, marks them in stBase and takes them out of the lanes to redo.
func (k kernel) zeroGroup(g group, more ...int) {
	empty := k.compare(less, g.get(stLow), k.constant(tinyBits))
	for _, f := range append(more, stScale) {
		g.put(f, k.drop(empty, g.get(f)))
	}
	g.putMask(stRedo, k.without(g.getMask(stRedo), empty))
	g.putMask(stBase, empty)
}

// descent emits Q3_K's search without importance: levels by rounding, then one level at a time to the value that fits best, up
// to five rounds. A lane without a change stays unchanged in later rounds, so all lanes go on until none changes.
func descent(k kernel, n, count int) {
	k.begin("descent16", fmt.Sprintf("fits %d groups of %d rows by a scale, level by level. par is the highest and the lowest level in all lanes, then the first constant. levels has the levels on return; w, wx are scratch.", count, n),
		param{"x", "*float32"}, param{"w", "*float32"}, param{"wx", "*float32"}, param{"levels", "*float32"}, param{"state", "*float32"}, param{"par", "*float32"})
	x, w, wx, levels, s, par := k.arg("x"), k.arg("w"), k.arg("wx"), k.arg("levels"), k.arg("state"), k.arg("par")
	highest, lowest := k.row(par, 0), k.row(par, 1)
	c := k.addressOf(k.row(par, 2))
	groups := k.groups(count, n, s)
	var a, b []vec
	for j, g := range groups {
		peak := k.peak(g, x, func(i int, v vec) {
			square := k.mul(v, v)
			k.store(square, g.row(w, i))
			k.store(k.mul(square, v), g.row(wx, i))
		})
		inverse := k.div(k.broadcast(mem{base: c}), peak)
		a, b = append(a, k.zero()), append(b, k.zero())
		for i := range n {
			level := k.max(k.min(k.round(k.mul(inverse, g.row(x, i))), highest), lowest)
			k.store(level, g.row(levels, i))
			k.sum(a[j], k.mul(level, g.row(wx, i)))
			k.sum(b[j], k.mul(level, k.mul(level, g.row(w, i))))
		}
		g.putMask(stRedo, k.either(k.notFinite(a[j]), k.notFinite(b[j])))
	}
	// the rows of a group depend on one another through its sums, so only groups are interleaved
	rounds := k.number(5)
	k.label("round")
	changed := k.none()
	for i := range n {
		for j, g := range groups {
			level := k.load(g.row(levels, i))
			wl := k.sub(a[j], k.mul(level, g.row(wx, i)))
			better := k.compare(greater, wl, k.zero())
			l2 := k.sub(b[j], k.mul(level, k.mul(level, g.row(w, i))))
			// nearest wraps beyond 4194303 as the scalar code does: wl may be next to nothing here
			next := k.max(k.min(k.nearest(k.div(k.mul(l2, g.row(x, i)), wl)), highest), lowest)
			better = k.both(better, k.compare(differs, next, level))
			k.sum(wl, k.mul(next, g.row(wx, i)))
			k.sum(l2, k.mul(next, k.mul(next, g.row(w, i))))
			better = k.both(better, k.compare(greater, l2, k.zero()))
			better = k.both(better, k.compare(greater, k.mul(b[j], k.mul(wl, wl)), k.mul(l2, k.mul(a[j], a[j]))))
			k.pick(level, better, next)
			k.store(level, g.row(levels, i))
			k.pick(a[j], better, wl)
			k.pick(b[j], better, l2)
			k.join(changed, better)
		}
	}
	k.jumpIfNone(changed, "done")
	k.countdown(rounds, "round")
	k.label("done")
	for j, g := range groups {
		g.put(stScale, k.keep(k.compare(greater, b[j], k.zero()), k.div(a[j], b[j])))
		k.zeroGroup(g)
	}
	k.end()
}

// nonlinear emits the search of IQ4_NL and IQ4_XS: x ~ scale*value, where the 16 values of a table take the place of levels.
func nonlinear(k kernel, count int) {
	const n = 32
	bounds, values := iq4Tables()
	k.begin("table32", fmt.Sprintf("fits %d groups of %d rows by a scale to the 16 values of IQ4_NL. par is the first constant in all lanes, then the candidates.", count, n),
		param{"x", "*float32"}, param{"w", "*float32"}, param{"state", "*float32"}, param{"par", "*float32"}, param{"candidates", "int"})
	x, w, s, par, left := k.arg("x"), k.arg("w"), k.arg("state"), k.arg("par"), k.arg("candidates")
	k.tables16(bounds, values) // kept in registers over the whole kernel
	groups := k.groups(count, n, s)
	sums := func(inverse []vec) (a, b []vec) {
		for range groups {
			a, b = append(a, k.zero()), append(b, k.zero())
		}
		for i := range n {
			for j, g := range groups {
				q := k.table16(k.mul(inverse[j], g.row(x, i)))
				wq := k.mul(q, g.row(w, i)) // the weight meets the value first in both products
				k.sum(a[j], k.mul(wq, g.row(x, i)))
				k.sum(b[j], k.mul(wq, q))
			}
		}
		return a, b
	}
	c := k.addressOf(k.row(par, 1))
	var inverse []vec
	for _, g := range groups {
		peak := k.peak(g, x, func(int, vec) {})
		// the reference inverts twice here: 1/(peak/constant)
		inverse = append(inverse, k.div(k.value(k.constant(oneBits)), k.div(peak, k.row(par, 0))))
	}
	a, b := sums(inverse)
	for j, g := range groups {
		scale := k.keep(k.compare(greater, b[j], k.zero()), k.div(a[j], b[j]))
		g.put(stScale, scale)
		g.put(stError, k.mul(scale, a[j]))
		g.putMask(stRedo, k.either(k.notFinite(a[j]), k.notFinite(b[j])))
	}
	k.label("candidate")
	inverse = inverse[:0]
	for _, g := range groups {
		inverse = append(inverse, k.div(k.broadcast(mem{base: c}), g.state(stHigh)))
	}
	a, b = sums(inverse)
	for j, g := range groups {
		best := g.get(stError)
		won := k.both(k.compare(greater, b[j], k.zero()), k.compare(greater, k.mul(a[j], a[j]), k.mul(best, b[j])))
		scale := k.div(a[j], b[j])
		g.put(stScale, k.choose(won, scale, g.get(stScale)))
		g.put(stError, k.choose(won, k.mul(scale, a[j]), best))
	}
	k.advance(c, 4)
	k.countdown(left, "candidate")
	for _, g := range groups {
		k.zeroGroup(g)
	}
	k.end()
}
