package convert

import (
	"path"
	"slices"
	"strings"

	"quern/convert/arch"
	"quern/convert/card"
)

// count adds up the outputs' weights as the reference does for size labels; stacks of experts are told by their names.
// Source: gguf-py/gguf/gguf_writer.py, get_total_parameter_count.
func count(outs []arch.Output) card.Params {
	var p card.Params
	sum, tensors := int64(0), int64(0)
	for i := range outs {
		shape := outs[i].Shape()
		size := int64(1)
		for _, d := range shape {
			size *= d
		}
		p.Total += size
		if !strings.Contains(outs[i].Name, "_exps.") || len(shape) < 3 {
			p.Shared += size
			continue
		}
		experts := shape[len(shape)-3]
		if strings.Contains(outs[i].Name, ".bias") {
			experts = shape[len(shape)-2]
		}
		if experts > 0 {
			p.Expert += size / experts
		}
		sum, tensors = sum+experts, tensors+1
	}
	if tensors > 0 {
		p.Experts = sum / tensors
	}
	return p
}

func reversed(shape []int64) []int64 {
	out := slices.Clone(shape)
	slices.Reverse(out)
	return out
}

// baseName is the last element of a folder's path or of a repo's id.
func baseName(dir string) string {
	dir = strings.TrimRight(strings.ReplaceAll(dir, `\`, "/"), "/")
	if dir == "" {
		return ""
	}
	return path.Base(dir)
}
