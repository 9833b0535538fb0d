package arch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"quern/convert/config"
	"quern/convert/fault"
	"quern/convert/view"
)

// isReranker tells a Qwen 3 reranker, which has no class name of its own, by its names or its README.
// Source: conversion/qwen.py, _is_qwen3_reranker.
var isReranker = Fn("is a reranker by name or README", func(e *Env) (any, error) {
	readme, err := config.ReadFile(e.Source, "README.md")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	text := strings.ToLower(string(readme))
	class := e.rootClass()
	hints := []string{e.Dir, class}
	for _, key := range []string{"_name_or_path", "model_type"} {
		s, _ := e.Config.String(key)
		hints = append(hints, s)
	}
	all := strings.ToLower(strings.Join(hints, "\n"))
	for _, mark := range []string{"qwen3-reranker", "qwen3-vl-reranker"} {
		if strings.Contains(text, "# "+mark) || strings.Contains(all, mark) {
			return true, nil
		}
	}
	return strings.Contains(strings.ToLower(class), "sequenceclassification"), nil
})

// rerankRules make the classifier: the rows of "yes" and "no" in the head, or in the embedding where they are one.
var rerankRules = Given(isReranker,
	Code("*embed_tokens*", "the rows of yes and no of a tied head are the classifier too", func(b *Build, it Item) ([]Item, error) {
		if tied, _ := b.Config.Bool("tie_word_embeddings"); !tied {
			return []Item{it}, nil
		}
		head, err := classifier(b, it)
		return []Item{head, it}, err
	}),
	Code("*lm_head*", "the rows of yes and no are the classifier", func(b *Build, it Item) ([]Item, error) {
		if tied, _ := b.Config.Bool("tie_word_embeddings"); tied {
			return []Item{it}, nil
		}
		head, err := classifier(b, it)
		return []Item{head}, err
	}),
)

func classifier(b *Build, it Item) (Item, error) {
	ids, err := tokenIDs(b.Env, "yes", "no")
	if err != nil {
		return it, err
	}
	it.Name, it.Final = "cls.output.weight", true // Qwen 3 has no such role
	it.View, err = view.Gather(it.View, 0, ids)
	return it, err
}

// rerankKeys belong to the classifier. The prompt that the reference adds is a text of its own and is not written; its name
// stays in the list of templates.
var rerankKeys = When(isReranker,
	Set("pooling_type", poolingTypes["rank"]),
	Set("classifier.output_labels", []string{"yes", "no"}),
	Set("tokenizer.chat_templates", []string{"rerank"}),
)

// tokenIDs finds tokens by their text in tokenizer.json.
func tokenIDs(e *Env, texts ...string) ([]int64, error) {
	const file = "tokenizer.json"
	data, err := fs.ReadFile(e.Source, file)
	if err != nil {
		return nil, err
	}
	var tok struct {
		Added []struct {
			ID      int64
			Content string
		} `json:"added_tokens"`
		Model struct{ Vocab map[string]int64 }
	}
	if err := json.Unmarshal(data, &tok); err != nil {
		return nil, &fault.Invalid{On: file, Says: "its vocabulary cannot be read", Err: err}
	}
	if tok.Model.Vocab == nil {
		tok.Model.Vocab = map[string]int64{}
	}
	for _, a := range tok.Added {
		tok.Model.Vocab[a.Content] = a.ID
	}
	ids := make([]int64, len(texts))
	for i, t := range texts {
		id, ok := tok.Model.Vocab[t]
		if !ok {
			return nil, &fault.Invalid{On: file, Says: fmt.Sprintf("no token %q, which the classifier needs", t)}
		}
		ids[i] = id
	}
	return ids, nil
}
