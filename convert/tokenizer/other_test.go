package tokenizer

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"quern/convert/tokenizer/corpus"
)

// readCorpus reads a file of one of the small tokenizers.
func readCorpus(t testing.TB, name string) []byte {
	t.Helper()
	data, err := fs.ReadFile(sources(t), "tokenizers/"+name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestOtherFormats holds the ids of vocabularies that the tokenizers library does not read: RWKV's and tekken.json's are
// those of libllama, Qwen's rank file's those of the tiktoken library.
func TestOtherFormats(t *testing.T) {
	all := texts(t)
	encoders := map[string]func(string) ([]int32, error){}
	rwkv, err := ParseRWKV(readCorpus(t, "rwkv/rwkv_vocab_v20230424.txt"))
	if err != nil {
		t.Fatal(err)
	}
	// In a GGUF id 0 has the text "<s>", and libllama looks for it; the vocabulary itself has no text there.
	encoders["rwkv"] = func(s string) ([]int32, error) {
		var ids []int32
		for i, part := range strings.Split(s, "<s>") {
			if i > 0 {
				ids = append(ids, 0)
			}
			ids = append(ids, rwkv.Encode(part)...)
		}
		return ids, nil
	}
	tekken, err := ParseTekken(readCorpus(t, "tekken/tekken.json"))
	if err != nil {
		t.Fatal(err)
	}
	mistral, err := tekken.Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	encoders["tekken"] = func(s string) ([]int32, error) { return mistral.Encode(s, false) }
	tokens, err := ParseTiktoken(readCorpus(t, "tiktoken-qwen/qwen.tiktoken"))
	if err != nil {
		t.Fatal(err)
	}
	ranks := Ranks{Tokens: tokens, Pattern: qwen2}
	names := []string{"<|endoftext|>", "<|im_start|>", "<|im_end|>"}
	for i := range 5 {
		names = append(names, fmt.Sprintf("<|extra_%d|>", i))
	}
	for i, n := range names {
		ranks.Special = append(ranks.Special, AddedToken{Content: n, Special: true, Declared: int32(len(tokens) + i)})
	}
	qwen, err := NewRanks(ranks)
	if err != nil {
		t.Fatal(err)
	}
	encoders["tiktoken-qwen"] = func(s string) ([]int32, error) { return qwen.Encode(s, false) }
	for name, encode := range encoders {
		t.Run(name, func(t *testing.T) {
			answer, err := corpus.Answers(name)
			if err != nil {
				t.Fatal(err)
			}
			for i, text := range all {
				got, err := encode(text)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(got, answer.IDs[i]) {
					t.Errorf("text %d %.60q\ngot  %v\nwant %v", i, text, got, answer.IDs[i])
				}
			}
		})
	}
}
