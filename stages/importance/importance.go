// Package importance computes importance matrices: a text is read by a model in a child process, chunk group by chunk group,
// and what every weight saw is kept on disk after each, so that a run that was stopped goes on.
package importance

import (
	"context"
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
	Path    string // of the matrix; an earlier state of the same text is continued
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
	state, err := earlier(o)
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
		state.Chunks = int64(done)
		if err := write(o.Path, state); err != nil {
			return nil, err
		}
		if o.Progress != nil {
			o.Progress(done, total)
		}
	}
	r.Chunks, r.Entries, r.Coverage = state.Chunks, len(state.Entries), state.Cover(plan)
	return r, nil
}

// earlier is the state that an earlier run of the same text left, or nil.
func earlier(o Options) (*imatrix.Matrix, error) {
	f, err := os.Open(o.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	m, err := imatrix.Read(o.Path, f, fi.Size())
	if err != nil {
		return nil, err
	}
	if m.Legacy || m.ChunkSize != int64(o.Context.Context) || len(m.Datasets) != 1 || m.Datasets[0] != o.Dataset {
		return nil, nil // of another text or chunk size: begun anew
	}
	return m, nil
}

// join adds a group to the state. The data set stays one: it is the same text.
func join(state, part *imatrix.Matrix) (*imatrix.Matrix, error) {
	if state == nil {
		return part, nil
	}
	sum, err := imatrix.Merge(state, part)
	if err != nil {
		return nil, err
	}
	sum.Datasets = state.Datasets
	return sum, nil
}

func write(path string, m *imatrix.Matrix) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	f, err := renameio.NewPendingFile(path)
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
