package main

// Weights of the fits. Tiles are rows of lanes: row i holds weight i of every lane's block.

// pass emits a loop over a tile, step rows a turn.
func (k kernel) pass(label string, count gp, step int, tiles []gp, body func(i int)) {
	k.label(label)
	for i := range step {
		body(i)
	}
	for _, t := range tiles {
		k.advance(t, step*k.bytes)
	}
	k.countdown(count, label)
}

// plainWeights are those without importance: |x| + sqrt(mean of 32 squares) for Q4_K and Q5_K, |x| for Q2_K, x^2 for Q6_K.
func plainWeights(k kernel) {
	params := func(n string) []param { return []param{{"w", "*float32"}, {"x", "*float32"}, {n, "int"}} }
	k.begin("weightMean", "sets w to sqrt(mean of x^2) + |x| for each of groups of 32 rows.", params("groups")...)
	w, x, n := k.arg("w"), k.arg("x"), k.arg("groups")
	k.label("group")
	s := k.zero()
	// one sum in the order of the rows: several partial sums would be faster and round otherwise
	for i := range 32 {
		v := k.load(k.row(x, i))
		k.sum(s, k.mul(v, v))
	}
	mean := k.sqrt(k.mul(s, k.constant(over32Bits))) // times 1/32 is exact, as dividing by 32 is
	for i := range 32 {
		k.store(k.add(mean, k.abs(k.load(k.row(x, i)))), k.row(w, i))
	}
	k.advance(x, 32*k.bytes)
	k.advance(w, 32*k.bytes)
	k.countdown(n, "group")
	k.end()

	k.begin("weightAbs", "sets w to |x| for rows, a multiple of 8.", params("rows")...)
	w, x, n = k.arg("w"), k.arg("x"), k.arg("rows")
	k.shift(n, -3)
	k.pass("next", n, 8, []gp{x, w}, func(i int) { k.store(k.abs(k.load(k.row(x, i))), k.row(w, i)) })
	k.end()

	k.begin("weightSquare", "sets w to x^2 for rows, a multiple of 8.", params("rows")...)
	w, x, n = k.arg("w"), k.arg("x"), k.arg("rows")
	k.shift(n, -3)
	k.pass("next", n, 8, []gp{x, w}, func(i int) {
		v := k.load(k.row(x, i))
		k.store(k.mul(v, v), k.row(w, i))
	})
	k.end()
}

// importanceWeights are importance * sqrt(s + x^2), where s is the mean square of the super-block or twice that, or of the
// row, which the caller knows. The factors are powers of two.
func importanceWeights(k kernel) {
	k.begin("weightImportance", "multiplies w, the importance, by sqrt(s + x^2), where s is the sum of x^2 over 256 rows times factors[0], then times factors[1]. sums gets the sum of w for each n rows.",
		param{"w", "*float32"}, param{"x", "*float32"}, param{"sums", "*float32"}, param{"factors", "*float32"}, param{"n", "int"})
	w, x, sums, factors, n := k.arg("w"), k.arg("x"), k.arg("sums"), k.arg("factors"), k.arg("n")
	p, c := k.addressOf(mem{base: x}), k.number(32)
	s := k.zero()
	k.pass("squares", c, 8, []gp{p}, func(i int) {
		v := k.load(k.row(p, i))
		k.sum(s, k.mul(v, v))
	})
	k.update(mul, s, k.broadcast(mem{base: factors}))
	k.update(mul, s, k.broadcast(mem{base: factors, off: 4}))
	// the sums by group weigh the second level, the fit of the groups' scales
	left := k.number(256)
	k.label("group")
	rows := k.addressOf(mem{base: n}) // a copy: n is subtracted below
	k.shift(rows, -2)
	total := k.zero()
	k.pass("rows", rows, 4, []gp{x, w}, func(i int) {
		v := k.load(k.row(x, i))
		q := k.mul(k.sqrt(k.add(s, k.mul(v, v))), k.row(w, i))
		k.store(q, k.row(w, i))
		k.sum(total, q)
	})
	k.store(total, mem{base: sums})
	k.advance(sums, k.bytes)
	k.subtractJump(left, n, "group")
	k.end()

	k.begin("weightRow", "multiplies w, the importance, by sqrt(s + x^2) for 32 rows; s has one value for each lane.",
		param{"w", "*float32"}, param{"x", "*float32"}, param{"s", "*float32"})
	w, x, sp := k.arg("w"), k.arg("x"), k.arg("s")
	s = k.load(mem{base: sp})
	for i := range 32 {
		v := k.load(k.row(x, i))
		k.store(k.mul(k.sqrt(k.add(s, k.mul(v, v))), k.row(w, i)), k.row(w, i))
	}
	k.end()
}
