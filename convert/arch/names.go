package arch

import (
	"strconv"
	"strings"
)

// Names maps the tensor names of one architecture to roles and GGUF names.
type Names struct {
	blocks int64
	byName map[string]*role // checkpoint name with # for the block number
	own    map[string]*role // GGUF name with # for the block number
	has    map[string]bool  // role ids of the architecture
	all    map[string]*role
}

// newNames builds the map of an architecture with the given number of blocks. Its size does not depend on that number.
func newNames(arch string, blocks int64) (*Names, error) {
	t, err := loadTables()
	if err != nil {
		return nil, err
	}
	n := &Names{blocks: blocks, byName: map[string]*role{}, own: map[string]*role{}, has: map[string]bool{}, all: t.byID}
	for _, r := range t.archs[arch] {
		n.has[r.id] = true
		n.own[r.gguf] = r
		names := r.namesFor(arch)
		if names == nil {
			continue
		}
		n.byName[r.gguf] = r
		for _, name := range names {
			n.byName[name] = r
		}
	}
	return n, nil
}

// suffixes are tried in this order, after the bare name. Source: conversion/base.py map_tensor_name.
var suffixes = []string{".weight", ".bias"}

// Map gives the role and the GGUF name of a tensor, and whether the architecture has one.
// extra are suffixes to try beside .weight and .bias.
func (n *Names) Map(name string, extra ...string) (roleID, ggufName string, ok bool) {
	if r, name, ok := n.find(name); ok {
		return r.id, name, true
	}
	for _, list := range [][]string{suffixes, extra} {
		for _, s := range list {
			base, cut := strings.CutSuffix(name, s)
			if !cut {
				continue
			}
			if r, name, ok := n.find(base); ok {
				return r.id, name + s, true
			}
		}
	}
	return "", "", false
}

func (n *Names) find(name string) (*role, string, bool) {
	if r, ok := n.byName[name]; ok && !strings.Contains(name, "#") {
		return r, r.gguf, true
	}
	for at, num := range digitRuns(name) {
		block, err := strconv.ParseInt(num, 10, 64)
		if err != nil || block >= n.blocks || strconv.FormatInt(block, 10) != num {
			continue
		}
		if r, ok := n.byName[name[:at]+"#"+name[at+len(num):]]; ok {
			return r, strings.Replace(r.gguf, "#", num, 1), true
		}
	}
	return nil, "", false
}

// digitRuns yields the numbers in a name with their places: those of blocks, which are parts of their own, and those at the
// end of a word, as in linear_1.
func digitRuns(name string) func(yield func(int, string) bool) {
	return func(yield func(int, string) bool) {
		for at := 0; at < len(name); at++ {
			n := digits(name[at:])
			if n > 0 && !yield(at, name[at:at+n]) {
				return
			}
			at += n
		}
	}
}

// numbers yields the parts of a dotted name that are all digits, with their places.
func numbers(name string) func(yield func(int, string) bool) {
	return func(yield func(int, string) bool) {
		at := 0
		for part := range strings.SplitSeq(name, ".") {
			if isDigits(part) && !yield(at, part) {
				return
			}
			at += len(part) + 1
		}
	}
}

func isDigits(s string) bool {
	for _, c := range s {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}

// blockOf is the first part of a dotted name that is a number, or -1. Source: conversion/base.py prepare_tensors.
func blockOf(name string) int64 {
	for _, num := range numbers(name) {
		if block, err := strconv.ParseInt(num, 10, 64); err == nil {
			return block
		}
		return -1
	}
	return -1
}

// Of is the GGUF name, without a suffix, that a role has in a block, and whether the architecture has the role.
// A role of blocks has no name outside of them (block -1), and the other way round.
func (n *Names) Of(roleID string, block int64) (string, bool) {
	r := n.all[roleID]
	if r == nil || !n.has[roleID] {
		return "", false
	}
	if !strings.Contains(r.gguf, "#") {
		return r.gguf, true
	}
	if block < 0 {
		return "", false
	}
	return strings.Replace(r.gguf, "#", strconv.FormatInt(block, 10), 1), true
}

// Own gives the role of a GGUF name with its suffix, also of roles that have no checkpoint name.
func (n *Names) Own(name string) (roleID string, ok bool) {
	base := name
	for _, s := range []string{".weight", ".bias", ".lora_a", ".lora_b"} {
		base = strings.TrimSuffix(base, s)
	}
	if r, ok := n.own[base]; ok {
		return r.id, true
	}
	for at, num := range numbers(base) {
		if r, ok := n.own[base[:at]+"#"+base[at+len(num):]]; ok {
			return r.id, true
		}
	}
	return "", false
}

// inBlocks tells whether the architecture has ordinary blocks: a stack of convolutions is counted elsewhere.
func (n *Names) inBlocks() bool {
	for name := range n.own {
		if strings.Contains(name, "blk.#") {
			return true
		}
	}
	return false
}

// Is tells whether a GGUF name with its .weight is the role's in a block. A role without a block number only matches
// tensors without one. Source: conversion/base.py match_model_tensor_name.
func (n *Names) Is(ggufName, roleID string, block int64) bool {
	r := n.all[roleID]
	if r == nil || strings.Contains(r.gguf, "#") != (block >= 0) {
		return false
	}
	name, ok := n.Of(roleID, block)
	return ok && ggufName == name+".weight"
}

// Nearest is the known checkpoint name that is most like name, with its block number filled in; "" if none is at all.
func (n *Names) Nearest(name string) string {
	base := name
	for _, s := range suffixes {
		base = strings.TrimSuffix(base, s)
	}
	block := blockOf(name)
	if block >= 0 {
		base = strings.Replace(base, strconv.FormatInt(block, 10), "#", 1)
	}
	best, bestDistance := "", len(base)/2+1
	for known := range n.byName {
		d := distance(base, known, bestDistance)
		if d < bestDistance || d == bestDistance && best != "" && known < best {
			best, bestDistance = known, d
		}
	}
	if block >= 0 {
		best = strings.Replace(best, "#", strconv.FormatInt(block, 10), 1)
	}
	return best
}

// maxCompared bounds the names that are compared letter by letter: real names have some 60 letters.
const maxCompared = 256 // bytes

// distance is the number of single-letter edits between two names, or limit+1 where it is larger.
func distance(a, b string, limit int) int {
	if len(a) > maxCompared || len(b) > maxCompared || len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
