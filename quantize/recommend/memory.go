package recommend

// Memory is where the bytes of a running model go.
type Memory struct {
	Weights   int64 `json:"weights_bytes"`
	KV        int64 `json:"kv_bytes"`
	Recurrent int64 `json:"recurrent_bytes,omitempty"`
	Compute   int64 `json:"compute_bytes"`
	Projector int64 `json:"projector_bytes,omitempty"` // weights of a vision or audio projector that is loaded too
}

// Total is the sum.
func (m Memory) Total() int64 { return m.Weights + m.KV + m.Recurrent + m.Compute + m.Projector }

// Setting is how a model is run.
type Setting struct {
	Context    int64  `json:"context"`         // tokens of one slot
	Slots      int64  `json:"slots"`           // sequences served at once
	Unified    bool   `json:"kv_unified"`      // slots share one cache
	KV         string `json:"kv_type"`         // f16, q8_0, q4_0
	MicroBatch int64  `json:"ubatch"`          // tokens computed at once
	Batch      int64  `json:"batch"`           // tokens submitted at once
	Threads    int    `json:"threads"`         // of the CPU
	FlashAttn  bool   `json:"flash_attn"`      // attention without the matrix of scores
	Outputs    int64  `json:"-"`               // rows of logits computed at once; 0: one for each slot, as a server does
	Metal      bool   `json:"metal,omitempty"` // computed by Metal, whose attention keeps intermediate results in the compute buffer
}

// kvBits is the size of a cache element by type name, in eightieths of a byte: blocks of 32 share their scale.
var kvBits = map[string]int64{"f32": 320, "f16": 160, "bf16": 160, "q8_0": 85, "q5_1": 60, "q5_0": 55, "q4_1": 50, "q4_0": 45, "iq4_nl": 45}

// KVTypes are the cache types that are considered, best first.
var KVTypes = []string{"f16", "q8_0"}

func pad256(n int64) int64 { return (n + 255) / 256 * 256 }

func (o Setting) slots() int64 { return max(o.Slots, 1) }

// streams is the number of separate caches.
func (o Setting) streams() int64 {
	if o.Unified {
		return 1
	}
	return o.slots()
}

// cells is the number of token cells of one stream: a unified cache holds the contexts of all slots.
func (o Setting) cells() int64 {
	if o.Unified {
		return pad256(o.Context * o.slots())
	}
	return pad256(o.Context)
}

// cells is the number of token cells of a layer's cache, in one stream (llama.cpp v0.5.0: llama-context.cpp:289,
// llama-kv-cache-iswa.cpp:60).
func (l Layer) cells(o Setting) int64 {
	ctx := o.cells()
	if l.Window == 0 {
		return ctx
	}
	window := l.Window
	if o.Unified {
		window *= o.slots()
	}
	return pad256(min(ctx, window+o.MicroBatch))
}

// csaRatio marks the layers of DeepSeek V4 that also have an index (llama-kv-cache-dsv4.cpp).
const csaRatio = 4

// kvBytes is the exact size of a layer's part of the key-value cache, over all streams.
func (s *Shape) kvBytes(l Layer, o Setting) int64 {
	if s.Cache == Recurrent || s.Cache == NoCache || l.Shared {
		return 0
	}
	value := l.KVHeads * l.ValueLen
	if !o.FlashAttn && l.ValueLen > 0 && (l.KVHeads > 0 || s.Cache == KVCache) {
		value = s.widestValue() // without flash attention values lie transposed, and all layers take the widest one's room
	}
	row, size, streams := l.KVHeads*l.KeyLen+value, l.cells(o), o.streams()
	if l.Ratio > 0 || s.Arch == "deepseek4" { // never unified
		streams = o.slots()
		size = pad256(min(pad256(o.Context), l.Window+o.MicroBatch))
	}
	n := row * size
	switch {
	case l.Ratio > 0:
		n += pad256(max(1, (pad256(o.Context)+l.Ratio-1)/l.Ratio)) * l.KVHeads * l.KeyLen
		if l.Ratio == csaRatio {
			n += pad256((pad256(o.Context)+csaRatio-1)/csaRatio) * l.Index
		}
	case l.Index > 0:
		n += l.Index * o.cells()
	}
	return n * streams * kvBits[o.KV] / 80
}

func (s *Shape) widestValue() int64 {
	n := int64(0)
	for _, l := range s.Layers {
		n = max(n, l.KVHeads*l.ValueLen)
	}
	return n
}

// KVBytes is the exact size of the key-value cache.
func (s *Shape) KVBytes(o Setting) int64 {
	total := int64(0)
	for _, l := range s.Layers {
		total += s.kvBytes(l, o)
	}
	return total
}

// RecurrentBytes is the exact size of recurrent states, F32, one set for each slot.
func (s *Shape) RecurrentBytes(o Setting) int64 {
	total := int64(0)
	for _, l := range s.Layers {
		total += 4 * l.Recurrent * o.slots()
		switch l.Ratio { // what DeepSeek V4 has not yet compressed: key and score, twice the ratio where blocks overlap
		case 0:
		case csaRatio:
			total += 4 * 2 * o.slots() * 2 * csaRatio * 2 * (l.KeyLen + l.Index)
		default:
			total += 4 * 2 * o.slots() * l.Ratio * l.KeyLen
		}
	}
	return total
}

// Needs is the whole memory of a model whose weights take weights bytes, under a setting.
func (s *Shape) Needs(weights int64, o Setting) Memory {
	return Memory{Weights: weights, KV: s.KVBytes(o), Recurrent: s.RecurrentBytes(o), Compute: s.ComputeBytes(o), Projector: s.Projector}
}
