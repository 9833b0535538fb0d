package policy

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"quern/convert/gguf"
)

// tensor is one tensor of the source on its way through the policy.
type tensor struct {
	gguf.Output
	part, index int
	original    string // the name in the source, if pruning renumbers its layer
}

// collect puts the tensors of all parts into the order of the output: by layer, -1 without one, then by the bytes of the
// name; with keep split by part and offset. Source: llama-model-loader.h, weight_name_comparer.
func collect(parts []*gguf.Plan, o Options) (all []tensor, blocks int) {
	// names are unique across parts, as readers of split files check, so the order below is total
	for i, p := range parts {
		for j, out := range p.Outputs {
			all = append(all, tensor{Output: out, part: i, index: j, original: out.Name})
		}
	}
	slices.SortStableFunc(all, func(a, b tensor) int {
		return cmp.Or(cmp.Compare(layerOrMinus(a.Name), layerOrMinus(b.Name)), strings.Compare(a.Name, b.Name))
	})
	if len(o.Prune) > 0 {
		all, blocks = prune(all, o.Prune)
	}
	if o.KeepSplit {
		slices.SortStableFunc(all, func(a, b tensor) int {
			return cmp.Or(cmp.Compare(a.part, b.part), cmp.Compare(a.Offset, b.Offset))
		})
	}
	for i := range all {
		all[i].Shape = trim(all[i].Shape)
	}
	return all, blocks
}

func layerOrMinus(name string) int {
	if n, ok := layerOf(name); ok {
		return n
	}
	return -1
}

// trim drops trailing dimensions of size 1, as the writer counts dimensions (ggml_n_dims); one always stays.
func trim(shape []int64) []int64 {
	out := slices.Clone(shape)
	for len(out) > 1 && out[len(out)-1] == 1 {
		out = out[:len(out)-1]
	}
	if len(out) == 0 {
		out = []int64{1}
	}
	return out
}

var blockNumber = regexp.MustCompile(`blk\.(\d+)\.`)

// prune leaves layers out and renumbers the others in the order in which they are met, as remap_layer does; blocks is the
// number that the file then claims. Layers before the first pruned one keep their number.
func prune(all []tensor, layers []int) (left []tensor, blocks int) {
	gone := map[int]bool{}
	for _, l := range layers {
		gone[l] = true
	}
	first, renamed := slices.Min(layers), map[int]int{}
	for _, t := range all {
		at := blockNumber.FindStringSubmatchIndex(t.Name)
		if at == nil {
			left = append(left, t)
			continue
		}
		n, err := strconv.Atoi(t.Name[at[2]:at[3]])
		if err != nil {
			left = append(left, t) // more digits than a layer's number has
			continue
		}
		// the number that a layer gets is decided by the first tensor of it, in an order in which "dec.blk.10" stands before
		// "dec.blk.2": encoders and decoders share the numbers, and may be shuffled. So it is in the reference.
		if _, met := renamed[n]; !met && !gone[n] {
			renamed[n] = blocks
			if n < first {
				renamed[n] = n
			}
			blocks = renamed[n] + 1
		}
		if !gone[n] {
			t.Name = t.Name[:at[2]] + strconv.Itoa(renamed[n]) + t.Name[at[3]:]
			left = append(left, t)
		}
	}
	return left, blocks
}
