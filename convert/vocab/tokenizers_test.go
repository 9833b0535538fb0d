package vocab

import (
	"encoding/json"
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
	compared := 0
	for _, f := range answered(t) {
		compared++
		t.Run(f.Name, func(t *testing.T) { compareEntries(t, f) })
	}
	if compared < 50 {
		t.Errorf("%d tokenizers compared, want 50 or more", compared)
	}
}

// answeredFolder is a small tokenizer for which the reference writes entries.
type answeredFolder struct {
	corpus.Folder
	pre  string // that it stands for
	want []conformance.Entry
}

// answered lists them.
func answered(t *testing.T) []answeredFolder {
	t.Helper()
	src, err := corpus.FS()
	if err != nil {
		t.Fatal(err)
	}
	pres := expectedPres(t, src)
	folders, err := corpus.Folders()
	if err != nil {
		t.Fatal(err)
	}
	var out []answeredFolder
	for _, f := range folders {
		a := answeredFolder{Folder: f, pre: pres[f.Name]}
		if json.Unmarshal(f.Answer.GGUF, &a.want) != nil {
			t.Logf("%s: the reference failed: %s", f.Name, f.Answer.GGUF)
			continue
		}
		out = append(out, a)
	}
	return out
}

// build makes the vocabulary under the name that the tokenizer stands for.
func (f answeredFolder) build(t *testing.T) (*Vocab, Kind) {
	t.Helper()
	kind, ok := answerKinds[f.Name]
	if !ok {
		kind = GPT2
	}
	v, err := Build(f.FS, kind, Input{Config: config.Object{"vocab_size": count(t, f.want)}, Arch: "x", Pre: f.pre})
	if err != nil {
		t.Fatal(err)
	}
	return v, kind
}

func compareEntries(t *testing.T, f answeredFolder) {
	v, kind := f.build(t)
	tolerance := conformance.Tolerance{}
	if kind == RWKV {
		tolerance.Without = []string{keyTemplate}
	}
	g := vocabEntries(got(v), nil)
	if err := conformance.Compare(&conformance.File{Version: 3, Metadata: f.want}, &conformance.File{Version: 3, Metadata: g}, tolerance); err != nil {
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
