package vocab

import (
	"encoding/base64"
	"encoding/json"
	"fmt"

	"quern/convert/config"
	"quern/convert/fault"
	"quern/convert/tokenizer"
)

// Unigram vocabularies (T5, XLM-RoBERTa) carry the normalizer with them: the compiled table of character replacements and two
// flags for blanks go into the file, since llama.cpp runs them itself.
//
// Source: conversion/t5.py, set_vocab; conversion/bert.py, _xlmroberta_set_vocab.
// unigramFrame writes what follows the tokens of a unigram vocabulary. types also writes the number of token types,
// which stands between the two flags.
func (b *builder) unigramFrame(prefix, trim, types bool, charsmap []byte) {
	b.kv.set(keySpacePrefix, prefix)
	if types {
		b.typeCount()
	}
	b.kv.set(keyExtraSpaces, trim)
	b.kv.set(keyCharsmap, charsmap)
}

// t5 writes a unigram model; a BPE one as an ordinary SentencePiece vocabulary, but under the common name only.
func (b *builder) t5() error {
	m, name, err := openPieces(b.src, "tokenizer.model", "spiece.model")
	if err != nil {
		return err
	}
	switch {
	case m == nil:
		return b.need(false, nil)
	case m.Kind == tokenizer.SPMBPE && name == "tokenizer.model":
		return b.spmAlone()
	case m.Kind != tokenizer.SPMUnigram:
		return &fault.Unsupported{On: name, Says: fmt.Sprintf("a SentencePiece model of type %d, want unigram (1)", m.Kind)}
	}
	list, err := b.layPieces(m, name, spmRules{sizes: []string{"vocab_size"}, config: configIgnored})
	if err != nil {
		return err
	}
	b.write("t5", "default", list, true)
	b.unigramFrame(m.AddDummyPrefix, m.RemoveExtraWhitespaces, false, m.Charsmap)
	return b.finish(specialOptions{tokens: len(list)})
}

// pocketTTS writes a unigram model whose last rows are no pieces: Input.Codec names them.
func (b *builder) pocketTTS() error {
	list, m, err := b.spmTokens(spmCommon)
	if err != nil {
		return err
	}
	if list == nil {
		return b.need(false, nil)
	}
	if m.Kind != tokenizer.SPMUnigram {
		return &fault.Unsupported{On: "tokenizer.model", Says: fmt.Sprintf("a SentencePiece model of type %d, want unigram (1)", m.Kind)}
	}
	first := len(list) - len(b.in.Codec)
	if first < 0 {
		return &fault.Invalid{On: "tokenizer.model", Says: fmt.Sprintf("%d tokens, %d rows behind them have names", len(list), len(b.in.Codec))}
	}
	for i, name := range b.in.Codec {
		list[first+i] = token{name, scoreAdded, Control}
	}
	b.write("t5", "default", list, true)
	b.unigramFrame(m.AddDummyPrefix, m.RemoveExtraWhitespaces, false, m.Charsmap)
	return b.then(nil, keyAddBOS, false, keyAddEOS, false)
}

// xlmRoberta writes XLM-R's vocabulary. The model file and the ids of the published class differ by one: four fixed
// tokens come first, the model's own three and its last are left out.
func (b *builder) xlmRoberta() error { return b.xlm(-1) }

// nomicMoE names the mask, which is missing in the model file. Source: conversion/bert.py, _xlmroberta_set_vocab.
func (b *builder) nomicMoE() error { return b.xlm(250001) }

// xlm writes the vocabulary from the model file; mask is the id of a mask that the file lacks, or -1.
func (b *builder) xlm(mask int) error {
	m, _, err := openPieces(b.src, "sentencepiece.bpe.model")
	if err != nil {
		return err
	}
	if m == nil {
		return b.xlmFromJSON()
	}
	if m.Kind != tokenizer.SPMUnigram {
		return &fault.Unsupported{On: "sentencepiece.bpe.model", Says: fmt.Sprintf("a SentencePiece model of type %d, want unigram (1)", m.Kind)}
	}
	size, _, err := b.size("vocab_size")
	if err != nil {
		return err
	}
	list := padding(max(size, len(m.tokens)), scorePadding)
	copy(list, m.tokens)
	if len(list) < 4 {
		return &fault.Invalid{On: "sentencepiece.bpe.model", Says: fmt.Sprintf("%d pieces, at least 4 are needed", len(list))}
	}
	fixed := []token{{"<s>", 0, Control}, {"<pad>", 0, Control}, {"</s>", 0, Control}, {"<unk>", 0, Unknown}}
	list = append(fixed, list[3:len(list)-1]...)
	if mask >= len(list) {
		return &fault.Invalid{On: "sentencepiece.bpe.model", Says: fmt.Sprintf("%d tokens, the mask has the id %d", len(list), mask)}
	}
	if mask >= 0 {
		list[mask] = token{"<mask>", 0, Control}
	}
	b.write("t5", "default", list, true)
	b.unigramFrame(m.AddDummyPrefix, m.RemoveExtraWhitespaces, true, m.Charsmap)
	return b.finish(specialOptions{tokens: len(list)})
}

// unigramFile is what is read of a unigram tokenizer.json.
type unigramFile struct {
	Normalizer struct {
		Charsmap string `json:"precompiled_charsmap"`
	} `json:"normalizer"`
	Model struct {
		Type    string               `json:"type"`
		Unknown *int32               `json:"unk_id"`
		Vocab   [][2]json.RawMessage `json:"vocab"`
	} `json:"model"`
}

// xlmFromJSON reads a checkpoint without the model file. The two flags are attributes of the tokenizer's class there: the
// reference takes clean_up_tokenization_spaces for remove_extra_whitespaces.
func (b *builder) xlmFromJSON() error {
	raw, err := read(b.src, "tokenizer.json")
	if err != nil {
		return err
	}
	if raw == nil {
		return &fault.Unsupported{On: "tokenizer.json", Says: "not in the checkpoint, nor is sentencepiece.bpe.model"}
	}
	var file unigramFile
	if err := json.Unmarshal(raw, &file); err != nil {
		return &fault.Unsupported{On: "tokenizer.json", Says: "not a unigram tokenizer: " + err.Error()}
	}
	charsmap, err := base64.StdEncoding.DecodeString(file.Normalizer.Charsmap)
	if err != nil {
		return &fault.Invalid{On: "tokenizer.json: precompiled_charsmap", Says: "not base64", Err: err}
	}
	if err := b.load(); err != nil {
		return err
	}
	list, err := b.unigramTokens(&file)
	if err != nil {
		return err
	}
	b.write("t5", "default", list, true)
	b.unigramFrame(config.Truth(b.hf.config["add_prefix_space"]), config.Truth(b.hf.config["clean_up_tokenization_spaces"]), true, charsmap)
	return b.finish(specialOptions{tokens: len(list)})
}

// unigramTokens gives each id of the model its score; types come from the tokenizer's special tokens.
func (b *builder) unigramTokens(file *unigramFile) ([]token, error) {
	size, _, err := b.size("vocab_size")
	if err != nil {
		return nil, err
	}
	base := b.hf.baseSize()
	list := padding(max(size, base), scorePadding)
	unknown := int32(3)
	if file.Model.Unknown != nil {
		unknown = *file.Model.Unknown
	}
	if text, ok := b.hf.config["unk_token"].(string); ok {
		if id, ok := b.hf.addedID(text); ok {
			unknown = id
		}
	}
	special, added := map[int32]bool{}, map[int32]bool{}
	for _, id := range b.hf.special {
		special[id] = true
	}
	for _, a := range b.hf.added {
		added[a.ID] = true
	}
	for i := range base {
		id := int32(i)
		text, ok := b.hf.text(i)
		if !ok {
			continue
		}
		if i >= len(file.Model.Vocab) {
			return nil, &fault.Invalid{On: "tokenizer.json: model.vocab", Says: fmt.Sprintf("%d entries, the tokenizer has %d", len(file.Model.Vocab), base)}
		}
		var score float64
		if err := json.Unmarshal(file.Model.Vocab[i][1], &score); err != nil {
			return nil, &fault.Invalid{On: "tokenizer.json: model.vocab", Says: fmt.Sprintf("score of entry %d", i), Err: err}
		}
		list[i] = token{text, float32(score), Normal}
		switch {
		case id == unknown:
			list[i].typ = Unknown
		case special[id]:
			list[i].typ = Control
		case added[id]:
			list[i].typ = UserDefined
		}
	}
	return list, nil
}
