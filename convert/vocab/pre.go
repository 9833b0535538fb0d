package vocab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"quern/convert/fault"
)

// Prover encodes texts with llama.cpp's own tokenizer.
type Prover interface {
	// Encode loads a GGUF file that holds a vocabulary and no tensors, and encodes every text with the texts of special
	// tokens recognised and none added. A name that llama.cpp refuses is an error; one that wraps context.Canceled ends
	// the identification.
	Encode(gguf []byte, texts []string) ([][]int32, error)
}

// How says in which way a pre-tokenizer was decided.
type How string

// The ways.
const (
	HowHash      How = "hash"      // the reference's table knows the tokenizer
	HowStructure How = "structure" // it cuts as a known entry does, by its file format or by its parts, or no text of the corpus differs
	HowOverride  How = "override"  // the user said so
	HowFile      How = "file"      // a GGUF file states it
)

// Identity is the decision on a pre-tokenizer.
type Identity struct {
	Pre        string       `json:"pre"`
	How        How          `json:"how"`
	Hash       string       `json:"hash,omitempty"`       // of the reference's text
	Structure  string       `json:"structure,omitempty"`  // where the tokenizer cuts, in words
	Proven     bool         `json:"proven"`               // compared with llama.cpp's own vocabulary, within what is known of the entry
	Differs    []Difference `json:"differs"`              // texts of the corpus that llama.cpp encodes otherwise under Pre
	Candidates []Candidate  `json:"candidates,omitempty"` // what was tried
}

// Difference is a text that the two tokenizers encode otherwise.
type Difference struct {
	Kind   string  `json:"kind"`
	Text   string  `json:"text"`
	Ours   []int32 `json:"ours"`   // as Hugging Face encodes it
	Theirs []int32 `json:"theirs"` // as llama.cpp does
}

// Candidate is a name that was tried.
type Candidate struct {
	Pre       string      `json:"pre"`
	Structure bool        `json:"structure"` // the tokenizer cuts as a published one of this name does
	Tried     bool        `json:"tried"`     // encoded with llama.cpp
	Differs   int         `json:"differs"`   // number of texts
	First     *Difference `json:"first,omitempty"`
	Why       string      `json:"why,omitempty"` // it was not taken
}

// PreTokenizers lists the names that a byte-level vocabulary may have, sorted.
func PreTokenizers() []string {
	var out []string
	for name := range preTypes {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// PreTokenizer is a name that a byte-level vocabulary may have, for a list of what is known.
type PreTokenizer struct {
	Name      string   `json:"name"`
	Like      []string `json:"like,omitempty"` // other names that encode alike
	Hashes    int      `json:"hashes"`         // tokenizers of the reference's table that have it
	Published int      `json:"published"`      // structures of published tokenizers that are known
}

// KnownPreTokenizers lists them, sorted by name.
func KnownPreTokenizers() []PreTokenizer {
	var out []PreTokenizer
	for _, name := range PreTokenizers() {
		p := PreTokenizer{Name: name}
		for _, other := range PreTokenizers() {
			if c := preTypes[name].class; c > 0 && other != name && preTypes[other].class == c {
				p.Like = append(p.Like, other)
			}
		}
		for _, n := range hashes {
			if n == name {
				p.Hashes++
			}
		}
		for _, s := range published {
			if s.pre == name {
				p.Published++
			}
		}
		out = append(out, p)
	}
	return out
}

// hashIDs is the reference's hash: SHA-256 of the ids as Python prints a list.
func hashIDs(ids []int32) string {
	var b strings.Builder
	b.WriteByte('[')
	for i, id := range ids {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.Itoa(int(id)))
	}
	b.WriteByte(']')
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:])
}

// otherFits are the names of the table under which llama.cpp encodes English or digits of their own published
// tokenizers otherwise, while another name would fit better. Measured: testdata of TestShown.
var otherFits = map[string]string{"falcon3": "codeshell", "falcon-h1": "qwen35", "deepseek-llm": "deepseek-coder", "laguna": "qwen2"}

// identify decides the pre-tokenizer of the checkpoint's tokenizer, once.
func (b *builder) identify() (string, error) {
	ids, err := b.hf.tok.Encode(checkText, true)
	if err != nil {
		return "", err
	}
	id := &Identity{Hash: hashIDs(ids), Differs: []Difference{}}
	b.out.Pre = id
	table, hashed := hashes[id.Hash]
	switch {
	case b.in.Pre != "":
		id.How = HowOverride
		if err := b.override(id); err != nil {
			return "", err
		}
		if hashed && table != id.Pre {
			b.warn("pre-tokenizer: %s as told, the reference's table says %s", id.Pre, table)
		}
	case hashed:
		id.Pre, id.How = table, HowHash
		if better, ok := otherFits[table]; ok {
			b.warn("pre-tokenizer: %s as the reference writes, although llama.cpp encodes this tokenizer's texts better as %s", table, better)
		}
	default:
		return b.resolve(id)
	}
	return id.Pre, b.compare(id)
}

// override takes the user's name, if llama.cpp has one like it.
func (b *builder) override(id *Identity) error {
	id.Pre = b.in.Pre
	if _, ok := preTypes[id.Pre]; ok || slices.Contains(wordPieceNames, id.Pre) {
		return nil
	}
	return &fault.Unsupported{On: "pre-tokenizer " + strconv.Quote(id.Pre), Says: "llama.cpp has none of this name", Next: nearest(id.Pre)}
}

// wordPieceNames are names of the table that llama.cpp does not know: it has no use for one with a WordPiece vocabulary.
var wordPieceNames = []string{"bert-bge", "bert-bge-large", "jina-v2-en"}

// nearest names the known pre-tokenizers that begin like a wrong one.
func nearest(name string) string {
	var like []string
	for _, n := range PreTokenizers() {
		if len(name) > 2 && strings.HasPrefix(n, name[:3]) {
			like = append(like, n)
		}
	}
	if len(like) == 0 {
		like = []string{"gpt-2", "llama-bpe", "qwen2", "deepseek-v3", "gpt-4o", "tekken"}
	}
	return "`quern archs --tokenizers` lists them; among them are " + strings.Join(like, ", ")
}

// compare finds the differences under a name that stands already; they are reported, and the name stays.
func (b *builder) compare(id *Identity) error {
	own, err := structureOf(b.hf.tok)
	if err != nil {
		return err
	}
	id.Structure = own.String()
	if b.in.Prover == nil || slices.Contains(wordPieceNames, id.Pre) {
		return nil
	}
	differs, err := b.differences(id.Pre)
	if errors.Is(err, context.Canceled) {
		return err
	}
	if err != nil {
		b.warn("pre-tokenizer: llama.cpp's own vocabulary could not be asked: %v", err)
		return nil
	}
	id.Differs = differs
	beyond, _ := judge(differs, shown(id.Pre, own))
	id.Proven = beyond == nil
	switch {
	case id.How == HowOverride && len(differs) > 0:
		b.warn("pre-tokenizer: with %s llama.cpp encodes %d of %d texts otherwise, the first %s", id.Pre, len(differs), len(samples()), differs[0].show())
	case beyond != nil:
		b.warn("pre-tokenizer: %s as the reference writes, but llama.cpp encodes more texts otherwise than it does for published tokenizers, such as %s", id.Pre, beyond.show())
	}
	return nil
}

// show is one line for a warning or a refusal.
func (d *Difference) show() string {
	return fmt.Sprintf("%q: %v, llama.cpp %v", clip(d.Text), d.Ours, d.Theirs)
}

// clip shortens a text of the corpus, some of which are thousands of letters long.
func clip(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "..."
	}
	return s
}
