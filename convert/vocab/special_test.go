package vocab

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"quern/convert/config"
)

// folderOf makes a checkpoint's folder of small files.
func folderOf(files map[string]string) fstest.MapFS {
	out := fstest.MapFS{}
	for name, text := range files {
		out[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return out
}

// readSpecials reads the special tokens of a folder and shows what would be written, one entry a line.
func readSpecials(t *testing.T, files map[string]string, opt specialOptions) string {
	t.Helper()
	src := folderOf(files)
	root, err := readObject(src, "config.json")
	if err != nil {
		t.Fatal(err)
	}
	s, err := loadSpecials(src, root, opt, func(string, ...any) {})
	if err != nil {
		t.Fatal(err)
	}
	var e entries
	s.write(&e)
	var out strings.Builder
	for _, kv := range e {
		fmt.Fprintf(&out, "%s %v\n", strings.TrimPrefix(kv.Key, "tokenizer."), kv.Value)
	}
	return out.String()
}

const twoAdded = `"added_tokens": [{"id": 1, "content": "<s>"}, {"id": 2, "content": "</s>"}, {"id": 9, "content": "</s>"}, {"id": 5, "content": "<sep>"}]`

func single(items string) string {
	return `{` + twoAdded + `, "post_processor": {"type": "TemplateProcessing", "single": [` + items + `], "pair": []}}`
}

const (
	textA  = `{"Sequence": {"id": "A"}}`
	tokBOS = `{"SpecialToken": {"id": "<s>"}}`
	tokEOS = `{"SpecialToken": {"id": "</s>"}}`
	tokSEP = `{"SpecialToken": {"id": "<sep>"}}`
)

func TestSpecials(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		opt   specialOptions
		want  string
	}{
		{"the configuration's ids stand where the tokenizer names none",
			map[string]string{"config.json": `{"bos_token_id": 7, "eos_token_id": [8, 9], "pad_token_id": -1}`}, specialOptions{},
			"ggml.bos_token_id 7\n"},
		{"a text of tokenizer_config.json is the first added token of that text",
			map[string]string{"tokenizer.json": "{" + twoAdded + "}", "tokenizer_config.json": `{"eos_token": "</s>", "bos_token": {"content": "<s>"}}`, "config.json": `{"eos_token_id": 8}`}, specialOptions{},
			"ggml.bos_token_id 1\nggml.eos_token_id 2\n"},
		{"without tokenizer.json texts have no ids",
			map[string]string{"tokenizer_config.json": `{"eos_token": "</s>", "add_bos_token": true}`, "config.json": `{"text_config": {"eos_token_id": 8}}`}, specialOptions{},
			"ggml.eos_token_id 8\nggml.add_bos_token true\n"},
		{"an id beyond the vocabulary is dropped, and the next source counts",
			map[string]string{"tokenizer.json": "{" + twoAdded + "}", "tokenizer_config.json": `{"sep_token": "<sep>"}`, "config.json": `{"sep_token_id": 3}`}, specialOptions{tokens: 4},
			"ggml.seperator_token_id 3\n"},
		{"kinds without a writer are dropped",
			map[string]string{"config.json": `{"cls_token_id": 1, "mask_token_id": 2}`}, specialOptions{},
			"ggml.mask_token_id 2\n"},
		{"a template that begins and ends with tokens sets both flags",
			map[string]string{"tokenizer.json": single(tokBOS + "," + textA + "," + tokEOS), "tokenizer_config.json": `{"bos_token": "<s>", "eos_token": "</s>"}`}, specialOptions{},
			"ggml.bos_token_id 1\nggml.eos_token_id 2\nggml.add_bos_token true\nggml.add_eos_token true\n"},
		{"a first token that is neither bos nor cls clears the flag",
			map[string]string{"tokenizer.json": single(tokBOS + "," + textA), "tokenizer_config.json": `{"bos_token": {"content": "<s>"}, "cls_token": "<sep>"}`}, specialOptions{},
			"ggml.bos_token_id 1\nggml.add_bos_token false\n"},
		{"another last token makes the end of text an end of turn",
			map[string]string{"tokenizer.json": single(textA + "," + tokSEP), "tokenizer_config.json": `{"eos_token": "</s>"}`}, specialOptions{},
			"ggml.eos_token_id 5\nggml.eot_token_id 2\nggml.add_eos_token true\n"},
		{"tokenizer_config.json's flag wins over the template's, in its place",
			map[string]string{"tokenizer.json": single(tokBOS + "," + textA + "," + tokEOS), "tokenizer_config.json": `{"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": false}`}, specialOptions{},
			"ggml.bos_token_id 1\nggml.eos_token_id 2\nggml.add_bos_token false\nggml.add_eos_token true\n"},
		{"a separator between the texts of a pair is added unless something ends them",
			map[string]string{"tokenizer.json": `{` + twoAdded + `, "post_processor": {"type": "TemplateProcessing", "single": [` + textA + `], "pair": [` + textA + "," + tokSEP + `, {"Sequence": {"id": "B"}}]}}`,
				"tokenizer_config.json": `{"sep_token": "<sep>"}`}, specialOptions{},
			"ggml.eos_token_id 5\nggml.seperator_token_id 5\nggml.add_sep_token true\n"},
		{"RoBERTa's processor frames and separates",
			map[string]string{"tokenizer.json": `{` + twoAdded + `, "post_processor": {"type": "RobertaProcessing", "cls": ["<s>", 1], "sep": ["</s>", 2]}}`, "tokenizer_config.json": `{"bos_token": "<s>"}`}, specialOptions{},
			"ggml.bos_token_id 1\nggml.seperator_token_id 2\nggml.add_bos_token true\nggml.add_eos_token true\nggml.add_sep_token true\n"},
		{"normalizers leave two flags, the last word counts",
			map[string]string{"tokenizer.json": `{"normalizer": {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, {"type": "BertNormalizer", "lowercase": false, "strip_accents": null}, {"type": "StripAccents"}]}}`}, specialOptions{},
			"ggml.normalizer.lowercase false\nggml.normalizer.strip_accents true\n"},
		{"a blank inside a merge becomes the letter that stands for it",
			map[string]string{"tokenizer.json": `{"model": {"merges": [["a b", "c"], ["d", "e"]]}}`}, specialOptions{merges: true},
			"ggml.merges [a\u0120b c d e]\n"},
		{"merges.txt stands in for missing merges: a header and odd lines are skipped",
			map[string]string{"tokenizer.json": `{"model": {"merges": []}}`, "merges.txt": "#version: 0.2\r\na b\n\nx y z\n  c\td \n"}, specialOptions{merges: true},
			"ggml.merges [a b c d]\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if d := cmp.Diff(c.want, readSpecials(t, c.files, c.opt)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestTemplates(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"tokenizer_config.json comes first", map[string]string{"tokenizer_config.json": `{"chat_template": "a"}`, "chat_template.jinja": "b"}, "chat_template a\n"},
		{"null blocks the other places", map[string]string{"tokenizer_config.json": `{"chat_template": null}`, "chat_template.jinja": "b"}, ""},
		{"an empty text writes nothing", map[string]string{"tokenizer_config.json": `{"chat_template": ""}`, "chat_template.jinja": "b"}, ""},
		{"the .jinja file comes before the .json file", map[string]string{"tokenizer_config.json": `{"x": 1}`, "chat_template.jinja": "b\r\nc\r", "chat_template.json": `{"chat_template": "d"}`}, "chat_template b\nc\n\n"},
		{"the .json file is last", map[string]string{"tokenizer_config.json": `{"x": 1}`, "chat_template.json": `{"chat_template": "d"}`}, "chat_template d\n"},
		{"without tokenizer_config.json there is none", map[string]string{"chat_template.jinja": "b"}, ""},
		{"an empty tokenizer_config.json is none", map[string]string{"tokenizer_config.json": `{}`, "chat_template.jinja": "b"}, ""},
		{"several have names", map[string]string{"tokenizer_config.json": `{"chat_template": [{"name": "tool use", "template": "t"}, {"name": "default", "template": "d"}, {"name": "none"}]}`},
			"chat_template.tool_use t\nchat_templates [tool_use]\nchat_template d\n"},
		{"templates of the folder need the .jinja file", map[string]string{"tokenizer_config.json": `{"x": 1}`, "chat_template.jinja": "b", "additional_chat_templates/rag.jinja": "r"},
			"chat_template.rag r\nchat_templates [rag]\nchat_template b\n"},
		{"else they are not looked at", map[string]string{"tokenizer_config.json": `{"x": 1}`, "additional_chat_templates/rag.jinja": "r"}, ""},
		{"an object is ignored", map[string]string{"tokenizer_config.json": `{"chat_template": {"a": "b"}}`}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if d := cmp.Diff(c.want, readSpecials(t, c.files, specialOptions{})); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestPythonBytes(t *testing.T) {
	for in, want := range map[string]string{
		"\x00": `\x00`, "\xff\n": `\xff\n`, "it's": `it's`, "'\"": `\'"`, `\`: `\\`, "\u4e2d\t\r\x7f ": `\xe4\xb8\xad\t\r\x7f `,
	} {
		if got := pythonBytes([]byte(in)); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

// Ranks of which every token of several bytes is the merge of two others.
func ranksOf(tokens ...string) *ranks {
	r := &ranks{rank: map[string]int{}}
	for i, t := range tokens {
		r.add(t, i)
	}
	return r
}

func TestRankMerges(t *testing.T) {
	got, err := ranksOf("a", "b", "c", "ab", "bc", "abc", " ", " a").merges("x", true)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"a b", "b c", "ab c", "\u0120 a"}, got); d != "" {
		t.Error(d)
	}
	if _, err := ranksOf("a", "b", "aba").merges("x", true); err == nil {
		t.Error("a token of three parts passes")
	}
	if got, err := ranksOf("a", "b", "aba").merges("x", false); err != nil || len(got) != 0 {
		t.Errorf("%v, %v: a token of three parts has no merge", got, err)
	}
}

// TestRefusals holds that each mistake names its file and what is wrong with it.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		kind   Kind
		files  map[string]string
		config config.Object
		want   string
	}{
		{"nonsense", nil, nil, "nonsense: no such kind"},
		{SPM, nil, nil, "tokenizer.model: not in the checkpoint"},
		{SPM, map[string]string{"tokenizer.model": "\xff"}, nil, "tokenizer.model: "},
		{OpenELM, nil, nil, "its own copy of the Llama vocabulary"},
		{GPT2OrSPM, nil, nil, "its own copy of the GPT-NeoX vocabulary"},
		{SPMOrJSON, map[string]string{"tokenizer.model.v3": ""}, nil, "tokenizer.model.v3: not read under this name"},
		{GPT2, map[string]string{"tokenizer.json": "{"}, nil, "tokenizer.json"},
		{RWKV, map[string]string{rwkvFile: "1 'a' 1\n2 'b' 7\n"}, nil, "line 2 cannot be read: the literal has 1 bytes"},
		{Plamo, map[string]string{"tokenizer.jsonl": "[\"a\", 0.5]\n[\"b\"]\n"}, nil, "tokenizer.jsonl: line 2"},
		{QwenRanks, map[string]string{"qwen.tiktoken": "YQ== x"}, nil, "qwen.tiktoken: line 1 is not a token and a rank"},
		{Mistral, nil, nil, "neither tekken.json nor tokenizer.model"},
		{Mistral, map[string]string{"tekken.json": `{"config": {"default_vocab_size": 10, "default_num_special_tokens": 2}}`}, nil, "vocabulary of 10 with 2 special tokens, from 0 ranks"},
		{Llama, map[string]string{"tokenizer_config.json": `{"tokenizer_class": "HybridDNATokenizer"}`}, nil, "HybridDNATokenizer is Python code"},
		{SPM, map[string]string{"tokenizer.model": "\x0a\x03\x0a\x01a"}, config.Object{"vocab_size": int64(maxTokens) + 1}, "config.json: vocab_size: 10485761, want 0 to 10485760"},
	} {
		_, err := Build(folderOf(c.files), c.kind, Input{Config: c.config, Arch: "x"})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.kind, err, c.want)
		}
	}
}
