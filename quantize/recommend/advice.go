package recommend

import (
	"fmt"
	"strings"

	"quern/quantize/machine"
)

// Component is one line of the table of where memory goes.
type Component struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
	Note  string `json:"note"`
}

// Components splits the need of a setting; their sum is Needs' total.
func (s *Shape) Components(weights, embedding, output int64, o Setting) []Component {
	m := s.Needs(weights, o)
	full, windowed := int64(0), int64(0)
	nFull, nWindowed := 0, 0
	for _, l := range s.Layers {
		switch n := s.kvBytes(l, o); {
		case n == 0:
		case l.Window > 0:
			windowed, nWindowed = windowed+n, nWindowed+1
		default:
			full, nFull = full+n, nFull+1
		}
	}
	list := []Component{
		{"weights: embedding", embedding, fmt.Sprintf("%d tokens x %d", s.Vocab, s.Embedding)},
		{"weights: layers", weights - embedding - output, fmt.Sprintf("%d layers", s.run())},
		{"weights: output", output, "none of its own where it is tied to the embedding"},
		{"cache: full attention", full, fmt.Sprintf("%d layers x %d cells, %s", nFull, o.cells()*o.streams(), o.KV)},
		{"cache: sliding windows", windowed, fmt.Sprintf("%d layers, window + micro-batch cells", nWindowed)},
		{"recurrent states", m.Recurrent, fmt.Sprintf("%d slots", o.slots())},
		{"compute buffer", m.Compute, fmt.Sprintf("micro-batch %d", o.MicroBatch)},
		{"projector", m.Projector, "vision or audio weights; what a picture takes while it is read comes on top"},
	}
	kept := list[:0]
	for _, c := range list {
		if c.Bytes != 0 {
			kept = append(kept, c)
		}
	}
	return kept
}

// Cell is a type at a context.
type Cell struct {
	Type       string  `json:"file_type"`
	Context    int64   `json:"context"`
	KV         string  `json:"kv_type"`
	Memory     int64   `json:"memory_total_bytes"`
	Fit        Fit     `json:"fit"`
	Generation float64 `json:"generation"`
}

// Matrix rates every type at contexts from 4096 to the model's limit, doubling.
func Matrix(m *machine.Machine, s *Shape, cands []Candidate, set Setting, w Wish) []Cell {
	limit := s.ContextLimit
	if limit == 0 {
		limit = 1 << 17
	}
	budget, _ := Budget(m)
	var cells []Cell
	for ctx := min(4096, limit); ; ctx = min(2*ctx, limit) {
		set.Context = ctx
		for _, r := range rate(m, s, cands, set, budget, w) {
			cells = append(cells, Cell{r.Type, ctx, set.KV, r.Memory.Total(), r.Fit, r.Speed.Generation})
		}
		if ctx >= limit {
			return cells
		}
	}
}

// Server is the command that serves a file under the setting, as llama-server of llama.cpp v0.5.0 takes it. -np is always
// there: without it that program makes four slots, and sliding windows grow with them.
func (o Setting) Server(path string) string {
	line := fmt.Sprintf("llama-server -m %s -c %d -np %d -t %d", path, o.cells()*o.streams(), o.slots(), o.Threads)
	if o.Unified && o.slots() > 1 {
		line += " -kvu"
	}
	if o.MicroBatch != 512 {
		line += fmt.Sprintf(" -ub %d", o.MicroBatch)
	}
	if o.Batch != 0 && o.Batch != 2048 {
		line += fmt.Sprintf(" -b %d", o.Batch)
	}
	if o.KV != "f16" {
		line += fmt.Sprintf(" -ctk %s -ctv %s", o.KV, o.KV)
	}
	if o.FlashAttn {
		return line + " -fa on"
	}
	return line + " -fa off"
}

// Modelfile is the same for Ollama, which takes cache type and flash attention from its environment.
func (o Setting) Modelfile(path string) string {
	s := fmt.Sprintf("FROM %s\nPARAMETER num_ctx %d\nPARAMETER num_thread %d\nPARAMETER num_batch %d\n", path, o.Context, o.Threads, o.MicroBatch)
	if o.KV != "f16" {
		s += fmt.Sprintf("# serve with OLLAMA_FLASH_ATTENTION=1 OLLAMA_KV_CACHE_TYPE=%s\n", o.KV)
	}
	return s
}

// Tuning is the memory of training an adapter.
type Tuning struct {
	Technique string `json:"technique"` // LoRA over 16 bits, QLoRA over 4
	Rank      int64  `json:"rank"`
	Base      int64  `json:"base_bytes"`
	Adapter   int64  `json:"adapter_bytes"` // weights, gradients and Adam's two moments in F32
	Working   int64  `json:"working_bytes"` // activations of one sequence with checkpoints, and the widest layer's
	Total     int64  `json:"total_bytes"`
}

// loraBytes is what an adapter's weight costs in training: itself, its gradient and two moments, F32.
const loraBytes = 4 * 4

// qloraBits is a weight of the frozen base in QLoRA: NF4 with its double-quantized scales, and the layers left in 16 bits.
const qloraBits = 4.6

// Finetune estimates LoRA and QLoRA over all linear layers at the rank, one sequence of tokens at a time, checkpoints on. It is
// advice: quern trains nothing; adapters that others trained are converted.
func (s *Shape) Finetune(rank, tokens int64) []Tuning {
	adapter := int64(0)
	for _, l := range s.Layers {
		for name, d := range l.parts {
			if d[0] > 1 && d[1] > 1 && !strings.Contains(name, "norm") && !strings.Contains(name, "exps") {
				adapter += rank * (d[0] + d[1])
			}
		}
	}
	adapter *= loraBytes
	layers := int64(len(s.Layers))
	working := 2*tokens*s.Embedding*layers + 4*tokens*(8*s.Embedding+3*s.FeedForward) + 2*4*tokens*s.Vocab
	var out []Tuning
	for _, t := range []struct {
		name string
		base int64
	}{{"LoRA", 2 * s.Params}, {"QLoRA", int64(float64(s.Params) * qloraBits / 8)}} {
		out = append(out, Tuning{t.name, rank, t.base, adapter, working, t.base + adapter + working})
	}
	return out
}

// Explain writes the formulas of a choice with the numbers in them.
func (c *Choice) Explain(m *machine.Machine, s *Shape) []string {
	var lines []string
	add := func(format string, a ...any) { lines = append(lines, fmt.Sprintf(format, a...)) }
	o := c.Setting
	add("weights  %d bytes = sum of the file's tensors under the rules of %s", c.Memory.Weights, c.Type)
	if n := c.Weights - c.loaded(); n > 0 {
		add("         %d bytes more are in the file: layers that predict further tokens, which only drafting loads", n)
	}
	for _, g := range groups(s, o) {
		add("cache    %d layers x %d cells x %d heads x (%d + %d) elements x %g bytes (%s) = %d bytes%s", g.n, g.l.cells(o)*o.streams(), g.l.KVHeads, g.l.KeyLen, g.l.ValueLen,
			float64(kvBits[o.KV])/80, o.KV, int64(g.n)*s.kvBytes(g.l, o), g.note)
	}
	if c.Memory.Recurrent > 0 {
		add("states   %d bytes = 4 x elements of the recurrent layers x %d slots", c.Memory.Recurrent, o.slots())
	}
	if o.Metal {
		add("compute  %d bytes = the largest of: network 4 x %d x (3 x %d + 3 x %d), attention, experts, output 4 x %d; masks 2 x micro-batch x cells on top",
			c.Memory.Compute, o.MicroBatch, s.FeedForward, s.Embedding, s.Vocab)
	} else {
		add("compute  %d bytes = the highest address that llama.cpp's allocator gives while %d tokens pass through the layers", c.Memory.Compute, o.MicroBatch)
	}
	if c.Memory.Projector > 0 {
		add("beside   %d bytes = the tensors of the projector's file", c.Memory.Projector)
	}
	add("budget   %d bytes: %s; fits up to %.0f %% of it", c.Budget, c.BudgetWhy, 100*fitShare)
	lines = append(lines, c.explainSpeed(m, s)...)
	loss := fmt.Sprintf("%.2g + %g", c.KLD, unseen)
	if c.prefer == "quality" {
		loss = fmt.Sprintf("%.2g", c.KLD)
	}
	add("score    -ln(KL divergence %s) + %g x ln(min(%.1f, %g tokens a second)) = %.2f", loss, speedWeight[c.prefer], c.Speed.Generation, enough, c.score(c.prefer))
	return lines
}

func (c *Choice) explainSpeed(m *machine.Machine, s *Shape) []string {
	g := m.Generation()
	rho, known := fitted["rho."+g]
	if !known || m.GPUCores == 0 {
		return []string{fmt.Sprintf("speed    1 / (1.2 x %.3f GB read / (0.6 x bandwidth)) = %.1f tokens a second: a rule of thumb for CPUs, measured by quern bench", float64(c.ActiveBytes)/1e9, c.Speed.Generation)}
	}
	return []string{
		fmt.Sprintf("speed    ms = layers x launch + sqrt(read^2 + unpack^2) + cache = %.2f; %.1f tokens a second, nine in ten between %.1f and %.1f", 1000/c.Speed.Generation, c.Speed.Generation, c.Speed.Low, c.Speed.High),
		fmt.Sprintf("         read %.3f GB / (%.2f x %d GB/s); unpack %.2f x 10^9 weights x %.1f / (%.2f x %d cores); launch %.3f ms x %d layers (%s)",
			float64(c.ActiveBytes)/1e9, rho, m.Bandwidth, float64(s.ActiveParams)/1e9, fitted["unpack."+unpackClass(c.Type)], fitted["core."+g], m.GPUCores, fitted["layer."+g], len(s.Layers), s.kind()),
	}
}

// group is a run of equal layers, for people to read.
type group struct {
	l    Layer
	n    int
	note string
}

func groups(s *Shape, o Setting) []group {
	var gs []group
	for _, l := range s.Layers {
		if s.kvBytes(l, o) == 0 {
			continue
		}
		found := false
		for i := range gs {
			g := &gs[i]
			if g.l.KVHeads == l.KVHeads && g.l.KeyLen == l.KeyLen && g.l.ValueLen == l.ValueLen && g.l.Window == l.Window && g.l.Index == l.Index && g.l.Ratio == l.Ratio {
				g.n, found = g.n+1, true
			}
		}
		if found {
			continue
		}
		note := ""
		switch {
		case l.Ratio > 0 || l.Index > 0:
			note = ", with what is compressed or indexed"
		case l.Window > 0:
			note = fmt.Sprintf(", window of %d", l.Window)
		}
		gs = append(gs, group{l, 1, note})
	}
	return gs
}
