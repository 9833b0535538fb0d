package arch

import (
	"quern/convert/fault"
	"quern/convert/view"
)

// fusion gathers the parts of one fused tensor.
type fusion struct{ parts map[string]view.Tensor }

// fuse holds back what --fuse-gate-up-exps and --fuse-qkv join, and gives the joined tensor with the last part. An
// architecture without a role for the experts' joined tensor is refused where it has such experts at all: a gate or an up
// alone would be held back for good. Source: conversion/base.py, ModelBase.modify_tensors.
func (b *Build) fuse(id string, it Item) (string, []Item, error) {
	switch {
	case b.Env.Arch.Unfused:
	case b.Options.FuseGateUp && it.Block >= 0 && (id == "ffn_gate_exp" || id == "ffn_up_exp") && b.names.Is(it.Name, id, it.Block):
		if !b.names.has["ffn_gate_up_exp"] {
			return "", nil, &fault.Unsupported{On: b.HF, Says: "llama.cpp does not load this architecture with the experts' gate and up in one tensor",
				Next: "leave --fuse-gate-up-exps out"}
		}
		return b.fused(it, "ffn_gate_up_exp", 1, id, "ffn_gate_exp", "ffn_up_exp")
	case b.Options.FuseQKV && (id == "attn_q" || id == "attn_k" || id == "attn_v") && b.canFuse(it):
		return b.fused(it, "attn_qkv", 0, id, "attn_q", "attn_k", "attn_v")
	}
	return id, []Item{it}, nil
}

func (b *Build) fused(it Item, to string, axis int, id string, ids ...string) (string, []Item, error) {
	it.Block = blockOf(it.Name) // a prediction layer's is another one than in the checkpoint's name
	name, err := b.renamed("@"+to, it)
	if err != nil {
		return "", nil, err
	}
	if b.fusions == nil {
		b.fusions = map[string]*fusion{}
	}
	f := b.fusions[name]
	if f == nil {
		f = &fusion{map[string]view.Tensor{}}
		b.fusions[name] = f
	}
	f.parts[id] = it.View
	if len(f.parts) < len(ids) {
		return to, nil, nil
	}
	members := make([]view.Tensor, len(ids))
	for i, id := range ids {
		members[i] = f.parts[id]
	}
	if members, err = promoted(members); err != nil {
		return to, nil, err
	}
	it.Name = name
	if it.View, err = view.Concat(axis, members...); err != nil {
		return to, nil, err
	}
	delete(b.fusions, name)
	return to, []Item{it}, nil
}

// canFuse tells whether a layer has all three projections, and biases for all or none; looked up once, over the names
// that the checkpoint has. Source: conversion/base.py, prepare_qkv_fusion.
func (b *Build) canFuse(it Item) bool {
	if b.fusable == nil {
		b.fusable = map[string]int{}
		for _, name := range b.sourceNames {
			if id, full, ok := b.names.Map(name); ok && (id == "attn_q" || id == "attn_k" || id == "attn_v") {
				b.fusable[fuseKey(blockOf(full), suffixOf(full))]++
			}
		}
	}
	if !b.names.has["attn_qkv"] {
		return false
	}
	block := blockOf(it.Name)
	weights, biases := b.fusable[fuseKey(block, ".weight")], b.fusable[fuseKey(block, ".bias")]
	return weights == 3 && (biases == 0 || biases == 3)
}

func fuseKey(block int64, suffix string) string { return show(block) + suffix }
