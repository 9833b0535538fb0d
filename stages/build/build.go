// Package build is the stage that writes the files: it converts and quantizes in one pass over the source.
package build

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"quern/convert/gguf"
	"quern/pipeline"
	"quern/quantize/build"
	"quern/quantize/kernel"
	"quern/quantize/llamacpp"
	"quern/stages/job"
	"quern/stages/plan"

	"golang.org/x/sync/errgroup"
)

// Stage is the build.
type Stage struct{}

// Name is "build".
func (Stage) Name() string { return "build" }

// Plan names inputs, parameters and outputs.
func (Stage) Plan(_ context.Context, s *job.State) (pipeline.Step, error) {
	step := pipeline.Step{Versions: []string{"quern " + s.Version, "llama.cpp " + llamacpp.Version}, Params: map[string]any{"kernel": s.Kernel}}
	var types []string
	for _, a := range s.Files {
		types = append(types, a.Type)
		step.Outputs = append(step.Outputs, a.Paths...)
		step.Cost.Write += a.Bytes
		step.Params[a.Path] = planDigest(a)
	}
	var err error
	if step.Inputs, err = Inputs(s); err != nil {
		return step, err
	}
	step.Says = fmt.Sprintf("%s, %s", strings.Join(types, ", "), plan.Size(step.Cost.Write))
	return step, nil
}

// Run writes all files in one pass. On any failure none of them appears.
func (Stage) Run(ctx context.Context, s *job.State, ev pipeline.Events) error {
	start := time.Now()
	jobs, closers, err := jobs(s)
	defer func() {
		for _, c := range closers {
			c.Close()
		}
	}()
	if err != nil {
		return err
	}
	k, err := quantizer(s)
	if err != nil {
		return err
	}
	// the space of all files is reserved first: a disk that is too small shows before the work
	files, err := create(s)
	if err != nil {
		return err
	}
	defer func() { // does nothing to those that have their name
		for _, f := range files {
			f.Discard()
		}
	}()
	if err := headers(s, files); err != nil {
		return err
	}
	// The source's digest is taken beside the work on it: what is read for the one comes from the page cache for the other.
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		names, err := s.LocalNames()
		if err != nil {
			return err
		}
		return s.TakeDigests(gctx, names)
	})
	o := options(s, jobs, ev)
	g.Go(func() error { return build.Run(gctx, jobs, k, writers(files), o) })
	if err := g.Wait(); err != nil {
		return err
	}
	passed := time.Since(start)
	// a machine whose vector code computes wrong still makes right files, only slower; that must not go unseen
	if p, ok := k.(*kernel.Pair); ok {
		for _, t := range p.Unsound() {
			ev.Emit(pipeline.Warning{Stage: "build", Says: fmt.Sprintf("the %s kernel failed its self-test for %s on this machine: plain Go wrote the blocks", p.Native(), t)})
		}
	}
	if err := commit(s, files, k); err != nil {
		return err
	}
	tell(s, ev, passed, time.Since(start), *o.Spent)
	return nil
}

// quantizer gives the kernels that the types of the files need. The converter's own quantized types need no library.
func quantizer(s *job.State) (kernel.Quantizer, error) {
	var types []gguf.Type
	for _, a := range s.Files {
		if a.Copies != nil {
			continue
		}
		for _, o := range a.Outputs() {
			if o.Type.Quantized() {
				types = append(types, o.Type)
			}
		}
	}
	return s.Quantizer(types...)
}

func options(s *job.State, jobs []build.Job, ev pipeline.Events) build.Options {
	total := int64(0)
	for _, j := range jobs {
		total += j.Source.Rows() * j.Source.RowBytes()
	}
	var done atomic.Int64
	start := time.Now()
	o := build.Options{Workers: s.Workers, Spent: &build.Spent{}, Progress: func(n int64) {
		d := done.Add(n)
		ev.Emit(pipeline.Progress{Stage: "build", Done: d, Total: total, Unit: "bytes", Rate: float64(d) / time.Since(start).Seconds()})
	}}
	for _, a := range s.Files {
		o.Finite = o.Finite || a.Policy != nil // the converter copies NaN, the quantizer refuses it
	}
	return o
}

func create(s *job.State) ([]*build.Pending, error) {
	var files []*build.Pending
	for _, a := range s.Files {
		for i, path := range a.Paths {
			if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
				return files, err
			}
			f, err := build.Create(path, a.Plans[i].FileSize)
			if err != nil {
				for _, f := range files {
					f.Discard()
				}
				return nil, err
			}
			files = append(files, f)
		}
	}
	return files, nil
}

func headers(s *job.State, files []*build.Pending) error {
	n := 0
	for _, a := range s.Files {
		for i := range a.Plans {
			if err := a.Plans[i].WriteHeader(io.NewOffsetWriter(files[n], 0)); err != nil {
				return fmt.Errorf("%s: %w", a.Paths[i], err)
			}
			n++
		}
	}
	return nil
}

func writers(files []*build.Pending) []io.WriterAt {
	var w []io.WriterAt
	for _, f := range files {
		w = append(w, f)
	}
	return w
}

// commit gives the files their names, all or as many as the disk lets it. No name appears before every file is whole on the disk.
func commit(s *job.State, files []*build.Pending, k kernel.Quantizer) error {
	var g errgroup.Group
	for _, f := range files {
		g.Go(f.Settle)
	}
	if err := g.Wait(); err != nil {
		return err
	}
	n := 0
	for _, a := range s.Files {
		a.SHA256, a.Kernel = nil, ""
		if k != nil && slices.ContainsFunc(a.Plans, quantized) {
			a.Kernel = k.Name()
		}
		for range a.Paths {
			d, err := files[n].Commit()
			if err != nil {
				return err
			}
			a.SHA256 = append(a.SHA256, d.String())
			n++
		}
	}
	return nil
}

// kept is what the ledger remembers of a built file.
type kept struct {
	Path    string   `json:"path"`
	SHA256  []string `json:"sha256"`
	Kernel  string   `json:"kernel,omitempty"`
	Seconds float64  `json:"seconds"`
}

// Result is what the ledger keeps.
func (Stage) Result(s *job.State) any {
	var ks []kept
	for _, a := range s.Files {
		ks = append(ks, kept{a.Path, a.SHA256, a.Kernel, a.Seconds})
	}
	return ks
}

// Recall takes digests over from an earlier run.
func (Stage) Recall(s *job.State, b json.RawMessage) error {
	var ks []kept
	if err := json.Unmarshal(b, &ks); err != nil {
		return err
	}
	if len(ks) != len(s.Files) {
		return fmt.Errorf("the ledger has %d files, the plan %d", len(ks), len(s.Files))
	}
	for i, a := range s.Files {
		if ks[i].Path != a.Path || len(ks[i].SHA256) != len(a.Paths) {
			return fmt.Errorf("the ledger has another file than %s", a.Path)
		}
		a.SHA256, a.Kernel, a.Seconds = ks[i].SHA256, ks[i].Kernel, ks[i].Seconds
	}
	return nil
}
