package vocab

import (
	"errors"
	"strings"
	"testing"

	"quern/convert/config"
	"quern/convert/fault"
)

// FuzzSpecials reads hostile small files: any answer will do but a crash, and every refusal is a typed one.
func FuzzSpecials(f *testing.F) {
	f.Add(`{"model": {"merges": [["a", "b"]]}, "added_tokens": [{"id": 0, "content": "<s>"}]}`, `{"bos_token": "<s>", "chat_template": "x"}`, "a b\n", "t")
	f.Add(`{"model": {"merges": [["a"]]}}`, `{}`, "", "")
	f.Add(`{"model": {"merges": {"a": 1}}}`, `[]`, "#", "\xff")
	f.Add(`{"added_tokens": [{"id": -1}, {"id": 4294967296, "content": "x"}]}`, `{"eos_token": "x", "add_eos_token": 1}`, " \x1c ", "")
	f.Add(`{"post_processor": {"type": "TemplateProcessing", "single": [1, null], "pair": [{}]}}`, `{"sep_token": {"content": 3}}`, "", "")
	f.Add(`{"post_processor": {"processors": [{"type": "RobertaProcessing", "cls": [], "sep": 1}]}}`, `{"cls_token": []}`, "", "")
	f.Add(`{"post_processor": {"type": "TemplateProcessing", "single": [], "pair": [{"SpecialToken": {"id": ""}}]}}`, `{"bos_token": ""}`, "", "")
	f.Add(`{"normalizer": `+strings.Repeat(`{"type": "Sequence", "normalizers": [`, 300)+strings.Repeat(`]}`, 300)+`}`, `{"x": 1}`, "", "")
	f.Add(`null`, `{"chat_template": [1, {"name": 2}, {"name": "", "template": "x"}, {"name": "default"}]}`, "", "")
	f.Fuzz(func(t *testing.T, tok, tc, merges, jinja string) {
		src := folderOf(map[string]string{"tokenizer.json": tok, "tokenizer_config.json": tc, "merges.txt": merges, "chat_template.jinja": jinja})
		s, err := loadSpecials(src, config.Object{"eos_token_id": int64(3)}, specialOptions{merges: true, tokens: 100}, func(string, ...any) {})
		if err != nil {
			wantFault(t, err)
			return
		}
		var e entries
		s.write(&e)
		for _, kv := range e {
			if id, ok := kv.Value.(uint32); ok && id >= 100 {
				t.Errorf("%s is %d, beyond 100 tokens", kv.Key, id)
			}
		}
	})
}

// wantFault wants an error that the command knows how to end with.
func wantFault(t *testing.T, err error) {
	t.Helper()
	invalid, unsupported := (*fault.Invalid)(nil), (*fault.Unsupported)(nil)
	if !errors.As(err, &invalid) && !errors.As(err, &unsupported) {
		t.Errorf("%T: %v", err, err)
	}
}

// fuzzFiles are the files that single kinds are read from, with hostile content to begin with.
var fuzzFiles = []struct {
	kind  Kind
	name  string
	seeds []string
}{
	{SPM, "tokenizer.model", []string{"", "\x0a\x03\x0a\x01a", "\x0a\xff\xff\xff\xff\x0f", "\x12\x02\x18\x02"}},
	{InternLM2, "tokenizer.model", []string{"\x0a\x03\x0a\x01\x00\x12\x03\x98\x02\x01"}},
	{T5, "spiece.model", []string{"\x0a\x07\x0a\x01a\x15\x00\x00\x80\x3f\x1a\x03\x12\x01x"}},
	{XLMRoberta, "sentencepiece.bpe.model", []string{"\x0a\x03\x0a\x01a", strings.Repeat("\x0a\x03\x0a\x01a", 5)}},
	{QwenRanks, "qwen.tiktoken", []string{"YQ== 0\nYg== 1\nYWI= 2\n", "YQ== 4294967295", "= 0", "YQ== 0\nYQ== 1"}},
	{Kimi, "tiktoken.model", []string{"YQ== 0", "YQ== -1"}},
	{Mistral, "tekken.json", []string{`{"config": {"default_vocab_size": 300, "default_num_special_tokens": 20}, "vocab": []}`, `{"config": {"default_vocab_size": -1}}`, "{}"}},
	{RWKV, rwkvFile, []string{"1 'a' 1\n2 b'\\xff' 1\n", "1 'a", "4294967295 'a' 1", "0 '' 0"}},
	{Plamo, "tokenizer.jsonl", []string{`["a", 0.5, "NORMAL"]`, `["a"]`, "[]", `[1, "a"]`, "\x00"}},
	{JinaBERT, "tokenizer_config.json", []string{`{"tokenizer_class": "RobertaTokenizer"}`, `{"tokenizer_class": 3}`}},
	{LlamaHF, "tokenizer.json", []string{`{"model": {"type": "BPE", "byte_fallback": true, "vocab": {"a": 0}, "merges": []}, "decoder": {"type": "Sequence", "decoders": []}}`}},
	{GPT2, "tokenizer.json", []string{`{"model": {"type": "BPE", "vocab": {"a": 5}, "merges": []}}`, `{"model": {"type": "WordPiece", "vocab": {}}}`, "{}"}},
}

// FuzzBuild reads a hostile file as the kinds that take it.
func FuzzBuild(f *testing.F) {
	for i, file := range fuzzFiles {
		for _, s := range file.seeds {
			f.Add(i, s)
		}
	}
	f.Fuzz(func(t *testing.T, i int, data string) {
		if i < 0 || i >= len(fuzzFiles) {
			return
		}
		file := fuzzFiles[i]
		v, err := Build(folderOf(map[string]string{file.name: data}), file.kind, Input{Config: config.Object{"vocab_size": int64(512)}, Arch: "x", Pre: "gpt-2"})
		if err != nil {
			wantFault(t, err)
			return
		}
		if tokens, ok := v.Value(keyTokens).([]string); ok {
			if types, ok := v.Value(keyTypes).([]int32); !ok || len(types) != len(tokens) {
				t.Errorf("%d tokens, %d types", len(tokens), len(types))
			}
		}
	})
}
