package vocab

import (
	"errors"
	"io/fs"

	"quern/convert/tokenizer"
)

// quern tokenize and quern archs look at tokenizers without a model: only the files count here, and what a configuration
// would have said is taken from them.
// Identify decides the pre-tokenizer of a folder that holds tokenizer files and perhaps nothing else. A tokenizer that has
// none to decide, such as a SentencePiece model, gives an Identity whose Pre is what the reference writes for its kind.
// A refusal is an *UnknownPre, which holds what was tried.
func Identify(src fs.FS, in Input) (*Identity, error) {
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
	v, err := Build(src, kind, in)
	if err != nil {
		return nil, err
	}
	if v.Pre != nil {
		return v.Pre, nil
	}
	pre, _ := v.Value(keyPre).(string)
	return &Identity{Pre: pre, How: HowStructure, Structure: string(kind)}, nil
}

// kindOfFolder is the kind that the files themselves suggest, without a configuration.
func kindOfFolder(src fs.FS) (Kind, error) {
	if !exists(src, "tokenizer.json") {
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
