package vocab

import (
	"encoding/json"
	"io/fs"
	"path"
	"strings"
	"testing"

	"quern/convert/config"
	"quern/convert/conformance"
	"quern/convert/tokenizer/corpus"
)

// answerKinds are the kinds of the tokenizers that are not byte-level ones with a tokenizer.json.
var answerKinds = map[string]Kind{
	"bpe-gemma4": Gemma4, "rwkv": RWKV, "spm": SPM, "spm-gemma": Gemma2, "spm-phi3": Phi3, "spm-tokenizer-json": LlamaHF,
	"tekken": Mistral, "tiktoken-qwen": QwenRanks, "ugm-t5": T5, "ugm-xlmr": XLMRoberta, "ugm-xlmr-json": XLMRoberta,
	"wpm": BERT, "wpm-cased": BERT,
}

// TestTokenizers holds that the entries of every tokenizer of the corpus are those that the reference writes.
func TestTokenizers(t *testing.T) {
	src, err := corpus.FS()
	if err != nil {
		t.Fatal(err)
	}
	pres := expectedPres(t, src)
	files, err := fs.Glob(src, "tokenizer/*.json")
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, f := range files {
		name := strings.TrimSuffix(path.Base(f), ".json")
		folder, err := fs.Sub(src, "tokenizers/"+name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fs.Stat(folder, "."); err != nil {
			continue
		}
		answer, err := corpus.Answers(name)
		if err != nil {
			t.Fatal(err)
		}
		var want []conformance.Entry
		if json.Unmarshal(answer.GGUF, &want) != nil {
			t.Logf("%s: the reference failed: %s", name, answer.GGUF)
			continue
		}
		compared++
		t.Run(name, func(t *testing.T) { compareEntries(t, folder, name, want, pres[name]) })
	}
	if compared < 50 {
		t.Errorf("%d tokenizers compared, want 50 or more", compared)
	}
}

func compareEntries(t *testing.T, folder fs.FS, name string, want []conformance.Entry, pre string) {
	kind, ok := answerKinds[name]
	if !ok {
		kind = GPT2
	}
	v, err := Build(folder, kind, Input{Config: config.Object{"vocab_size": count(t, want)}, Arch: "x", Pre: pre})
	if err != nil {
		t.Fatal(err)
	}
	tolerance := conformance.Tolerance{}
	if kind == RWKV {
		tolerance.Without = []string{keyTemplate}
	}
	g := vocabEntries(got(v), nil)
	if err := conformance.Compare(&conformance.File{Version: 3, Metadata: want}, &conformance.File{Version: 3, Metadata: g}, tolerance); err != nil {
		t.Error(err)
	}
}

// count is the number of tokens of an answer.
func count(t *testing.T, want []conformance.Entry) int64 {
	for _, e := range want {
		if e.Key != keyTokens {
			continue
		}
		var long struct{ Count int64 }
		var short []string
		if json.Unmarshal([]byte(e.Value), &long) == nil && long.Count > 0 {
			return long.Count
		}
		if err := json.Unmarshal([]byte(e.Value), &short); err != nil {
			t.Fatal(err)
		}
		return int64(len(short))
	}
	t.Fatal("no tokens in the answer")
	return 0
}
