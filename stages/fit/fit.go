// Package fit finds the mixture of types that suits a budget: it measures every tensor of a source in every type and writes
// the best mixture as a recipe.
package fit

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"

	"quern/convert/gguf"
	"quern/pipeline"
	"quern/quantize/policy"
	"quern/quantize/recipe"
	"quern/stages/build"
	"quern/stages/job"
	"quern/stages/plan"
	"quern/stages/pull"

	"github.com/google/renameio/v2"
)

// Find measures the source and solves for the budget. The recipe is in the state afterwards, with the types that it gives.
func Find(ctx context.Context, s *job.State, b recipe.Budget, ev pipeline.Events) (*recipe.Recipe, error) {
	if err := plan.Open(ctx, s); err != nil {
		return nil, err
	}
	if p := (pull.Stage{}); p.Skip(s) == "" { // measuring reads all weights, and so does the build after it: they are fetched once
		if err := p.Run(ctx, s, ev); err != nil {
			return nil, err
		}
	}
	k, err := s.Quantizer()
	if err != nil {
		return nil, err
	}
	// the named type nearest to the budget lends its number to the file, and its rules to what is not measured
	base := recipe.Base(bits(s, b))
	out, err := policy.Decide(plan.Parts(s), base, s.Policy)
	if err != nil {
		return nil, err
	}
	tensors := build.NewTensors(s)
	defer tensors.Close()
	subjects, err := subjects(s, tensors, out)
	if err != nil {
		return nil, err
	}
	ev.Emit(pipeline.Started{Stage: "fit", Says: fmt.Sprintf("%d tensors in up to %d types", len(subjects), most(subjects))})
	var done atomic.Int64
	measured, err := recipe.Measure(ctx, subjects, k, recipe.MeasureOptions{Workers: s.Workers, Done: func(name string) {
		ev.Emit(pipeline.Progress{Stage: "fit", Item: name, Done: done.Add(1), Total: int64(len(subjects)), Unit: "tensors"})
	}})
	if err != nil {
		return nil, err
	}
	r, err := recipe.Fit(plan.Parts(s), base, s.Policy, measured, b)
	if err != nil {
		return nil, err
	}
	r.Model, r.Kernel = s.Source.Name, k.Name() // the errors hold for these bits
	Use(s, r)
	ev.Emit(pipeline.Finished{Stage: "fit", State: pipeline.OK})
	return r, nil
}

// Use makes a recipe the state's choice of types.
func Use(s *job.State, r *recipe.Recipe) {
	s.Recipe, s.Policy.Recipe, s.Types, s.Label = r, r.Types(), []string{r.Base}, "-fit"
}

// bits is what the budget leaves for each weight, to choose the file type that a mixture claims to be.
func bits(s *job.State, b recipe.Budget) float64 {
	if b.Bits > 0 {
		return b.Bits
	}
	n := int64(0)
	for _, o := range plan.Base(s).Outputs {
		n += o.Elements()
	}
	if n == 0 {
		return 0
	}
	return float64(b.Bytes) * 8 / float64(n)
}

// subjects are the tensors that may get another type.
func subjects(s *job.State, tensors *build.Tensors, out *policy.Output) ([]recipe.Subject, error) {
	var subs []recipe.Subject
	for _, d := range out.Decisions {
		src, via, err := tensors.Tensor(d.Part, d.Source)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d.SourceName, err)
		}
		types := recipe.Candidates(d, src.RowLen())
		if len(types) == 0 { // a norm, a bias: it keeps its type whatever the budget
			continue
		}
		sub := recipe.Subject{Name: d.Name, Source: src, Via: via, Types: types}
		if d.Importance && s.Imatrix != nil {
			sub.Importance = s.Imatrix(d.SourceName)
		}
		subs = append(subs, sub)
	}
	return subs, nil
}

func most(subs []recipe.Subject) int {
	n := 0
	for _, s := range subs {
		n = max(n, len(s.Types))
	}
	return n
}

// Read reads a recipe and holds it against the source.
func Read(ctx context.Context, s *job.State, path string) (*recipe.Recipe, error) {
	if err := plan.Open(ctx, s); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := recipe.Read(filepath.Base(path), f)
	if err != nil {
		return nil, err
	}
	// a recipe is a file that people move about: another model's must not be half applied
	if err := r.Check(plan.Base(s)); err != nil {
		return nil, err
	}
	Use(s, r)
	return r, nil
}

// Write puts a recipe beside its file.
func Write(path string, r *recipe.Recipe) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	f, err := renameio.NewPendingFile(path, renameio.WithPermissions(0o644))
	if err != nil {
		return err
	}
	defer f.Cleanup()
	if err := r.Write(f); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
}

// Share is how the recipe's tensors divide among types: the number of tensors in each, largest type first.
func Share(r *recipe.Recipe) map[string]int {
	n := map[string]int{}
	for _, t := range r.Tensors {
		n[gguf.Type(t.Type).String()]++
	}
	return n
}
