package recommend

import "slices"

// layer adds a block: attention and feed-forward network, one after the other or side by side, or a recurrent mixer.
func (c *computation) layer(l *Layer, in *value, last bool) *value {
	e := c.s.Embedding
	h := in
	if l.has("attn_norm") || l.has("attn_norm_2") {
		h = c.norm(in, c.ub)
	}
	var project func() *value // adds the output projection
	switch {
	case l.Recurrent > 0 && l.KVHeads > 0:
		m := c.mixer(l, h)
		a := c.attention(l, h)
		project = func() *value { return c.change(c.f32(e), a(), m) }
	case l.Recurrent > 0:
		m := c.mixer(l, h)
		project = func() *value { return m }
	case l.KVHeads > 0:
		project = c.attention(l, h)
	default:
		project = func() *value { return h }
	}
	rows := c.ub
	if last {
		rows = c.rows
	}
	if l.Parallel && l.network() {
		return c.sideBySide(l, in, h, project, last)
	}
	mixed := c.chosenRows(project(), last)
	sum := c.change(4*rows*e, mixed, c.chosenRows(in, last))
	if !l.network() {
		return sum
	}
	h = sum
	switch {
	case l.has("attn_output_norm"): // after the sum, as encoders have it
		sum = c.norm(sum, rows)
		h = sum
	case l.has("ffn_norm") || l.has("post_attention_norm") && !l.has("post_ffw_norm"):
		h = c.norm(sum, rows)
	}
	out := c.change(4*rows*e, c.network(l, h, rows), sum)
	if l.has("layer_output_norm") {
		out = c.norm(out, rows)
	}
	return out
}

// chosenRows keeps, in the last layer, only the rows whose logits are wanted.
func (c *computation) chosenRows(v *value, last bool) *value {
	if !last {
		return v
	}
	return c.op(4*c.rows*c.s.Embedding, v, c.outIDs)
}

// sideBySide adds the feed-forward network of a block in which it reads what attention reads. Its sum decides which is
// computed first: Phi-2 projects attention's output before, the others after the network.
func (c *computation) sideBySide(l *Layer, in, h *value, project func() *value, last bool) *value {
	rows, e := c.ub, c.s.Embedding
	if last {
		rows = c.rows
	}
	if c.s.Arch == "phi2" {
		mixed := c.chosenRows(project(), last)
		f := c.network(l, c.chosenRows(h, last), rows)
		return c.change(4*rows*e, c.change(4*rows*e, mixed, f), c.chosenRows(in, last))
	}
	if c.s.Arch == "gptneox" {
		h = c.norm(in, c.ub)
	}
	f := c.network(l, c.chosenRows(h, last), rows)
	sum := c.change(4*rows*e, f, c.chosenRows(project(), last))
	return c.change(4*rows*e, sum, c.chosenRows(in, last))
}

func (l *Layer) network() bool {
	return l.has("ffn_up") || l.has("ffn_up_exps") || l.has("ffn_gate_up_exps")
}

// attention adds queries, keys, values, and the attention over the cache or the batch; what it returns adds the output
// projection, which comes when its result is first read.
func (c *computation) attention(l *Layer, h *value) func() *value {
	if c.s.Latent.Rank > 0 {
		return c.latentAttention(l, h)
	}
	q, k, v := c.project(l, h)
	kind := c.kinds[l.Window > 0]
	if n := c.s.indexHeads(l); n > 0 {
		c.store(c.op(2*c.f32(n*l.cells(c.o)), q)) // how much each query cares for each token
	}
	qBytes, out := c.f32(l.Heads*l.KeyLen), c.f32(l.Heads*l.valueLen())
	if c.o.KV != "f16" && c.o.KV != "f32" && c.o.KV != "bf16" && !c.s.whole() {
		q, k, v = c.rotate(l, q, k, v)
	}
	cells := l.cells(c.o)
	var keys, values []*value // nothing where the cache is read
	switch {
	case c.s.whole() && c.o.FlashAttn:
		cells = c.ub
		keys, values = []*value{c.op(c.f32(l.KVHeads*l.KeyLen)/2, k)}, []*value{c.op(c.f32(l.KVHeads*l.valueLen())/2, v)} // F16
	case c.s.whole():
		cells = c.ub
		keys, values = []*value{k}, []*value{c.op(c.f32(l.KVHeads*l.valueLen()), v)} // transposed
	case !l.Shared:
		c.store(k, kind.keys)
		c.store(v, kind.values)
	}
	var mixed *value
	if c.o.FlashAttn {
		mixed = c.op(out, slices.Concat([]*value{c.view(q, qBytes), kind.mask}, keys, values)...)
	} else {
		size := 4 * c.ub * l.Heads * cells
		scores := c.change(size, c.op(size, append(keys, q)...), kind.mask)
		mixed = c.op(out, c.view(c.op(out, append(values, scores)...), out))
	}
	if c.o.KV == "q8_0" && l.valueLen()%64 == 0 && !c.s.whole() {
		mixed = c.op(out, mixed)
	}
	if !l.has("attn_output") && !l.has("attn_out") {
		return func() *value { return mixed }
	}
	return func() *value { return c.op(c.f32(c.s.Embedding), mixed) }
}

func (l *Layer) valueLen() int64 {
	if l.ValueLen == 0 {
		return l.KeyLen
	}
	return l.ValueLen
}

// project makes queries, keys and values: of one fused matrix, of three, or of the compressed form of latent attention.
func (c *computation) project(l *Layer, h *value) (q, k, v *value) {
	qn, kn, vn := c.f32(l.Heads*l.KeyLen), c.f32(l.KVHeads*l.KeyLen), c.f32(l.KVHeads*l.valueLen())
	if !l.has("attn_qkv") {
		q = c.turn(l, c.op(c.f32(max(l.width("attn_q"), l.Heads*l.KeyLen)), h), qn, "attn_q_norm")
		switch {
		case l.Shared:
			return q, nil, nil
		case c.s.whole():
			k = c.turn(l, c.op(kn, h), kn, "attn_k_norm")
			return q, k, c.op(vn, h)
		}
		v = c.op(vn, h)
		return q, c.turn(l, c.op(kn, h), kn, "attn_k_norm"), v
	}
	all := c.op(qn+kn+vn, h)
	return c.turn(l, all, qn, "attn_q_norm"), c.turn(l, all, kn, "attn_k_norm"), c.view(all, vn)
}

// turn splits queries or keys into heads, norms them where the model does, and turns them by their position.
func (c *computation) turn(l *Layer, v *value, size int64, norm string) *value {
	v = c.view(v, size)
	if l.has(norm) {
		v = c.op(size, v)
	}
	if c.s.Rotary && c.pos != nil {
		v = c.change(size, v, c.pos)
	}
	return v
}

// rotate turns queries, keys and values for a quantized cache (llama-kv-cache.cpp, attn_rot).
func (c *computation) rotate(l *Layer, q, k, v *value) (rq, rk, rv *value) {
	if l.KeyLen%64 == 0 {
		q = c.op(c.f32(l.Heads*l.KeyLen), q)
		if k != nil {
			k = c.op(c.f32(l.KVHeads*l.KeyLen), k)
		}
	}
	if l.valueLen()%64 == 0 && v != nil {
		v = c.op(c.f32(l.KVHeads*l.valueLen()), v)
	}
	return q, k, v
}

// network adds the feed-forward network: dense, of experts, or of experts and one that every token uses.
func (c *computation) network(l *Layer, h *value, rows int64) *value {
	if !l.has("ffn_gate_inp") || c.s.Experts == 0 {
		return c.dense(l, h, rows, "")
	}
	out := c.experts(l, h, rows)
	if l.has("ffn_up_shexp") {
		out = c.change(4*rows*c.s.Embedding, out, c.dense(l, h, rows, "_shexp"))
	} else if l.has("ffn_up") {
		out = c.change(4*rows*c.s.Embedding, out, c.dense(l, h, rows, ""))
	}
	return out
}

func (c *computation) dense(l *Layer, h *value, rows int64, suffix string) *value {
	up, down := l.width("ffn_up"+suffix), 4*rows*c.s.Embedding
	wide := 4 * rows * up
	switch inner := l.depth("ffn_down" + suffix); {
	case l.has("ffn_gate" + suffix):
		gate := c.op(wide, h)
		return c.op(down, c.op(wide, gate, c.op(wide, h)))
	case inner > 0 && up == 2*inner: // gate and value in one matrix
		return c.op(down, c.op(wide/2, c.op(wide, h)))
	}
	return c.op(down, c.op(wide, h))
}

// experts adds the router, the chosen experts' networks, and the sum of what they say.
func (c *computation) experts(l *Layer, h *value, rows int64) *value {
	s := c.s
	probs := c.op(4*rows*s.Experts, h)
	if l.has("exp_probs_b") {
		biased := c.op(4*rows*s.Experts, probs)
		return c.chosen(l, h, rows, probs, c.op(4*rows*s.Experts, biased))
	}
	return c.chosen(l, h, rows, probs, c.op(4*rows*s.Experts, probs))
}

func (c *computation) chosen(l *Layer, h *value, rows int64, probs, order *value) *value {
	s, used := c.s, c.s.ExpertsUsed
	top := c.view(order, 4*rows*used)
	weights := c.op(4*rows*used, probs, top)
	wide, e := 4*rows*used*s.ExpertFF, 4*rows*s.Embedding
	var act *value
	switch {
	case l.has("ffn_gate_up_exps"):
		both := c.op(2*wide, h, top)
		act = c.op(wide, c.view(both, wide), c.view(both, wide))
	case l.has("ffn_gate_exps"):
		gate := c.op(wide, h, top)
		act = c.op(wide, gate, c.op(wide, h, top))
	default:
		act = c.op(wide, h, top)
	}
	down := c.change(used*e, c.op(used*e, act, top), weights)
	if used == 1 {
		return c.op(e, down)
	}
	parts := make([]*value, used)
	for i := range parts {
		parts[i] = c.view(down, e)
	}
	sum := c.op(e, parts[0], parts[1])
	for _, p := range parts[2:] {
		sum = c.change(e, sum, p)
	}
	return sum
}

// latentAttention works in the space of the compressed rows: queries are taken there before, results back after (models/deepseek2.cpp).
func (c *computation) latentAttention(l *Layer, h *value) func() *value {
	la, heads := c.s.Latent, l.Heads
	turned := l.KeyLen - la.Rank
	q := h
	if l.has("attn_q_a") {
		q = c.change(c.f32(l.width("attn_q_a")), c.op(c.f32(l.width("attn_q_a")), h))
	}
	q = c.op(c.f32(heads*la.Key), q)
	absorbed := c.op(c.f32(heads*la.Rank), c.view(q, c.f32(heads*(la.Key-turned))))
	turnedQ := c.op(c.f32(heads*turned), c.view(q, c.f32(heads*turned)), c.pos)
	q = c.op(c.f32(heads*l.KeyLen), c.view(absorbed, absorbed.size), turnedQ)
	row := c.op(c.f32(l.KeyLen), h)
	v := c.op(c.f32(la.Rank), c.view(row, c.f32(la.Rank)))
	k := c.op(c.f32(l.KeyLen), c.view(v, v.size), c.op(c.f32(turned), c.view(row, c.f32(turned)), c.pos))
	kind := c.kinds[l.Window > 0]
	c.store(k, kind.keys)
	c.store(v)
	size := c.f32(heads * la.Rank)
	var mixed *value
	if c.o.FlashAttn {
		mixed = c.op(size, c.view(q, q.size), kind.mask)
		mixed = c.op(c.f32(heads*la.Value), c.view(mixed, size))
		mixed = c.op(c.f32(heads*la.Value), c.view(mixed, mixed.size))
	} else {
		scores := 4 * c.ub * heads * l.cells(c.o)
		mixed = c.change(scores, c.op(scores, q), kind.mask)
		values := c.op(4 * la.Rank * l.cells(c.o)) // keys hold the values: they are turned over for every layer
		mixed = c.op(size, values, mixed)
		mixed = c.op(c.f32(heads*la.Value), mixed)
		mixed = c.op(c.f32(heads*la.Value), c.view(mixed, mixed.size))
	}
	return func() *value { return c.op(c.f32(c.s.Embedding), mixed) }
}
