package recommend

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"quern/convert/gguf"
	"quern/quantize/machine"
)

// anyShape is a random model: grouped queries, windows, experts, recurrent layers in some.
func anyShape(t *testing.T, rng *rand.Rand) *Shape {
	t.Helper()
	arch := []string{"llama", "gemma3", "qwen3moe", "gpt-oss", "qwen3next", "mamba2", "falcon-h1"}[rng.IntN(7)]
	heads := int64(1) << rng.IntN(6)
	width := heads * 64
	n := uint32(1 + rng.IntN(12))
	key := func(name string, v int64) gguf.KV { return gguf.KV{Key: arch + "." + name, Value: uint32(v)} }
	p := &gguf.Plan{Metadata: []gguf.KV{{Key: "general.architecture", Value: arch}, {Key: arch + ".block_count", Value: n}, key("context_length", 131072),
		key("embedding_length", width), key("feed_forward_length", 3*width), key("attention.head_count", heads), key("attention.head_count_kv", max(1, heads/(1<<rng.IntN(3)))),
		key("vocab_size", 1000+rng.Int64N(100000)), key("attention.sliding_window", 512), key("ssm.inner_size", 2*width), key("ssm.state_size", 16), key("ssm.conv_kernel", 4)}}
	add := func(name string, shape ...int64) {
		p.Outputs = append(p.Outputs, gguf.Output{Name: name, Type: gguf.BF16, Shape: shape})
	}
	add("output.weight", width, 1000)
	for i := range n {
		b := fmt.Sprintf("blk.%d.", i)
		add(b+"attn_norm.weight", width)
		add(b+"attn_q.weight", width, width)
		add(b+"attn_output.weight", width, width)
		add(b+"ffn_norm.weight", width)
		add(b+"ffn_gate.weight", width, 3*width)
		add(b+"ffn_up.weight", width, 3*width)
		add(b+"ffn_down.weight", 3*width, width)
	}
	s, err := ShapeOf(p)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A larger context, micro-batch or number of slots never needs less, and a smaller cache type never more.
func TestNeedsGrow(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 9))
	for range 400 {
		s := anyShape(t, rng)
		o := Setting{Context: 256 + rng.Int64N(30000), Slots: 1 + rng.Int64N(4), Unified: rng.IntN(2) == 0, KV: "f16", MicroBatch: 1 << (5 + rng.IntN(6)), FlashAttn: rng.IntN(4) > 0, Metal: rng.IntN(2) == 0}
		base := s.Needs(1<<30, o)
		for name, change := range map[string]func(*Setting){"context": func(o *Setting) { o.Context += 1 + rng.Int64N(9000) }, "slots": func(o *Setting) { o.Slots++ }} {
			more := o
			change(&more)
			if n := s.Needs(1<<30, more); n.KV+n.Recurrent < base.KV+base.Recurrent {
				t.Errorf("%s: more %s needs less cache: %+v %+v, %+v %+v", s.Arch, name, o, base, more, n)
			}
		}
		wide := o
		wide.MicroBatch *= 2
		if n := s.ComputeBytes(wide); n < base.Compute {
			t.Errorf("%s: twice the micro-batch computes in %d, less than %d: %+v", s.Arch, n, base.Compute, o)
		}
		if o.FlashAttn {
			small := o
			small.KV = "q8_0"
			if n := s.KVBytes(small); n > base.KV {
				t.Errorf("%s: 8-bit cache of %d bytes, 16 bits take %d", s.Arch, n, base.KV)
			}
		}
		if base.Compute <= 0 || base.KV < 0 {
			t.Errorf("%s: %+v", s.Arch, base)
		}
	}
}

// place is where a choice stands in the order in which things are given up; smaller is better.
func place(c *Choice, all []Setting, w Wish) []float64 {
	score := c.score(w.Prefer)
	if c.tooSlow(w) {
		score = c.Speed.Generation
	}
	bad := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	return []float64{bad(!c.Runs), bad(c.tooSlow(w)), bad(c.KLD > usualFloor), float64(slices.Index(all, c.Setting)), bad(c.Fit != Fits), -score}
}

// More memory never chooses worse, what is chosen fits, and the largest context that is named does too.
func TestMoreMemory(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 2))
	n := 0
	for range 120 {
		s := llama(t, 8+rng.Int64N(70), 1024*(1+rng.Int64N(8)), 4096*(1+rng.Int64N(6)), 32, 8)
		s.ContextLimit = 4096 << rng.IntN(6)
		w := Wish{Prefer: []string{"quality", "balanced", "speed"}[rng.IntN(3)], Context: []int64{0, 0, 2048, 16384}[rng.IntN(4)], MinSpeed: []float64{0, 0, 3, 20}[rng.IntN(4)]}
		var last []float64
		for gb := int64(6); gb <= 512; gb += 1 + gb/6 {
			m := &machine.Machine{Chip: "Apple M3 Ultra", GPUCores: 60, Memory: gb << 30, WorkingSet: gb << 30 / 4 * 3}
			m.Complete()
			c, err := Choose(m, s, byBits(s), w)
			if err != nil {
				t.Fatal(err)
			}
			if c.Runs {
				o := c.Setting
				o.Context = c.MaxContext
				if c.Memory.Total() > c.Budget || s.Needs(c.loaded(), o).Total() > c.Budget || c.MaxContext < min(c.Setting.Context, s.ContextLimit) {
					t.Errorf("%d GiB: %d of %d bytes, context %d of %d", gb, c.Memory.Total(), c.Budget, c.Setting.Context, c.MaxContext)
				}
			}
			now := place(c, settings(firstSetting(m, s, w), w), w)
			if !c.Runs {
				now = []float64{1}
			}
			if last != nil && slices.Compare(now, last) > 0 {
				t.Errorf("%d layers of %d, %+v: %d GiB choose %s %+v: %v after %v", len(s.Layers), s.Embedding, w, gb, c.Type, c.Setting, now, last)
			}
			last, n = now, n+1
		}
	}
	t.Logf("count: %d choices on machines with ever more memory, none worse than the one before", n)
}

// More bandwidth and more cores never predict slower, and neither does a type of the same class with fewer bytes.
func TestFasterMachines(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	o := Setting{Context: 8192, Slots: 1, KV: "f16", MicroBatch: 512, FlashAttn: true, Metal: true}
	n := 0
	for _, chip := range machine.Chips {
		for range 20 {
			s := anyShape(t, rng)
			bytes := int64(float64(s.Params) * 4.9 / 8)
			m := &machine.Machine{Chip: chip.Name, GPUCores: chip.GPUCores, Memory: 64 << 30, Bandwidth: 50 + rng.Int64N(800)}
			m.Complete()
			base := Predict(m, s, bytes, bytes, "Q4_K_M", o, Calibration{})
			faster := *m
			faster.Bandwidth += 1 + rng.Int64N(400)
			wider := *m
			wider.GPUCores += 1 + rng.IntN(40)
			for name, sp := range map[string]Speed{"more bandwidth": Predict(&faster, s, bytes, bytes, "Q4_K_M", o, Calibration{}), "more cores": Predict(&wider, s, bytes, bytes, "Q4_K_M", o, Calibration{}),
				"fewer bytes": Predict(m, s, bytes/2, bytes/2, "Q4_K_M", o, Calibration{})} {
				if sp.Generation < base.Generation*(1-1e-9) || sp.Prefill < base.Prefill*(1-1e-9) {
					t.Errorf("%s, %s: %s predicts %.2f, %.0f after %.2f, %.0f", chip.Name, s.Arch, name, sp.Generation, sp.Prefill, base.Generation, base.Prefill)
				}
			}
			if base.Low > base.Generation || base.High < base.Generation {
				t.Errorf("%s: %+v", chip.Name, base)
			}
			n++
		}
	}
	t.Logf("count: %d predictions, none slower with more bandwidth, more cores or fewer bytes", n)
}

// FuzzShape: metadata of any kind gives a shape or an error, and a shape a need.
func FuzzShape(f *testing.F) {
	f.Add("llama", uint32(2), uint32(64), uint32(4), uint32(2), uint32(128))
	f.Add("mamba2", uint32(1), uint32(0), uint32(0), uint32(0), uint32(0))
	f.Add("deepseek4", uint32(3), uint32(7), uint32(1<<31), uint32(1<<31), uint32(9))
	f.Add("gemma3n", uint32(30), uint32(1), uint32(0), uint32(5), uint32(1))
	f.Add("nanbeige", uint32(4096), uint32(1), uint32(1), uint32(1), uint32(1<<31))
	f.Fuzz(func(t *testing.T, arch string, layers, width, heads, kv, other uint32) {
		layers %= 64
		p := &gguf.Plan{Metadata: []gguf.KV{{Key: "general.architecture", Value: arch}}}
		for k, v := range map[string]uint32{"block_count": layers, "embedding_length": width, "attention.head_count": heads, "attention.head_count_kv": kv, "feed_forward_length": other,
			"num_loops": other, "attention.sliding_window": other, "ssm.inner_size": other, "ssm.conv_kernel": kv, "attention.indexer.key_length": other, "expert_count": kv % 512, "expert_used_count": other % 64} {
			p.Metadata = append(p.Metadata, gguf.KV{Key: arch + "." + k, Value: v})
		}
		for _, n := range []string{"attn_q", "ffn_up", "ffn_gate_inp", "ffn_up_exps", "ssm_x", "ssm_in", "ssm_conv1d"} {
			p.Outputs = append(p.Outputs, gguf.Output{Name: "blk.0." + n + ".weight", Type: gguf.F16, Shape: []int64{int64(width), int64(other % 4096)}})
		}
		s, err := ShapeOf(p)
		if err != nil {
			return
		}
		s.Needs(1, Setting{Context: 512, KV: "f16", MicroBatch: 64, FlashAttn: true})
		s.Needs(1, Setting{Context: 512, KV: "q8_0", MicroBatch: 64, Slots: 3, Metal: true})
		s.Finetune(16, 128)
	})
}
