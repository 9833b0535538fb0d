package vocab

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"quern/convert/fault"
	"quern/convert/tokenizer"
)

// A tiktoken file ranks byte strings: the rank is the id, and merging goes by the rank of the result. GGUF has merges of two
// parts instead, so every token is taken apart into the two that its own rank would join last.
//
// Special tokens are not in the file. The published tokenizers define them in Python code, which is not run: the texts are
// facts of the family, and how many there are is read from the checkpoint's copy of that code.
//
// Source: conversion/qwen.py, QwenModel; conversion/hunyuan.py; conversion/kimi_linear.py.
// ranks is a vocabulary of byte strings whose rank is both the id and the priority of the merge that makes it.
type ranks struct {
	rank  map[string]int
	order []string // by rank
}

// add takes a token; false when it is there already.
func (r *ranks) add(s string, rank int) bool {
	if _, ok := r.rank[s]; ok {
		return false
	}
	r.rank[s] = rank
	r.order = append(r.order, s)
	return true
}

// readRanks reads a tiktoken file.
func readRanks(name string, b []byte) (*ranks, error) {
	list, err := tokenizer.ParseTiktoken(b)
	if invalid := (*fault.Invalid)(nil); errors.As(err, &invalid) {
		return nil, &fault.Invalid{On: name, Says: invalid.Says, Err: invalid.Err}
	}
	if err != nil {
		return nil, err
	}
	r := &ranks{rank: map[string]int{}}
	for i, t := range list {
		switch {
		case t == nil:
		case len(t) == 0 || len(t) > maxRankBytes:
			return nil, &fault.Invalid{On: name, Says: fmt.Sprintf("the token of rank %d has %d bytes, want 1 to %d", i, len(t), maxRankBytes)}
		case !r.add(string(t), i):
			return nil, &fault.Invalid{On: name, Says: fmt.Sprintf("the tokens of rank %d and %d are the same", r.rank[string(t)], i)}
		}
	}
	return r, nil
}

// maxRankBytes bounds one token: taking it apart costs the square of its length.
const maxRankBytes = 4096

// merges takes every token apart by the merges of lower rank: two parts are its merge. Tokens that fall into other than
// two parts have none; strict makes them an error.
func (r *ranks) merges(name string, strict bool) ([]string, error) {
	var out []string
	for _, t := range r.order {
		if len(t) == 1 {
			continue
		}
		parts := r.apart(t)
		if len(parts) == 2 {
			out = append(out, byteText(parts[0])+" "+byteText(parts[1]))
		} else if strict {
			return nil, &fault.Invalid{On: name, Says: fmt.Sprintf("token %d falls into %d parts, want 2", r.rank[t], len(parts))}
		}
	}
	return out, nil
}

// apart merges the bytes of t by ascending rank as long as the rank is below t's own; the leftmost of equals first.
func (r *ranks) apart(t string) []string {
	limit := r.rank[t]
	parts := make([]string, len(t))
	for i := range parts {
		parts[i] = t[i : i+1]
	}
	for {
		at, low := -1, limit
		for i := 0; i+1 < len(parts); i++ {
			if n, ok := r.rank[parts[i]+parts[i+1]]; ok && n < low {
				at, low = i, n
			}
		}
		if at < 0 {
			return parts
		}
		parts[at] += parts[at+1]
		parts = slices.Delete(parts, at+1, at+2)
	}
}

// byteText spells bytes as byte-level vocabularies do.
func byteText(s string) string { return tokenizer.ByteChars([]byte(s)) }

// rankFamily is a family whose special tokens stand in the Python code of its checkpoints: they follow the ranks.
type rankFamily struct {
	file     string
	named    []string // the first special tokens
	numbered string   // pattern of the others, by their count
	count    int      // how many of the published models have
	counted  *regexp.Regexp
	absolute bool   // numbered by id, and tokenizer_config.json names some
	pre      string // the pre-tokenizer of the published class
}

// The published tokenization files. What they count is read from the checkpoint's copy where it has one, as a fact, not
// as code.
var (
	extras = regexp.MustCompile(`<\|extra_\{i\}\|>.{0,20}for i in range\((\d{1,6})\)`)

	qwenFamily = rankFamily{file: "qwen.tiktoken", pre: "qwen2", named: []string{"<|endoftext|>", "<|im_start|>", "<|im_end|>"},
		numbered: "<|extra_%d|>", count: 205, counted: extras}
	hunyuanFamily = rankFamily{file: "hy.tiktoken", pre: "hunyuan", named: []string{"<|endoftext|>", "<|startoftext|>", "<|bos|>", "<|eos|>", "<|pad|>"},
		numbered: "<|extra_%d|>", count: 205, counted: extras}
	kimiFamily = rankFamily{file: "tiktoken.model", pre: "kimi-k2", numbered: "<|reserved_token_%d|>", count: 256, absolute: true,
		counted: regexp.MustCompile(`num_reserved_special_tokens\s*=\s*(\d{1,6})`)}
)

// rankVocab is a vocabulary of ranks with its special tokens.
type rankVocab struct {
	*ranks
	special map[string]int
}

// openRanks reads the ranks and numbers the special tokens behind them. Kimi numbers by id and lets tokenizer_config.json
// name single places; the others count from 0.
func (b *builder) openRanks(f rankFamily) (*rankVocab, error) {
	raw, err := read(b.src, f.file)
	if err != nil {
		return nil, err
	}
	if raw == nil {
		return nil, &fault.Unsupported{On: f.file, Says: "not in the checkpoint, and this family's vocabulary is read from it"}
	}
	r, err := readRanks(f.file, raw)
	if err != nil {
		return nil, err
	}
	count, err := b.specialCount(f)
	if err != nil {
		return nil, err
	}
	v := &rankVocab{r, map[string]int{}}
	next := len(r.order)
	for _, t := range f.named {
		v.special[t] = next
		next++
	}
	names := map[int]string{}
	if f.absolute {
		added, err := configAdded(b.src)
		if err != nil {
			return nil, err
		}
		for _, a := range added {
			names[int(a.id)] = a.Content
		}
	}
	for i := range count {
		name := fmt.Sprintf(f.numbered, i)
		if f.absolute {
			name = fmt.Sprintf(f.numbered, next)
			if n, ok := names[next]; ok {
				name = n
			}
		}
		v.special[name] = next
		next++
	}
	return v, nil
}

// specialCount finds how many numbered special tokens the checkpoint's tokenization file defines.
func (b *builder) specialCount(f rankFamily) (int, error) {
	files, err := globTokenization(b.src)
	if err != nil {
		return 0, err
	}
	for _, name := range files {
		text, err := read(b.src, name)
		if err != nil {
			return 0, err
		}
		if m := f.counted.FindSubmatch(text); m != nil {
			n, err := strconv.Atoi(string(m[1]))
			return n, err
		}
	}
	return f.count, nil
}

// list spells the vocabulary by id up to size.
func (v *rankVocab) list(file string, size int) ([]token, error) {
	out := padding(size, 0)
	place := func(text string, id int, typ TokenType) error {
		if id >= size {
			return &fault.Invalid{On: file, Says: fmt.Sprintf("token %q has the id %d, the configuration says %d tokens", text, id, size)}
		}
		out[id] = token{text, 0, typ}
		return nil
	}
	for _, t := range v.order {
		if err := place(byteText(t), v.rank[t], Normal); err != nil {
			return nil, err
		}
	}
	for t, id := range v.special {
		if err := place(t, id, Control); err != nil {
			return nil, err
		}
	}
	return out, nil
}
