package recommend

import "slices"

// layer adds a block: attention and feed-forward network, one after the other or side by side, or a recurrent mixer. What it
// returns adds the rest of the block. llama.cpp reads a recurrent layer's state as soon as the layer is named, before anything
// that is still to be computed for its input, and attention up to the result of its kernel.
func (c *computation) layer(l *Layer, before func() *value, last bool) func() *value {
	var st state
	switch {
	case l.Recurrent == 0 && l.KVHeads == 0:
		return func() *value { return c.networkAlone(l, before(), last) }
	case l.KVHeads == 0:
		st = c.readState(l)
	}
	in := before()
	if c.s.WKV {
		in = c.view(in, in.size) // in sequences: the sum after the mixing takes nobody's place
	}
	h := in
	if l.has("attn_norm") || l.has("attn_norm_2") {
		h = c.norm(in, c.ub)
	}
	var project func() *value // adds the output projection
	switch {
	case l.Recurrent > 0 && l.KVHeads > 0:
		a := c.attention(l, h)
		st = c.readState(l)
		m := c.mixer(l, c.norm(c.view(in, in.size), c.ub), st) // normed a second time (models/falcon-h1.cpp)
		project = func() *value { return c.change(c.f32(c.s.Embedding), a(), m()) }
	case l.Recurrent > 0:
		project = c.mixer(l, h, st)
	case l.KVHeads > 0:
		project = c.attention(l, h)
	}
	return func() *value {
		x := c.rest(l, in, h, project, last)
		if c.skip != nil && l.skips {
			x = c.change(x.size, x, c.op(x.size, c.chosenRows(c.skip, last)))
		}
		return x
	}
}

// networkAlone is a block that mixes no tokens.
func (c *computation) networkAlone(l *Layer, in *value, last bool) *value {
	rows, h := c.ub, in
	if last {
		rows = c.rows
	}
	if l.has("attn_norm") { // normed before the rows are chosen
		h = c.chosenRows(c.norm(in, c.ub), last)
		in = c.chosenRows(in, last)
	} else {
		in = c.chosenRows(in, last)
		h = c.norm(in, rows)
	}
	return c.change(4*rows*c.s.Embedding, c.network(l, h, rows), in)
}

// rest adds what follows the mixing of tokens.
func (c *computation) rest(l *Layer, in, h *value, project func() *value, last bool) *value {
	rows := c.ub
	if last {
		rows = c.rows
	}
	size := 4 * rows * c.s.Embedding
	if l.Parallel && l.network() {
		return c.sideBySide(l, in, h, project, last)
	}
	first, second := inputFirst[c.s.Arch][0], inputFirst[c.s.Arch][1]
	mixed := c.chosenRows(project(), last)
	sum := c.sum(size, mixed, c.chosenRows(in, last), first)
	if !l.network() {
		return sum
	}
	h = sum
	switch {
	case l.has("attn_output_norm") && c.s.Arch != "dbrx": // after the sum, as encoders have it
		sum = c.norm(sum, rows)
		h = sum
	case l.has("ffn_norm") || l.has("attn_output_norm") || l.has("channel_mix_key") || l.has("post_attention_norm") && !l.has("post_ffw_norm"):
		h = c.norm(sum, rows)
	}
	out := c.sum(size, c.network(l, h, rows), sum, second)
	if l.has("layer_output_norm") {
		out = c.norm(out, rows)
	}
	return out
}

// inputFirst are the architectures whose sums after the mixing and after the network name the old value first, and take its place.
var inputFirst = map[string][2]bool{"jamba": {true, true}, "lfm2": {true, true}, "lfm2moe": {true, true}, "openelm": {true, false}, "phi3": {false, true}}

func (c *computation) sum(size int64, fresh, old *value, oldFirst bool) *value {
	if oldFirst {
		fresh, old = old, fresh
	}
	return c.change(size, fresh, old)
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
	switch {
	case c.s.Arch == "gptneox":
		old := c.chosenRows(in, last)
		f := c.change(4*rows*e, c.network(l, c.norm(old, rows), rows), old)
		return c.change(4*rows*e, f, c.chosenRows(project(), last))
	case l.has("attn_norm_2"): // attention has a norm of its own (Falcon 40B)
		h = c.norm(in, c.ub)
	}
	f := c.network(l, c.chosenRows(h, last), rows)
	sum := c.change(4*rows*e, f, c.chosenRows(project(), last))
	return c.change(4*rows*e, sum, c.chosenRows(in, last))
}

func (l *Layer) network() bool {
	return l.has("ffn_up") || l.has("ffn_up_exps") || l.has("ffn_gate_up_exps") || l.has("channel_mix_key")
}

// attention adds queries, keys, values, and the attention over the cache or the batch; what it returns adds the output
// projection, which comes when its result is first read.
func (c *computation) attention(l *Layer, h *value) func() *value {
	if c.s.Latent.Rank > 0 {
		return c.latentAttention(l, h)
	}
	q, k, v, gate := c.project(l, h)
	kind := c.kinds[l.Window > 0]
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
	if n := c.s.indexHeads(l); n > 0 && c.o.FlashAttn && (c.o.slots() == 1 || !c.o.Unified) {
		mixed = c.blockAttention(l, n, q)
	} else if c.o.FlashAttn {
		mixed = c.op(out, slices.Concat([]*value{c.view(q, qBytes), kind.mask}, keys, values)...)
	} else {
		size := 4 * c.ub * l.Heads * cells
		scores := c.change(size, c.op(size, append(keys, q)...), kind.mask)
		mixed = c.op(out, c.view(c.op(out, append(values, scores)...), out))
	}
	if c.o.KV == "q8_0" && l.valueLen()%64 == 0 && !c.s.whole() {
		mixed = c.op(out, mixed)
	}
	if gate != nil { // half of what the matrix of queries gave
		mixed = c.change(out, c.view(mixed, out), c.op(out, c.view(gate, out)))
	}
	if !l.has("attn_output") && !l.has("attn_out") {
		return func() *value { return mixed }
	}
	return func() *value {
		if l.has("attn_gate") { // of every element, or of every head
			g := c.op(c.f32(l.width("attn_gate")), h)
			mixed = c.change(out, c.view(mixed, out), g)
		}
		return c.op(c.f32(c.s.Embedding), mixed)
	}
}

// blockAttention is MiniMax-M3's: for every group of heads and every stream an own mask of the blocks of tokens that its index
// chose (models/minimax-m3.cpp).
func (c *computation) blockAttention(l *Layer, groups int64, q *value) *value {
	streams := c.o.streams()
	mask, out := c.f32(groups*l.cells(c.o))/streams, c.f32(l.Heads*l.valueLen())/streams
	var joined *value
	for range streams {
		rows := c.op(mask)
		chosen := c.op(mask, c.view(rows, mask))
		if c.wideMask == nil {
			c.wideMask = c.op(c.f32(l.cells(c.o)), c.kinds[false].mask)
		}
		c.store(c.wideMask)
		half := c.op(mask/2, c.view(chosen, mask))
		part := c.op(out, c.view(q, q.size), half)
		part = c.op(out, c.view(part, out))
		if joined != nil {
			part = c.op(joined.size+out, joined, part)
		}
		joined = part
	}
	return c.view(joined, joined.size)
}

func (l *Layer) valueLen() int64 {
	if l.ValueLen == 0 {
		return l.KeyLen
	}
	return l.ValueLen
}

// project makes queries, keys and values: of one fused matrix, of three, or of the compressed form of latent attention.
func (c *computation) project(l *Layer, h *value) (q, k, v, gate *value) {
	qn, kn, vn := c.f32(l.Heads*l.KeyLen), c.f32(l.KVHeads*l.KeyLen), c.f32(l.KVHeads*l.valueLen())
	if !l.has("attn_qkv") {
		q = c.op(c.f32(max(l.width("attn_q"), l.Heads*l.KeyLen)), h)
		if q.size == 2*qn {
			gate = q
		}
		q = c.turn(l, q, qn, "attn_q_norm")
		switch {
		case l.Shared:
			return q, nil, nil, gate
		case c.s.whole():
			k = c.turn(l, c.op(kn, h), kn, "attn_k_norm")
			return q, k, c.op(vn, h), gate
		}
		if len(c.kinds) == 1 { // with sliding windows keys come first (llama-graph.cpp, build_attn)
			v = c.op(vn, h)
			return q, c.turn(l, c.op(kn, h), kn, "attn_k_norm"), v, gate
		}
		k = c.turn(l, c.op(kn, h), kn, "attn_k_norm")
		return q, k, c.op(vn, h), gate
	}
	all := c.op(qn+kn+vn, h)
	q, k, v = c.turn(l, all, qn, "attn_q_norm"), c.turn(l, all, kn, "attn_k_norm"), c.view(all, vn)
	if !c.o.FlashAttn && !c.s.whole() {
		v = c.op(vn, v) // turned over on its way into the cache
	}
	return q, k, v, nil
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
	if l.has("channel_mix_key") {
		return c.channelMix(l, h, rows)
	}
	if !l.has("ffn_gate_inp") || c.s.Experts == 0 {
		return c.dense(l, h, rows, "")
	}
	out := c.experts(l, h, rows)
	if l.has("ffn_down_chexps") { // a second, narrower set of experts, chosen anew (models/grovemoe.cpp)
		out = c.change(4*rows*c.s.Embedding, out, c.narrowExperts(l, h, rows))
	}
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
		return c.chosen(l, "exps", h, rows, probs, c.op(4*rows*s.Experts, biased))
	}
	return c.chosen(l, "exps", h, rows, probs, c.op(4*rows*s.Experts, probs))
}

func (c *computation) narrowExperts(l *Layer, h *value, rows int64) *value {
	probs := c.op(4*rows*c.s.Experts, h)
	return c.chosen(l, "chexps", h, rows, probs, c.op(4*rows*c.s.Experts, probs))
}

// chosen adds the networks of the experts that the router chose.
func (c *computation) chosen(l *Layer, name string, h *value, rows int64, probs, order *value) *value {
	s, used := c.s, c.s.ExpertsUsed
	top := c.view(order, 4*rows*used)
	weights := c.op(4*rows*used, probs, top)
	sum := c.change(4*rows, c.op(4*rows, c.view(weights, weights.size)))
	weights = c.view(c.op(weights.size, weights, sum), weights.size)
	wide, e := 4*rows*used*s.ExpertFF, 4*rows*s.Embedding
	if w := l.width("ffn_up_" + name); w > 0 {
		wide = 4 * rows * used * w
	}
	if s.Arch == "llama4" { // weighs what experts read
		h = c.change(used*e, c.op(used*e, c.view(h, h.size)), weights)
	}
	var act *value
	switch {
	case l.has("ffn_gate_up_" + name):
		wide = 4 * rows * used * l.width("ffn_gate_up_"+name) / 2
		both := c.op(2*wide, h, top)
		act = c.op(wide, c.view(both, wide), c.view(both, wide))
	case l.has("ffn_gate_" + name):
		gate := c.op(wide, h, top)
		act = c.op(wide, gate, c.op(wide, h, top))
	default:
		act = c.op(wide, h, top)
	}
	down := c.op(used*e, act, top)
	if s.Arch != "llama4" {
		down = c.change(used*e, down, weights)
	}
	if used == 1 {
		return c.op(e, down)
	}
	parts := make([]*value, used)
	for i := range parts {
		parts[i] = c.view(down, e)
	}
	all := c.op(e, parts[0], parts[1])
	for _, p := range parts[2:] {
		all = c.change(e, all, p)
	}
	return all
}

// latentAttention works in the space of the compressed rows: queries are taken there before, results back after (models/deepseek2.cpp).
func (c *computation) latentAttention(l *Layer, h *value) func() *value {
	la, heads := c.s.Latent, l.Heads
	turned := l.KeyLen - la.Rank
	index := c.s.IndexHeads > 0 && l.Index > 0
	if index {
		key := c.f32(l.Index)
		c.store(c.op(key, c.op(key, c.view(c.op(key, c.op(key, h)), key))), c.kinds[false].keys)
	}
	q := h
	if l.has("attn_q_a") {
		q = c.change(c.f32(l.width("attn_q_a")), c.op(c.f32(l.width("attn_q_a")), h))
	}
	low := q
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
	if index {
		kind.mask = c.indexMask(l, low, h, kind.mask)
	}
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

// indexHeads is the number of heads of a sparse-attention index that keeps a score for every token.
func (s *Shape) indexHeads(l *Layer) int64 {
	if s.Arch != "minimax-m3" || l.Index == 0 {
		return 0
	}
	return s.IndexHeads
}

// indexMask adds the mask of the tokens that a layer's index chose for every query (models/deepseek32.cpp, glm-dsa.cpp).
func (c *computation) indexMask(l *Layer, low, h, mask *value) *value {
	top, cells := c.f32(min(c.s.IndexTop, l.cells(c.o))), c.f32(l.cells(c.o))
	ones := c.op(top)
	queries := c.f32(c.s.IndexHeads * l.Index)
	q := c.op(queries, c.op(queries, c.view(c.op(queries, low), queries)))
	weights := c.op(c.f32(c.s.IndexHeads), h)
	weights = c.op(weights.size, c.view(weights, weights.size))
	scores := c.op(cells, c.view(q, queries), weights, c.indexSees)
	best := c.op(top, c.op(top, scores))
	chosen := c.op(mask.size)
	c.store(ones, best)
	return c.op(mask.size, c.view(chosen, mask.size), mask)
}
