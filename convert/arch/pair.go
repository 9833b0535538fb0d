package arch

import (
	"strings"

	"quern/convert/fault"
	"quern/convert/gguf"
	"quern/convert/view"
)

// Adapter makes ready for the tensors of an adapter in place of the model's: nothing is generated.
func (b *Build) Adapter() {
	bare := *b.Env.Arch
	bare.Extra = nil
	env := *b.Env
	env.Arch = &bare
	b.Env = &env
}

// Pairs replaces the outputs of an adapter by what its file holds, after Convert: for a product (view.Product) its two
// factors, and norms as they are. The factors of the embedding are those of its transpose, since llama.cpp looks rows of
// the first one up. Source: convert_lora_to_gguf.py, modify_tensors.
func (b *Build) Pairs() error {
	whole := b.Outputs
	b.Outputs = nil
	for _, o := range whole {
		if err := b.pair(o); err != nil {
			return err
		}
	}
	return nil
}

func (b *Build) pair(o Output) error {
	first, second, ok := view.Factors(o.View)
	// PEFT saves trained norms whole, and they are written so. llama.cpp v0.5.0 passes over them (src/llama-adapter.cpp).
	if isNorm := strings.Contains(o.Name, "_norm"); !ok || isNorm {
		if !isNorm || len(o.View.Shape) != 1 {
			return &fault.Unsupported{On: o.Source, Says: "what the architecture does to this tensor cannot be done to the pair of an adapter",
				Next: "merge the adapter into its base with PEFT (merge_and_unload) and convert the merged model"}
		}
		o.Type = gguf.F32
		b.Outputs = append(b.Outputs, o)
		return nil
	}
	if strings.Contains(o.Name, "token_embd.weight") {
		var err error
		if first, err = view.Transpose(first); err != nil {
			return err
		}
	}
	a, c := o, o
	a.Name, a.View = o.Name+".lora_a", first
	c.Name, c.View = o.Name+".lora_b", second
	for _, half := range []Output{a, c} {
		var err error
		// Asked for each half by itself: a rank that does not divide into blocks leaves that half in F16.
		if half.Type, err = b.outputType(Item{Name: half.Name, View: half.View, Source: half.Source, Block: blockOf(half.Source)}); err != nil {
			return err
		}
		b.Outputs = append(b.Outputs, half)
	}
	return nil
}
