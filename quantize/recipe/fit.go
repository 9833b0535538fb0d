package recipe

import (
	"fmt"
	"strconv"
	"strings"

	"quern/convert/gguf"
	"quern/quantize/policy"
)

// Budget is how large the result may be: a file, or bits for each weight. One of the two is set.
type Budget struct {
	Bytes int64   // of the whole file
	Bits  float64 // of the tensors, over the number of the model's weights, as llama-quantize counts
}

// units of sizes, binary and decimal.
var units = []struct {
	suffix string
	bytes  float64
}{
	{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"tib", 1 << 40}, {"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"tb", 1e12},
	{"k", 1 << 10}, {"m", 1 << 20}, {"g", 1 << 30}, {"b", 1}, {"", 1},
}

// ParseSize reads the size of a file, such as "3.5GiB", "800MB" or a number of bytes.
func ParseSize(s string) (Budget, error) {
	for _, u := range units {
		number, ok := strings.CutSuffix(strings.ToLower(strings.TrimSpace(s)), u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(n > 0) || n*u.bytes > 1<<62 {
			break
		}
		return Budget{Bytes: int64(n * u.bytes)}, nil
	}
	return Budget{}, &Error{On: s, Says: "is no size", Next: "such as 3.5GiB, 800MB or a number of bytes"}
}

// String is the budget as a recipe records it.
func (b Budget) String() string {
	if b.Bits > 0 {
		return fmt.Sprintf("%g bits per weight", b.Bits)
	}
	return fmt.Sprintf("%d bytes", b.Bytes)
}

// ladder are the types that a mixture is made of, from small to large. IQ types below IQ3_S are open only with importance:
// without it llama.cpp refuses them.
var ladder = []struct {
	t      gguf.Type
	needed bool // importance
}{
	{gguf.IQ1S, true}, {gguf.IQ1M, true}, {gguf.IQ2XXS, true}, {gguf.IQ2XS, true}, {gguf.IQ2S, true}, {gguf.Q2_K, false}, {gguf.IQ3XXS, true},
	{gguf.IQ3S, false}, {gguf.Q3_K, false}, {gguf.IQ4XS, false}, {gguf.IQ4NL, false}, {gguf.Q4_0, false}, {gguf.Q4_K, false}, {gguf.Q4_1, false},
	{gguf.Q5_0, false}, {gguf.Q5_K, false}, {gguf.Q5_1, false}, {gguf.Q6_K, false}, {gguf.Q8_0, false},
}

// Candidates are the types that a tensor may get: none if it keeps its type whatever the file type, else those of the ladder whose
// blocks divide its rows, and its own if that is a half-precision one.
func Candidates(d policy.Decision, row int64) []gguf.Type {
	if d.Kept {
		return nil
	}
	var all []gguf.Type
	for _, step := range ladder {
		if row%step.t.Block() == 0 && (d.Importance || !step.needed) {
			all = append(all, step.t)
		}
	}
	if d.From == gguf.BF16 || d.From == gguf.F16 {
		all = append(all, d.From)
	}
	return all
}

// Base is the named type whose number a mixture of so many bits claims: the K-quant nearest to it.
func Base(bits float64) policy.FileType {
	best, distance := policy.Q4_K_M, 1e9
	for _, k := range policy.Kinds() {
		switch k.Type {
		case policy.Q2_K, policy.Q3_K_S, policy.Q3_K_M, policy.Q3_K_L, policy.Q4_K_S, policy.Q4_K_M, policy.Q5_K_S, policy.Q5_K_M, policy.Q6_K, policy.Q8_0:
			if d := max(k.Bits-bits, bits-k.Bits); d < distance {
				best, distance = k.Type, d
			}
		}
	}
	return best
}

// Fit finds the mixture of least error within the budget. parts, base and o are what policy.Decide takes; tensors that were
// not measured get the type that it decides. The recipe's Model, Kernel and Imatrix are the caller's to fill in.
func Fit(parts []*gguf.Plan, base policy.FileType, o policy.Options, measured []Measured, b Budget) (*Recipe, error) {
	plain, err := policy.Decide(parts, base, o)
	if err != nil {
		return nil, err
	}
	// measurements go by the source's names, decisions by the output's: they differ where layers are pruned
	byName := make(map[string]*Measured, len(measured))
	for i := range measured {
		byName[measured[i].Name] = &measured[i]
	}
	size := func(bytes int64) int64 { return bytes }
	// room is for the tensors that can be chosen: the budget less headers, padding and what keeps its type
	room := int64(b.Bits * float64(plain.Elements) / 8)
	if b.Bits <= 0 { // a file's tensors are padded
		size = func(bytes int64) int64 { return gguf.Pad(bytes, gguf.DefaultAlignment) }
		room = b.Bytes - plain.Size()
		for _, d := range plain.Decisions {
			room += size(d.Size)
		}
	}
	weight := weigher(plain.Decisions)
	var classes []Class
	var names []string
	for _, d := range plain.Decisions {
		m := byName[d.SourceName]
		if m == nil || d.Kept {
			room -= size(d.Size)
			continue
		}
		classes = append(classes, m.class(d, weight(d.Name), size))
		names = append(names, d.Name)
	}
	s, err := Solve(classes, room)
	if err != nil {
		return nil, err
	}
	r := &Recipe{Version: Version, Base: base.String(), Budget: b.String(), Error: s.Error, Bound: s.Bound}
	for i, pick := range s.Pick {
		r.Tensors = append(r.Tensors, Tensor{names[i], TypeName(classes[i].Choices[pick].Type), classes[i].Choices[pick].Error / weight(names[i])})
	}
	// decided once more with the recipe: what is recorded is what will be written
	o.Recipe = r.Types()
	out, err := policy.Plan(parts, base, o)
	if err != nil {
		return nil, err
	}
	r.Size, r.Bits = out.Size(), out.BitsPerWeight()
	return r, nil
}

// class gives the measured types of a tensor their sizes and weighted errors.
func (m *Measured) class(d policy.Decision, weight float64, size func(int64) int64) Class {
	c := Class{Name: d.Name}
	for i, t := range m.Types {
		c.Choices = append(c.Choices, Choice{t, size(d.Elements / t.Block() * t.BlockBytes()), m.Errors[i] * weight})
	}
	return c
}

// weights say how much a tensor's relative error counts beside that of a layer's other tensors, by the first part found in its
// name. They were measured on quern's pocket model: the KL divergence of the model with one tensor in Q3_K over that
// tensor's error, 36 times. Queries and keys pass through a softmax that forgives; the rest of a layer is alike.
var weights = []struct {
	part   string
	weight float64
}{
	{"attn_q.", 0.3}, {"attn_k.", 0.3},
}

// outputPerLayer is the weight of what makes the logits, for each layer of the model: a layer adds its noise to a stream that
// the other layers carry too, the output's noise falls on the logits themselves. Measured as weights were: 20 with 5 layers.
const outputPerLayer = 4

// weigher gives the weights of a model's tensors.
func weigher(decisions []policy.Decision) func(name string) float64 {
	layers, top := 1, "token_embd.weight"
	for _, d := range decisions {
		var n int
		if _, err := fmt.Sscanf(d.Name, "blk.%d.", &n); err == nil {
			layers = max(layers, n+1)
		}
		if d.Name == "output.weight" {
			top = d.Name
		}
	}
	return func(name string) float64 {
		if name == top {
			return outputPerLayer * float64(layers)
		}
		for _, w := range weights {
			if strings.Contains(name, w.part) {
				return w.weight
			}
		}
		return 1
	}
}
