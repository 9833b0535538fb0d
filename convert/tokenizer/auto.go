package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"quern/convert/fault"
)

// maxConfig bounds the small files beside a tokenizer; the largest known tokenizer_config.json has 2 million bytes.
const maxConfig = 1 << 26 // bytes

// folder is a checkpoint's folder as AutoTokenizer looks at it.
type folder struct {
	src    fs.FS
	config object // tokenizer_config.json
	notes  []string
	class  string // without its endings

	stated map[string]int32 // ids that added_tokens_decoder states, which a slow class goes by
	around [2][]string      // tokens that a converted tokenizer sets before and after a text
}

// object is a JSON object whose members are not yet decoded.
type object map[string]json.RawMessage

// text is a member that is a string; ok is false for null, for other types and for what is not there.
func (o object) text(key string) (s string, ok bool) {
	ok = json.Unmarshal(o[key], &s) == nil && o.given(key)
	return s, ok
}

// given tells whether a member is there and not null.
func (o object) given(key string) bool {
	raw, ok := o[key]
	return ok && string(raw) != "null"
}

// flag is a member's truth as Python sees a boolean; def if it is not there.
func (o object) flag(key string, def bool) bool {
	raw, ok := o[key]
	if !ok {
		return def
	}
	return string(raw) == "true"
}

// LoadFolder gives the tokenizer that AutoTokenizer of transformers 4.57.6 makes of a checkpoint's folder. It follows the
// class that tokenizer_config.json or config.json names: a class may set other special tokens around a text than
// tokenizer.json says, change a normalizer, add tokens, or read the files of before tokenizer.json. Notes of the result
// name each change. Code that comes with a checkpoint is not run; where a tokenizer.json stands beside it, that is run as it is.
func LoadFolder(src fs.FS) (*Tokenizer, error) {
	f := &folder{src: src, config: object{}}
	if err := f.read("tokenizer_config.json", &f.config); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	name, remote, err := f.className()
	if err != nil {
		return nil, err
	}
	if name == "" {
		if name, err = f.classOfFiles(); err != nil {
			return nil, err
		}
	}
	f.class = strings.TrimSuffix(strings.TrimSuffix(name, "Fast"), "Tokenizer")
	class, known := fastClasses[f.class]
	data, err := fs.ReadFile(src, "tokenizer.json")
	hasFile := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if known && remote != "" {
		remote = "" // what transformers knows itself goes before the checkpoint's code, unless the user trusts that
		f.note("the checkpoint's own code for class %s is not run: transformers has the class itself", name)
	}
	switch {
	case !known:
		if !hasFile {
			return nil, f.unsupported(name, remote)
		}
		f.note("class %s is not run: tokenizer.json stands as it is", name+remote)
		t, err := Load(data)
		return f.finish(t, err)
	case hasFile && !(class.does&prefixSlow != 0 && f.config.given("add_prefix_space") && f.has(class.file)):
		t, err := Load(data)
		if err == nil {
			err = f.dress(t, &class, false)
		}
		return f.finish(t, err)
	}
	if hasFile {
		f.note("add_prefix_space makes class %s read %s instead of tokenizer.json", name, class.file)
	}
	t, err := f.loadSlow(class)
	if err == nil {
		err = f.dress(t, &class, true)
	}
	if err == nil {
		err = f.surround(t)
	}
	return f.finish(t, err)
}

// finish hands the notes over with the tokenizer.
func (f *folder) finish(t *Tokenizer, err error) (*Tokenizer, error) {
	if err != nil {
		return nil, err
	}
	t.Notes, t.Class = f.notes, f.class
	return t, nil
}

// note records a change that the user would not see in tokenizer.json.
func (f *folder) note(format string, args ...any) {
	f.notes = append(f.notes, fmt.Sprintf(format, args...))
}

// read decodes a small JSON file of the folder.
func (f *folder) read(name string, to any) error {
	data, err := fs.ReadFile(f.src, name)
	if err != nil {
		return err
	}
	if len(data) > maxConfig {
		return &fault.Invalid{On: name, Says: fmt.Sprintf("holds %d bytes, at most %d are read", len(data), maxConfig)}
	}
	if err := json.Unmarshal(data, to); err != nil {
		return &fault.Invalid{On: name, Says: "cannot be read", Err: err}
	}
	return nil
}

// has tells whether the folder has a file of that name.
func (f *folder) has(name string) bool {
	_, err := fs.Stat(f.src, name)
	return name != "" && err == nil
}

// className is the class that AutoTokenizer takes, and the remote code that would define it; "" where no file names a class
// or a type of model.
func (f *folder) className() (name, remote string, err error) {
	name, _ = f.config.text("tokenizer_class")
	var auto struct{ AutoTokenizer json.RawMessage }
	if json.Unmarshal(f.config["auto_map"], &auto) == nil && len(auto.AutoTokenizer) > 0 {
		remote = " of the checkpoint's own code"
	}
	if name != "" {
		return name, remote, nil
	}
	model := object{}
	if err := f.read("config.json", &model); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", "", err
	}
	if name, ok := model.text("tokenizer_class"); ok {
		return name, remote, nil
	}
	kind, ok := model.text("model_type")
	if class, known := classOfType[kind]; known {
		return class, remote, nil
	}
	if !ok && remote == "" {
		return "", "", nil
	}
	return "PreTrainedTokenizerFast", remote, nil
}

// classOfFiles is the class whose files a folder holds that names none; AutoTokenizer refuses such a folder.
func (f *folder) classOfFiles() (string, error) {
	if f.has("tokenizer.json") {
		return "PreTrainedTokenizerFast", nil
	}
	name := ""
	switch {
	case f.has("vocab.json") && f.has("merges.txt"):
		name = "GPT2Tokenizer"
	case f.has("vocab.txt"):
		name = "BertTokenizer"
	case f.has("sentencepiece.bpe.model"):
		name = "XLMRobertaTokenizer"
	case f.has("spiece.model"):
		name = "T5Tokenizer"
	case f.has("tokenizer.model"):
		data, err := fs.ReadFile(f.src, "tokenizer.model")
		if err != nil {
			return "", err
		}
		if m, err := ParseSentencePiece(data); err == nil {
			name = map[int32]string{SPMBPE: "LlamaTokenizer", SPMUnigram: "T5Tokenizer"}[m.Kind]
		}
	}
	if name == "" {
		return "", &fault.Unsupported{On: "tokenizer", Says: "no file names a class or a type of model, and there is no tokenizer.json"}
	}
	f.note("no file names a class: read as %s, which its files are like", name)
	return name, nil
}

// unsupported says why a folder without tokenizer.json cannot be read.
func (f *folder) unsupported(name, remote string) error {
	says := fmt.Sprintf("tokenizer class %s is not known, and there is no tokenizer.json", name)
	if remote != "" {
		says = fmt.Sprintf("tokenizer class %s is defined by the checkpoint's own code, and there is no tokenizer.json", name)
	} else if slowClasses[name] {
		says = fmt.Sprintf("tokenizer class %s has no counterpart in the tokenizers library, and there is no tokenizer.json", name)
	}
	return &fault.Unsupported{On: "tokenizer_config.json", Says: says, Next: "save the tokenizer as tokenizer.json with transformers, and put it beside the weights"}
}

// dress changes a loaded tokenizer as its class does.
func (f *folder) dress(t *Tokenizer, class *tokenizerClass, slow bool) error {
	s, err := f.specials(t, class, slow)
	if err != nil {
		return err
	}
	if slow {
		f.stated = map[string]int32{}
		for _, d := range s.decoder {
			f.stated[d.Content] = int32(d.id)
		}
	}
	before := len(t.added.listed)
	if err := t.added.add(s.toAdd(t), t.model, t.normalizer); err != nil {
		return err
	}
	for _, a := range t.added.listed[before:] {
		if slow {
			break // without a tokenizer.json there is nothing that they differ from
		}
		f.note("token %q (id %d) is added or given other flags", a.Content, a.ID)
	}
	f.prefix(t, class)
	f.bert(t, class)
	if class.does&setsLanguage != 0 {
		f.note("the class sets language tokens around a text, which are not followed: tokenizer.json's stand")
	}
	if class.does&framesBOS != 0 {
		return f.frame(t, class, s)
	}
	return nil
}

// prefix carries add_prefix_space into the pre-tokenizer: a lone ByteLevel takes it either way, those in a sequence only
// from classes that patch them, and only to turn it on.
func (f *folder) prefix(t *Tokenizer, class *tokenizerClass) {
	value := class.prefix
	if raw, ok := f.config["add_prefix_space"]; ok {
		value = string(raw)
	}
	if value == "null" {
		return
	}
	var top struct{ Type string }
	_ = json.Unmarshal(t.raw.PreTokenizer, &top)
	for i, s := range t.splitters {
		b, ok := s.(byteSplitter)
		on := value == "true"
		if !ok || b.prefix == on || top.Type != "ByteLevel" && (class.does&prefixDeep == 0 || !on) {
			continue
		}
		b.prefix = on
		t.splitters[i] = b
		f.note("add_prefix_space is set to %v", on)
	}
}

// bert carries the options of Bert's classes into a lone BertNormalizer.
func (f *folder) bert(t *Tokenizer, class *tokenizerClass) {
	n, ok := t.normalizer.(bertNormalizer)
	if !ok || class.does&(setsBert|setsCase) == 0 {
		return
	}
	var was struct {
		Accents *bool `json:"strip_accents"`
	}
	_ = json.Unmarshal(t.raw.Normalizer, &was)
	want := n
	want.lower = f.config.flag("do_lower_case", true)
	accents := "null"
	if raw, ok := f.config["strip_accents"]; ok {
		accents = string(raw)
	}
	had := "null"
	if was.Accents != nil {
		had = fmt.Sprint(*was.Accents)
	}
	if class.does&setsBert != 0 {
		want.chinese = f.config.flag("tokenize_chinese_chars", true)
	}
	if want == n && accents == had {
		return
	}
	if want.accents = want.lower; accents != "null" {
		want.accents = accents == "true"
	}
	t.normalizer = want
	f.note("the normalizer is set to lowercase %v, strip_accents %s, handle_chinese_chars %v", want.lower, accents, want.chinese)
}

// frame sets the post-processor that add_bos_token and add_eos_token ask for.
func (f *folder) frame(t *Tokenizer, class *tokenizerClass, s *specials) error {
	fr := frame{{text: true}}
	for _, side := range []struct {
		key string
		on  bool
		at  int
	}{{"add_eos_token", f.config.flag("add_eos_token", false), 1}, {"add_bos_token", f.config.flag("add_bos_token", class.addBOS), 0}} {
		if !side.on {
			continue
		}
		token := s.values[side.at]
		if token == nil {
			return &fault.Invalid{On: "tokenizer_config.json", Says: side.key + " is set, but the token is not"}
		}
		id, ok := t.ID(token.Content)
		if !ok && s.values[2] != nil {
			id, ok = t.ID(s.values[2].Content)
		}
		if !ok {
			return &fault.Invalid{On: "tokenizer_config.json", Says: fmt.Sprintf("%s is set, but %q has no id", side.key, token.Content)}
		}
		part := framePart{ids: []int32{id}}
		if side.at == 0 {
			fr = append(frame{part}, fr...)
		} else {
			fr = append(fr, part)
		}
	}
	if !slices.EqualFunc(t.frames, []frame{fr}, equalFrames) {
		f.note("the post-processor is replaced: add_bos_token and add_eos_token decide what stands around a text")
	}
	t.frames = []frame{fr}
	return nil
}

// equalFrames tells whether two frames set the same ids around a text.
func equalFrames(a, b frame) bool {
	return slices.EqualFunc(a, b, func(x, y framePart) bool { return x.text == y.text && slices.Equal(x.ids, y.ids) })
}
