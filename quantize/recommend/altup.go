package recommend

// Gemma 3n carries four states of the text, of which a layer computes one and predicts the others (models/gemma3n.cpp).

// altUp is what its layers share.
type altUp struct {
	embeddings, perLayer *value
	projected            *value // the layers' own inputs, made by the first layer
}

const altStates = 4 // altup_num_inputs, which llama.cpp has as a constant

func (c *computation) buildAlt(embeddings *value, last int) *graph {
	x := c.altStart(embeddings)
	for i := range c.s.Layers[:last+1] {
		x = c.altLayer(&c.s.Layers[i], x)
	}
	c.outputs(c.altEnd(x))
	return &c.graph
}

// altStart adds the states and the layers' own inputs.
func (c *computation) altStart(embeddings *value) *value {
	e := c.f32(c.s.Embedding)
	each := c.f32(c.s.PerLayer * int64(len(c.s.Layers)))
	lookedUp := c.op(each)
	c.alt = &altUp{perLayer: c.op(each, c.view(lookedUp, each)), embeddings: c.change(e, embeddings)}
	others := c.op((altStates-1)*e, c.op((altStates-1)*e, c.alt.embeddings))
	size := c.op(4*c.ub, c.op(e, c.alt.embeddings))
	scaled := c.change(others.size, others, size)
	squares := c.change(others.size, others)
	scaled = c.change(others.size, scaled, c.op(4*(altStates-1)*c.ub, squares))
	return c.op(altStates*e, c.alt.embeddings, scaled)
}

func (c *computation) altLayer(l *Layer, states *value) *value {
	s, e := c.s, c.f32(c.s.Embedding)
	all := altStates * e
	turned := c.op(all, c.view(states, all))
	coefficients := c.op(c.f32(altStates*altStates), c.op(c.f32(altStates), c.op(e, c.view(states, e))))
	predicted := c.op(all, turned, c.view(coefficients, coefficients.size))
	predicted = c.change(all, c.op(all, c.view(predicted, all)), states)
	active := c.view(predicted, e)
	h := c.op(e, active)
	mixed := c.change(e, c.attention(l, h)(), active)
	low := c.change(e, c.op(e, c.op(c.f32(l.width("laurel_l")), h)), h)
	sum := c.change(e, mixed, low)
	wide := c.f32(l.width("ffn_up"))
	in := c.change(e, sum)
	up, gate := c.op(wide, in), c.op(wide, in)
	spread := c.op(4*c.ub, c.change(wide, c.change(wide, gate)))
	gate = c.change(wide, gate, spread)
	out := c.change(e, c.op(e, c.change(wide, up, gate)), sum)
	innovation := c.change(e, out, c.view(predicted, e))
	corrected := c.op(all, innovation)
	c.store(c.op(c.f32(altStates), c.change(e, out)))
	corrected = c.change(all, corrected, predicted)
	first := c.op(c.f32(s.PerLayer), c.op(e, c.view(corrected, e)))
	if c.alt.projected == nil {
		each := c.alt.perLayer.size
		p := c.op(each, c.alt.embeddings)
		p = c.change(each, c.op(each, c.view(p, each)), c.alt.perLayer)
		c.alt.projected = c.op(each, c.view(p, each))
	}
	first = c.op(e, c.change(first.size, first, c.view(c.alt.projected, first.size)))
	rest := c.op((altStates-1)*e, c.view(corrected, (altStates-1)*e), first)
	return c.op(all, c.view(corrected, e), rest)
}

// altEnd adds the mean of the states.
func (c *computation) altEnd(states *value) *value {
	e := c.f32(c.s.Embedding)
	others := c.op((altStates-1)*e, c.view(states, (altStates-1)*e))
	scaled := c.change(others.size, others, c.op(4*c.ub, c.op(e, c.view(states, e))))
	scaled = c.change(others.size, scaled, c.op(4*(altStates-1)*c.ub, c.change(others.size, others)))
	x := c.op(e, c.view(states, e), c.view(scaled, e))
	return c.chosenRows(c.change(e, x, c.view(scaled, e)), true)
}
