// Package vocab turns a checkpoint's tokenizer files into the tokenizer.* entries of a GGUF file.
//
// A Kind names one way in which the reference reads a vocabulary; what a family does besides is data in Input. The
// entries have the reference's order, types and values (TestTokenizers, TestCases).
//
// A byte-level vocabulary also needs the name of its pre-tokenizer, which no checkpoint states: Identify finds it by the
// reference's table of hashes, then by structure and proof, or refuses.
//
// Chat templates that the reference supplies as texts of its own are never written: the checkpoint's own, or none.
package vocab

import (
	"fmt"
	"io/fs"
	"strconv"

	"quern/convert/config"
	"quern/convert/fault"
	"quern/convert/gguf"
	"quern/convert/tokenizer"
)

// TokenType is what llama.cpp calls the type of a token. Source: gguf-py/gguf/constants.py, TokenType.
type TokenType = int32

// The types of tokens.
const (
	Normal      TokenType = 1
	Unknown     TokenType = 2
	Control     TokenType = 3
	UserDefined TokenType = 4
	Unused      TokenType = 5
	Byte        TokenType = 6
)

// Input is what a family adds to its kind.
type Input struct {
	Config config.Object // the completed configuration: vocab_size and a few more keys are read
	Root   config.Object // config.json as it stands in the checkpoint; nil: it is read from there
	Arch   string        // the prefix of keys that are not tokenizer.*, such as <arch>.vocab_size

	VocabSize int64 // number of tokens to write, where a family pads or cuts; 0: as Config and the kind say

	Specials []Special // special tokens to set where the checkpoint names none of that type
	Controls []string  // tokens of a byte-level vocabulary that are control tokens whatever their flags say
	Codec    []string  // control tokens behind the vocabulary (QwenTTS), or in its last rows (PocketTTS)

	OwnTemplate bool // of Mistral's own layout: no chat template that the checkpoint does not have

	Pre    string // name of the pre-tokenizer as the user gave it; empty: identified
	Prover Prover // encodes with llama.cpp's own vocabulary; nil: a structural match stays unproven
}

// Special is a special token that a family knows by text or by id.
type Special struct {
	Type string // bos, eos, eot, eom, unk, sep, pad, mask
	Text string // an added token's text; must exist unless ID is given
	ID   int64  // used when Text is empty
}

// Vocab is a vocabulary as it goes into a file.
type Vocab struct {
	KVs      []gguf.KV // the entries in the reference's order
	Tokens   int       // number of tokens
	Pre      *Identity // how the pre-tokenizer was decided; nil where the kind has none to decide
	Warnings []string

	Tokenizer *tokenizer.Tokenizer // as AutoTokenizer loads it; nil where the kind has no need of it
	Listed    int                  // number of added_tokens in tokenizer.json, in the model's vocabulary or not
}

// Value gives the entry's value, or nil.
func (v *Vocab) Value(key string) any { return entries(v.KVs).value(key) }

// Build reads the vocabulary of src. Errors are *fault.Invalid, *fault.Unsupported or the file system's.
func Build(src fs.FS, kind Kind, in Input) (*Vocab, error) {
	fill, ok := kinds[kind]
	if !ok {
		return nil, &fault.Unsupported{On: string(kind), Says: "no such kind of vocabulary"}
	}
	b := &builder{src: &memo{src, map[string]memoFile{}}, in: in, out: &Vocab{}, root: in.Root}
	if b.root == nil {
		root, err := readObject(b.src, "config.json")
		if err != nil {
			return nil, err
		}
		b.root = root
	}
	if err := fill(b); err != nil {
		return nil, err
	}
	if b.undecided {
		pre, err := b.identify()
		if err != nil {
			return nil, err
		}
		b.kv.set(keyPre, pre)
	}
	if in.Pre != "" && (b.out.Pre == nil || b.out.Pre.Pre != in.Pre) {
		b.warn("pre-tokenizer: %s is not taken, this kind of vocabulary (%s) has none to choose", in.Pre, kind)
	}
	b.out.KVs = b.kv
	if b.hf != nil {
		b.out.Tokenizer = b.hf.tok
	}
	if tokens, ok := b.kv.value(keyTokens).([]string); ok {
		b.out.Tokens = len(tokens)
	}
	return b.out, nil
}

// builder is one vocabulary under construction.
type builder struct {
	src  fs.FS
	in   Input
	root config.Object
	kv   entries
	hf   *engine // the checkpoint's tokenizer as AutoTokenizer runs it; loaded on first use
	out  *Vocab

	undecided bool      // the entry of the pre-tokenizer is pending
	ours      [][]int32 // the corpus as the checkpoint's tokenizer encodes it
}

// pending stands in for the pre-tokenizer until everything else of the vocabulary is known: proving a name takes the
// whole vocabulary.
const pending = "pending"

// warn keeps a line for the summary and the receipt.
func (b *builder) warn(format string, args ...any) {
	b.out.Warnings = append(b.out.Warnings, fmt.Sprintf(format, args...))
}

// size is the configured number of tokens: of Input, else the first of the keys that the configuration has. A null there is an
// answer too, as it is to the reference: the keys behind it are not asked.
func (b *builder) size(keys ...string) (int, bool, error) {
	if b.in.VocabSize > 0 {
		return bounded(b.in.VocabSize)
	}
	for _, k := range keys {
		v, has := b.in.Config[k]
		if n, ok := integer(v); ok {
			return bounded(n)
		}
		if has && v == nil {
			break
		}
	}
	return 0, false, nil
}

// maxTokens bounds a vocabulary: ten times the largest published one.
const maxTokens = 10 << 20

// bounded refuses sizes that would make a list of no use.
func bounded(n int64) (int, bool, error) {
	if n < 0 || n > maxTokens {
		return 0, false, &fault.Invalid{On: "config.json: vocab_size", Says: fmt.Sprintf("%d, want 0 to %d", n, maxTokens)}
	}
	return int(n), true, nil
}

// token is one entry of a vocabulary.
type token struct {
	text  string
	score float32
	typ   TokenType
}

// padding is n unused tokens named by their ids.
func padding(n int, score float32) []token {
	out := make([]token, n)
	for i := range out {
		out[i] = token{"[PAD" + strconv.Itoa(i) + "]", score, Unused}
	}
	return out
}

// write sets the entries that every vocabulary begins with. pre and scores may be left out.
func (b *builder) write(model, pre string, list []token, scores bool) {
	b.kv.set(keyModel, model)
	if pre != "" {
		b.kv.set(keyPre, pre)
	}
	texts, types := make([]string, len(list)), make([]int32, len(list))
	for i, t := range list {
		texts[i], types[i] = t.text, t.typ
	}
	b.kv.set(keyTokens, texts)
	if scores {
		s := make([]float32, len(list))
		for i, t := range list {
			s[i] = t.score
		}
		b.kv.set(keyScores, s)
	}
	b.kv.set(keyTypes, types)
}

// specials reads the checkpoint's special tokens and adds those that the family knows.
func (b *builder) specials(opt specialOptions) (*specials, error) {
	if opt.merges && b.hf != nil {
		opt.read = b.hf.tok.Merges()
	}
	s, err := loadSpecials(b.src, b.root, opt, b.warn)
	if err != nil {
		return nil, err
	}
	b.out.Listed = s.listed
	for _, sp := range b.in.Specials {
		id := sp.ID
		if sp.Text != "" {
			if err := b.load(); err != nil {
				return nil, err
			}
			n, ok := b.hf.addedID(sp.Text)
			if !ok {
				return nil, &fault.Invalid{On: "tokenizer", Says: fmt.Sprintf("no added token %q, which stands for %s in this family", sp.Text, sp.Type)}
			}
			id = int64(n)
		}
		s.setID(sp.Type, id)
	}
	return s, nil
}

// finish writes the special tokens.
func (b *builder) finish(opt specialOptions) error {
	s, err := b.specials(opt)
	if err != nil {
		return err
	}
	s.write(&b.kv)
	return nil
}
