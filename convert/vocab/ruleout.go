package vocab

import (
	"slices"
	"sync"

	"quern/convert/tokenizer/stored"
)

// whyStranger is why a name is not taken by a tokenizer of another structure: nothing may differ then.
const whyStranger = "texts differ, and no published tokenizer of this name has such a structure"

// ruleOut asks our own engine of llama.cpp's vocabularies before llama.cpp, which reads the whole vocabulary anew for every name: for
// some thirty names that took seconds. A name under which a text differs here is out; who is left is proven by llama.cpp itself, so
// that a fault of ours can cost a name but never accept one. TestStored holds the engine to llama.cpp's ids.
func (b *builder) ruleOut(names []string) (left []string, out []Candidate, err error) {
	if err := b.encodeCorpus(); err != nil {
		return nil, nil, err
	}
	candidates := make([]*Candidate, len(names))
	var tables *stored.Vocabulary
	var jobs sync.WaitGroup
	for i, name := range names {
		list := entries(slices.Clone(b.kv))
		list.set(keyPre, name)
		d, err := definition(list)
		if err == nil && tables == nil {
			tables, err = stored.New(d)
		}
		if err != nil {
			continue // not run here: llama.cpp is asked
		}
		jobs.Go(func() { candidates[i] = b.stranger(tables, d, name) })
	}
	jobs.Wait()
	for i, c := range candidates {
		if c == nil {
			left = append(left, names[i])
		} else {
			out = append(out, *c)
		}
	}
	return left, out, nil
}

// stranger is the candidate that a name becomes when texts differ under it, nil when none does or when that is not known.
func (b *builder) stranger(tables *stored.Vocabulary, d *stored.Definition, name string) *Candidate {
	v, err := tables.With(d)
	if err != nil {
		return nil
	}
	theirs := make([][]int32, len(samples()))
	for i, s := range samples() {
		if theirs[i], err = v.Encode(s.text, false); err != nil {
			return nil
		}
	}
	differs := b.unlike(theirs)
	if len(differs) == 0 {
		return nil
	}
	return &Candidate{Pre: name, Differs: len(differs), First: &differs[0], Why: whyStranger}
}
