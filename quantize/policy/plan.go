package policy

import (
	"fmt"

	"quern/convert/gguf"
)

// Output is everything about the quantized model before a weight is read.
type Output struct {
	Files       []File
	Decisions   []Decision // in the order of the output, across all files
	Warnings    []Warning
	SourceBytes int64 // of the tensors that are kept
	Bytes       int64 // of the tensors, without headers and padding
	Elements    int64 // of all source tensors, also pruned ones, as the reference divides

	shapes [][]int64
	o      Options
}

// File is one file to write.
type File struct {
	Plan  gguf.Plan
	First int // Decisions[First+i] is the decision for Plan.Outputs[i]
}

// Warning is something that the user should know and that stops nothing.
type Warning struct {
	On   string // the tensor, key or file
	Says string
}

// BitsPerWeight is the size of the tensors over the number of the source's weights, as llama-quantize prints it.
func (o *Output) BitsPerWeight() float64 { return bits(o.Bytes, o.Elements) }

// SourceBitsPerWeight is the same for the source.
func (o *Output) SourceBitsPerWeight() float64 { return bits(o.SourceBytes, o.Elements) }

func bits(bytes, elements int64) float64 {
	if elements == 0 {
		return 0
	}
	return float64(bytes) * 8 / float64(elements)
}

// UsesImatrix tells whether an imatrix took part.
func (o *Output) UsesImatrix() bool { return o.o.Imatrix != nil }

// Size is the exact size of all files in bytes.
func (o *Output) Size() int64 {
	n := int64(0)
	for _, f := range o.Files {
		n += f.Plan.FileSize
	}
	return n
}

// Fallbacks are the decisions whose rows did not fit the wanted type.
func (o *Output) Fallbacks() []Decision {
	var all []Decision
	for _, d := range o.Decisions {
		if d.Fallback() {
			all = append(all, d)
		}
	}
	return all
}

// Plan decides everything and refuses what must not be written. parts are the files of the source in order; a source that is
// not split has one. Errors are *OptionError and *Refusal, or a *gguf.FormatError for a header that cannot be written.
func Plan(parts []*gguf.Plan, ft FileType, o Options) (*Output, error) {
	out, err := Decide(parts, ft, o)
	if err != nil {
		return nil, err
	}
	if bad := out.Refusals(); len(bad) > 0 {
		return nil, bad[0]
	}
	return out, nil
}

// Decide is Plan without the refusals that a dry run passes over.
func Decide(parts []*gguf.Plan, ft FileType, o Options) (*Output, error) {
	if len(parts) == 0 || !ft.Valid() {
		return nil, &OptionError{Option: "type", Value: ft.String(), Says: fmt.Sprintf("not a file type, or a source of %d files", len(parts))}
	}
	if o.Imatrix != nil && len(o.Imatrix.Entries) == 0 {
		o.Imatrix = nil // options took every entry away: the reference then quantizes, and writes metadata, as without one
	}
	if err := splitting(parts, o.Overrides); err != nil {
		return nil, err
	}
	// further parts hold tensors only; their metadata is split.* alone
	m, err := facts(parts[0], o.Overrides)
	if err != nil {
		return nil, err
	}
	all, blocks := collect(parts, o)
	out := &Output{o: o}
	c := newChooser(m, all, ft, o)
	for _, t := range all {
		d, err := c.decide(t)
		if err != nil {
			return nil, err
		}
		out.Decisions = append(out.Decisions, d)
		out.shapes = append(out.shapes, t.Shape)
		out.SourceBytes += t.Type.RowBytes(t.Shape[0]) * (d.Elements / max(t.Shape[0], 1))
		out.Bytes += d.Size
	}
	for _, p := range parts {
		for _, t := range p.Outputs {
			out.Elements += t.Elements()
		}
	}
	k, err := metadata(parts[0], m.arch, fileType(parts, ft, o), blocks, o)
	if err != nil {
		return nil, err
	}
	out.warn(all)
	out.warnAlignment(k)
	return out, out.layout(k)
}

// layout distributes the tensors over the files and lets every file find its size.
func (o *Output) layout(k keys) error {
	files := 1
	if o.o.KeepSplit {
		for _, d := range o.Decisions {
			files = max(files, d.Part+1)
		}
	}
	next := 0
	for i := range files { // decisions are sorted by part here, since keeping the split sorts by it
		f, own := File{First: next}, keys(nil)
		if i == 0 {
			own = k
		}
		if files > 1 {
			own.set("split.no", uint16(i))
			own.set("split.count", uint16(files))
			own.set("split.tensors.count", int32(len(o.Decisions)))
		}
		var outs []gguf.Output
		for ; next < len(o.Decisions) && (files == 1 || o.Decisions[next].Part == i); next++ {
			outs = append(outs, gguf.Output{Name: o.Decisions[next].Name, Type: o.Decisions[next].To, Shape: o.shapes[next]})
		}
		var err error
		// the reference keeps the key and lays the tensors out by 32 whatever it says, which no reader then understands
		said := gguf.Plan{Metadata: own}
		if f.Plan, err = gguf.Layout(own, outs, said.Alignment()); err != nil {
			return err
		}
		o.Files = append(o.Files, f)
	}
	return nil
}

// Refusals are the reasons not to write the file, in the order of the tensors.
func (o *Output) Refusals() []*Refusal {
	var all []*Refusal
	for i, d := range o.Decisions {
		if r := o.refuse(d, o.shapes[i]); r != nil {
			all = append(all, r)
		}
	}
	return all
}

func (o *Output) refuse(d Decision, shape []int64) *Refusal {
	if d.Copied() {
		if d.NeedsImatrix && o.o.Imatrix == nil {
			return o.withoutImatrix(d) // the reference asks for one even where the bytes pass unchanged
		}
		return nil
	}
	// what cannot work at all is said before what could be allowed by an option
	switch {
	case unwritable[d.To]:
		return &Refusal{Why: BadType, Tensor: d.Name, Says: fmt.Sprintf("llama.cpp cannot quantize to %s", d.To), Next: "choose a type that `quern archs` lists for files"}
	case unreadable[d.From]:
		return &Refusal{Why: BadType, Tensor: d.Name, Says: fmt.Sprintf("llama.cpp cannot read weights in %s", d.From), Next: "keep the tensor with --tensor-type, or convert the checkpoint again"}
	case d.From.Quantized() && !o.o.AllowRequantize:
		return &Refusal{Why: Requantize, Tensor: d.Name, Says: fmt.Sprintf("is already quantized to %s, and %s would lose more", d.From, d.To),
			Next: "start from the checkpoint or a BF16 file, or say --allow-requantize"}
	case !d.Importance && o.otherImatrix(d, shape):
		return &Refusal{Why: ImatrixDiffer, Tensor: d.Name, Next: "use an imatrix computed for this model",
			Says: fmt.Sprintf("the imatrix has %d values for it, the tensor needs %d", o.o.Imatrix.Entries[d.SourceName], importanceLen(shape))}
	case !d.Importance && (d.NeedsImatrix || blind[d.To]):
		return o.withoutImatrix(d)
	}
	return nil
}

// otherImatrix tells whether the imatrix has an entry of another size; embeddings, which always differ, are passed over.
func (o *Output) otherImatrix(d Decision, shape []int64) bool {
	if o.o.Imatrix == nil || roleOf(d.Name) == embedding {
		return false
	}
	n, ok := o.o.Imatrix.Entries[d.SourceName]
	return ok && int64(n) != importanceLen(shape)
}

func (o *Output) withoutImatrix(d Decision) *Refusal {
	says := fmt.Sprintf("%s needs an importance matrix", d.To)
	if o.o.Imatrix != nil {
		says = fmt.Sprintf("%s needs importance, and the imatrix has no entry for it", d.To)
	}
	return &Refusal{Why: NeedsImatrix, Tensor: d.Name, Says: says, Next: "`quern imatrix` computes one; or choose a type from Q2_K up"}
}
