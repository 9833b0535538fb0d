package build

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"

	"quern/convert/gguf"
	"quern/convert/safetensors"
	"quern/convert/view"
	"quern/quantize/build"
	"quern/quantize/kernel"
	"quern/stages/job"
)

// reading is one way of reading a source tensor: several targets share it, so that each row is read once.
type reading struct {
	part, index int
	tower       bool // index counts the projector's tensors
	via         gguf.Type
	raw         bool // bytes as they are
}

// jobs pairs every source tensor with its targets in all files, in the order of the first file. Of a GGUF file that is read
// from the Hub and not kept they stand in the order of the source: each byte comes once, and its digest is proven on the way.
func jobs(s *job.State) ([]build.Job, []io.Closer, error) {
	c := &collector{s: s, at: map[reading]int{}, place: map[string]place{}}
	for i, p := range s.Parts {
		for _, o := range p.Outputs {
			c.place[o.Name] = place{i, o.Offset}
		}
	}
	file := 0
	for _, a := range s.Files {
		var err error
		switch {
		case a.Copies != nil:
			err = c.copied(a, file)
		case a.Policy == nil:
			err = c.converted(a, file)
		default:
			err = c.quantized(a, file)
		}
		if err != nil {
			return nil, c.closers, err
		}
		file += len(a.Plans)
	}
	if s.Stream && s.Source.File != "" {
		slices.SortStableFunc(c.jobs, func(a, b build.Job) int {
			x, y := c.place[a.Name], c.place[b.Name]
			return cmp.Or(cmp.Compare(x.part, y.part), cmp.Compare(x.offset, y.offset))
		})
	}
	return c.jobs, c.closers, nil
}

// place is where a tensor of a GGUF source stands.
type place struct {
	part   int
	offset int64
}

type collector struct {
	s       *job.State
	jobs    []build.Job
	at      map[reading]int
	place   map[string]place // by the source's name
	parts   []io.ReaderAt    // of a GGUF source, opened at first use
	closers []io.Closer
}

// converted adds the targets of the converter's own file: source rows to the output's type, without a stop in between.
func (c *collector) converted(a *job.Artifact, file int) error {
	m := a.Model
	for pi, p := range a.Plans {
		for i, o := range p.Outputs {
			src := a.Firsts[pi] + i
			t := build.Target{File: file + pi, Type: o.Type, Offset: p.DataOffset + o.Offset, Alignment: p.Alignment(), Copy: m.Raw[src]}
			c.add(reading{index: src, tower: a.Mmproj, raw: m.Raw[src]}, m.Sources[src], t)
		}
	}
	return nil
}

// copied adds tensors of a GGUF source that pass unchanged.
func (c *collector) copied(a *job.Artifact, file int) error {
	for pi, p := range a.Plans {
		for i, o := range p.Outputs {
			ref := a.Copies[a.Firsts[pi]+i]
			from, err := c.part(ref.Part)
			if err != nil {
				return err
			}
			src := c.s.Parts[ref.Part]
			t, err := c.stored(src.Outputs[ref.Index], from, src.DataOffset, true)
			if err != nil {
				return err
			}
			c.add(reading{part: ref.Part, index: ref.Index, raw: true}, t, build.Target{File: file + pi, Type: o.Type, Offset: p.DataOffset + o.Offset, Alignment: p.Alignment(), Copy: true})
		}
	}
	return nil
}

// quantized adds the targets that the policy decided: by way of the precision that the converter would have written.
func (c *collector) quantized(a *job.Artifact, file int) error {
	for fi, f := range a.Policy.Files {
		for i, o := range f.Plan.Outputs {
			d := a.Policy.Decisions[f.First+i]
			t := build.Target{File: file + fi, Type: o.Type, Offset: f.Plan.DataOffset + o.Offset, Alignment: f.Plan.Alignment()}
			if d.Importance && c.s.Imatrix != nil && !d.Copied() {
				t.Importance = c.s.Imatrix(d.SourceName)
			}
			src, r, err := c.source(a, d.Part, d.Source, d.Copied())
			if err != nil {
				return fmt.Errorf("%s: %w", d.SourceName, err)
			}
			t.Copy = r.raw
			c.add(r, src, t)
		}
	}
	return nil
}

// source is the tensor that a decision speaks of, and how it is read.
func (c *collector) source(a *job.Artifact, part, index int, copied bool) (view.Tensor, reading, error) {
	r := reading{part: part, index: index}
	if m := a.Model; m != nil {
		r.raw = m.Raw[index]
		switch t := m.Plan.Outputs[index].Type; t {
		case gguf.BF16, gguf.F16:
			r.via = t
		}
		return m.Sources[index], r, nil
	}
	p := c.s.Parts[part]
	o := p.Outputs[index]
	r.raw = o.Type.Quantized() && copied
	file, err := c.part(part)
	if err != nil {
		return view.Tensor{}, r, err
	}
	t, err := c.stored(o, file, p.DataOffset, r.raw)
	return t, r, err
}

// Tensors gives the tensors of a planned source as views, for those who look at weights before the build.
type Tensors struct{ c collector }

// NewTensors reads from the state's source; Close it.
func NewTensors(s *job.State) *Tensors { return &Tensors{collector{s: s}} }

// Tensor is a tensor of the source by part and index, and the precision that it is rounded to before it is quantized.
func (t *Tensors) Tensor(part, index int) (view.Tensor, gguf.Type, error) {
	v, r, err := t.c.source(&job.Artifact{Model: t.c.s.Checked}, part, index, false)
	return v, r.via, err
}

// Close closes the files of a GGUF source.
func (t *Tensors) Close() {
	for _, c := range t.c.closers {
		c.Close()
	}
}

func (c *collector) add(r reading, src view.Tensor, t build.Target) {
	if src.Elements() == 0 {
		return
	}
	if r.via == gguf.BF16 && src.DType == safetensors.BF16 || r.via == gguf.F16 && src.DType == safetensors.F16 {
		r.via = gguf.F32 // it has that precision already: one reading with the targets that round to nothing
	}
	i, ok := c.at[r]
	if !ok {
		i = len(c.jobs)
		c.at[r] = i
		c.jobs = append(c.jobs, build.Job{Name: src.Name, Source: src, Via: r.via})
	}
	c.jobs[i].To = append(c.jobs[i].To, t)
}

// part opens a file of a GGUF source.
func (c *collector) part(i int) (io.ReaderAt, error) {
	if c.parts == nil {
		c.parts = make([]io.ReaderAt, len(c.s.Parts))
	}
	if c.parts[i] == nil {
		f, err := c.s.Source.FS.Open(c.s.Parts[i].Name)
		if err != nil {
			return nil, err
		}
		c.closers = append(c.closers, f)
		r, ok := f.(io.ReaderAt)
		if !ok {
			return nil, fmt.Errorf("%s cannot be read by range", c.s.Parts[i].Name)
		}
		c.parts[i] = r
	}
	return c.parts[i], nil
}

var storedTypes = map[gguf.Type]safetensors.DType{
	gguf.F32: safetensors.F32, gguf.F16: safetensors.F16, gguf.BF16: safetensors.BF16, gguf.F64: safetensors.F64,
	gguf.I8: safetensors.I8, gguf.I16: safetensors.I16, gguf.I32: safetensors.I32, gguf.I64: safetensors.I64,
}

// stored is a tensor of a GGUF file as a view. Blocks are widened to float32 on reading, or passed as they are.
func (c *collector) stored(o gguf.Output, r io.ReaderAt, data int64, raw bool) (view.Tensor, error) {
	shape := slices.Clone(o.Shape)
	slices.Reverse(shape)
	if d, ok := storedTypes[o.Type]; ok {
		return view.FromReader(o.Name, d, shape, r, data+o.Offset), nil
	}
	row := o.Type.RowBytes(o.Shape[0])
	rows := o.Elements() / o.Shape[0]
	blocks := view.FromReader(o.Name, safetensors.U8, []int64{rows, row}, r, data+o.Offset)
	if raw {
		return blocks, nil
	}
	k, err := c.s.Quantizer()
	if err != nil {
		return view.Tensor{}, err
	}
	return view.Tensor{Name: o.Name, DType: safetensors.F32, Shape: shape, Reader: &widener{blocks, o.Type, int(o.Shape[0]), k}}, nil
}

// widener reads rows of blocks as float32.
type widener struct {
	blocks view.Tensor
	t      gguf.Type
	rowLen int
	k      kernel.Quantizer
}

// ReadRows widens rows one after the other: the blocks of a row are all that is held beside dst.
func (w *widener) ReadRows(ctx context.Context, dst []byte, lo, hi int64) error {
	buf := make([]byte, w.blocks.RowBytes())
	vals := make([]float32, w.rowLen)
	for r := lo; r < hi; r++ {
		if err := w.blocks.ReadRows(ctx, buf, r, r+1); err != nil {
			return err
		}
		if err := w.k.Dequantize(vals, buf, w.t); err != nil {
			return err
		}
		if err := view.Narrow(dst[(r-lo)*int64(w.rowLen)*4:][:w.rowLen*4], vals, safetensors.F32); err != nil {
			return err
		}
	}
	return nil
}

func quantized(p gguf.Plan) bool {
	return slices.ContainsFunc(p.Outputs, func(o gguf.Output) bool { return o.Type.Quantized() })
}
