package vocab

import (
	"fmt"

	"quern/convert/config"
	"quern/convert/fault"
)

// kinds is how each kind is read. Facts of a family (texts, fixed ids) stand here; rules stand in the functions.
// Source: set_vocab of the classes in conversion/*.py.
var kinds = map[Kind]func(*builder) error{
	None:        func(b *builder) error { b.kv.set(keyModel, "none"); return nil },
	GPT2:        (*builder).gpt2,
	SPM:         (*builder).spmAlone,
	SPMOrGPT2:   func(b *builder) error { return b.either(b.spm(spmCommon))(bpeRules{}) },
	GPT2OrSPM:   (*builder).jsonOrSPM,
	SPMOrJSON:   (*builder).spmOrJSON,
	OpenELM:     (*builder).openELM,
	MPT:         (*builder).mpt,
	LlamaHF:     func(b *builder) error { return b.llamaHF(false) },
	Llama:       (*builder).llama,
	Jamba:       (*builder).jamba,
	SpacePrefix: (*builder).spmPrefix,
	Gemma:       (*builder).gemma,
	Gemma2:      func(b *builder) error { return b.then(b.spmAlone(), keySpacePrefix, false) },
	Gemma3:      (*builder).gemma3,
	Gemma4:      func(b *builder) error { return b.llamaHF(true) },
	Minitron:    func(b *builder) error { return b.then(b.spmAlone(), keyPAD, uint32(0), keyUNK, uint32(1)) },
	Phi3:        (*builder).phi3,
	InternLM2:   (*builder).internLM2,
	InternLM3:   (*builder).internLM3,
	Arctic: func(b *builder) error {
		return b.need(b.spm(spmRules{sizes: []string{"vocab_size"}, added: addedIgnored, config: configArctic}))
	},
	XVerse:     (*builder).xverse,
	PocketTTS:  (*builder).pocketTTS,
	QwenTTS:    (*builder).qwenTTS,
	ChatGLM3:   (*builder).chatGLM3,
	T5:         (*builder).t5,
	XLMRoberta: (*builder).xlmRoberta,
	NomicMoE:   (*builder).nomicMoE,
	BERT:       (*builder).wordPiece,
	RoBERTa:    (*builder).roberta,
	JinaBERT:   (*builder).jinaBERT,
	ModernBERT: func(b *builder) error {
		b.then(nil, keyAddBOS, true, keyAddEOS, true, keyAddSEP, true)
		return b.gpt2()
	},
	EuroBERT:   func(b *builder) error { b.kv.set(keyAddBOS, false); return b.gpt2() },
	RWKV:       (*builder).rwkv,
	Mistral:    (*builder).mistralFormat,
	QwenRanks:  (*builder).qwenRanks,
	StableLM:   (*builder).stableLM,
	HunyuanMoE: (*builder).hunyuanMoE,
	Hunyuan:    (*builder).hunyuan,
	Kimi:       func(b *builder) error { return b.kimi(false) },
	KimiLinear: func(b *builder) error { return b.kimi(true) },
	KimiK3:     (*builder).kimiK3,
	Plamo:      (*builder).plamo,
	Plamo3:     (*builder).plamo3,
	Deci:       (*builder).deci,
	GLM: familiar((*builder).gpt2, Special{Type: "bos", Text: "[gMASK]"}, Special{Type: "eot", Text: "<|user|>"},
		Special{Type: "unk", Text: "<|endoftext|>"}, Special{Type: "eom", Text: "<|observation|>"}),
	GLMEdge: familiar((*builder).gpt2, Special{Type: "eos", Text: "<|endoftext|>"}, Special{Type: "eot", Text: "<|user|>"},
		Special{Type: "unk", Text: "<|endoftext|>"}, Special{Type: "bos", Text: "<|endoftext|>"}),
	ChatGLM: familiar((*builder).gpt2, Special{Type: "eos", Text: "<|endoftext|>"}, Special{Type: "eot", Text: "<|user|>"},
		Special{Type: "unk", Text: "<|endoftext|>"}),
	Solar: familiar((*builder).gpt2, Special{Type: "eos", Text: "<|endoftext|>"}, Special{Type: "eot", Text: "<|endoftext|>"},
		Special{Type: "unk", Text: "<unk>"}, Special{Type: "bos", Text: "<|startoftext|>"}),
	Dots3:       familiar((*builder).gpt2, Special{Type: "eot", Text: "<|endofassistant|>"}),
	InternS1:    familiar(func(b *builder) error { return b.bpe(bpeRules{spaces: true}) }, Special{Type: "bos", ID: 151643}),
	Dream:       func(b *builder) error { return b.either(b.spm(spmCommon))(bpeRules{raw: true}) },
	LLaDA:       func(b *builder) error { return b.then(b.bpe(bpeRules{raw: true}), keyAddBOS, true) },
	Laguna:      (*builder).laguna,
	MiniMax:     (*builder).miniMax,
	Refact:      func(b *builder) error { return b.again(b.gpt2(), false) },
	NemotronH:   func(b *builder) error { return b.then(b.gpt2(), keyAddBOS, true) },
	MuseGlimmer: (*builder).museGlimmer,
	ChatML:      (*builder).chatML,
	QwenASR:     (*builder).qwenASR,
	DeepSeekV32: (*builder).deepSeekV32,
}

// gpt2 is the reference's standard: every class without a set_vocab of its own ends here.
func (b *builder) gpt2() error { return b.bpe(bpeRules{}) }

// spmAlone is for families that never had another tokenizer than tokenizer.model.
func (b *builder) spmAlone() error { return b.need(b.spm(spmCommon)) }

// familiar adds special tokens that a family sets where the checkpoint names none.
func familiar(fill func(*builder) error, list ...Special) func(*builder) error {
	return func(b *builder) error {
		b.in.Specials = append(append([]Special{}, b.in.Specials...), list...)
		return fill(b)
	}
}

// then sets further entries, given as key and value in turn.
func (b *builder) then(err error, entries ...any) error {
	for i := 0; err == nil && i+1 < len(entries); i += 2 {
		b.kv.set(entries[i].(string), entries[i+1])
	}
	return err
}

// need turns a missing tokenizer.model into a refusal.
func (b *builder) need(found bool, err error) error {
	if err == nil && !found {
		err = &fault.Unsupported{On: "tokenizer.model", Says: "not in the checkpoint, and this family's vocabulary is read from it",
			Next: "take the file from the model that this one was made from"}
	}
	return err
}

// either goes on with a byte-level vocabulary where the SentencePiece model was not found.
func (b *builder) either(found bool, err error) func(bpeRules) error {
	return func(r bpeRules) error {
		if err != nil || found {
			return err
		}
		return b.bpe(r)
	}
}

// builtin refuses a checkpoint without tokenizer files, for which the reference takes a vocabulary of its own tree.
func builtin(name string) error {
	return &fault.Unsupported{On: "tokenizer", Says: "the checkpoint has no tokenizer files; llama.cpp's converter would take its own copy of the " + name + " vocabulary",
		Next: "put the tokenizer files of the model's makers into the checkpoint's folder"}
}

// jsonOrSPM is Mamba's order, spmOrJSON that of Mamba 2 and of OpenELM.
func (b *builder) jsonOrSPM() error {
	if exists(b.src, "tokenizer.json") {
		return b.gpt2()
	}
	found, err := b.spm(spmCommon)
	if err == nil && !found {
		return builtin("GPT-NeoX")
	}
	return err
}

// spmOrJSON looks for the model file first. Codestral's tokenizer.model.v3 is the right file under a name that the
// reference asks to change, rather than taking one of several versions.
func (b *builder) spmOrJSON() error {
	found, err := b.spm(spmCommon)
	switch {
	case err != nil || found:
		return err
	case exists(b.src, "tokenizer.model.v3"):
		return &fault.Unsupported{On: "tokenizer.model.v3", Says: "not read under this name", Next: "rename it to tokenizer.model"}
	case exists(b.src, "tokenizer.json"):
		return b.gpt2()
	}
	return builtin("GPT-NeoX")
}

// openELM has no tokenizer files of its own: the makers say to take Llama's.
func (b *builder) openELM() error {
	found, err := b.spm(spmCommon)
	if err != nil || found {
		return err
	}
	if exists(b.src, "tokenizer.json") {
		return b.llamaHF(false)
	}
	return builtin("Llama")
}

// mpt falls back to SentencePiece with SEA-LION's ids whatever went wrong with the byte-level vocabulary, as the
// reference does; without tokenizer.model the first error stands.
func (b *builder) mpt() error {
	kv := append(entries(nil), b.kv...)
	err := b.gpt2()
	if err == nil || !exists(b.src, "tokenizer.model") {
		return err
	}
	b.kv, b.undecided = kv, false
	return b.then(b.need(b.spm(spmCommon)), keyAddBOS, false, keyPAD, uint32(3), keyEOS, uint32(1), keyUNK, uint32(0))
}

// again is the second reading of the special tokens that CodeLlama, CodeGemma and Refact make for their infill tokens.
// No writer exists for those any more, so that only the end of turn and the frame of the post-processor remain of it.
func (b *builder) again(err error, template bool, eot ...int64) error {
	if err != nil {
		return err
	}
	s, err := loadSpecials(b.src, b.root, specialOptions{types: []string{"prefix", "suffix", "middle", "eot"}}, b.warn)
	if err != nil {
		return err
	}
	for _, id := range eot {
		s.setID("eot", id)
	}
	s.template.some = s.template.some && template
	s.write(&b.kv)
	return nil
}

// llama tries every kind that a Llama-shaped checkpoint has come with, newest formats by their files, older ones by what
// their files contain. The flag for a leading blank is written before anything else, hence it comes first in the file.
// Source: conversion/llama.py, LlamaModel.set_vocab.
func (b *builder) llama() error {
	if exists(b.src, "tekken.json") && !exists(b.src, "tokenizer.json") {
		return b.mistral()
	}
	tc, err := readObject(b.src, "tokenizer_config.json")
	if err != nil {
		return err
	}
	if v, ok := tc["add_prefix_space"].(bool); ok {
		b.kv.set(keySpacePrefix, v)
	}
	if tc["tokenizer_class"] == "HybridDNATokenizer" {
		return &fault.Unsupported{On: "tokenizer_config.json", Says: "HybridDNATokenizer is Python code of the checkpoint's own"}
	}
	found, err := b.spm(spmCommon)
	if err != nil {
		return err
	}
	if !found {
		err = b.llamaHF(false)
		if fallsBack(err) {
			err = b.gpt2()
		}
	}
	size := int64(32000)
	if n, ok := integer(b.in.Config["vocab_size"]); ok {
		size = n
	}
	if size == 32016 { // CodeLlama
		err = b.again(err, true, 32010)
	}
	if size == 49152 { // Granite's small models
		err = b.then(err, keyAddBOS, false)
	}
	return err
}

// jamba's later checkpoints have tokenizer.json only, whose words carry their own blanks.
func (b *builder) jamba() error {
	found, err := b.spm(spmCommon)
	if err != nil || found {
		return err
	}
	return b.then(b.llamaHF(false), keySpacePrefix, false)
}

// spacePrefix writes tokenizer_config.json's add_prefix_space, where it has one.
func (b *builder) spacePrefix() error {
	tc, err := readObject(b.src, "tokenizer_config.json")
	if v, ok := tc["add_prefix_space"]; ok {
		b.kv.set(keySpacePrefix, config.Truth(v))
	}
	return err
}

// spmPrefix writes the flag behind the special tokens: these families read tokenizer_config.json last.
func (b *builder) spmPrefix() error {
	if err := b.need(b.spm(spmCommon)); err != nil {
		return err
	}
	return b.spacePrefix()
}

// gemma is the first generation. CodeGemma's end of turn is written for all of it, as in the reference, whether or not the
// token has that meaning. Source: conversion/gemma.py, GemmaModel.set_vocab.
func (b *builder) gemma() error {
	err := b.need(b.spm(spmCommon))
	if err != nil {
		return err
	}
	// The second reading also knows fsep, which has no writer either.
	return b.then(b.again(nil, false, 107), keySpacePrefix, false)
}

// gemma3 comes without tokenizer.model where a tool saved it anew; its tokenizer.json is then read as byte-level BPE, which
// it is not, but which the reference does.
func (b *builder) gemma3() error {
	found, err := b.spm(spmCommon)
	if err != nil {
		return err
	}
	if found {
		return b.then(nil, keySpacePrefix, false)
	}
	return b.gpt2()
}

// phi3 takes added tokens from three files, each over the one before. Phi-4 has a GPT-2 tokenizer under the same class of
// model. Source: conversion/phi.py, Phi3MiniModel.set_vocab.
func (b *builder) phi3() error {
	tc, err := readObject(b.src, "tokenizer_config.json")
	if err != nil {
		return err
	}
	if tc["tokenizer_class"] == "GPT2Tokenizer" {
		return b.gpt2()
	}
	return b.need(b.spm(spmRules{sizes: []string{"vocab_size"}, config: configPlain, file: true}))
}

// roberta writes the number of token types in the end, BERT in the beginning.
func (b *builder) roberta() error {
	if !exists(b.src, "tokenizer.json") {
		return b.wordPiece()
	}
	err := b.gpt2()
	if err == nil {
		b.typeCount()
	}
	return err
}

// jinaBERT has two generations of tokenizers and, among those of RoBERTa's kind, one that splits at blanks only: the
// reference pins its name, since its hash is another's. Source: conversion/bert.py, JinaBertV2Model.set_vocab.
func (b *builder) jinaBERT() error {
	tc, err := readObject(b.src, "tokenizer_config.json")
	if err != nil {
		return err
	}
	switch tc["tokenizer_class"] {
	case "BertTokenizer":
		return b.wordPiece()
	case "RobertaTokenizer":
	default:
		return &fault.Unsupported{On: "tokenizer_config.json: tokenizer_class", Says: fmt.Sprintf("%v is not supported for Jina BERT", tc["tokenizer_class"])}
	}
	r := bpeRules{}
	split, err := preTokenizerType(b.src)
	if err != nil {
		return err
	}
	if split == "Whitespace" {
		r.pinned = "whitespace"
	}
	return b.then(b.bpe(r), keyTypeCount, uint32(2))
}

// deci tells Llama 3's vocabulary from Llama 2's by its size alone. Source: conversion/deci.py:84.
func (b *builder) deci() error {
	if n, ok := integer(b.in.Config["vocab_size"]); !ok || n == 128256 {
		return b.gpt2()
	}
	return b.llamaHF(false)
}

// laguna ends the assistant's turn with a token that its tokenizer does not call special.
func (b *builder) laguna() error {
	b.in.Controls = append(append([]string{}, b.in.Controls...), "</assistant>")
	if err := b.gpt2(); err != nil {
		return err
	}
	text, found, err := readText(b.src, "chat_template.jinja")
	if err != nil {
		return err
	}
	if found {
		b.kv.set(keyTemplate, text)
	}
	ends, _ := b.in.Config["eos_token_id"].([]any)
	bos, hasBOS := integer(b.in.Config["bos_token_id"])
	for _, e := range ends {
		if id, ok := integer(e); ok && (!hasBOS || id != bos) {
			b.kv.set(keyEOT, uint32(id))
			break
		}
	}
	return nil
}

// miniMax prefers the template file to tokenizer_config.json; without one the reference writes a text of its own.
func (b *builder) miniMax() error {
	if err := b.gpt2(); err != nil {
		return err
	}
	text, found, err := readText(b.src, "chat_template.jinja")
	if err != nil {
		return err
	}
	if found {
		b.kv.set(keyTemplate, text)
	} else {
		b.withoutTemplate()
	}
	return nil
}

// withoutTemplate says that the reference would have written a template that is not the checkpoint's.
func (b *builder) withoutTemplate() {
	if b.kv.value(keyTemplate) == nil {
		b.warn("no chat template: the checkpoint has none, and llama.cpp's own text for this family is not copied")
	} else {
		b.warn("chat template: the checkpoint's own is written; llama.cpp's converter replaces it with a text of its own")
	}
}

// museGlimmer ends a turn with a token that its configuration does not name.
func (b *builder) museGlimmer() error {
	if err := b.gpt2(); err != nil {
		return err
	}
	if id, ok := b.hf.tok.ID("<|eot|>"); ok {
		b.kv.set(keyEOT, uint32(id))
	}
	return nil
}

// chatML sets bos and eos to <|im_end|> (Qwen 3 ASR and its relatives).
func (b *builder) chatML() error {
	found, err := b.spm(spmCommon)
	if err == nil && !found {
		err = b.gpt2()
	}
	if err != nil {
		return err
	}
	added, err := configAdded(b.src)
	for _, a := range added {
		if a.Content == "<|im_end|>" {
			b.kv.set(keyBOS, uint32(a.id))
			b.kv.set(keyEOS, uint32(a.id))
			break
		}
	}
	return err
}

// qwenASR is chatML with the reference's own template over the checkpoint's.
func (b *builder) qwenASR() error {
	if err := b.chatML(); err != nil {
		return err
	}
	b.withoutTemplate()
	return nil
}

// deepSeekV32 takes no tokenizer that does not begin texts: the reference asks to correct tokenizer_config.json.
func (b *builder) deepSeekV32() error {
	if err := b.load(); err != nil {
		return err
	}
	if !b.hf.addsBOS() {
		return &fault.Unsupported{On: "tokenizer_config.json", Says: "add_bos_token is not true", Next: "set add_bos_token to true in tokenizer_config.json"}
	}
	return b.gpt2()
}
