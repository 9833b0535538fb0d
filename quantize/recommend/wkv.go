package recommend

// shift adds a token's predecessor, from the state for the first of a sequence, and its difference from the token.
func (c *computation) shift(tokens, h *value) *value {
	return c.change(c.f32(c.s.Embedding), c.op(c.f32(c.s.Embedding), c.view(tokens, tokens.size), c.view(h, c.f32(c.s.Embedding))), h)
}

// rwkv6 is the time mixing of RWKV 6 and of Qwen 2 with its layers (models/rwkv6-base.cpp).
func (c *computation) rwkv6(l *Layer, h *value, st state) func() *value {
	e := c.s.Embedding
	size := c.f32(e)
	lora := l.width("time_mix_w1")
	diff := c.shift(st.tokens, h)
	x := c.change(size, c.op(size, diff), c.view(h, size))
	low := c.change(c.f32(lora), c.op(c.f32(lora), x))
	low = c.op(c.f32(lora), c.view(low, low.size))
	five := c.op(5*size, low)
	five = c.change(5*size, five, c.view(diff, size))
	five = c.change(5*size, five, c.view(h, size))
	project := func(name string) *value {
		n := c.f32(l.width(name))
		v := c.op(n, c.view(five, size))
		if n < size { // grouped heads are repeated
			return c.view(c.op(size, c.view(v, n)), size)
		}
		return c.view(v, size)
	}
	decay := func() *value {
		n := c.f32(l.width("time_mix_decay_w1"))
		return c.view(c.op(size, c.change(n, c.op(n, c.view(five, size)))), size)
	}
	var k, v, r, w *value
	k = project("time_mix_key")
	if l.has("time_mix_first") {
		v, r, w = project("time_mix_value"), project("time_mix_receptance"), decay()
	} else { // keys lose what decays
		w = decay()
		k = c.op(size, k, c.op(size, k, w)) // neither is computed in place: what they read are views
		v, r = project("time_mix_value"), project("time_mix_receptance")
	}
	out := c.op(size+st.heads.size, k, v, r, w, st.heads)
	c.store(c.view(out, st.heads.size))
	return func() *value {
		y := c.view(out, size)
		if l.has("time_mix_ln") {
			y = c.view(c.op(size, y), size)
		}
		gate := c.change(size, c.op(size, c.view(five, size)))
		out := c.view(c.op(size, c.change(size, y, gate)), size)
		c.store(c.view(h, size)) // the last token is kept for the next batch
		return out
	}
}

// rwkv7 is the time mixing of RWKV 7 (models/rwkv7-base.cpp).
func (c *computation) rwkv7(l *Layer, h *value, st state) func() *value {
	size := c.f32(c.s.Embedding)
	gated := l.has("time_mix_g1")
	parts := int64(5)
	if gated {
		parts = 6
	}
	mixes := c.op(parts*size, c.shift(st.tokens, h))
	mixes = c.change(parts*size, mixes, h)
	project := func() *value { return c.op(size, c.view(mixes, size)) }
	low := func(name string) *value { return c.op(size, c.op(c.f32(l.width(name)), c.view(mixes, size))) }
	r := c.view(project(), size)
	w := c.view(low("time_mix_w1"), size)
	k := project()
	a := low("time_mix_a1")
	ka := c.change(size, k)
	ka = c.change(size, c.change(size, a, ka), ka)
	key := c.view(c.change(size, k, ka), size)
	v := project()
	if c.values == nil {
		c.values = v
	} else { // later layers take a share of the first one's values
		v = c.change(size, v, c.change(size, c.change(size, c.values, v), low("time_mix_v1")))
	}
	v = c.view(v, size)
	kk := c.op(size, c.view(c.change(size, k), size))
	neg := c.change(size, kk)
	ab := c.change(size, kk, c.view(a, size))
	out := c.op(size+st.heads.size, r, w, key, v, neg, ab, st.heads)
	c.store(c.view(out, st.heads.size))
	return func() *value {
		y := c.view(out, size)
		if l.has("time_mix_ln") {
			y = c.view(c.op(size, y), size)
		}
		rk := c.op(c.f32(max(l.Recurrent/c.s.Embedding, 1)), c.op(size, key, r))
		y = c.change(size, y, c.view(c.op(size, v, rk), size))
		if gated {
			y = c.change(size, y, low("time_mix_g1"))
		}
		out := c.view(c.op(size, y), size)
		c.store(c.view(h, size)) // the last token is kept for the next batch
		return out
	}
}

// channelMix is RWKV's feed-forward network, which sees the token before as well. RWKV 6 gates it.
func (c *computation) channelMix(l *Layer, h *value, rows int64) *value {
	size, wide := 4*rows*c.s.Embedding, 4*rows*l.width("channel_mix_key")
	before := c.op(size, c.view(h, size))
	diff := c.change(size, c.view(before, size), c.view(h, size))
	mix := func() *value { return c.change(size, c.op(size, diff), c.view(h, size)) }
	if !l.has("channel_mix_receptance") {
		x := c.change(size, diff, c.view(h, size))
		return c.op(size, c.op(wide, x))
	}
	k, r := mix(), mix()
	r = c.op(size, r)
	return c.change(size, r, c.op(size, c.op(wide, k)))
}
