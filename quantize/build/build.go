// Package build is the one pass: rows of any source, quantized on all cores, written to any number of files.
//
//	for each slab of rows, in the order of the jobs, on whichever worker is free:
//	    read the source rows once
//	    widen them to float32, unless every target takes the source's bytes
//	    round them to the intermediate precision
//	    for each target: round or quantize the rows, write them at their offset
//
// There is no barrier between tensors. A slab holds at most Options.Slab elements (1 Mi) and shrinks towards the end of
// the run, so that all cores are busy until it; it holds at least one row. The order is that of the jobs, not the
// largest first: slabs, not tensors, are what is balanced, and a file that grows from its front can be hashed as it is written.
//
// Held by tests: slab size, number of workers and order do not change a byte.
//
// Memory: a worker owns three buffers and reuses them: the source rows (2 bytes an element of BF16, 8 of F64), float32
// (4) and the output (at most 8). With the default slab that is 10 MiB a worker for BF16 to anything, at most 20 MiB,
// plus what the views of the source hold (package view states their bounds). It does not grow with tensor or model.
package build

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"

	"quern/convert/gguf"
	"quern/convert/view"
	"quern/quantize/kernel"

	"golang.org/x/sync/errgroup"
)

// Target is one output of a job.
type Target struct {
	File       int       // index into the writers
	Type       gguf.Type // of the output
	Offset     int64     // of the tensor's first byte in that file: the plan's DataOffset + the output's Offset
	Importance []float32 // a weight per column, or per column of each matrix of the outermost dimension, one behind the other; nil = none
	Alignment  int64     // of that file: the tensor is followed by zeros up to it; 0 = 32
	Copy       bool      // the source's bytes pass unchanged: it is already in the output's layout
}

// Job is one source tensor and what is made of it.
type Job struct {
	Name   string
	Source view.Tensor
	Via    gguf.Type // F16 or BF16: the precision to round to before quantizing; F32 (0): none
	To     []Target
}

// Options are the limits of a run; the zero value is the default.
type Options struct {
	Workers  int               // 0 = GOMAXPROCS
	Slab     int64             // elements of a slab at most; 0 = DefaultSlab
	Finite   bool              // refuse NaN and infinity for F32, F16 and BF16 targets too, and rows that a type cannot hold, as llama-quantize does
	Progress func(bytes int64) // source bytes done since the last call; calls do not overlap
	Spent    *Spent            // gets where the workers' time went, when Run has returned; nil: nobody asks
}

// DefaultSlab is 4 MiB of float32.
const DefaultSlab = 1 << 20

// MaxRow is the largest row, in elements, that is worked on: a row is never cut, so it bounds memory.
const MaxRow = 1 << 27

// Run makes all targets of all jobs. k may be nil when no target is quantized. The first error ends the run promptly;
// what has been written until then is unfinished. A cancelled context ends it after the slabs at hand.
// Errors are *JobError for jobs that cannot be done, *NotFiniteError for NaN and infinity, *UnsoundError for what a type cannot hold, or those of the source,
// the kernel and the writers with the tensor's name.
func Run(ctx context.Context, jobs []Job, k kernel.Quantizer, w []io.WriterAt, o Options) error {
	r := &run{kernel: k, files: w, Options: o}
	r.defaults()
	for i := range jobs {
		if err := r.add(&jobs[i]); err != nil {
			return err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	for range r.Workers {
		g.Go(func() error {
			wk := &worker{run: r}
			defer wk.report()
			for {
				s, ok := r.next()
				if !ok {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return context.Cause(ctx)
				}
				if err := wk.slab(ctx, s); err != nil {
					return err
				}
				r.done(s)
			}
		})
	}
	return g.Wait()
}

type run struct {
	Options
	kernel kernel.Quantizer
	files  []io.WriterAt
	tasks  []*task

	mu   sync.Mutex
	at   int   // index of the task that slabs are cut from
	row  int64 // its next row
	left int64 // elements not yet handed out

	progress sync.Mutex
}

func (r *run) defaults() {
	if r.Workers <= 0 {
		r.Workers = runtime.GOMAXPROCS(0)
	}
	if r.Slab <= 0 {
		r.Slab = DefaultSlab
	}
}

// slab is a range of rows of a task.
type slab struct {
	*task
	lo, hi int64
}

// minSlab keeps the last slabs large enough for a read and a write to pay.
const minSlab = 1 << 15

// next cuts the next slab: as large as allowed, but leaving every worker two more of its size.
func (r *run) next() (slab, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.at < len(r.tasks) && r.row == r.tasks[r.at].rows {
		r.at, r.row = r.at+1, 0
	}
	if r.at == len(r.tasks) {
		return slab{}, false
	}
	t := r.tasks[r.at]
	size := min(r.Slab, max(minSlab, r.left/int64(3*r.Workers)))
	n := min(max(1, size/max(1, t.rowLen)), t.rows-r.row)
	s := slab{t, r.row, r.row + n}
	r.row += n
	r.left -= n * t.rowLen
	return s, true
}

func (r *run) done(s slab) {
	if r.Progress == nil {
		return
	}
	r.progress.Lock()
	defer r.progress.Unlock()
	r.Progress((s.hi - s.lo) * s.rowBytes)
}

// JobError says that a job asks for what cannot be done.
type JobError struct {
	Tensor string
	Says   string
}

// Error names the tensor.
func (e *JobError) Error() string { return fmt.Sprintf("tensor %q: %s", e.Tensor, e.Says) }

// NotFiniteError says that a weight is NaN or infinite where that cannot be quantized.
type NotFiniteError struct {
	Tensor      string
	Row, Column int64   // of the source, rows counted over all outer dimensions
	Value       float32 // after rounding to the intermediate precision
}

// Error names tensor, row and column.
func (e *NotFiniteError) Error() string {
	return fmt.Sprintf("tensor %q: the value in row %d, column %d is %v", e.Tensor, e.Row, e.Column, e.Value)
}

// Hint is the next step for the user.
func (e *NotFiniteError) Hint() string {
	return "the checkpoint is damaged, or its values do not fit the intermediate precision: compare its digest, or choose a wider --type"
}
