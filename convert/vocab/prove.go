package vocab

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"quern/convert/gguf"
)

//go:embed corpus.json
var corpusJSON []byte

// Proof is by ids: the checkpoint's tokenizer.json run by our engine, which is Hugging Face's, against llama.cpp's own
// vocabulary made of the very entries that the file will have. Only the name of the pre-tokenizer changes between trials.
//
// llama.cpp differs from Hugging Face for members of its own table: it runs no normalizer, cuts off combining marks under some
// names, takes ignore_merges by name and not by file. Such differences are counted by kind, and a name stands when there are
// no more of a kind than published tokenizers of that name show (published.go).
// sample is a text of the corpus with the group that it was written for.
type sample struct{ group, text string }

// samples is the adversarial corpus: texts at which known pre-tokenizers part. The numbers of published are measured on it.
var samples = sync.OnceValue(func() []sample {
	var list [][2]string
	if err := json.Unmarshal(corpusJSON, &list); err != nil {
		return nil // embedded: TestCorpus reads it
	}
	out := make([]sample, len(list))
	for i, l := range list {
		out[i] = sample{l[0], l[1]}
	}
	return out
})

// kindOf says what a difference in a text is owed to, as far as the text shows: the normalizer that llama.cpp does not
// run, combining marks, or what the text was written for.
func kindOf(s sample, normalized bool) string {
	if normalized && !norm.NFC.IsNormalString(s.text) {
		return "normalization"
	}
	for _, r := range s.text {
		if unicode.Is(unicode.M, r) {
			return "marks"
		}
	}
	return s.group
}

// encodeCorpus encodes the corpus with the checkpoint's tokenizer, once.
func (b *builder) encodeCorpus() error {
	if b.ours != nil {
		return nil
	}
	ours := make([][]int32, len(samples()))
	for i, s := range samples() {
		ids, err := b.hf.tok.Encode(s.text, false)
		if err != nil {
			return err
		}
		ours[i] = ids
	}
	b.ours = ours
	return nil
}

// differences encodes the corpus with the checkpoint's tokenizer and with llama.cpp under the name.
func (b *builder) differences(pre string) ([]Difference, error) {
	if err := b.encodeCorpus(); err != nil {
		return nil, err
	}
	file, err := b.vocabularyFile(pre)
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(samples()))
	for i, s := range samples() {
		texts[i] = s.text
	}
	theirs, err := b.in.Prover.Encode(file, texts)
	if err != nil {
		return nil, err
	}
	if len(theirs) != len(texts) {
		return nil, fmt.Errorf("llama.cpp encoded %d of %d texts", len(theirs), len(texts))
	}
	return b.unlike(theirs), nil
}

// unlike lists the texts of the corpus that the checkpoint's tokenizer encodes otherwise.
func (b *builder) unlike(theirs [][]int32) []Difference {
	out := []Difference{}
	for i, s := range samples() {
		if !slices.Equal(b.ours[i], theirs[i]) {
			out = append(out, Difference{kindOf(s, len(b.hf.tok.Structure().Normalizer) > 0), s.text, b.ours[i], theirs[i]})
		}
	}
	return out
}

// vocabularyFile is a GGUF file with the vocabulary under the name and nothing else; llama.cpp reads no more of it when
// it is asked for the vocabulary only.
func (b *builder) vocabularyFile(pre string) ([]byte, error) {
	return header(b.kv, "", pre)
}

// Header is a GGUF file of the vocabulary alone; name is the model's, at which llama.cpp looks for a few families.
func (v *Vocab) Header(name string) ([]byte, error) {
	pre, _ := v.Value(keyPre).(string)
	return header(v.KVs, name, pre)
}

func header(list entries, name, pre string) ([]byte, error) {
	var kv entries
	kv.set("general.architecture", "llama")
	kv.set("general.name", name)
	kv = append(kv, list...)
	kv.set(keyPre, pre)
	plan, err := gguf.Layout(kv, nil, 0)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = plan.WriteHeader(&out)
	return out.Bytes(), err
}
