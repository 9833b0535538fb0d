package vocab

import (
	"errors"
	"io/fs"

	"quern/convert/tokenizer"
)

// FromFiles reads the vocabulary of a folder that holds tokenizer files and perhaps nothing else: what a configuration
// would have said is taken from them. A refused pre-tokenizer is an *UnknownPre, which holds what was tried.
func FromFiles(src fs.FS, in Input) (*Vocab, error) {
	kind, err := kindOfFolder(src)
	if err != nil {
		return nil, err
	}
	if _, ok := integer(in.Config["vocab_size"]); !ok && in.VocabSize == 0 && (kind == GPT2 || kind == BERT) {
		t, err := tokenizer.LoadFolder(src)
		if err != nil {
			return nil, err
		}
		tokens, _ := t.Vocab()
		in.VocabSize = int64(len(tokens))
	}
	return Build(src, kind, in)
}

// Decided is how the pre-tokenizer was decided. A vocabulary that has none to decide, such as a SentencePiece model's,
// gives an Identity whose Pre is what the reference writes for its kind.
func (v *Vocab) Decided() *Identity {
	if v.Pre != nil {
		return v.Pre
	}
	pre, _ := v.Value(keyPre).(string)
	model, _ := v.Value(keyModel).(string)
	return &Identity{Pre: pre, How: HowStructure, Structure: "a vocabulary of the kind " + model + ", whose cuts need no name", Differs: []Difference{}}
}

// kindOfFolder is the kind that the files themselves suggest, without a configuration.
func kindOfFolder(src fs.FS) (Kind, error) {
	if !exists(src, "tokenizer.json") {
		if exists(src, "vocab.txt") && !exists(src, "vocab.json") {
			return BERT, nil
		}
		if data, err := fs.ReadFile(src, "tokenizer.model"); err == nil {
			if m, err := tokenizer.ParseSentencePiece(data); err == nil && m.Kind == tokenizer.SPMBPE {
				return SPM, nil
			}
		}
		for _, f := range []struct {
			name string
			kind Kind
		}{{"tekken.json", Mistral}, {"sentencepiece.bpe.model", XLMRoberta}, {"spiece.model", T5}, {"tokenizer.model", T5},
			{rwkvFile, RWKV}, {"tokenizer.jsonl", Plamo}, {qwenFamily.file, QwenRanks}, {hunyuanFamily.file, HunyuanMoE}, {kimiFamily.file, Kimi}} {
			if exists(src, f.name) {
				return f.kind, nil
			}
		}
		return GPT2, nil
	}
	b := &builder{src: src, out: &Vocab{}}
	if err := b.load(); err != nil {
		return "", err
	}
	switch b.hf.tok.Kind() {
	case "WordPiece":
		return BERT, nil
	case "Unigram":
		return XLMRoberta, nil
	}
	var not *notLlama
	if err := b.checkLlama(); err == nil {
		return LlamaHF, nil
	} else if !errors.As(err, &not) {
		return "", err
	}
	return GPT2, nil
}
