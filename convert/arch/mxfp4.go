package arch

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"quern/convert/dequant"
	"quern/convert/fault"
	"quern/convert/gguf"
	"quern/convert/view"
)

// mxExperts makes outputs of experts that the checkpoint keeps one by one in MXFP4: stacks of blocks, repacked without loss,
// before all other tensors, by block and then in the order of words. members is as in Stack; words are "w1:gate", w1 of members
// and gate of ffn_gate_exp; scale gives the name of the scales that belong to codes.
type mxExperts struct {
	members string
	count   Expr
	words   []string
	scale   func(codes string) string
}

// write takes the members out of the checkpoint's tensors. first is the block to begin with.
func (m mxExperts) write(b *Build, first int64) error {
	// The rule's own parser of names, so that members are told in one way wherever experts are stacked.
	g, ok := Stack(m.members, m.count, "", m.words...).op.(*gather)
	n, err := b.Int(m.count)
	if !ok || err != nil {
		return err
	}
	stacks := map[[2]int64][]string{} // block and word -> names by expert
	for _, name := range b.SourceNames() {
		block, at, ok := g.parse(name)
		i, err := strconv.ParseInt(block, 10, 64)
		if _, there := b.pending[name]; !ok || err != nil || !there || i < first {
			continue
		}
		// Before the list grows to it: the number comes from a name in the file.
		if at.expert >= n {
			return &fault.Invalid{On: name, Says: fmt.Sprintf("expert %d where the configuration has %d", at.expert, n)}
		}
		key := [2]int64{i, int64(at.word)}
		for int64(len(stacks[key])) <= at.expert {
			stacks[key] = append(stacks[key], "")
		}
		stacks[key][at.expert] = name
	}
	// The file's order is by block and word, whatever order the names have: layers.10 stands before layers.2 there.
	keys := make([][2]int64, 0, len(stacks))
	for k := range stacks {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(x, y [2]int64) int { return cmp.Or(cmp.Compare(x[0], y[0]), cmp.Compare(x[1], y[1])) })
	for _, k := range keys {
		names := stacks[k]
		if i := slices.Index(names, ""); i >= 0 || int64(len(names)) < n {
			return &fault.Invalid{On: fmt.Sprintf("layer %d", k[0]), Says: fmt.Sprintf("%s of expert %d is missing, the configuration has %d experts",
				g.words[k[1]], cmp.Or(max(i, 0), len(names)), n)}
		}
		if err := m.stack(b, k[0], "ffn_"+g.outs[k[1]]+"_exp", names); err != nil {
			return err
		}
	}
	return nil
}

func (m mxExperts) stack(b *Build, block int64, role string, names []string) error {
	name, ok := b.names.Of(role, block)
	if !ok {
		return &fault.Unsupported{On: b.GGUF, Says: fmt.Sprintf("the architecture has no %s in block %d", role, block)}
	}
	views := make([]view.Tensor, len(names))
	source := ""
	for i, n := range names {
		codes, _ := b.Take(n)
		// Taken, both of them: what is left in pending goes through the rules, which have no place for codes or scales.
		scales, ok := b.Take(m.scale(n))
		if !ok {
			return &fault.Invalid{On: codes.Source, Says: "there are no scales beside it, " + m.scale(n)}
		}
		v, err := dequant.MXFP4(codes.View, scales.View)
		if err != nil {
			return err
		}
		views[i], source = v, codes.Source
	}
	v, err := view.Stack(views...)
	if err != nil {
		return err
	}
	b.Stored = &storedMXFP4
	return b.Emit(name+".weight", gguf.MXFP4, v, source, true)
}
