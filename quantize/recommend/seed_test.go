package recommend

import (
	"fmt"
	"testing"

	"quern/convert/gguf"
	"quern/quantize/machine"
)

// llama is the plan of a Llama of the first two generations: the sizes that the guide's tables speak of.
func llama(t *testing.T, layers, width, ff, heads, kv int64) *Shape {
	t.Helper()
	p := &gguf.Plan{Metadata: []gguf.KV{
		{Key: "general.architecture", Value: "llama"},
		{Key: "llama.block_count", Value: uint32(layers)}, {Key: "llama.context_length", Value: uint32(4096)},
		{Key: "llama.embedding_length", Value: uint32(width)}, {Key: "llama.feed_forward_length", Value: uint32(ff)},
		{Key: "llama.attention.head_count", Value: uint32(heads)}, {Key: "llama.attention.head_count_kv", Value: uint32(kv)},
		{Key: "llama.vocab_size", Value: uint32(32000)},
	}}
	add := func(name string, a, b int64) {
		p.Outputs = append(p.Outputs, gguf.Output{Name: name, Type: gguf.BF16, Shape: []int64{a, b}})
	}
	add("token_embd.weight", width, 32000)
	add("output.weight", width, 32000)
	for i := range layers {
		n := fmt.Sprintf("blk.%d.", i)
		add(n+"attn_q.weight", width, width)
		add(n+"attn_k.weight", width, width*kv/heads)
		add(n+"attn_v.weight", width, width*kv/heads)
		add(n+"attn_output.weight", width, width)
		add(n+"ffn_gate.weight", width, ff)
		add(n+"ffn_up.weight", width, ff)
		add(n+"ffn_down.weight", ff, width)
	}
	s, err := ShapeOf(p)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// byBits are candidates of a model by the bits per weight that llama.cpp states for a type.
func byBits(s *Shape) []Candidate {
	var cs []Candidate
	for name, bpw := range map[string]float64{"Q8_0": 8.5, "Q6_K": 6.56, "Q5_K_M": 5.7, "Q4_K_M": 4.89, "Q3_K_M": 4.0, "Q2_K": 3.16} {
		n := int64(float64(s.Params) * bpw / 8)
		cs = append(cs, Candidate{Type: name, Weights: n, ActiveBytes: n, BPW: bpw})
	}
	return cs
}

// The guide's table of memory sizes and models (its section 2): what it says can be had fits, and what quern takes is no
// smaller, with one correction: 7B of Llama 2 on 8 GB has room for three bits only, since Metal gets two thirds of the memory.
func TestGuideMemoryTable(t *testing.T) {
	models := map[string]*Shape{
		"7B": llama(t, 32, 4096, 11008, 32, 32), "13B": llama(t, 40, 5120, 13824, 40, 40),
		"33B": llama(t, 60, 6656, 17920, 52, 52), "70B": llama(t, 80, 8192, 28672, 64, 8),
	}
	for _, c := range []struct{ machine, model, guide, want string }{
		{"M1 8GB", "7B", "Q4_K", "Q3_K_M"},
		{"M1 16GB", "13B", "Q4_K", "Q4_K_M"},
		{"M2 16GB", "7B", "Q8_0", "Q8_0"},
		{"M1 Max 32GB", "13B", "Q8_0", "Q8_0"},
		{"M1 Max 64GB", "33B", "Q8_0", "Q8_0"},
		{"M1 Max 64GB", "70B", "Q4_K", "Q5_K_M"},
	} {
		m, err := machine.For(c.machine)
		if err != nil {
			t.Fatal(err)
		}
		s := models[c.model]
		got, err := Choose(m, s, byBits(s), Wish{Context: 2048, MinSpeed: 3, Prefer: "quality"})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%-12s %-4s guide %-5s ours %-7s %-5s %.1f of %.1f GiB, %.0f t/s", c.machine, c.model, c.guide, got.Type, got.Fit,
			float64(got.Memory.Total())/(1<<30), float64(got.Budget)/(1<<30), got.Speed.Generation)
		if got.Type != c.want {
			t.Errorf("%s on %s: %s, want %s: %v", c.model, c.machine, got.Type, c.want, got.Reasons)
		}
	}
}

// The guide says that each doubling of the context adds 20 to 50 %; the truth depends on the cache's share.
func TestGuideContextGrowth(t *testing.T) {
	s := llama(t, 32, 4096, 11008, 32, 32)
	w := int64(float64(s.Params) * 4.89 / 8)
	set := Setting{Context: 4096, Slots: 1, KV: "f16", MicroBatch: 512}
	one := s.Needs(w, set).Total()
	set.Context = 8192
	two := s.Needs(w, set).Total()
	if grow := float64(two)/float64(one) - 1; grow < .25 || grow > .40 {
		t.Errorf("7B of Llama 2 grows by %.0f %%", 100*grow)
	}
}

// Exact cache sizes by hand: layers x cells x heads x (key + value) x 2 bytes.
func TestKVBytes(t *testing.T) {
	s := llama(t, 80, 8192, 28672, 64, 8)
	set := Setting{Context: 8192, Slots: 1, KV: "f16", MicroBatch: 512}
	if got, want := s.KVBytes(set), int64(80*8192*8*(128+128)*2); got != want {
		t.Errorf("f16: %d, want %d", got, want)
	}
	set.KV = "q8_0"
	if got, want := s.KVBytes(set), int64(80*8192*8*(128+128)*34/32); got != want {
		t.Errorf("q8_0: %d, want %d", got, want)
	}
	set.KV, set.Context = "f16", 100 // padded to 256 cells
	if got, want := s.KVBytes(set), int64(80*256*8*(128+128)*2); got != want {
		t.Errorf("padded: %d, want %d", got, want)
	}
}

// More memory never chooses worse, and a larger context never needs less.
func TestMonotone(t *testing.T) {
	s := llama(t, 32, 4096, 11008, 32, 32)
	last := 1e9
	for gb := int64(6); gb <= 64; gb += 2 {
		m := &machine.Machine{Chip: "Apple M2 Max", Memory: gb << 30, GPUCores: 38, Bandwidth: 400}
		m.Complete()
		m.Available = m.Memory
		c, err := Choose(m, s, byBits(s), Wish{Prefer: "quality", MinSpeed: 1})
		if err != nil {
			t.Fatal(err)
		}
		if c.Runs && c.Setting.Context == 4096 && c.Setting.KV == "f16" {
			if c.KLD > last {
				t.Errorf("%d GiB: %s (%g) after %g", gb, c.Type, c.KLD, last)
			}
			last = c.KLD
		}
	}
	need := int64(0)
	for ctx := int64(256); ctx <= 1<<17; ctx *= 2 {
		n := s.Needs(1<<30, Setting{Context: ctx, Slots: 1, KV: "f16", MicroBatch: 512}).Total()
		if n < need {
			t.Errorf("context %d needs %d, less than %d", ctx, n, need)
		}
		need = n
	}
}

func TestNothingFits(t *testing.T) {
	s := llama(t, 80, 8192, 28672, 64, 8)
	m, err := machine.For("M1 8GB")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Choose(m, s, byBits(s), Wish{})
	if err != nil {
		t.Fatal(err)
	}
	if c.Runs || len(c.Reasons) == 0 {
		t.Errorf("%+v", c)
	}
}
