package recommend

// transfer lists the operations of T5's decoder, which also reads what the encoder made of a text as long as the model's
// limit, or of its encoder where it has no decoder (models/t5.cpp, t5encoder.cpp). Positions are a bias on the scores, so
// attention to the text itself is never fused.
func (c *computation) transfer() *graph {
	s := c.s
	e, l := c.f32(s.Embedding), &s.Layers[0]
	heads, kv := c.f32(l.Heads*l.KeyLen), c.f32(l.KVHeads*l.KeyLen)
	decoder := s.Arch == "t5"
	cells := c.ub
	if decoder {
		cells = l.cells(c.o)
	}
	maskBytes := int64(2)
	if !c.o.FlashAttn {
		maskBytes = 4
	}
	c.input(4 * c.ub)
	c.input(e)
	x := c.op(e)
	c.input(4 * c.ub * cells) // which bias each pair of positions gets
	mask := c.input(maskBytes * c.ub * cells)
	var cross crossAttention
	if decoder {
		c.input(16 * c.ub) // places in the cache
		cross = crossAttention{length: s.ContextLimit, text: c.input(4 * s.ContextLimit * s.Embedding), mask: c.input(maskBytes * c.ub * s.ContextLimit)}
	}
	outIDs := c.input(4 * c.rows)
	layers := len(s.Layers)
	if decoder && s.DecoderLayers > 0 {
		layers = int(s.DecoderLayers)
	}
	for range layers {
		h := c.norm(x, c.ub)
		q, k := c.op(heads, h), c.op(kv, h)
		v := c.op(kv, h)
		var values *value
		if decoder {
			c.store(k)
			c.store(v)
			values = c.op(2 * cells * l.KVHeads * l.KeyLen)
		} else {
			values = c.op(kv, c.view(v, kv))
		}
		read := []*value{c.view(q, heads)}
		if !decoder {
			read = append(read, c.view(k, kv))
		}
		scores := c.op(4*c.ub*l.Heads*cells, read...)
		bias := c.op(scores.size, c.view(c.op(scores.size), scores.size))
		scores = c.change(scores.size, c.change(scores.size, scores, bias), mask)
		mixed := c.op(heads, c.view(c.op(heads, values, scores), heads))
		x = c.change(e, c.op(e, mixed), x)
		if decoder {
			x = c.change(e, c.cross(l, cross, c.norm(x, c.ub)), x)
		}
		x = c.change(e, c.dense(l, c.norm(x, c.ub), c.ub, ""), x)
	}
	c.store(outIDs)
	n := c.norm(x, c.rows)
	n.output = true
	if decoder {
		c.op(4*c.rows*s.Vocab, n).output = true
	}
	return &c.graph
}

// crossAttention is what the decoder's layers share: the encoder's result for a text of length tokens.
type crossAttention struct {
	length     int64
	text, mask *value
}

func (c *computation) cross(l *Layer, x crossAttention, h *value) *value {
	heads, text := c.f32(l.Heads*l.KeyLen), 4*x.length*l.KVHeads*l.KeyLen
	q, k, v := c.op(heads, h), c.op(text, x.text), c.op(text, x.text)
	var mixed *value
	if c.o.FlashAttn {
		keys := c.op(text/2, c.view(k, text))
		mixed = c.op(heads, c.view(q, heads), keys, c.op(text/2, c.view(v, text)), x.mask)
	} else {
		values := c.op(text, c.view(v, text))
		scores := c.op(4*c.ub*l.Heads*x.length, c.view(k, text), c.view(q, heads))
		mixed = c.op(heads, c.view(c.op(heads, values, c.change(scores.size, scores, x.mask)), heads))
	}
	return c.op(c.f32(c.s.Embedding), mixed)
}
