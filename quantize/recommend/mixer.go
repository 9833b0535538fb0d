package recommend

// Recurrent layers, operation by operation as src/models of llama.cpp v0.5.0 have them. Each returns what adds the rest of
// the layer: llama.cpp computes up to the state's update at once, and what follows when the sum after the layer asks for it.

// mixer adds a recurrent layer.
func (c *computation) mixer(l *Layer, h *value, st state) func() *value {
	switch {
	case l.has("time_mix_a1"):
		return c.rwkv7(l, h, st)
	case l.has("time_mix_w1"):
		return c.rwkv6(l, h, st)
	case l.has("shortconv.in_proj"):
		return c.shortConvolution(l, h, st)
	case l.has("ssm_conv1d_q"):
		return c.kimiDelta(l, h, st)
	case l.has("ssm_out") && l.has("attn_qkv"):
		return c.gatedDelta(l, h, st)
	case l.has("ssm_x") && c.s.Arch != "plamo2":
		return c.mamba(l, h, st)
	case l.has("ssm_in") && l.has("ssm_conv1d"):
		return c.mamba2(l, h, st)
	}
	return func() *value { return c.op(c.f32(c.s.Embedding), h) }
}

// state is what a recurrent layer reads at its start: the tokens before, and for RWKV the matrices as well.
type state struct{ tokens, heads *value }

// readState adds the reading.
func (c *computation) readState(l *Layer) state {
	tail := func(weight string) int64 { return max(l.depth(weight)-1, 0) * l.width(weight) }
	switch {
	case c.s.WKV:
		shifts := int64(1)
		if l.has("channel_mix_key") {
			shifts = 2
		}
		return state{c.op(c.rows4(shifts * c.s.Embedding)), c.op(c.rows4(max(l.Recurrent-shifts*c.s.Embedding, 0)))}
	case l.has("ssm_conv1d_q"):
		return state{tokens: c.op(c.rows4(3 * c.s.ConvTail * l.width("attn_q")))}
	case l.has("shortconv.conv"):
		return state{tokens: c.op(c.rows4(tail("shortconv.conv")))}
	}
	return state{tokens: c.op(c.rows4(tail("ssm_conv1d")))}
}

// rows4 is the size of n elements for every slot.
func (c *computation) rows4(n int64) int64 { return 4 * n * c.o.slots() }

// convolve adds the convolution over the last tokens, whose tail goes back to the state (models/mamba-base.cpp).
func (c *computation) convolve(tokens, v *value, width int64) *value {
	long := c.op(tokens.size+c.f32(width), c.view(tokens, tokens.size), c.view(v, c.f32(width)))
	c.store(c.view(long, tokens.size))
	return long
}

func (c *computation) mamba(l *Layer, h *value, st state) func() *value {
	inner, x := c.s.Inner, l.width("ssm_x")
	rank := l.depth("ssm_dt")
	both := c.op(c.f32(2*inner), h)
	long := c.convolve(st.tokens, both, inner)
	u := c.op(c.f32(inner), long)
	steps := c.op(c.f32(x), u)
	dt := c.op(c.f32(inner), c.op(c.f32(rank), c.view(steps, c.f32(rank))))
	y := c.op(c.f32(inner)+c.rows4(inner*c.s.State), c.view(u, u.size), dt, c.view(steps, c.f32(x-rank)))
	c.store(c.view(y, c.rows4(inner*c.s.State)))
	return func() *value {
		d := c.change(c.f32(inner), c.view(y, c.f32(inner)), c.change(c.f32(inner), u))
		return c.op(c.f32(c.s.Embedding), c.op(c.f32(inner), c.op(c.f32(inner), c.view(both, c.f32(inner))), d))
	}
}

func (c *computation) mamba2(l *Layer, h *value, st state) func() *value {
	inner, all, wide := c.s.Inner, l.width("ssm_in"), l.width("ssm_conv1d")
	whole := c.op(c.f32(all), h)
	heads, of := max(all-inner-wide, 1), whole
	if c.s.Arch == "plamo2" { // whose heads interleave input and gate
		whole = c.op(c.f32(all), c.view(whole, whole.size))
		of = c.op(c.f32(inner), c.view(whole, c.f32(inner)))
		heads = max(l.depth("ssm_dt"), 1)
	}
	u := c.op(c.f32(wide), c.convolve(st.tokens, of, wide))
	var dt *value
	if l.has("ssm_x") {
		dt = c.op(c.f32(heads), c.view(c.op(c.f32(l.width("ssm_x")), u), c.f32(heads)))
	} else {
		dt = c.op(c.f32(heads), c.view(whole, c.f32(heads)))
	}
	y := c.op(c.f32(inner)+c.rows4(inner*c.s.State), c.view(u, c.f32(inner)), dt)
	c.store(c.view(y, c.rows4(inner*c.s.State)))
	size := c.f32(inner)
	return func() *value {
		gate := c.op(size, c.view(whole, size))
		sum := c.change(size, c.view(y, size), c.op(size, c.view(u, size)))
		out := c.op(size, gate, sum)
		if l.has("ssm_norm") {
			out = c.change(size, c.view(out, size))
		}
		return c.op(c.f32(c.s.Embedding), out)
	}
}

// gatedDelta is Qwen3-Next's and Qwen 3.5's layer (models/qwen3next.cpp, qwen35.cpp, delta-net-base.cpp).
func (c *computation) gatedDelta(l *Layer, h *value, st state) func() *value {
	inner, wide, heads := c.s.Inner, l.width("attn_qkv"), max(l.width("ssm_beta"), l.width("ssm_ba")/2)
	keys := max(wide-inner, 0) / 2
	state := c.op(c.rows4((l.depth("ssm_conv1d") - 1) * wide))
	mixed := c.op(c.f32(wide), h)
	long := c.op(c.rows4((l.depth("ssm_conv1d")-1)*wide)+c.f32(wide), state, c.view(mixed, mixed.size))
	c.store(c.view(long, state.size))
	s := c.op(c.rows4(inner * c.s.State))
	u := c.change(c.f32(wide), c.op(c.f32(wide), long))
	normed := func() *value {
		n := c.op(c.f32(keys), c.view(u, c.f32(keys)))
		if l.has("ssm_ba") { // every value head gets a copy of its key head
			n = c.view(c.op(c.f32(inner), c.view(n, n.size)), c.f32(inner))
		}
		return n
	}
	q, k, v := normed(), normed(), c.view(u, c.f32(inner))
	gate, beta := c.op(c.f32(heads), h), c.op(c.f32(heads), h)
	out := c.op(c.f32(inner)+s.size, q, k, v, gate, beta, c.view(s, s.size))
	c.store(c.view(out, s.size))
	size := c.f32(inner)
	return func() *value {
		normed := c.op(size, c.view(out, size))
		z := c.op(size, h)
		return c.view(c.op(c.f32(c.s.Embedding), c.change(size, normed, c.view(z, size))), c.f32(c.s.Embedding))
	}
}

// kimiDelta is Kimi's and Ling 3's (models/kimi-linear.cpp, kimi-k3.cpp, bailingmoe3.cpp): a convolution each for queries, keys
// and values, and a gate for every channel.
func (c *computation) kimiDelta(l *Layer, h *value, st state) func() *value {
	wide := l.width("attn_q")
	heads := max(l.width("ssm_beta"), 1)
	head := wide / heads
	var longs [3]*value
	for i := range longs {
		longs[i] = c.op(st.tokens.size/3+c.f32(wide), c.view(st.tokens, st.tokens.size/3), c.view(c.op(c.f32(wide), h), c.f32(wide)))
		c.store(c.view(longs[i], st.tokens.size/3))
	}
	s := c.op(c.rows4(head * wide))
	var qkv [3]*value
	for i := range qkv {
		v := c.op(c.f32(wide), longs[i])
		qkv[i] = c.view(c.change(c.f32(wide), c.view(v, v.size)), v.size)
		if i < 2 {
			qkv[i] = c.change(c.f32(wide), qkv[i])
		}
	}
	gate := c.op(c.f32(wide), c.op(c.f32(head), h))
	gate = c.view(gate, gate.size)
	beta := c.op(c.f32(heads), h)
	out := c.op(c.f32(wide)+s.size, qkv[0], qkv[1], qkv[2], gate, beta, c.view(s, s.size))
	c.store(c.view(out, s.size))
	size := c.f32(wide)
	return func() *value {
		y := c.op(size, c.view(out, size))
		y = c.change(size, c.view(y, size))
		g := c.op(size, c.op(c.f32(head), c.view(h, h.size)))
		y = c.op(size, c.change(size, y, c.view(g, size)))
		return c.op(c.f32(c.s.Embedding), y)
	}
}

// shortConvolution is LFM2's (models/lfm2.cpp): two gates around a convolution of three tokens.
func (c *computation) shortConvolution(l *Layer, h *value, st state) func() *value {
	e := c.s.Embedding
	three := c.op(c.f32(3*e), c.view(h, h.size))
	bx := c.op(c.f32(e), c.view(three, c.f32(e)), c.view(three, c.f32(e)))
	long := c.op(st.tokens.size+c.f32(e), c.view(st.tokens, st.tokens.size), c.view(bx, bx.size))
	if !c.s.Causal { // the convolution looks ahead as well
		long = c.op(st.tokens.size+long.size, long)
	}
	c.store(c.view(long, st.tokens.size))
	return func() *value {
		gated := c.change(c.f32(e), c.view(three, c.f32(e)), c.op(c.f32(e), long))
		return c.view(c.op(c.f32(e), gated), c.f32(e))
	}
}
