package vocab

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"quern/convert/fault"
	"quern/convert/tokenizer"
)

// Mistral's own files state everything that a vocabulary needs, special ids included: nothing is read from config.json or
// tokenizer_config.json, and the pre-tokenizer is tekken by definition of the format.
// mistralFormat is Kind Mistral: the checkpoint's own template file counts. A Hugging Face checkpoint that has only
// tekken.json is read in the same way without it.
func (b *builder) mistralFormat() error { return b.readMistral(true) }

// mistral reads the same files for a checkpoint in Hugging Face's layout, which has no template file that counts.
func (b *builder) mistral() error { return b.readMistral(false) }

// tekkenSpecials are the special tokens of files that list none. Source: mistral-common, Tekkenizer.
var tekkenSpecials = []string{"<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]",
	"[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]", "[PREFIX]",
	"[MIDDLE]", "[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]"}

// mistralFile finds the tokenizer as mistral-common does: tekken.json before SentencePiece, the last version first.
func mistralFile(src fs.FS) (string, error) {
	var found []string
	for _, pattern := range []string{"tekken.json", "tokenizer.model*", "*.model.v*"} {
		names, err := fs.Glob(src, pattern)
		if err != nil {
			return "", err
		}
		found = append(found, names...)
	}
	if slices.Contains(found, "tekken.json") {
		return "tekken.json", nil
	}
	slices.Sort(found)
	if len(found) == 0 {
		return "", &fault.Unsupported{On: "tokenizer", Says: "neither tekken.json nor tokenizer.model.v* is in the checkpoint"}
	}
	return found[len(found)-1], nil
}

// readMistral writes the vocabulary in this format's own order: special ids before the tokens, and the size with them.
// Source: conversion/base.py, _set_vocab_mistral; the layout of tekken.json is mistral-common's.
func (b *builder) readMistral(native bool) error {
	name, err := mistralFile(b.src)
	if err != nil {
		return err
	}
	if name != "tekken.json" {
		return b.mistralPieces(name, native)
	}
	raw, err := read(b.src, name)
	if err != nil {
		return err
	}
	file, err := tokenizer.ParseTekken(raw)
	if err != nil {
		return err
	}
	texts, ranks, err := tekkenTokens(file)
	if err != nil {
		return err
	}
	b.kv.set(keyModel, "gpt2")
	b.kv.set(keyPre, "tekken") // by the format, whatever its pattern
	b.out.Pre = &Identity{Pre: "tekken", How: HowStructure, Structure: "tekken.json"}
	var merges []string
	for _, m := range tokenizer.RankMerges(ranks) {
		merges = append(merges, m[0]+" "+m[1])
	}
	b.kv.set(keyMerges, merges)
	id := func(text string) int { return slices.Index(texts, text) }
	types := make([]int32, len(texts))
	for i := range types {
		if types[i] = Normal; i < file.Config.NumSpecial {
			types[i] = Control
		}
	}
	// Scores are written as integers here: the reference's zeros are.
	if err := b.mistralIDs(id("<s>"), id("</s>"), id("<unk>"), id("<pad>")); err != nil {
		return err
	}
	return b.mistralRest(texts, make([]int32, len(texts)), types, file.Config.Version, "-tekken", native)
}

// tekkenTokens lists the special tokens, filled up by number, and the ranks behind them, which are also given alone.
func tekkenTokens(f *tokenizer.Tekken) (texts []string, ranks [][]byte, err error) {
	bad := func(format string, args ...any) error {
		return &fault.Invalid{On: "tekken.json", Says: fmt.Sprintf(format, args...)}
	}
	specials, inner := f.Config.NumSpecial, f.Config.VocabSize-f.Config.NumSpecial
	if f.Config.VocabSize > maxTokens || inner < 256 || inner > len(f.Vocab) {
		return nil, nil, bad("vocabulary of %d with %d special tokens, from %d ranks", f.Config.VocabSize, specials, len(f.Vocab))
	}
	for _, s := range f.Special {
		texts = append(texts, s.Str)
	}
	if f.Special == nil {
		texts = slices.Clone(tekkenSpecials)
	}
	if len(texts) > specials {
		return nil, nil, bad("%d special tokens, the configuration says %d", len(texts), specials)
	}
	for i := len(texts); i < specials; i++ {
		texts = append(texts, fmt.Sprintf("<SPECIAL_%d>", i))
	}
	for i, v := range f.Vocab[:inner] {
		if v.Rank != i || len(v.Bytes) == 0 || len(v.Bytes) > maxRankBytes || i < 256 && (len(v.Bytes) != 1 || v.Bytes[0] != byte(i)) {
			return nil, nil, bad("entry %d has rank %d and %d bytes; ranks must count up, and the first 256 be the bytes", i, v.Rank, len(v.Bytes))
		}
		ranks = append(ranks, v.Bytes)
		texts = append(texts, tokenizer.ByteChars(v.Bytes))
	}
	return texts, ranks, nil
}

// mistralIDs writes the four ids that mistral-common gives; a model without a padding token pads with its end of text.
func (b *builder) mistralIDs(bos, eos, unk, pad int) error {
	if pad < 0 {
		pad = eos
	}
	for _, v := range []struct {
		key, name string
		id        int
	}{{keyBOS, "<s>", bos}, {keyEOS, "</s>", eos}, {keyUNK, "<unk>", unk}, {keyPAD, "<pad>", pad}} {
		if v.id < 0 {
			return &fault.Invalid{On: "tokenizer", Says: "no token " + v.name}
		}
		b.kv.set(v.key, uint32(v.id))
	}
	return nil
}

// mistralRest writes what follows the special ids: the tokens come after them in this format.
func (b *builder) mistralRest(texts []string, scores any, types []int32, version, flavour string, native bool) error {
	b.kv.set(keyTokens, texts)
	b.kv.set(keyScores, scores)
	b.kv.set(keyTypes, types)
	b.kv.set(b.in.Arch+".vocab_size", uint32(len(texts)))
	b.kv.set(keyAddBOS, true)
	b.kv.set(keyAddEOS, false)
	text, found, err := readText(b.src, "chat_template.jinja")
	if err != nil {
		return err
	}
	switch {
	case native && found:
		b.kv.set(keyTemplate, text)
	case native && b.in.OwnTemplate:
	case version == "v1":
		b.kv.set(keyTemplate, "mistral-v1") // names of templates that llama.cpp has built in
	case version == "v3", version == "v7":
		b.kv.set(keyTemplate, "mistral-"+version+flavour)
	default:
		if found {
			b.kv.set(keyTemplate, text)
		}
		b.withoutTemplate()
	}
	return nil
}

// mistralPieces reads tokenizer.model.v3 and its like; the version stands in the file's name.
func (b *builder) mistralPieces(name string, native bool) error {
	m, _, err := openPieces(b.src, name)
	if err != nil {
		return err
	}
	version := "v1"
	if ext := path.Ext(name); strings.HasPrefix(ext, ".v") {
		version, _, _ = strings.Cut(ext[1:], "m")
	}
	b.kv.set(keyModel, "llama")
	texts, scores, types := make([]string, len(m.tokens)), make([]float32, len(m.tokens)), make([]int32, len(m.tokens))
	for i, p := range m.tokens {
		texts[i], scores[i], types[i] = p.text, p.score, p.typ
	}
	id := func(text string) int { return slices.Index(texts, text) }
	if err := b.mistralIDs(id("<s>"), id("</s>"), id("<unk>"), -1); err != nil {
		return err
	}
	return b.mistralRest(texts, scores, types, version, "", native)
}
