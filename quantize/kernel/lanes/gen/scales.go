package main

// positive emits the importance-weighted fit of scales that are not negative: x ~ scale*level, levels 0..most: plain rounding,
// eight candidates by squared error, then level by level up to five rounds. A lane is a super-block, n rows its scales.
func positive(k kernel) {
	k.begin("positive", "fits n rows of values that are not negative by a scale. par is the highest level in all lanes, then 8 candidates. levels has the levels on return.",
		param{"x", "*float32"}, param{"w", "*float32"}, param{"levels", "*float32"}, param{"state", "*float32"}, param{"par", "*float32"}, param{"n", "int"})
	x, w, levels, s, par, n := k.arg("x"), k.arg("w"), k.arg("levels"), k.arg("state"), k.arg("par"), k.arg("n")
	// n counts rows; as an index of bytes it is compared with i directly
	size := 0
	for 1<<size < k.bytes {
		size++
	}
	k.shift(n, size)
	g := group{k: k, s: s}
	i := k.number(0)
	at := func(p gp) mem { return mem{base: p, index: &i} }
	each := func(label string, f func()) {
		k.set(i, 0)
		k.label(label)
		f()
		k.advance(i, k.bytes)
		k.indexBelow(i, n, label)
	}
	zero := k.zero()
	high, redo := k.zero(), k.none()
	each("extremes", func() {
		v := k.load(at(x))
		k.upper(high, v)
		// a scale below zero or a NaN, which only damaged importance gives, goes to the scalar code
		k.join(redo, k.notFinite(v))
		k.join(redo, k.compare(notAtLeast, v, zero))
	})
	g.putMask(stRedo, redo)
	g.put(stHigh, high)
	most := k.load(mem{base: par})
	inverse := k.div(most, high)
	first := k.div(k.value(k.constant(oneBits)), inverse) // not high/most: the reference inverts
	e := k.zero()
	each("first", func() {
		v := k.load(at(x))
		d := k.sub(v, k.mul(first, k.round(k.mul(inverse, v)))) // no clamp: most/high*v cannot round above most
		k.sum(e, k.mul(d, k.mul(d, at(w))))
	})
	g.put(stError, e)
	c, left := k.addressOf(k.row(par, 1)), k.number(8)
	k.label("candidate")
	inv := k.div(k.broadcast(mem{base: c}), g.state(stHigh))
	scale := k.div(k.value(k.constant(oneBits)), inv)
	e = k.zero()
	each("error", func() {
		v := k.load(at(x))
		d := k.sub(v, k.mul(scale, k.min(k.round(k.mul(inv, v)), most)))
		k.sum(e, k.mul(d, k.mul(d, at(w))))
	})
	best := g.get(stError)
	won := k.compare(less, e, best)
	g.put(stError, k.choose(won, e, best))
	k.pick(inverse, won, inv)
	k.advance(c, 4)
	k.countdown(left, "candidate")

	// levels are kept in memory: n is not known here, so they cannot be registers
	a, b := k.zero(), k.zero()
	each("sums", func() {
		v := k.load(at(x))
		level := k.min(k.round(k.mul(inverse, v)), most)
		k.store(level, at(levels))
		k.sum(a, k.mul(level, k.mul(v, at(w))))
		k.sum(b, k.mul(level, k.mul(level, at(w))))
	})
	rounds := k.number(5)
	k.label("round")
	changed := k.none()
	each("level", func() {
		level, q := k.load(at(levels)), k.load(at(w))
		wx := k.mul(q, at(x))
		wl := k.sub(a, k.mul(level, wx))
		l2 := k.sub(b, k.mul(level, k.mul(level, q)))
		better := k.both(k.compare(greater, wl, zero), k.compare(greater, l2, zero))
		r := k.div(k.mul(l2, at(x)), wl)
		// beyond 2^22 the scalar rounding wraps, this one does not
		far := k.both(k.compare(notLess, r, k.constant(limitBits)), better)
		g.putMask(stRedo, k.either(far, g.getMask(stRedo)))
		next := k.min(k.round(r), most)
		better = k.both(better, k.compare(differs, next, level))
		k.sum(wl, k.mul(next, wx))
		k.sum(l2, k.mul(next, k.mul(next, q)))
		better = k.both(better, k.compare(greater, k.mul(b, k.mul(wl, wl)), k.mul(l2, k.mul(a, a))))
		k.pick(level, better, next)
		k.store(level, at(levels))
		k.pick(a, better, wl)
		k.pick(b, better, l2)
		k.join(changed, better)
	})
	k.jumpIfNone(changed, "done")
	k.countdown(rounds, "round")
	k.label("done")
	g.put(stScale, k.keep(k.compare(greater, b, zero), k.div(a, b)))
	// a lane of zeros has nothing to redo whatever its sums are
	redo = k.either(k.either(k.notFinite(a), k.notFinite(b)), g.getMask(stRedo))
	empty := k.compare(less, g.get(stHigh), k.constant(tinyBits))
	g.put(stScale, k.drop(empty, g.get(stScale)))
	g.putMask(stBase, empty)
	g.putMask(stRedo, k.without(redo, empty))
	k.end()
}
