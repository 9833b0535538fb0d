package recommend

// Memory is where the bytes of a running model go.
type Memory struct {
	Weights   int64 `json:"weights_bytes"`
	KV        int64 `json:"kv_bytes"`
	Recurrent int64 `json:"recurrent_bytes,omitempty"`
	Compute   int64 `json:"compute_bytes"`
}

// Total is the sum.
func (m Memory) Total() int64 { return m.Weights + m.KV + m.Recurrent + m.Compute }

// Setting is how a model is run.
type Setting struct {
	Context    int64  `json:"context"`    // tokens of one slot
	Slots      int64  `json:"slots"`      // sequences served at once
	Unified    bool   `json:"kv_unified"` // slots share one cache
	KV         string `json:"kv_type"`    // f16, q8_0, q4_0
	MicroBatch int64  `json:"ubatch"`     // tokens computed at once
	Batch      int64  `json:"batch"`      // tokens submitted at once
	Threads    int    `json:"threads"`    // of the CPU
	FlashAttn  bool   `json:"flash_attn"` //
}

// kvBits is the size of a cache element in bits by type name.
var kvBits = map[string]int64{"f32": 320, "f16": 160, "bf16": 160, "q8_0": 85, "q5_1": 60, "q5_0": 55, "q4_1": 50, "q4_0": 45}

// KVTypes are the cache types that are considered, best first.
var KVTypes = []string{"f16", "q8_0"}

func pad256(n int64) int64 { return (n + 255) / 256 * 256 }

// cells is the number of token cells of a layer's cache, over all streams (llama.cpp v0.5.0: llama-context.cpp:289,
// llama-kv-cache-iswa.cpp:73).
func (l Layer) cells(o Setting) int64 {
	slots := max(o.Slots, 1)
	ctx, streams := pad256(o.Context), slots
	if o.Unified {
		ctx, streams = pad256(o.Context*slots), 1
	}
	if l.Window > 0 {
		window := l.Window
		if o.Unified {
			window *= slots
		}
		ctx = min(ctx, pad256(min(ctx, window+o.MicroBatch)))
	}
	return ctx * streams
}

// KVBytes is the exact size of the key-value cache.
func (s *Shape) KVBytes(o Setting) int64 {
	bits := kvBits[o.KV]
	total := int64(0)
	for _, l := range s.Layers {
		total += l.cells(o) * l.KVHeads * (l.KeyLen + l.ValueLen) * bits / 80
	}
	return total
}

// RecurrentBytes is the exact size of recurrent states, F32, one set for each slot.
func (s *Shape) RecurrentBytes(o Setting) int64 {
	total := int64(0)
	for _, l := range s.Layers {
		total += 4 * l.Recurrent * max(o.Slots, 1)
	}
	return total
}

// ComputeBytes models the compute buffer of a Metal build of mid-2026 with flash attention (design: the largest of the
// feed-forward, expert, attention and output steps; 880 simulated cases: median error 0.01 %, worst 13 %).
func (s *Shape) ComputeBytes(o Setting) int64 {
	ub, e := o.MicroBatch, s.Embedding
	ctx, swa, att := int64(0), int64(0), int64(0)
	for _, l := range s.Layers {
		if l.Window > 0 {
			swa = max(swa, l.cells(o))
		} else if l.KVHeads > 0 {
			ctx = max(ctx, l.cells(o))
		}
	}
	mask := 2 * ub * (ctx + swa)
	for _, l := range s.Layers {
		if l.KVHeads == 0 {
			continue
		}
		cells := l.cells(o)
		fa := 2*(l.KeyLen+l.ValueLen)*l.KVHeads*cells + 4*min(ub, 32)*l.Heads*32*(l.ValueLen+2) +
			64*(2*l.KeyLen*l.KVHeads+2*l.ValueLen*l.KVHeads+2*ub) + cells/64*(ub/8)
		att = max(att, mask+fa+4*ub*(3*e+3*l.Heads*l.KeyLen))
	}
	ffn := mask + 4*ub*(3*s.FeedForward+3*e)
	moe := int64(0)
	if s.Experts > 0 {
		moe = mask + 4*ub*(2*s.ExpertsUsed*e+s.ExpertsUsed*s.ExpertFF+e) + 4*s.Experts*ub
	}
	out := 4*s.Vocab + 8*ub*e
	return max(ffn, moe, att, out)
}

// Needs is the whole memory of a model whose weights take weights bytes, under a setting.
func (s *Shape) Needs(weights int64, o Setting) Memory {
	return Memory{Weights: weights, KV: s.KVBytes(o), Recurrent: s.RecurrentBytes(o), Compute: s.ComputeBytes(o)}
}
