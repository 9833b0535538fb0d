package tokenizer

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// changes are what tokenizer_config.json may say otherwise, by member.
var changes = map[string][]any{
	"add_bos_token":             {true, false},
	"add_eos_token":             {true, false},
	"add_prefix_space":          {true, false, nil},
	"legacy":                    {true, false},
	"do_lower_case":             {true, false},
	"strip_accents":             {true, false, nil},
	"tokenize_chinese_chars":    {true, false},
	"unk_token":                 {"<unk>", "[UNK]", nil},
	"pad_token":                 {"<pad>", "a", nil},
	"mask_token":                {"<mask>", "yes"},
	"bos_token":                 {"<s>", "new"},
	"added_tokens_decoder":      {"remove"},
	"tokenizer_class":           {"LlamaTokenizer", "GPT2Tokenizer", "PreTrainedTokenizerFast", "GPTNeoXTokenizer", "BloomTokenizerFast", "CohereTokenizer", "Qwen2Tokenizer", "BertTokenizer", "RobertaTokenizer", "T5Tokenizer", "XLMRobertaTokenizer", "GemmaTokenizer", "CodeGenTokenizer", "DistilBertTokenizer"},
	"additional_special_tokens": {[]any{"[X]", "abc"}},
}

// TestAutoLive compares folders with AutoTokenizer: as they are, without tokenizer.json, and with other configurations.
func TestAutoLive(t *testing.T) {
	o := newOracle(t)
	src, all := sources(t), texts(t)
	folders, err := fs.ReadDir(src, "tokenizers")
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(uint64(number("QUERN_DIFFERENTIAL_SEED", 1)), 3))
	compared, failed, noted := 0, 0, 0
	defer func() { t.Logf("%d folders compared, %d refused by AutoTokenizer, %d notes", compared, failed, noted) }()
	only := os.Getenv("QUERN_AUTO_ONLY")
	for _, f := range folders {
		if only != "" && !strings.Contains(f.Name(), only) {
			continue
		}
		if !f.IsDir() {
			continue
		}
		for variant := range 1 + number("QUERN_AUTO_VARIANTS", 3) {
			dir, says := t.TempDir(), "as it is"
			if err := os.CopyFS(dir, mustSub(t, src, "tokenizers/"+f.Name())); err != nil {
				t.Fatal(err)
			}
			if variant > 0 {
				says = change(t, dir, rng)
			}
			var answer any
			o.ask(t, map[string]any{"auto": dir}, &answer)
			tok, err := LoadFolder(os.DirFS(dir))
			if _, broken := answer.(map[string]any); broken {
				failed++
				continue // we may load what transformers does not
			}
			if err != nil {
				t.Errorf("%s, %s: AutoTokenizer gives %v, we %v", f.Name(), says, answer, err)
				continue
			}
			noted += len(tok.Notes)
			asked := all[variant%3*90 : variant%3*90+90]
			var want [][]any
			o.ask(t, map[string]any{"encode": asked}, &want)
			for i, text := range asked {
				want[i][2] = nil // decoding is held elsewhere
				if d := differs(tok, text, want[i]); d != "" {
					t.Errorf("%s, %s (%v) on %q: %s\nnotes %q", f.Name(), says, answer, text, d, tok.Notes)
					break
				}
			}
			compared++
		}
	}
}

func mustSub(t *testing.T, src fs.FS, dir string) fs.FS {
	t.Helper()
	sub, err := fs.Sub(src, dir)
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

// change makes the configuration of a folder another one.
func change(t *testing.T, dir string, rng *rand.Rand) string {
	t.Helper()
	says := ""
	if rng.IntN(2) == 0 {
		for _, other := range []string{"vocab.json", "vocab.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model"} {
			if _, err := os.Stat(filepath.Join(dir, other)); err == nil {
				_ = os.Remove(filepath.Join(dir, "tokenizer.json"))
				says = "without tokenizer.json, "
			}
		}
	}
	name := filepath.Join(dir, "tokenizer_config.json")
	config := map[string]any{}
	if data, err := os.ReadFile(name); err == nil {
		if err := json.Unmarshal(data, &config); err != nil {
			t.Fatal(err)
		}
	}
	for range 1 + rng.IntN(3) {
		keys := []string{"add_bos_token", "add_eos_token", "add_prefix_space", "legacy", "do_lower_case", "strip_accents", "tokenize_chinese_chars", "unk_token", "pad_token", "mask_token", "bos_token", "added_tokens_decoder", "tokenizer_class", "additional_special_tokens"}
		key := keys[rng.IntN(len(keys))]
		value := changes[key][rng.IntN(len(changes[key]))]
		if value == "remove" {
			delete(config, key)
		} else {
			config[key] = value
		}
		says += fmt.Sprintf("%s=%v ", key, value)
	}
	data, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return says
}
