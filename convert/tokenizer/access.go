package tokenizer

import "slices"

// Kind is the model's: "BPE", "Unigram", "WordPiece" or "WordLevel".
func (t *Tokenizer) Kind() string { return t.kind }

// Structure describes the stages as their JSON.
func (t *Tokenizer) Structure() Structure { return t.raw }

// ModelSize is how many tokens the model's vocabulary has, without added ones. Ids may have holes.
func (t *Tokenizer) ModelSize() int { return t.model.size() }

// Size is how many different ids there are, with those of added tokens: len(tokenizer) in Python.
func (t *Tokenizer) Size() int {
	n := t.model.size()
	for id, a := range t.added.byID {
		if _, ok := t.model.id(a.Content); !ok || id < 0 {
			n++
		}
	}
	return n
}

// Token is the text of an id: an added token's content, else the model's token, spelled as in the vocabulary.
func (t *Tokenizer) Token(id int32) (string, bool) {
	if a, ok := t.added.byID[id]; ok {
		return a.Content, true
	}
	return t.model.token(id)
}

// ID is the id of a token by its text as the vocabulary spells it; added tokens first.
func (t *Tokenizer) ID(token string) (int32, bool) {
	if id, ok := t.added.ids[token]; ok {
		return id, true
	}
	return t.model.id(token)
}

// ModelID is the id of a token in the model's own vocabulary, whatever is added.
func (t *Tokenizer) ModelID(token string) (int32, bool) { return t.model.id(token) }

// Vocab gives every token by its id, added ones over the model's; ids that no token has are "" with known false.
func (t *Tokenizer) Vocab() (tokens []string, known []bool) {
	v := t.model.texts()
	tokens, known = slices.Clone(v.byID), slices.Clone(v.used)
	for id, a := range t.added.byID {
		for int(id) >= len(tokens) {
			tokens, known = append(tokens, ""), append(known, false)
		}
		tokens[id], known[id] = a.Content, true
	}
	return tokens, known
}

// Added gives the added tokens in the order of the file, with the ids that the library gives them. The same text may
// stand twice; ByID tells which one counts.
func (t *Tokenizer) Added() []AddedToken { return slices.Clone(t.added.listed) }

// AddedByID is the added token that an id stands for.
func (t *Tokenizer) AddedByID(id int32) (AddedToken, bool) {
	a, ok := t.added.byID[id]
	return a, ok
}

// Merges are the merges of a BPE model in order, left and right token; nil for the other models.
func (t *Tokenizer) Merges() [][2]string {
	if m, ok := t.model.(*bpe); ok {
		return slices.Clone(m.merges)
	}
	return nil
}

// Scores are the scores of a Unigram model by id; nil for the other models.
func (t *Tokenizer) Scores() []float64 {
	if m, ok := t.model.(*unigram); ok {
		return slices.Clone(m.scores)
	}
	return nil
}

// ByteFallback tells whether characters that the vocabulary lacks become <0xNN> tokens.
func (t *Tokenizer) ByteFallback() bool {
	switch m := t.model.(type) {
	case *bpe:
		return m.fallback
	case *unigram:
		return m.fallback
	}
	return false
}

// IgnoreMerges tells whether a word that is in the vocabulary is one token whatever the merges say.
func (t *Tokenizer) IgnoreMerges() bool {
	m, ok := t.model.(*bpe)
	return ok && m.whole
}

// FuseUnknown tells whether unknown characters in a row become one unknown token.
func (t *Tokenizer) FuseUnknown() bool {
	m, ok := t.model.(*bpe)
	return ok && m.fuse || t.kind == "Unigram"
}

// Unknown is the model's unknown token; "" if it has none.
func (t *Tokenizer) Unknown() string {
	switch m := t.model.(type) {
	case *bpe:
		if m.unknown != nil {
			return *m.unknown
		}
	case *unigram:
		s, _ := m.token(m.unk)
		return s
	case *wordPiece:
		return m.unknown
	case *wordLevel:
		return m.unknown
	}
	return ""
}

// Affixes are a BPE model's prefix of inner characters and suffix of the last one, or a WordPiece model's prefix.
func (t *Tokenizer) Affixes() (prefix, suffix string) {
	switch m := t.model.(type) {
	case *bpe:
		return m.prefix, m.suffix
	case *wordPiece:
		return m.prefix, ""
	}
	return "", ""
}

// Words cuts a text as the model will see it: the pre-tokenizer's words, bytes not yet spelled out, and added tokens.
func (t *Tokenizer) Words(text string) ([]string, error) {
	pieces, err := t.words(text)
	out := make([]string, len(pieces))
	for i := range pieces {
		out[i] = pieces[i].text
	}
	return out, err
}
