package recommend

import (
	"fmt"
	"math/rand/v2"
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

// On a machine with more memory the choice never loses quality, context or cache precision at once, and what is chosen fits.
func TestMoreMemory(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 2))
	for range 60 {
		s := llama(t, 8+rng.Int64N(70), 1024*(1+rng.Int64N(8)), 4096*(1+rng.Int64N(6)), 32, 8)
		ran := false
		for gb := int64(8); gb <= 512; gb *= 2 {
			m := &machine.Machine{Chip: "Apple M3 Ultra", GPUCores: 80, Memory: gb << 30}
			m.Complete()
			c, err := Choose(m, s, byBits(s), Wish{MinSpeed: .1})
			if err != nil {
				t.Fatal(err)
			}
			if ran && !c.Runs {
				t.Errorf("%d layers: runs with less memory, not with %d GiB", len(s.Layers), gb)
			}
			ran = c.Runs
			if c.Runs && (c.Memory.Total() > c.Budget || c.MaxContext < c.Setting.Context && c.Fit == Fits) {
				t.Errorf("%d GiB: %d of %d bytes, context %d of %d", gb, c.Memory.Total(), c.Budget, c.Setting.Context, c.MaxContext)
			}
		}
	}
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
