package vocab

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"

	"quern/convert/fault"
)

// resolve names the pre-tokenizer of a tokenizer that the reference's table does not know.
//
//	structure   names whose published tokenizers cut as this one does; cut alike when spelled alike, or when no text of
//	            a list that tells known splitters apart is cut otherwise
//	proof       each is asked for the corpus: accepted when it differs in no kind of text more often than the published
//	            ones of its class do (llama.cpp is not Hugging Face for members of its own table either)
//	            without a structural match: accepted only when nothing differs, and asked only for names under which our own
//	            engine of llama.cpp's vocabularies finds no difference either
//	refusal     otherwise, with what was tried and the first text that differs
func (b *builder) resolve(id *Identity) (string, error) {
	own, err := structureOf(b.hf.tok)
	if err != nil {
		return "", err
	}
	id.Structure = own.String()
	if b.hf.tok.Kind() == "WordPiece" {
		return b.wordPieceName(id, own)
	}
	matches, err := b.matching(own)
	if err != nil {
		return "", err
	}
	if b.in.Prover == nil {
		return b.unproven(id, matches)
	}
	names := matches
	if len(names) == 0 {
		var out []Candidate
		if names, out, err = b.ruleOut(classLeaders()); err != nil {
			return "", err
		}
		id.Candidates = append(id.Candidates, out...)
	}
	best := -1
	for _, m := range names {
		c, differs, err := b.try(m, own, len(matches) > 0)
		if err != nil {
			return "", err
		}
		id.Candidates = append(id.Candidates, c)
		if c.Why == "" && (best < 0 || c.Differs < id.Candidates[best].Differs) {
			best = len(id.Candidates) - 1
			id.Pre, id.Differs = c.Pre, differs
		}
	}
	if best < 0 {
		return "", b.refuse(id, "no pre-tokenizer of llama.cpp encodes as this tokenizer does")
	}
	id.How, id.Proven = HowStructure, true
	b.warn("pre-tokenizer: %s; the reference does not know this tokenizer (hash %.12s...), %s", id.Pre, id.Hash, id.reason(len(matches) > 0))
	return id.Pre, nil
}

// reason says why the name was taken, with the number that speaks for it.
func (id *Identity) reason(structural bool) string {
	if structural {
		return fmt.Sprintf("it cuts as the published %s does, and llama.cpp encodes %d of %d texts otherwise, as it does for that one", id.Pre, len(id.Differs), len(samples()))
	}
	return fmt.Sprintf("its structure is none of the known, but llama.cpp encodes all %d texts as it does", len(samples()))
}

// unproven takes the first structural match without asking llama.cpp, and says so.
func (b *builder) unproven(id *Identity, matches []string) (string, error) {
	for _, m := range matches {
		id.Candidates = append(id.Candidates, Candidate{Pre: m, Structure: true})
	}
	if len(matches) == 0 {
		return "", b.refuse(id, "its structure is none of the known, and without the llama.cpp runtime nothing can be proven")
	}
	id.Pre, id.How = matches[0], HowStructure
	b.warn("pre-tokenizer: %s by structure alone; unproven, since the llama.cpp runtime is not there (`quern runtime install`)", id.Pre)
	return id.Pre, nil
}

// try asks llama.cpp for one name. With a structural match the known kinds of difference are allowed, else none.
func (b *builder) try(name string, own structure, structural bool) (Candidate, []Difference, error) {
	c := Candidate{Pre: name, Structure: structural, Tried: true}
	differs, err := b.differences(name)
	if err != nil {
		c.Tried, c.Why = false, err.Error()
		if errors.Is(err, context.Canceled) {
			return c, nil, err
		}
		return c, nil, nil
	}
	c.Differs = len(differs)
	if len(differs) == 0 {
		return c, differs, nil
	}
	c.First = &differs[0]
	if !structural {
		c.Why = whyStranger
	} else if d, why := judge(differs, shown(name, own)); d != nil {
		c.First, c.Why = d, why
	}
	return c, differs, nil
}

// judge finds the first difference beyond what published tokenizers show; nil when there is none.
func judge(differs []Difference, allowed map[string]int) (*Difference, string) {
	count := map[string]int{}
	for i := range differs {
		d := &differs[i]
		if count[d.Kind]++; count[d.Kind] > allowed[d.Kind] {
			return d, fmt.Sprintf("%s: at most %d texts differ for published tokenizers of this name", d.Kind, allowed[d.Kind])
		}
	}
	return nil, ""
}

// anySpecial is the most that is measured for texts with special tokens, for any name: which tokens count as special
// has nothing to do with where words are cut.
const anySpecial = 3

// shown is what published tokenizers of the name's class differ in, by kind.
func shown(name string, own structure) map[string]int {
	out := map[string]int{"special": anySpecial}
	class := preTypes[name].class
	for _, p := range published {
		if p.pre != name && (class == 0 || preTypes[p.pre].class != class) || p.shape.normalizer != own.normalizer || p.shape.merges != own.merges {
			continue
		}
		for k, n := range p.shows {
			out[k] = max(out[k], n)
		}
	}
	return out
}

// classLeaders names one pre-tokenizer of each class: the others of a class encode alike.
func classLeaders() []string {
	lead := map[int]string{}
	for _, p := range published {
		if c := preTypes[p.pre].class; lead[c] == "" {
			lead[c] = p.pre
		}
	}
	for _, n := range PreTokenizers() {
		if c := preTypes[n].class; c > 0 && lead[c] == "" && n != "default" && n != "whitespace" {
			lead[c] = n
		}
	}
	out := make([]string, 0, len(lead))
	for _, n := range lead {
		out = append(out, n)
	}
	sort.Strings(out)
	return out
}

// refuse lists what was tried.
func (b *builder) refuse(id *Identity, why string) error {
	says := "pre-tokenizer unknown: " + why
	var first *Candidate
	var tried []string
	for i := range id.Candidates {
		c := &id.Candidates[i]
		tried = append(tried, fmt.Sprintf("%s (%d)", c.Pre, c.Differs))
		if c.First != nil && (first == nil || c.Differs < first.Differs) {
			first = c
		}
	}
	if len(tried) > 0 {
		says += fmt.Sprintf("; tried, with the number of texts of %d that differ: %s", len(samples()), strings.Join(tried, ", "))
	}
	if first != nil {
		says += fmt.Sprintf("; nearest is %s, the first text that differs is %s", first.Pre, first.First.show())
	}
	return &UnknownPre{Identity: id, Unsupported: fault.Unsupported{On: "tokenizer.json", Says: says,
		Next: "`--pre NAME` takes a name of `quern archs --tokenizers` as told; the differences are reported then too"}}
}

// UnknownPre refuses a tokenizer whose pre-tokenizer is none of llama.cpp's; what was tried is in Identity.
type UnknownPre struct {
	fault.Unsupported
	Identity *Identity
}

// Unwrap gives the refusal that the exit code is made of.
func (u *UnknownPre) Unwrap() error { return &u.Unsupported }

// wordPieceName takes the name of a published WordPiece tokenizer of the same case: llama.cpp has no use for it, but the
// file has the entry.
func (b *builder) wordPieceName(id *Identity, own structure) (string, error) {
	if !strings.HasPrefix(own.normalizer, "BertNormalizer") || len(own.stages) != 1 || own.stages[0].kind != "BertPreTokenizer" {
		return "", b.refuse(id, "a WordPiece tokenizer that does not cut as BERT does: "+own.String())
	}
	id.Pre, id.How = "bert-bge-large", HowStructure
	if strings.Contains(own.normalizer, `"lowercase":true`) {
		id.Pre = "jina-v2-en"
	}
	return id.Pre, nil
}
