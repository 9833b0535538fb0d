package policy

import (
	"fmt"
	"slices"
	"strings"

	"quern/convert/gguf"
)

// chooser holds what the reference counts while it walks the tensors in order. A decision depends on the decisions before it:
// "the first eighth of ffn_down" means the first that the mixture was asked about, not those that a pattern or an option took away.
// So tensors must be decided once each, in the order of the output.
type chooser struct {
	model
	file FileType
	o    Options
	tied bool // no output.weight: the embeddings serve as output

	seen  map[role]int // tensors of a role that the mixture has met
	total map[role]int // what their number divides by
}

func newChooser(m model, all []tensor, ft FileType, o Options) *chooser {
	c := &chooser{model: m, file: ft, o: o, tied: true, seen: map[role]int{}}
	// the source's layers, also where pruning takes some away: the reference counts them before it prunes
	c.total = map[role]int{ffnDown: m.layers, ffnGate: m.layers, ffnUp: m.layers}
	for _, t := range all {
		switch r := roleOf(t.Name); r {
		case attnV:
			c.total[attnV]++
		case output:
			c.tied = false
		}
	}
	return c
}

func roleOf(name string) role {
	for _, r := range roles {
		if name == r.part || !r.exact && strings.Contains(name, r.part) {
			return r.role
		}
	}
	return other
}

// decide chooses the type of the next tensor in the order of the output.
func (c *chooser) decide(t tensor) (Decision, error) {
	r := roleOf(t.Name)
	d := Decision{Name: t.Name, SourceName: t.original, Part: t.part, Source: t.index, From: t.Type, To: t.Type, Elements: t.Elements(), Importance: c.importance(t)}
	why := kept(t.Name, len(t.Shape), c.o)
	if c.file == Copy {
		why = "copied"
	}
	if why != "" {
		d.Kept, d.Wanted, d.Rule = true, d.To, "kept: "+why
	} else if err := c.choose(&d, t, r); err != nil {
		return d, err
	}
	d.NeedsImatrix = why == "" && needsImatrix(r, d.To, c.file)
	d.Size = d.To.RowBytes(t.Shape[0]) * (d.Elements / max(t.Shape[0], 1))
	return d, nil
}

// RecipeRule is the rule of a tensor whose type a mixture names; a fallback's words may follow it.
const RecipeRule = "the recipe"

// choose follows llama-quant.cpp, llama_tensor_get_type: options for embeddings and output first, then patterns, then the
// mixture, then the fallback. A pattern can only take per_layer_token_embd away from --token-embedding-type, since it is a large
// table of its own.
func (c *chooser) choose(d *Decision, t tensor, r role) error {
	named := match(c.o.Tensors, t.Name)
	recipe, inRecipe := c.o.Recipe[t.Name]
	switch {
	case inRecipe: // decided below, with the fallback
	case c.o.Embedding != nil && r == embedding && (t.Name != perLayerEmbedding || named == nil):
		return explicit(d, t, *c.o.Embedding, "--token-embedding-type")
	case c.o.Output != nil && r == output:
		return explicit(d, t, *c.o.Output, "--output-tensor-type")
	}
	d.Wanted, d.Rule = c.file.Default(), c.file.String()+": every weight"
	var err error
	switch quantized := c.file.Default().Quantized(); {
	case inRecipe:
		d.Wanted, d.Rule = recipe, RecipeRule
	case !quantized: // patterns and mixtures are for quantized files
	case named != nil:
		d.Wanted, d.Rule = named.Type, "--tensor-type "+named.Pattern
	case c.o.Pure:
		d.Rule = "--pure " + c.file.String()
	default:
		err = c.mix(d, t, r)
	}
	if err != nil {
		return err
	}
	if d.To, err = fit(t.Name, d.Wanted, t.Shape[0]); err != nil {
		return err
	}
	if d.Fallback() {
		d.Rule += fmt.Sprintf("; %s for %s, since rows of %d do not divide by %d", d.To, d.Wanted, t.Shape[0], d.Wanted.Block())
	}
	return nil
}

// explicit is a type that the reference takes without a look at the shape, reading past the rows if they do not divide.
func explicit(d *Decision, t tensor, to gguf.Type, option string) error {
	if t.Shape[0]%to.Block() != 0 {
		return &Refusal{Why: BadShape, Tensor: t.Name, Next: "choose a type with smaller blocks, such as q8_0 or f16",
			Says: fmt.Sprintf("%s %s: its rows of %d do not divide by blocks of %d", option, to, t.Shape[0], to.Block())}
	}
	d.To, d.Wanted, d.Rule = to, to, option
	return nil
}

// mix asks the mixture and moves the counters on. Counters stand still for tensors that never come here, which is why one
// --tensor-type may change the types of tensors that it does not name.
func (c *chooser) mix(d *Decision, t tensor, r role) error {
	if c.tied && r == embedding {
		r = output
	}
	if r == output && c.o.Output != nil {
		d.Wanted, d.Rule = *c.o.Output, "--output-tensor-type, as the embeddings serve as output"
		return nil
	}
	// without an output.weight the embeddings are multiplied with at the end, and get the output's bits
	p := place{model: c.model, imatrix: c.o.Imatrix != nil, matrices: 1, layer: c.seen[r], layers: c.total[r],
		unfit: t.Shape[0]%c.file.Default().Block() != 0, rather8: c.file.Default() == gguf.Q8_0}
	if len(t.Shape) > 2 {
		p.matrices = t.Shape[2]
	}
	if err := c.countByName(&p, t, r); err != nil {
		return err
	}
	to, text := choose(r, c.file, p)
	d.Wanted, d.Rule = to, c.file.String()+": "+text
	c.seen[r]++
	return nil
}

// countByName takes the layer of an ffn tensor from its name in models with experts, whose tensors stand in no steady number
// in a layer. The low group counts all the same.
func (c *chooser) countByName(p *place, t tensor, r role) error {
	isFFN := r == ffnDown || r == ffnGate || r == ffnUp
	if !isFFN || c.experts < 2 || c.file == MXFP4 || slices.Contains(low, c.file) {
		return nil
	}
	n, ok := layerOf(t.Name)
	if !ok || n < 0 || n >= p.layers {
		return &Refusal{Why: BadModel, Tensor: t.Name, Says: fmt.Sprintf("no layer from 0 to %d in the name", p.layers-1),
			Next: "the types of this model's ffn tensors follow their layer; choose them with --pure or --tensor-type"}
	}
	p.layer = n
	return nil
}

// importance tells whether the imatrix has an entry for the tensor, by its name in the source, of the right size.
func (c *chooser) importance(t tensor) bool {
	if c.o.Imatrix == nil {
		return false
	}
	n, ok := c.o.Imatrix.Entries[t.original]
	return ok && int64(n) == importanceLen(t.Shape)
}

// importanceLen is a row of weights for each matrix.
func importanceLen(shape []int64) int64 {
	if len(shape) > 2 {
		return shape[0] * shape[2]
	}
	return shape[0]
}
