package vocab

import (
	"slices"
	"strconv"
	"testing"

	"quern/convert/gguf"
	"quern/convert/tokenizer/corpus"
)

// TestStored holds that the entries of a vocabulary, run as llama.cpp runs them, give the ids that libllama gave: over the
// whole corpus, with and without the tokens around a text.
func TestStored(t *testing.T) {
	_, texts, err := corpus.Texts()
	if err != nil {
		t.Fatal(err)
	}
	run, lists, differ := 0, 0, 0
	for _, f := range answered(t) {
		if f.Answer.Llama.Prefix == nil {
			continue
		}
		t.Run(f.Name, func(t *testing.T) {
			v, _ := f.build(t)
			// The answers were made of files with such names, which llama.cpp looks at.
			engine, err := Stored(append([]gguf.KV{{Key: "general.name", Value: f.Name}}, v.KVs...))
			if err != nil {
				t.Fatal(err)
			}
			run++
			for i, text := range texts {
				want, ok := f.Answer.Llama.Differs[strconv.Itoa(i)]
				if !ok {
					want = f.Answer.IDs[i]
				}
				for _, special := range []bool{false, true} {
					lists++
					if special {
						want = slices.Concat(f.Answer.Llama.Prefix, want, f.Answer.Llama.Suffix)
					}
					got, err := engine.Encode(text, special)
					if err != nil {
						t.Fatal(err)
					}
					if !slices.Equal(got, want) {
						if differ++; differ < 40 {
							t.Errorf("text %d %.60q (special %v)\ngot  %v\nwant %v", i, text, special, got, want)
						}
					}
				}
			}
		})
	}
	t.Logf("count: stored vocabularies: %d, %d lists of ids, %d differ", run, lists, differ)
}
