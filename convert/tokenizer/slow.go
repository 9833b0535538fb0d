package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"unicode"

	"quern/convert/fault"
)

// loadSlow makes a tokenizer of the files of before tokenizer.json, as transformers' converters do.
// Source: transformers 4.57.6, convert_slow_tokenizer.py.
func (f *folder) loadSlow(class tokenizerClass) (*Tokenizer, error) {
	if class.slow == "" {
		return f.loadOther(class)
	}
	if !f.has("tokenizer.json") && f.has("tokenizer.model") {
		class.file = "tokenizer.model" // whatever the class calls its own vocabulary
	}
	file := class.file
	data, err := fs.ReadFile(f.src, file)
	if errors.Is(err, fs.ErrNotExist) && f.has("tekken.json") {
		return f.loadOther(class) // which any class takes for its vocabulary
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &fault.Unsupported{On: "tokenizer", Says: fmt.Sprintf("class %sTokenizer needs tokenizer.json or %s, and neither is there", class.slow, file)}
	}
	if err != nil {
		return nil, err
	}
	f.note("made from %s: there is no tokenizer.json that counts", file)
	switch file {
	case "vocab.txt":
		return f.convertBert(class, data)
	case "vocab.json":
		return f.convertBPE(class, data)
	}
	m, err := ParseSentencePiece(data)
	if err != nil {
		return nil, err
	}
	if err := m.Check(); err != nil {
		return nil, err
	}
	return f.convertSentencePiece(class, m)
}

// loadOther serves classes without a slow twin: what is left are Mistral's tekken.json and tiktoken files.
func (f *folder) loadOther(class tokenizerClass) (*Tokenizer, error) {
	if data, err := fs.ReadFile(f.src, "tekken.json"); err == nil {
		f.note("made from tekken.json: there is no tokenizer.json")
		return convertTekken(data)
	}
	return nil, &fault.Unsupported{On: "tokenizer", Says: "there is no tokenizer.json", Next: "put tokenizer.json beside the weights"}
}

// special is a role's text as the slow class has it.
func (f *folder) special(class tokenizerClass, role int) string {
	raw, ok := f.config[roles[role]]
	if _, modern := f.config["added_tokens_decoder"]; !modern {
		old := object{}
		if err := f.read("special_tokens_map.json", &old); err == nil && old[roles[role]] != nil {
			raw, ok = old[roles[role]], true // the legacy file wins
		}
	}
	if !ok {
		return class.special[role]
	}
	if v, err := parseSpecial(roles[role], raw); err == nil && v != nil {
		return v.Content
	}
	return ""
}

// parts are the stages of a converted tokenizer, as JSON to be.
type parts struct{ normalizer, pre, post, decoder any }

type j = map[string]any

// definition writes the stages as the tokenizer.json would have them: a converted tokenizer describes itself like any other.
func (p parts) definition(kind string) (*definition, error) {
	d := &definition{model: modelFile{kind: kind}}
	for _, x := range []struct {
		part any
		to   *json.RawMessage
	}{{p.normalizer, &d.Normalizer}, {p.pre, &d.PreTokenizer}, {p.post, &d.PostProcessor}, {p.decoder, &d.Decoder}} {
		if x.part == nil {
			continue
		}
		b, err := json.Marshal(x.part)
		if err != nil {
			return nil, &fault.Invalid{On: "tokenizer", Says: "cannot be converted", Err: err}
		}
		*x.to = b
	}
	return d, nil
}

// sequence is a component of several.
func sequence(key string, list ...any) j { return j{"type": "Sequence", key: list} }

// replaceText is a Replace of a plain text.
func replaceText(text, with string) j {
	return j{"type": "Replace", "pattern": j{"String": text}, "content": with}
}

// replaceRegex is a Replace of an expression.
func replaceRegex(re, with string) j {
	return j{"type": "Replace", "pattern": j{"Regex": re}, "content": with}
}

// byteLevel is a ByteLevel in any of its three roles.
func byteLevel(prefix, regex bool) j {
	return j{"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true, "use_regex": regex}
}

// surround sets the tokens around a text, once all of them have ids: special tokens that the vocabulary lacks are added.
// What is not there at all counts as the unknown token.
func (f *folder) surround(t *Tokenizer) error {
	if f.around[0] == nil && f.around[1] == nil {
		return nil
	}
	side := func(tokens []string) (framePart, error) {
		var p framePart
		for _, token := range tokens {
			id, ok := f.stated[token]
			if !ok {
				id, ok = t.ID(token)
			}
			if !ok {
				id, ok = t.ID(t.Unknown())
			}
			if !ok {
				return p, &fault.Invalid{On: "tokenizer", Says: fmt.Sprintf("the token %q, which stands around a text, has no id", token)}
			}
			p.ids = append(p.ids, id)
		}
		return p, nil
	}
	before, err := side(f.around[0])
	if err != nil {
		return err
	}
	after, err := side(f.around[1])
	t.frames = []frame{{before, {text: true}, after}}
	return err
}

// convertBert reads a vocab.txt: a token a line, the line feed alone cut off.
func (f *folder) convertBert(class tokenizerClass, data []byte) (*Tokenizer, error) {
	v := &vocabulary{table: newTable(1 << 10)}
	lines := strings.Split(strings.ReplaceAll(strings.ReplaceAll(string(data), "\r\n", "\n"), "\r", "\n"), "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	if len(lines) > maxID {
		return nil, tooHigh("vocab.txt", uint32(len(lines)))
	}
	for i, line := range lines {
		v.put([]byte(line), int32(i))
	}
	v.reverse()
	lower := f.config.flag("do_lower_case", true)
	norm := j{"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": f.config.flag("tokenize_chinese_chars", true), "lowercase": lower}
	norm["strip_accents"] = nil
	if raw, ok := f.config["strip_accents"]; ok {
		norm["strip_accents"] = raw
	}
	cls, sep := f.special(class, 5), f.special(class, 3)
	if class.slow == "MPNet" {
		cls, sep = "<s>", "</s>"
	}
	f.around = [2][]string{{cls}, {sep}}
	d, err := parts{norm, j{"type": "BertPreTokenizer"}, nil, j{"type": "WordPiece", "prefix": "##", "cleanup": true}}.definition("WordPiece")
	if err != nil {
		return nil, err
	}
	m := &wordPiece{vocabulary: v, unknown: f.special(class, 2), prefix: "##", longest: 100}
	m.prepare()
	return d.assemble(m)
}

// qwen2 is the splitter of Qwen2Converter, cl100k that of converted tiktoken files.
const (
	qwen2  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	cl100k = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

// splitAndBytes is the usual pair: an expression, then the bytes.
func splitAndBytes(re string, prefix bool) any {
	return sequence("pretokenizers", j{"type": "Split", "pattern": j{"Regex": re}, "behavior": "Isolated", "invert": false}, byteLevel(prefix, false))
}

// convertBPE reads vocab.json and merges.txt.
func (f *folder) convertBPE(class tokenizerClass, data []byte) (*Tokenizer, error) {
	w := newWalker(data)
	v := readVocabulary(w, len(data)/16)
	w.end()
	if w.err != nil {
		return nil, asFault("vocab.json", w.err)
	}
	v.reverse()
	raw, err := fs.ReadFile(f.src, "merges.txt")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &fault.Unsupported{On: "tokenizer", Says: "vocab.json stands without merges.txt and tokenizer.json"}
	}
	if err != nil {
		return nil, err
	}
	prefix := f.config.flag("add_prefix_space", class.prefix == "true")
	p := parts{pre: byteLevel(prefix, true), decoder: byteLevel(true, true)}
	switch class.slow {
	case "GPT2", "CodeGen":
		if p.post = byteLevel(true, true); f.config.flag("add_bos_token", false) {
			f.around[0] = []string{f.special(class, 0)}
		}
	case "Qwen2":
		p.normalizer, p.pre = j{"type": "NFC"}, splitAndBytes(qwen2, prefix)
	case "Roberta", "Bart", "LED", "Longformer", "Mvp":
		f.around = [2][]string{{f.special(class, 5)}, {f.special(class, 3)}}
	default:
		return nil, &fault.Unsupported{On: "tokenizer", Says: fmt.Sprintf("class %sTokenizer cannot be read from vocab.json and merges.txt", class.slow)}
	}
	d, err := p.definition("BPE")
	if err != nil {
		return nil, err
	}
	m := &bpe{vocabulary: v}
	if err := m.prepare(mergeLines(mergesFile(string(raw)))); err != nil {
		return nil, err
	}
	return d.assemble(m)
}

// mergesFile gives the lines of a merges.txt that hold merges: the first line is a header, blank lines do not count.
func mergesFile(text string) []string {
	_, text, _ = strings.Cut(text, "\n")
	var lines []string
	for _, line := range strings.Split(text, "\n") {
		if line = strings.TrimFunc(line, unicode.IsSpace); line != "" && !strings.HasPrefix(line, "#version") {
			lines = append(lines, line)
		}
	}
	return lines
}
