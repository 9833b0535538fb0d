package tokenizer

import (
	"encoding/json"
	"maps"
	"slices"
)

// place is a member of an object or a list that can be changed.
type place struct {
	get func() any
	set func(any)
	del func()
}

// places lists every member below v, vocabularies and merges left out.
func places(v any, to []place) []place {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if k == "vocab" || k == "merges" || k == "precompiled_charsmap" {
				continue
			}
			to = append(to, place{func() any { return v[k] }, func(x any) { v[k] = x }, func() { delete(v, k) }})
			to = places(v[k], to)
		}
	case []any:
		for i := range v {
			to = append(to, place{func() any { return v[i] }, func(x any) { v[i] = x }, func() { v[i] = nil }})
			to = places(v[i], to)
		}
	}
	return to
}

// oddValues are what a member may be by mistake.
var oddValues = []any{nil, true, false, 0, 1, -1, 3, 0.5, "", "a", " ", "▁", "ab", "Isolated", "isolated", "Removed", "first", "First", "always", "never", "Regex", []any{}, []any{"a", 1}, map[string]any{}, map[string]any{"String": "a"},
	map[string]any{"Regex": "a|b"}, map[string]any{"Regex": "("}, map[string]any{"Regex": "a", "String": "b"}, "<s>", "ByteLevel", "Sequence", "NFC", "Metaspace", "Split", "Replace", "Strip", 4294967296}

// mutate changes a few members of a tokenizer.json.
func (g *generator) mutate(file string) string {
	var f map[string]any
	_ = json.Unmarshal([]byte(file), &f)
	for range 1 + g.IntN(2) {
		all := places(f, nil)
		p := all[g.IntN(len(all))]
		switch g.IntN(4) {
		case 0:
			p.del()
		case 1:
			p.set(all[g.IntN(len(all))].get()) // a copy of another part; a cycle cannot come about, since it is set once and marshalled
			if b, err := json.Marshal(f); err != nil || len(b) > 1<<22 {
				return file
			} else {
				f = nil
				_ = json.Unmarshal(b, &f)
			}
		default:
			p.set(oddValues[g.IntN(len(oddValues))])
		}
	}
	b, err := json.Marshal(f)
	if err != nil {
		return file
	}
	return string(b)
}
