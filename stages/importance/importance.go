// Package importance computes importance matrices: a text is read by a model in a child process, chunk group by chunk group,
// and what every weight saw is kept on disk after each, so that a run that was stopped goes on. Its stage does that for the
// types of a run that lose most without one.
package importance

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"quern/convert/gguf"
	"quern/quantize/imatrix"
	"quern/quantize/llamacpp"

	"github.com/google/renameio/v2"
)

// Options say what is read.
type Options struct {
	Model   llamacpp.ModelOptions
	Context llamacpp.ContextOptions // its Context is the chunk size; 0: 512
	Text    []byte
	Dataset string // name of the text, kept in the file
	Chunks  int    // at most; 0: all
	Output  bool   // for output.weight too
	Path    string // of the matrix; beside it lies the state of an unfinished run, which is continued
	// Progress is told of chunks, all of the run's.
	Progress func(done, total int)
}

const (
	defaultChunk = 512
	// group is how many chunks are read between two states on disk: some seconds of work of a large model.
	group = 16
)

// Report is what came out.
type Report struct {
	Path       string           `json:"path"`
	Chunks     int64            `json:"chunks"`
	Resumed    int64            `json:"resumed_chunks,omitempty"` // of an earlier run
	Entries    int              `json:"entries"`
	Coverage   imatrix.Coverage `json:"coverage"`
	Perplexity llamacpp.Number  `json:"perplexity"` // of the last group
}

// ShortTextError says that a text has no whole chunk.
type ShortTextError struct{ Tokens, Chunk int }

// Error gives both lengths.
func (e *ShortTextError) Error() string {
	return fmt.Sprintf("the text has %d tokens, a chunk takes %d", e.Tokens, e.Chunk)
}

// Hint says what helps.
func (e *ShortTextError) Hint() string { return "give a longer --text, or a smaller --chunk" }

// Compute reads the text and writes the matrix. The child should be fresh.
func Compute(ctx context.Context, child *llamacpp.Child, plan *gguf.Plan, o Options) (*Report, error) {
	m, err := child.Load(ctx, o.Model)
	if err != nil {
		return nil, err
	}
	if o.Context.Context == 0 {
		o.Context.Context = defaultChunk
	}
	chunk := o.Context.Context
	tokens, err := child.Tokenize(ctx, llamacpp.TokenizeArgs{Slot: m.Slot, Text: o.Text, Special: true, Parse: true})
	if err != nil {
		return nil, err
	}
	total := len(tokens) / chunk
	if total == 0 {
		return nil, &ShortTextError{len(tokens), chunk}
	}
	if o.Chunks > 0 {
		total = min(total, o.Chunks)
	}
	key, err := o.key()
	if err != nil {
		return nil, err
	}
	state, err := earlier(o, key)
	if err != nil {
		return nil, err
	}
	r := &Report{Path: o.Path}
	if state != nil {
		r.Resumed = min(state.Chunks, int64(total))
	}
	for done := int(r.Resumed); done < total; {
		n := min(group, total-done)
		args := llamacpp.ImatrixArgs{ContextOptions: o.Context, Slot: m.Slot, Tokens: tokens[done*chunk : (done+n)*chunk], Chunks: n, Output: o.Output}
		part, ppl, err := child.Imatrix(ctx, args, o.Dataset, nil)
		if err != nil {
			return nil, err
		}
		r.Perplexity = ppl.Value
		if state, err = join(state, part); err != nil {
			return nil, err
		}
		done += n
		state.Chunks, state.Datasets = int64(done), []string{o.Dataset, key}
		if err := write(o.part(), state); err != nil {
			return nil, err
		}
		if o.Progress != nil {
			o.Progress(done, total)
		}
	}
	state.Datasets = []string{o.Dataset}
	if err := write(o.Path, state); err != nil {
		return nil, err
	}
	if err := os.Remove(o.part()); err != nil {
		return nil, err
	}
	r.Chunks, r.Entries, r.Coverage = state.Chunks, len(state.Entries), state.Cover(plan)
	return r, nil
}

// key pins what a state on disk is of. A model is known by its size and time: hashing it would take as long as some chunks.
func (o Options) key() (string, error) {
	fi, err := os.Stat(o.Model.Path)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s %d %d %d %t %s\n", llamacpp.Version, fi.Size(), fi.ModTime().UnixNano(), o.Context.Context, o.Output, o.Dataset)
	h.Write(o.Text)
	return "quern state " + hex.EncodeToString(h.Sum(nil)), nil
}

// part is where the state lies until the matrix is whole.
func (o Options) part() string {
	return filepath.Join(filepath.Dir(o.Path), "."+filepath.Base(o.Path)+".part")
}

// earlier is the state that an earlier run with the same key left, or nil. What cannot be read is begun anew.
func earlier(o Options, key string) (*imatrix.Matrix, error) {
	m, err := ReadFile(o.part())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var broken *imatrix.Error
	if err != nil && !errors.As(err, &broken) {
		return nil, err
	}
	if err != nil || len(m.Datasets) != 2 || m.Datasets[1] != key {
		return nil, nil
	}
	return m, nil
}

// ReadFile reads a matrix in either format.
func ReadFile(path string) (*imatrix.Matrix, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return imatrix.Read(path, f, fi.Size())
}

// join adds a group to the state.
func join(state, part *imatrix.Matrix) (*imatrix.Matrix, error) {
	if state == nil {
		return part, nil
	}
	return imatrix.Merge(state, part)
}

func write(path string, m *imatrix.Matrix) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	f, err := renameio.NewPendingFile(path, renameio.WithPermissions(0o644))
	if err != nil {
		return err
	}
	defer f.Cleanup()
	if err := m.Write(f); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
}

// MergeFiles adds up matrices of one model and writes the sum.
func MergeFiles(out string, all ...*imatrix.Matrix) error {
	m, err := imatrix.Merge(all...)
	if err != nil {
		return err
	}
	return write(out, m)
}
