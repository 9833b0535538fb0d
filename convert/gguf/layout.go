package gguf

// The layout is gguf-py's (gguf_writer.py: write_header_to_file to write_tensors_to_file): magic, version 3, counts,
// metadata, tensor infos, zeros up to the alignment, then every tensor followed by zeros up to the alignment, the last too.

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// Facts of the format.
const (
	Magic            = "GGUF"
	Version          = 3
	DefaultAlignment = 32
	MaxDims          = 4 // GGML_MAX_DIMS
	AlignmentKey     = "general.alignment"
)

// maxAlignment keeps a hostile file from claiming gigabytes of padding.
const maxAlignment = 1 << 20

// Pad is n rounded up to a multiple of alignment.
func Pad(n, alignment int64) int64 { return (n + alignment - 1) / alignment * alignment }

// Layout places the tensors in order behind the metadata: it fills their Size and Offset, DataOffset and FileSize.
// An alignment of 0 is 32; any other than 32 must also stand under general.alignment, since readers look there.
// outs is copied. Errors are *FormatError: a key or name that stands twice, a value without a GGUF type, an unknown
// tensor type, more than four dimensions, a row that is not a multiple of its block, a size beyond 2^63.
func Layout(metadata []KV, outs []Output, alignment int64) (Plan, error) {
	if alignment == 0 {
		alignment = DefaultAlignment
	}
	p := Plan{Metadata: metadata, Outputs: append([]Output(nil), outs...)}
	if err := checkAlignment(metadata, alignment); err != nil {
		return Plan{}, err
	}
	if err := p.place(alignment); err != nil {
		return Plan{}, err
	}
	header, err := p.headerSize()
	if err != nil {
		return Plan{}, err
	}
	p.DataOffset = Pad(header, alignment)
	if n := len(p.Outputs); n == 0 {
		p.FileSize = p.DataOffset
	} else {
		last := p.Outputs[n-1]
		end := last.Offset + Pad(last.Size, alignment)
		if end > math.MaxInt64-p.DataOffset {
			return Plan{}, badTensor(last.Name, "the file would be larger than 2^63 bytes")
		}
		p.FileSize = p.DataOffset + end
	}
	return p, nil
}

// checkAlignment holds the layout against what readers will see: they take the alignment from the metadata, else 32.
func checkAlignment(metadata []KV, alignment int64) error {
	if alignment < 0 || alignment > maxAlignment || alignment&(alignment-1) != 0 {
		return badKey(AlignmentKey, "an alignment of %d is not a power of two up to %d", alignment, maxAlignment)
	}
	said := int64(DefaultAlignment)
	for _, kv := range metadata {
		if kv.Key == AlignmentKey {
			v, ok := kv.Value.(uint32)
			if !ok {
				return badKey(AlignmentKey, "must be u32, is a Go %T", kv.Value)
			}
			said = int64(v)
		}
	}
	if said != alignment {
		return badKey(AlignmentKey, "the metadata says %d, the layout %d", said, alignment)
	}
	return nil
}

// place gives every tensor its size and offset, padded to the alignment, in the order of Outputs.
func (p *Plan) place(alignment int64) error {
	seen := make(map[string]bool, len(p.Outputs))
	at := int64(0)
	for i := range p.Outputs {
		o := &p.Outputs[i]
		if seen[o.Name] {
			return badTensor(o.Name, "the name stands twice")
		}
		seen[o.Name] = true
		size, err := tensorBytes(*o)
		if err != nil {
			return err
		}
		o.Offset, o.Size = at, size
		if size > math.MaxInt64-alignment || at > math.MaxInt64-Pad(size, alignment) {
			return badTensor(o.Name, "the file would be larger than 2^63 bytes")
		}
		at += Pad(size, alignment)
	}
	return nil
}

// tensorBytes is the size of the tensor's data, checked for everything that its type and shape can get wrong.
func tensorBytes(o Output) (int64, error) {
	if !o.Type.Valid() {
		return 0, badTensor(o.Name, "unknown tensor %s", o.Type)
	}
	if len(o.Shape) > MaxDims {
		return 0, badTensor(o.Name, "%d dimensions %v, the format has at most %d", len(o.Shape), o.Shape, MaxDims)
	}
	// A zero dimension is sound and makes the tensor empty; it must not hide an overflow of the others from later sums.
	n := int64(1)
	for _, d := range o.Shape {
		if d < 0 {
			return 0, badTensor(o.Name, "a dimension of %d in %v", d, o.Shape)
		}
		if d != 0 && n > math.MaxInt64/d {
			return 0, badTensor(o.Name, "shape %v has 2^63 elements or more", o.Shape)
		}
		n *= d
	}
	// A scalar is a row of one element, which no block divides.
	row := int64(1)
	if len(o.Shape) > 0 {
		row = o.Shape[0]
	}
	block, bytes := o.Type.Block(), o.Type.BlockBytes()
	if row%block != 0 {
		return 0, badTensor(o.Name, "its rows have %d elements, %s needs a multiple of %d", row, o.Type, block)
	}
	if n/block > math.MaxInt64/bytes {
		return 0, badTensor(o.Name, "shape %v of %s has 2^63 bytes or more", o.Shape, o.Type)
	}
	return n / block * bytes, nil
}

// WriteHeader writes everything before DataOffset, padding included. The plan must come from Layout.
func (p *Plan) WriteHeader(w io.Writer) error {
	if err := p.checkKeys(); err != nil {
		return err
	}
	c := &counter{w: w}
	if err := p.encode(c); err != nil {
		return err
	}
	if c.n > p.DataOffset {
		return &FormatError{Says: fmt.Sprintf("the header takes %d bytes, the plan leaves %d", c.n, p.DataOffset),
			Next: "metadata was changed after Layout"}
	}
	_, err := c.Write(make([]byte, p.DataOffset-c.n))
	return err
}

// checkKeys refuses keys that stand twice or have no name, and values that no GGUF type fits.
func (p *Plan) checkKeys() error {
	seen := make(map[string]bool, len(p.Metadata))
	for _, kv := range p.Metadata {
		if seen[kv.Key] || kv.Key == "" {
			return badKey(kv.Key, "the key is empty or stands twice")
		}
		seen[kv.Key] = true
		if _, _, _, ok := Kind(kv.Value); !ok {
			return badKey(kv.Key, "a value of Go type %T has no GGUF type", kv.Value)
		}
	}
	return nil
}

// headerSize is the number of bytes that encode writes. It makes none of them: a plan weighs a dozen files that share one
// vocabulary, and only one of them is written.
func (p *Plan) headerSize() (int64, error) {
	if err := p.checkKeys(); err != nil {
		return 0, err
	}
	n := int64(len(Magic) + 4 + 8 + 8)
	for _, kv := range p.Metadata {
		n += 8 + int64(len(kv.Key)) + 4 + valueSize(kv.Value)
	}
	for _, o := range p.Outputs {
		n += 8 + int64(len(o.Name)) + 4 + 8*int64(len(o.Shape)) + 4 + 8
	}
	return n, nil
}

// encode writes the header without padding, a bounded piece at a time. The keys must have been checked.
func (p *Plan) encode(w io.Writer) error {
	le := binary.LittleEndian
	b := append([]byte(nil), Magic...)
	b = le.AppendUint32(b, Version)
	b = le.AppendUint64(b, uint64(len(p.Outputs)))
	b = le.AppendUint64(b, uint64(len(p.Metadata)))
	// A vocabulary of a million tokens must not stand in memory twice: what has been encoded leaves in pieces.
	flush := func(least int) error {
		if len(b) < least {
			return nil
		}
		_, err := w.Write(b)
		b = b[:0]
		return err
	}
	for _, kv := range p.Metadata {
		b = appendKV(b, kv)
		if err := flush(64 << 10); err != nil {
			return err
		}
	}
	for _, o := range p.Outputs {
		b = appendString(b, o.Name)
		b = le.AppendUint32(b, uint32(len(o.Shape)))
		for _, d := range o.Shape {
			b = le.AppendUint64(b, uint64(d))
		}
		b = le.AppendUint32(b, uint32(o.Type))
		b = le.AppendUint64(b, uint64(o.Offset))
		if err := flush(64 << 10); err != nil {
			return err
		}
	}
	return flush(1)
}

// counter counts what passes.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return c.w.Write(b)
}
