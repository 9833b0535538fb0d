package vocab

import (
	"fmt"
	"io/fs"

	"quern/convert/config"
	"quern/convert/fault"
)

// globTokenization lists the checkpoint's own tokenization files, from which counts are read.
func globTokenization(src fs.FS) ([]string, error) { return fs.Glob(src, "tokenization_*.py") }

// rankTokens opens a family's ranks and lists the vocabulary; the configured size is required.
func (b *builder) rankTokens(f rankFamily) (*rankVocab, []token, error) {
	v, err := b.openRanks(f)
	if err != nil {
		return nil, nil, err
	}
	size, ok, err := b.size("vocab_size")
	if err != nil {
		return nil, nil, err
	}
	if !ok {
		if exists(b.src, "config.json") {
			return nil, nil, &fault.Invalid{On: "config.json", Says: "no vocab_size"}
		}
		size = len(v.order) + len(v.special) // tokenizer files alone
	}
	list, err := v.list(f.file, size)
	return v, list, err
}

// qwenRanks writes Qwen 1's vocabulary: <|endoftext|> begins, ends and stands for the unknown.
func (b *builder) qwenRanks() error {
	v, list, err := b.rankTokens(qwenFamily)
	if err != nil {
		return err
	}
	merges, err := v.merges(qwenFamily.file, true)
	if err != nil {
		return err
	}
	pre, err := b.identifyFormat(qwenFamily)
	if err != nil {
		return err
	}
	b.write("gpt2", pre, list, false)
	s, err := b.specials(specialOptions{})
	if err != nil {
		return err
	}
	s.merges = merges
	end := int64(v.special["<|endoftext|>"])
	if len(s.ids.keys) == 0 {
		s.setID("bos", end)
		s.setID("eos", end)
	}
	s.setID("unk", end)
	s.write(&b.kv)
	return nil
}

// identifyFormat names the pre-tokenizer of a file format whose published class has one: the pattern stands in Python
// code, which is not run.
func (b *builder) identifyFormat(f rankFamily) (string, error) {
	id := &Identity{Pre: f.pre, How: HowStructure, Structure: f.file}
	b.out.Pre = id
	if b.in.Pre != "" {
		id.How = HowOverride
		return b.in.Pre, b.override(id)
	}
	b.warn("pre-tokenizer: %s, as the published tokenizers with %s have; the pattern stands in Python code and is not read", f.pre, f.file)
	return id.Pre, nil
}

// stableLM's 1.6B model had Qwen's format before it was saved as tokenizer.json.
func (b *builder) stableLM() error {
	if exists(b.src, "tokenizer.json") {
		return b.gpt2()
	}
	return b.qwenRanks()
}

// ranked writes a vocabulary of ranks whose special ids stand in the configuration.
func (b *builder) ranked(f rankFamily) error {
	v, list, err := b.rankTokens(f)
	if err != nil {
		return err
	}
	merges, err := v.merges(f.file, false)
	if err != nil {
		return err
	}
	pre, err := b.identifyFormat(f)
	if err != nil {
		return err
	}
	b.write("gpt2", pre, list, false)
	b.kv.set(keyMerges, merges)
	return b.finish(specialOptions{})
}

// hunyuanMoE has a beginning of text that its configuration gets wrong; the id is fixed, whatever the vocabulary.
func (b *builder) hunyuanMoE() error {
	return b.then(b.ranked(hunyuanFamily), keyBOS, uint32(127959))
}

// hunyuan corrects ids that published configurations have wrong: the end of text is eod, and where the generation
// configuration has several ends, the first ends a turn. Source: conversion/hunyuan.py, HunYuanModel.set_vocab.
func (b *builder) hunyuan() error {
	own := b.in.Config
	var err error
	if exists(b.src, "tokenizer.json") {
		err = b.hunyuanJSON(own)
	} else {
		err = b.ranked(hunyuanFamily)
		if n, _ := integer(b.in.Config["hidden_size"]); n == 4096 { // the 7B model's configuration has the wrong id
			err = b.then(err, keyBOS, uint32(127958))
		}
	}
	if err != nil {
		return err
	}
	if id, ok := integer(own["eod_token_id"]); ok {
		b.kv.set(keyEOS, uint32(id))
	}
	gen, err := readObject(b.src, "generation_config.json")
	if err != nil {
		return err
	}
	if ends, ok := gen["eos_token_id"].([]any); ok && len(ends) >= 2 {
		if id, ok := integer(ends[0]); ok {
			b.kv.set(keyEOT, uint32(id))
		}
	}
	return nil
}

// hunyuanJSON leaves the padding token out where the configuration says -1.
func (b *builder) hunyuanJSON(own config.Object) error {
	list, pre, err := b.bpeTokens(bpeRules{})
	if err != nil {
		return err
	}
	b.write("gpt2", pre, list, false)
	opt := specialOptions{merges: true}
	if id, ok := integer(own["pad_token_id"]); ok && id < 0 {
		opt.types = []string{"bos", "eos", "unk", "sep", "cls", "mask"}
	}
	return b.finish(opt)
}

// kimi reads tokenizer.json, or the ranks. tokenizerEnd takes the end of text from the tokenizer, not from the
// configuration: [EOS] unless tokenizer_config.json names another.
func (b *builder) kimi(tokenizerEnd bool) error {
	if exists(b.src, "tokenizer.json") {
		return b.gpt2()
	}
	if err := b.ranked(kimiFamily); err != nil || !tokenizerEnd {
		return err
	}
	tc, err := readObject(b.src, "tokenizer_config.json")
	if err != nil {
		return err
	}
	end := "[EOS]"
	for _, v := range []any{tc["eos_token"], member(tc["eos_token"], "content")} {
		if t, ok := v.(string); ok {
			end = t
		}
	}
	id := indexText(b.tokens(), end)
	if id < 0 {
		return &fault.Invalid{On: "tokenizer_config.json: eos_token", Says: fmt.Sprintf("%q is no special token", end)}
	}
	b.kv.set(keyEOS, uint32(id))
	return nil
}

// tokens is the list of texts as written.
func (b *builder) tokens() []token {
	texts, _ := b.kv.value(keyTokens).([]string)
	out := make([]token, len(texts))
	for i, t := range texts {
		out[i].text = t
	}
	return out
}

// kimiK3 ends a turn as the configuration says. Its template is Python code; the reference has a text of its own.
func (b *builder) kimiK3() error {
	if err := b.kimi(true); err != nil {
		return err
	}
	if id, ok := integer(b.in.Config["eos_token_id"]); ok {
		b.kv.set(keyEOS, uint32(id))
	}
	if b.kv.value(keyTemplate) == nil {
		b.withoutTemplate()
	}
	return nil
}

// chatGLMTokens are the tokens behind the pieces. Source: the published tokenization_chatglm.py of ChatGLM3.
var chatGLMTokens = []string{"[MASK]", "[gMASK]", "[sMASK]", "sop", "eop", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"}

// chatGLM3 has scores for its pieces, zeros behind them, and names of its own for the first three.
// Source: conversion/chatglm.py, set_vocab_chatglm3.
func (b *builder) chatGLM3() error {
	m, name, err := openPieces(b.src, "tokenizer.model")
	if err != nil {
		return err
	}
	if m == nil {
		return b.need(false, nil)
	}
	full := len(m.tokens) + len(chatGLMTokens)
	size, ok, err := b.size("padded_vocab_size")
	if err != nil {
		return err
	}
	if !ok {
		size = full
	}
	if size < full {
		return &fault.Invalid{On: name, Says: fmt.Sprintf("%d tokens, the configuration says %d", full, size)}
	}
	list := padding(size, 0)
	copy(list, m.tokens)
	for i, t := range []string{"<unk>", "<bos>", "<eos>"} {
		if i < len(m.tokens) {
			list[i].text = t
		}
	}
	for i, t := range chatGLMTokens {
		list[len(m.tokens)+i] = token{t, 0, Control}
	}
	b.write("llama", "chatglm-spm", list, true)
	return b.finish(specialOptions{tokens: len(list)})
}

// qwenTTS puts the codec's tokens behind the text's and leaves the chat template out.
func (b *builder) qwenTTS() error {
	list, _, err := b.spmTokens(spmCommon)
	if err != nil {
		return err
	}
	if list == nil {
		err := b.gpt2()
		b.kv.remove(keyTemplate)
		return err
	}
	for _, c := range b.in.Codec {
		list = append(list, token{c, 0, Control})
	}
	b.write("llama", "default", list, true)
	return b.finish(specialOptions{tokens: len(list)})
}
