package imatrix

import (
	"fmt"
	"slices"
	"strings"

	"quern/convert/gguf"
)

// Coverage is how well an importance matrix fits a model.
type Coverage struct {
	Covered  int      `json:"covered"`            // weight matrices with an entry that fits
	Missing  []string `json:"missing,omitempty"`  // weight tensors without one
	Foreign  []string `json:"foreign,omitempty"`  // entries that name no tensor of the model
	Misfit   []string `json:"misfit,omitempty"`   // entries of another size than their tensor, with both sizes
	Experts  int      `json:"experts,omitempty"`  // of all stacked tensors with an entry
	Silent   int      `json:"silent,omitempty"`   // experts among them that no token reached: they are quantized without importance
	Thinnest string   `json:"thinnest,omitempty"` // the expert with the fewest tokens among those reached, with its count; empty without experts
}

// unmeasured are the tensors for which llama-imatrix has no entry unless asked: embeddings and the output.
var unmeasured = map[string]bool{
	"token_embd.weight": true, "per_layer_token_embd.weight": true, "output.weight": true, "position_embd.weight": true, "token_types.weight": true,
}

// Cover compares the matrix with the tensors of a model.
func (m *Matrix) Cover(model *gguf.Plan) Coverage {
	var c Coverage
	known, thin := map[string]bool{}, int64(-1)
	for _, o := range model.Outputs {
		known[o.Name] = true
		if len(o.Shape) < 2 || !strings.HasSuffix(o.Name, "weight") || strings.Contains(o.Name, "_norm") || unmeasured[o.Name] {
			continue
		}
		want := o.Shape[0]
		if len(o.Shape) > 2 {
			want *= o.Shape[2]
		}
		e := m.Find(o.Name)
		switch {
		case e == nil:
			c.Missing = append(c.Missing, o.Name)
			continue
		case int64(len(e.Sums)) != want:
			c.Misfit = append(c.Misfit, fmt.Sprintf("%s: %d values, the tensor needs %d", o.Name, len(e.Sums), want))
			continue
		}
		c.Covered++
		thin = c.experts(e, thin)
	}
	for _, e := range m.Entries {
		if !known[e.Name] {
			c.Foreign = append(c.Foreign, e.Name)
		}
	}
	return c
}

// experts counts those of a stacked tensor; thin is the smallest count so far, -1 for none.
func (c *Coverage) experts(e *Entry, thin int64) int64 {
	if len(e.Counts) < 2 {
		return thin
	}
	c.Experts += len(e.Counts)
	for i, n := range e.Counts {
		switch {
		case n == 0:
			c.Silent++
		case thin < 0 || n < thin:
			thin, c.Thinnest = n, fmt.Sprintf("%s, expert %d: %d tokens", e.Name, i, n)
		}
	}
	return thin
}

// Fits tells whether the matrix can be of this model: nothing misfits, and most entries name a tensor.
func (c Coverage) Fits() bool { return len(c.Misfit) == 0 && c.Covered > len(c.Foreign) }

// Lines is the coverage in words.
func (c Coverage) Lines() []string {
	lines := []string{fmt.Sprintf("%d of %d weight tensors have importance", c.Covered, c.Covered+len(c.Missing)+len(c.Misfit))}
	list := func(what string, names []string) {
		if len(names) > 0 {
			lines = append(lines, fmt.Sprintf("%s: %d, such as %s", what, len(names), slices.Min(names)))
		}
	}
	list("without an entry", c.Missing)
	list("entries of another model", c.Foreign)
	list("entries of another size", c.Misfit)
	if c.Experts > 0 {
		lines = append(lines, fmt.Sprintf("%d of %d experts were reached; the least: %s", c.Experts-c.Silent, c.Experts, c.Thinnest))
	}
	return lines
}
