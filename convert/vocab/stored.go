package vocab

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"quern/convert/fault"
	"quern/convert/gguf"
	"quern/convert/tokenizer/stored"
)

// ownSplits are the expressions of the families whose cuts llama.cpp makes by hand; those of familySplits are the others.
// Source: src/unicode.cpp, unicode_regex_split_custom_*.
var ownSplits = map[string][]string{
	"KIMI_K2": {`\p{Han}+|[^\r\n\p{L}\p{N}]?[\p{L}&&[^\p{Han}]]+(?:'[sStTmMdD]|'[rRvV][eE]|'[lL][lL])?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`},
	"AFMOE": {stored.GroupDigits, "[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\u3040-\u309f\u30a0-\u30ff\uff65-\uff9f\u2f00-\u2fdf\u0e00-\u0e7f\u0e80-\u0eff\u1780-\u17ff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff\uac00-\ud7af\u1100-\u11ff]+",
		"[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
	"GEMMA4":     {`[^\n]+|[\n]+`},
	"SARVAM_MOE": {`[^\n]+|[\n]+`},
}

// letterKinds are the properties that llama.cpp reads as \p{L}.
var letterKinds = regexp.MustCompile(`\\p\{L[ultmo]\}`)

// beginning are the names whose vocabularies get a bos without being asked. Source: src/llama-vocab.cpp, llama_vocab::impl::load.
var beginning = []string{"LLAMA3", "TEKKEN", "CHAMELEON", "GEMMA4"}

// endings are texts that llama.cpp takes for the end of generation: such a token is looked for in texts even where the
// file calls it an ordinary one. Source: the same.
var endings = []string{"<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>", "<|endoftext|>",
	"</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>", "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>",
	"<\uff5cend\u2581of\u2581sentence\uff5c>", "[e~[", "<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"}

// infills are the texts of tokens for filling in, found where the file names none, by the keys that would name one.
var infills = []struct{ keys, texts []string }{
	{[]string{"tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.prefix_token_id"},
		[]string{"<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<\uff5cfim\u2581begin\uff5c>", "<PRE>", "\u2581<PRE>", "<|code_prefix|>", "<|prefix|>"}},
	{[]string{"tokenizer.ggml.fim_suf_token_id", "tokenizer.ggml.suffix_token_id"},
		[]string{"<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<\uff5cfim\u2581hole\uff5c>", "<SUF>", "\u2581<SUF>", "<|code_suffix|>", "<|suffix|>"}},
	{[]string{"tokenizer.ggml.fim_mid_token_id", "tokenizer.ggml.middle_token_id"},
		[]string{"<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<\uff5cfim\u2581end\uff5c>", "<MID>", "\u2581<MID>", "<|code_middle|>", "<|middle|>"}},
	{[]string{"tokenizer.ggml.fim_pad_token_id"}, []string{"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"}},
	{[]string{"tokenizer.ggml.fim_rep_token_id"}, []string{"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"}},
	{[]string{"tokenizer.ggml.fim_sep_token_id"}, []string{"<|file_sep|>"}},
}

// Stored makes an engine of the entries of a GGUF file, which encodes as llama.cpp does by that file. A vocabulary that
// quern does not run itself is a *fault.Unsupported, one that contradicts itself a *fault.Invalid.
func Stored(kv []gguf.KV) (*stored.Vocabulary, error) {
	d, err := definition(entries(kv))
	if err != nil {
		return nil, err
	}
	return stored.New(d)
}

// definition reads the entries as llama.cpp does.
func definition(e entries) (*stored.Definition, error) {
	d := &stored.Definition{BOS: stored.None, EOS: stored.None, UNK: stored.None, SEP: stored.None, EscapeSpaces: true}
	d.Model, _ = e.value(keyModel).(string)
	d.Tokens, _ = e.value(keyTokens).([]string)
	if d.Model == "" || len(d.Tokens) == 0 {
		return nil, &fault.Unsupported{On: "vocabulary", Says: "the file has none"}
	}
	d.Types, _ = e.value(keyTypes).([]int32)
	d.Scores, _ = e.value(keyScores).([]float32)
	d.Merges, _ = e.value(keyMerges).([]string)
	d.Charsmap = octets(e.value(keyCharsmap))
	if err := defaults(d, e); err != nil {
		return nil, err
	}
	flag := func(key string, to *bool) {
		if b, ok := e.value(key).(bool); ok {
			*to = b
		}
	}
	flag(keySpacePrefix, &d.SpacePrefix)
	flag(keyExtraSpaces, &d.RemoveExtraSpaces)
	flag(keyAddBOS, &d.AddBOS)
	flag(keyAddEOS, &d.AddEOS)
	flag(keyAddSEP, &d.AddSEP)
	if d.WholeBreaks { // llama.cpp overrides the flag for Gemma 4
		d.AddBOS = true
	}
	d.Lowercase = true
	flag(keyLowercase, &d.Lowercase)
	d.StripAccents = d.Lowercase
	flag(keyStripAccents, &d.StripAccents)
	for role, to := range map[string]*int32{"bos": &d.BOS, "eos": &d.EOS, "unk": &d.UNK, "sep": &d.SEP} {
		if int(*to) >= len(d.Tokens) {
			*to = stored.None
		}
		if id, ok := whole(e.value(specialKeys[role])); ok && id >= 0 && id < int64(len(d.Tokens)) {
			*to = int32(id)
		}
	}
	markers(d, e)
	return d, nil
}

func asksDigits(split string) bool { return strings.Contains(split, `\d`) }

// defaults are what llama.cpp assumes of each kind of vocabulary.
func defaults(d *stored.Definition, e entries) error {
	switch d.Model {
	case "llama":
		d.BOS, d.EOS, d.UNK = 1, 2, 0
		d.SpacePrefix, d.AddBOS = true, true
	case "bert":
		d.BOS, d.UNK, d.SEP = 101, 100, 102
		d.AddBOS, d.AddSEP = true, true
	case "t5":
		d.EOS, d.UNK = 1, 2
		d.AddEOS = true
	case "gpt2", "gemma4":
		pre, _ := e.value(keyPre).(string)
		if d.Model == "gemma4" {
			pre = "gemma4"
		} else {
			d.BOS, d.EOS = 11, 11
		}
		if pre == "" {
			pre = "default"
		}
		family := preTypes[pre].family
		splits, ok := familySplits[family]
		if !ok {
			splits, ok = ownSplits[family]
		}
		if !ok {
			return &fault.Unsupported{On: keyPre, Says: fmt.Sprintf("%q is not run by quern's own engine", pre)}
		}
		if family == "TINY_AYA" || family == "YOUTU" { // the kinds of letters are one to it
			splits = slices.Clone(splits)
			for i := range splits {
				splits[i] = letterKinds.ReplaceAllString(splits[i], `\p{L}`)
			}
		}
		if family == "TINY_AYA" { // its expression for digits is not run as such
			splits = append([]string{stored.GroupDigits}, splits[1:]...)
		}
		if slices.ContainsFunc(splits, asksDigits) { // std::wregex, which runs such expressions, knows ASCII's digits only
			splits = slices.Clone(splits)
			for i := range splits {
				splits[i] = strings.ReplaceAll(splits[i], `\d`, "[0-9]")
			}
		}
		d.Splits, d.IgnoreMerges = splits, preTypes[pre].merges
		d.Raw = family == "GEMMA4" || family == "SARVAM_MOE"
		d.EscapeSpaces, d.WholeBreaks = d.Raw, family == "GEMMA4"
		d.AddBOS = slices.Contains(beginning, family)
	}
	return nil
}

// markers finds the tokens that llama.cpp knows by their text or by the model's name.
func markers(d *stored.Definition, e entries) {
	ids := make(map[string]int32, len(d.Tokens))
	for i, t := range d.Tokens {
		ids[t] = int32(i)
	}
	_, tool := ids["<|tool_response>"]
	for _, t := range endings {
		id, ok := ids[t]
		switch {
		case ok && t == "</s>" && tool: // of Gemma 4, where it ends nothing
			if int(id) < len(d.Types) {
				d.Types = slices.Clone(d.Types)
				d.Types[id] = Normal
			}
		case ok:
			d.Found = append(d.Found, id)
		}
	}
	for _, f := range infills {
		if slices.ContainsFunc(f.keys, func(k string) bool { return e.value(k) != nil }) {
			continue
		}
		for _, t := range f.texts {
			if id, ok := ids[t]; ok {
				d.Found = append(d.Found, id)
			}
		}
	}
	pre, _ := e.value(keyPre).(string)
	arch, _ := e.value("general.architecture").(string)
	name, _ := e.value("general.name").(string)
	name = strings.ToLower(name)
	switch {
	case strings.Contains(pre, "jina-v2-de"), strings.Contains(pre, "jina-v2-es"), strings.Contains(pre, "jina-v2-code"),
		strings.Contains(arch, "nomic-bert-moe"), strings.Contains(arch, "jina-bert-v3"):
		if id, ok := ids["<mask>"]; ok {
			d.LStrip = append(d.LStrip, id)
		}
	case strings.Contains(name, "phi-3"), strings.Contains(name, "phi3"):
		for i, t := range d.Tokens {
			if t != "<unk>" && t != "<s>" && t != "<|endoftext|>" {
				d.RStrip = append(d.RStrip, int32(i)) // of ordinary tokens it means nothing
			}
		}
	case strings.Contains(name, "modern-bert"):
		if id, ok := ids["[MASK]"]; ok {
			d.LStrip = append(d.LStrip, id)
		}
	}
}

// whole is a whole number of any width.
func whole(v any) (int64, bool) {
	if n, ok := gguf.Integer(v); ok {
		return n, true
	}
	return integer(v)
}

// octets is a list of bytes, with or without a sign.
func octets(v any) []byte {
	switch v := v.(type) {
	case []uint8:
		return v
	case []int8:
		out := make([]byte, len(v))
		for i, b := range v {
			out[i] = byte(b)
		}
		return out
	}
	return nil
}

// StoredIdentity is the pre-tokenizer that a GGUF file states. Where llama.cpp can be asked, Differs lists the texts of the
// corpus that it encodes otherwise than our engine does; a nil engine or ask compares nothing.
func StoredIdentity(kv []gguf.KV, engine *stored.Vocabulary, ask func([]string) ([][]int32, error)) (*Identity, error) {
	e := entries(kv)
	id := &Identity{How: HowFile, Differs: []Difference{}}
	id.Pre, _ = e.value(keyPre).(string)
	model, _ := e.value(keyModel).(string)
	id.Structure = "a vocabulary of the kind " + model
	if engine == nil || ask == nil {
		return id, nil
	}
	var texts []string
	for _, s := range samples() {
		texts = append(texts, s.text)
	}
	theirs, err := ask(texts)
	if err != nil {
		return nil, err
	}
	for i, s := range samples() {
		ours, err := engine.Encode(s.text, false)
		if err != nil {
			return nil, err
		}
		if !slices.Equal(ours, theirs[i]) {
			id.Differs = append(id.Differs, Difference{kindOf(s, false), s.text, ours, theirs[i]})
		}
	}
	id.Proven = len(id.Differs) == 0
	return id, nil
}
