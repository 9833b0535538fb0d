package tokenizer

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// large makes a byte-level tokenizer.json of 150,000 tokens.
func large() []byte {
	rng := rand.New(rand.NewPCG(3, 4))
	var tokens []string
	vocab := map[string]int{}
	add := func(s string) {
		vocab[s] = len(tokens)
		tokens = append(tokens, s)
	}
	for b := range 256 {
		add(ByteChars([]byte{byte(b)}))
	}
	var merges []string
	for len(tokens) < 150_000 {
		a, b := tokens[rng.IntN(min(len(tokens), 4000))], tokens[rng.IntN(min(len(tokens), 4000))]
		if _, ok := vocab[a+b]; ok || len(a+b) > 24 {
			continue
		}
		add(a + b)
		merges = append(merges, a+" "+b)
	}
	file, _ := json.Marshal(j{"version": "1.0", "added_tokens": []any{}, "normalizer": nil, "pre_tokenizer": splitAndBytes(cl100k, false), "post_processor": nil, "decoder": byteLevel(true, true),
		"model": j{"type": "BPE", "vocab": vocab, "merges": merges}})
	return file
}

func BenchmarkLoad(b *testing.B) {
	file := large()
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Load(file); err != nil {
			b.Fatal(err)
		}
	}
}

// prose is about 200 kB of the corpus's texts, each with its own kind of words.
func prose(b *testing.B) string {
	all := strings.Join(texts(b), "\n")
	return strings.Repeat(all, 200_000/len(all)+1)
}

func BenchmarkEncode(b *testing.B) {
	text := prose(b)
	for _, name := range []string{"bpe-gpt2", "bpe-llama3", "spm-phi3", "ugm-t5", "wpm"} {
		tok, err := Load(readCorpus(b, name+"/tokenizer.json"))
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) { encodeAll(b, tok, text) })
	}
}

func encodeAll(b *testing.B, tok *Tokenizer, text string) {
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := tok.Encode(text, false); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReal loads real tokenizers and encodes with them.
func BenchmarkReal(b *testing.B) {
	cache, rows := realTokenizers(b)
	text := prose(b)
	for _, r := range rows {
		data, err := os.ReadFile(r.file(cache))
		if err != nil || !strings.HasSuffix(r.Path, "tokenizer.json") {
			continue
		}
		b.Run(r.Name+"/load", func(b *testing.B) {
			for b.Loop() {
				if _, err := Load(data); err != nil {
					b.Fatal(err)
				}
			}
		})
		tok, err := Load(data)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(r.Name+"/encode", func(b *testing.B) { encodeAll(b, tok, text) })
	}
}
