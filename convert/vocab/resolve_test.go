package vocab

import (
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"testing"

	"quern/convert/config"
	"quern/convert/tokenizer/corpus"
)

// expectedPres is what each small tokenizer stands for.
func expectedPres(t *testing.T, src fs.FS) map[string]string {
	t.Helper()
	data, err := fs.ReadFile(src, "tokenizers/pre.json")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// standIns are tokenizers of conversion cases whose splitter is not that of the name they stand for: what they resolve to
// by their own structure. Empty: nothing fits.
var standIns = map[string]string{
	"x-bpe-exaone4": "", "x-bpe-glm4": "llama-bpe", "x-bpe-hunyuan": "qwen2", "x-bpe-seed": "qwen2",
	"z-laguna": "glm4", "z-llama4": "glm4", "z-solar": "glm4",
}

// TestResolve holds that every byte-level tokenizer is named by structure and proof, without its hash.
func TestResolve(t *testing.T) {
	prover := newLive(t)
	src, err := corpus.FS()
	if err != nil {
		t.Fatal(err)
	}
	pres := expectedPres(t, src)
	files, err := fs.Glob(src, "tokenizers/*/tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name := path.Base(path.Dir(f))
		want, ok := pres[name]
		if !ok {
			continue
		}
		t.Run(name, func(t *testing.T) {
			folder, err := fs.Sub(src, path.Dir(f))
			if err != nil {
				t.Fatal(err)
			}
			kind := GPT2
			if want == "jina-v2-en" || want == "bert-bge-large" {
				kind = BERT
			}
			v, err := Build(folder, kind, Input{Config: config.Object{"vocab_size": int64(620)}, Arch: "x", Prover: prover})
			if want, ok := standIns[name]; ok && want == "" {
				if refused := (*UnknownPre)(nil); !errors.As(err, &refused) {
					t.Fatalf("%v, want a refusal", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			id := v.Pre
			if other, ok := standIns[name]; ok {
				want = other
			}
			if id.Pre != want && (preTypes[id.Pre].class == 0 || preTypes[id.Pre].class != preTypes[want].class) {
				t.Errorf("%s (%s), want %s", id.Pre, id.How, want)
			}
			if id.How != HowStructure || !id.Proven && kind == GPT2 {
				t.Errorf("%s by %s, proven %t", id.Pre, id.How, id.Proven)
			}
			t.Log(id.Pre, want, len(id.Differs), len(id.Candidates))
		})
	}
}
