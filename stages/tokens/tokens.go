// Package tokens encodes texts by a model's tokenizer, and by llama.cpp beside it: what a checkpoint's own tokenizer makes
// of a text, and what the file that quern writes makes of it.
package tokens

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"quern/convert"
	"quern/convert/fault"
	"quern/convert/gguf"
	"quern/convert/tokenizer"
	"quern/convert/vocab"
	"quern/stages/job"
	"quern/stages/source"
)

// Encoder is an engine of quern's own.
type Encoder interface {
	// Encode gives the ids of a text; special: with the tokens that belong around it.
	Encode(text string, special bool) ([]int32, error)
}

// llama encodes by llama.cpp itself, in a child process.
type llama interface {
	EncodeFile(path string, texts []string, special bool) ([][]int32, error)
}

// Tokens is a model's tokenizer, seen from both sides.
type Tokens struct {
	// Ours is the checkpoint's tokenizer as transformers runs it; where it has none that transformers knows, and for a GGUF
	// file, the stored vocabulary run as llama.cpp runs it. nil: quern has no engine for its kind.
	Ours Encoder
	// File: the model is a GGUF file, so that what llama.cpp says of it counts.
	File bool
	// Identity is how the pre-tokenizer was decided; nil where Refused says why it was not.
	Identity *vocab.Identity
	// Refused is why there is no vocabulary that llama.cpp could be asked by; nil: there is one.
	Refused  error
	Warnings []string

	theirs llama
	path   string // of a GGUF file
	header []byte // of one that would be written, without tensors
}

// Open reads the tokenizer of what s.Model names. Of a repository on the Hub only small files are fetched.
func Open(ctx context.Context, s *job.State) (*Tokens, error) {
	var err error
	if s.Source, err = source.Parse(s.Model); err != nil {
		return nil, err
	}
	t := &Tokens{}
	t.theirs, _ = s.Prover.(llama)
	if s.Source.Kind == source.Hub {
		if err := openHub(ctx, s); err != nil {
			return nil, err
		}
	}
	switch {
	case s.Source.Kind == source.GGUF:
		t.path = s.Source.Path
		return t, t.openFile(s, filepath.Base(s.Source.Path))
	case s.Source.IsGGUF():
		return t, t.openFile(s, s.Source.File)
	}
	return t, t.openFolder(ctx, s)
}

// openFile takes the vocabulary that a file holds; of one on the Hub the header alone is fetched.
func (t *Tokens) openFile(s *job.State, name string) error {
	if s.Convert.Pre != "" {
		return &fault.Unsupported{On: s.Model, Says: "a GGUF file states its own pre-tokenizer", Next: "`quern edit --set tokenizer.ggml.pre=NAME` makes a file that states another"}
	}
	f, err := s.Source.FS.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	r, ok := f.(io.ReaderAt)
	if !ok {
		return &fault.Unsupported{On: s.Model, Says: "cannot be read by ranges"}
	}
	g, err := gguf.Read(s.Model, r, info.Size())
	if err != nil {
		return err
	}
	t.File = true
	if t.path == "" {
		plan, err := gguf.Layout(g.Metadata, nil, 0)
		if err != nil {
			return err
		}
		var out bytes.Buffer
		if err := plan.WriteHeader(&out); err != nil {
			return err
		}
		t.header = out.Bytes()
	}
	engine, err := vocab.Stored(g.Metadata)
	var none *fault.Unsupported
	switch {
	case err == nil:
		t.Ours = engine
	case errors.As(err, &none) && t.theirs != nil:
		t.Warnings = append(t.Warnings, err.Error())
	default:
		return err
	}
	t.Identity, err = vocab.StoredIdentity(g.Metadata, engine, t.asker())
	return err
}

// asker asks llama.cpp for texts without tokens around them; nil without the runtime.
func (t *Tokens) asker() func([]string) ([][]int32, error) {
	if t.theirs == nil {
		return nil
	}
	return func(texts []string) ([][]int32, error) {
		ids, _, err := t.Theirs(texts, false)
		return ids, err
	}
}

// openFolder loads the checkpoint's tokenizer, and makes the vocabulary that its conversion would write.
func (t *Tokens) openFolder(ctx context.Context, s *job.State) error {
	own, ownErr := tokenizer.LoadFolder(s.Source.FS)
	if ownErr == nil {
		t.Ours, t.Warnings = own, own.Notes
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	v, header, err := vocabulary(ctx, s)
	if err != nil {
		if ownErr != nil {
			return errors.Join(ownErr, err)
		}
		t.Refused = err
		return nil
	}
	t.Identity, t.header = v.Decided(), header
	for _, w := range v.Warnings {
		if !slices.ContainsFunc(t.Warnings, func(n string) bool { return strings.HasSuffix(w, n) }) { // a note is among both
			t.Warnings = append(t.Warnings, w)
		}
	}
	if ownErr == nil {
		return nil
	}
	if t.Ours, err = vocab.Stored(v.KVs); err != nil {
		return errors.Join(ownErr, err)
	}
	return nil
}

// vocabulary is what conversion writes: by the rules of the model's class where config.json names one, else by what the
// files themselves suggest. header is a GGUF file of it.
func vocabulary(ctx context.Context, s *job.State) (*vocab.Vocab, []byte, error) {
	o := s.Convert
	o.Dir, o.Repo, o.Prover, o.VocabOnly = s.Source.Path, s.Source.Repo, s.Prover, true
	if o.Dir == "" {
		o.Dir = s.Source.Name
	}
	var out bytes.Buffer
	m, err := convert.Open(ctx, s.Source.FS, o)
	var unknown *vocab.UnknownPre
	switch {
	case err == nil && m.Vocab != nil && len(m.Vocab.KVs) > 0:
		err = m.Plan.WriteHeader(&out)
		return m.Vocab, out.Bytes(), errors.Join(err, m.Close())
	case err == nil:
		err = m.Close()
	case errors.As(err, &unknown), ctx.Err() != nil:
		return nil, nil, err
	}
	byClass := err
	v, err := vocab.FromFiles(s.Source.FS, vocab.Input{Pre: s.Convert.Pre, Prover: s.Prover})
	if err != nil {
		if _, statErr := s.Source.FS.Open("config.json"); statErr == nil && byClass != nil && !errors.As(err, &unknown) {
			err = byClass
		}
		return nil, nil, err
	}
	header, err := v.Header(s.Source.Name)
	return v, header, err
}

// Theirs gives llama.cpp's ids of each text. ok is false where there is nothing to ask: no runtime, or no vocabulary.
func (t *Tokens) Theirs(texts []string, special bool) (ids [][]int32, ok bool, err error) {
	switch {
	case t.theirs == nil:
		return nil, false, nil
	case t.path != "":
		ids, err = t.theirs.EncodeFile(t.path, texts, special)
		return ids, err == nil, err
	case t.header == nil:
		return nil, false, nil
	}
	dir, err := os.MkdirTemp("", "quern-vocab-")
	if err != nil {
		return nil, false, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "vocabulary.gguf")
	if err := os.WriteFile(path, t.header, 0o600); err != nil {
		return nil, false, err
	}
	ids, err = t.theirs.EncodeFile(path, texts, special)
	return ids, err == nil, err
}
