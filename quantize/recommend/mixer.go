package recommend

// mixer adds a recurrent layer. Mamba's are followed operation by operation; of the others only the widest step is known.
func (c *computation) mixer(l *Layer, h *value) *value {
	switch inner := c.s.Inner; {
	case l.has("ssm_x"):
		return c.mamba(l, h)
	case l.has("ssm_in") && l.has("ssm_conv1d") && inner > 0:
		return c.mamba2(l, h)
	case c.s.WKV:
		// receptance, key, value, gate, decay, their mixtures and what the kernel takes: as measured of RWKV 7
		return c.op(c.f32(c.s.Embedding), c.op(c.f32(wkvRows*c.s.Embedding), h))
	}
	return c.op(c.f32(c.s.Embedding), h)
}

// wkvRows is how many rows of the hidden state's width a layer of RWKV holds at once, measured on the CPU.
const wkvRows = 12

// convolve adds the convolution over the last tokens, whose tail goes back to the state (models/mamba-base.cpp).
func (c *computation) convolve(l *Layer, v *value, width int64) *value {
	tail := l.depth("ssm_conv1d") - 1
	long := c.op(4*(tail+c.ub)*width, c.op(4*tail*width*c.o.slots()), c.view(v, c.f32(width)))
	c.store(c.view(long, 4*tail*width))
	return c.op(c.f32(width), long)
}

func (c *computation) mamba(l *Layer, h *value) *value {
	inner, x := c.s.Inner, l.width("ssm_x")
	rank := l.depth("ssm_dt")
	both := c.op(c.f32(2*inner), h)
	u := c.convolve(l, both, inner)
	steps := c.op(c.f32(x), u)
	dt := c.op(c.f32(inner), c.op(c.f32(rank), c.view(steps, c.f32(rank))))
	y := c.op(c.f32(inner)+4*c.o.slots()*inner*c.s.State, c.view(u, u.size), dt, c.view(steps, c.f32(x-rank)))
	c.store(c.view(y, 4*inner*c.s.State))
	return c.gated(l, y, c.change(c.f32(inner), u), both)
}

func (c *computation) mamba2(l *Layer, h *value) *value {
	inner, all := c.s.Inner, l.width("ssm_in")
	wide := l.width("ssm_conv1d")
	whole := c.op(c.f32(all), h)
	u := c.convolve(l, whole, wide)
	heads := max(all-inner-wide, 1)
	dt := c.op(c.f32(heads), c.view(whole, c.f32(heads)))
	y := c.op(c.f32(inner)+4*c.o.slots()*inner*c.s.State, c.view(u, c.f32(inner)), dt)
	c.store(c.view(y, 4*inner*c.s.State))
	return c.gated(l, y, c.op(c.f32(inner), c.view(u, c.f32(inner))), whole)
}

// gated joins the scan's result with its input, the gate and the output projection.
func (c *computation) gated(l *Layer, y, u, whole *value) *value {
	size := c.f32(c.s.Inner)
	sum := c.change(size, c.view(y, size), u)
	out := c.op(size, c.op(size, c.view(whole, size)), sum)
	if l.has("ssm_norm") {
		out = c.op(size, c.view(out, size))
	}
	return c.op(c.f32(c.s.Embedding), out)
}

// indexHeads is the number of heads of a sparse-attention index that keeps a score for every token.
func (s *Shape) indexHeads(l *Layer) int64 {
	if s.Arch != "minimax-m3" || l.Index == 0 {
		return 0
	}
	return s.IndexHeads
}
