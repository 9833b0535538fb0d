package gguf

// Splitting one file into parts and merging parts into one. There are two writers of parts, and they differ in when a part
// is full and in the order of the split keys: gguf-py, which converters use, and llama-gguf-split.

import (
	"fmt"
	"math"
	"slices"
)

// Keys that tell parts apart.
const (
	KeySplitNo      = "split.no"
	KeySplitCount   = "split.count"
	KeySplitTensors = "split.tensors.count"
)

// Splitting says when a part is full. Without a limit everything goes into one part.
type Splitting struct {
	MaxTensors int   // tensors of a part; 0: no limit
	MaxBytes   int64 // bytes of a part's tensors, without header; 0: no limit
	EmptyFirst bool  // the first part holds the metadata alone
	Tool       bool  // as llama-gguf-split does it: tensors are counted over all parts, sizes with their padding
}

// Wanted tells whether there is anything to split by.
func (s Splitting) Wanted() bool { return s.MaxTensors > 0 || s.MaxBytes > 0 || s.EmptyFirst }

// Part is one file of a split model.
type Part struct {
	Plan
	First int // index in the whole model's Outputs of the part's first tensor
}

// Split cuts a plan into parts. The converter's rule leaves a model that fits into one part as it is; the tool's writes the
// split keys even then. Errors are *FormatError.
func (p *Plan) Split(s Splitting) ([]Part, error) {
	starts := s.starts(p.Outputs)
	if len(starts) == 1 && !s.Tool {
		return []Part{{Plan: *p}}, nil
	}
	if len(starts) > math.MaxUint16 {
		return nil, &FormatError{Says: fmt.Sprintf("%d parts, the format counts to %d", len(starts), math.MaxUint16)}
	}
	parts := make([]Part, len(starts))
	for i, first := range starts {
		end := len(p.Outputs)
		if i+1 < len(starts) {
			end = starts[i+1]
		}
		var meta []KV
		if i == 0 {
			meta = slices.DeleteFunc(slices.Clone(p.Metadata), isSplitKey)
		}
		meta = append(meta, s.keys(i, len(starts), len(p.Outputs))...)
		plan, err := Layout(meta, slices.Clone(p.Outputs[first:end]), p.Alignment())
		if err != nil {
			return nil, err
		}
		parts[i] = Part{plan, first}
	}
	return parts, nil
}

func isSplitKey(kv KV) bool {
	return kv.Key == KeySplitNo || kv.Key == KeySplitCount || kv.Key == KeySplitTensors
}

// Alignment is what tensors are padded to: the metadata's, else DefaultAlignment.
func (p *Plan) Alignment() int64 {
	if n, ok := p.Int(AlignmentKey); ok && n > 0 {
		return n
	}
	return DefaultAlignment
}

// starts gives the index of each part's first tensor.
func (s Splitting) starts(outs []Output) []int {
	starts := []int{0}
	if s.EmptyFirst {
		starts = append(starts, 0)
	}
	held, size := 0, int64(0)
	for i, o := range outs {
		n := o.Size
		if s.Tool {
			n = Pad(n, DefaultAlignment)
		}
		if s.full(i, held, size+n) {
			starts = append(starts, i)
			held, size = 0, 0
		}
		held, size = held+1, size+n
	}
	return starts
}

// full tells whether tensor i begins a new part: held tensors are in the part, which would have size bytes with it.
func (s Splitting) full(i, held int, size int64) bool {
	if s.Tool && s.MaxTensors > 0 {
		return i > 0 && i%s.MaxTensors == 0
	}
	if held == 0 {
		return false
	}
	return s.MaxTensors > 0 && held >= s.MaxTensors || s.MaxBytes > 0 && size > s.MaxBytes
}

func (s Splitting) keys(no, count, tensors int) []KV {
	n, c, t := KV{KeySplitNo, uint16(no)}, KV{KeySplitCount, uint16(count)}, KV{KeySplitTensors, int32(tensors)}
	if s.Tool {
		return []KV{n, t, c}
	}
	return []KV{n, c, t}
}

// Merge makes one plan of all parts of a model, in order, as llama-gguf-split does: it keeps the split keys, with a count of
// zero at the end. Errors are *FormatError for parts that do not belong together.
func Merge(parts []*File) (Plan, error) {
	count, ok := parts[0].Int(KeySplitCount)
	if !ok {
		return Plan{}, &FormatError{File: parts[0].Name, Says: "it has no " + KeySplitCount + ": it is not part of a split model"}
	}
	if count != int64(len(parts)) {
		return Plan{}, &FormatError{File: parts[0].Name, Says: fmt.Sprintf("%s is %d, there are %d parts", KeySplitCount, count, len(parts))}
	}
	meta := slices.DeleteFunc(slices.Clone(parts[0].Metadata), func(kv KV) bool { return kv.Key == KeySplitCount })
	meta = append(meta, KV{KeySplitCount, uint16(0)})
	var outs []Output
	for i, f := range parts {
		if no, ok := f.Int(KeySplitNo); !ok || no != int64(i) {
			return Plan{}, &FormatError{File: f.Name, Says: fmt.Sprintf("%s is %d, want %d", KeySplitNo, no, i)}
		}
		outs = append(outs, f.Outputs...)
	}
	if n, ok := parts[0].Int(KeySplitTensors); ok && n != int64(len(outs)) {
		return Plan{}, &FormatError{File: parts[0].Name, Says: fmt.Sprintf("%s is %d, the parts hold %d", KeySplitTensors, n, len(outs))}
	}
	return Layout(meta, outs, parts[0].Plan.Alignment())
}
