// Package rival is the stage that holds a mixture of types against the named types that a user would take instead: above all the
// one of the next smaller size, which a budget must beat to be worth its bytes.
//
// The named types are made in one read, beside the mixture, measured by the same text in the same run, and removed. What stands in
// the way of the measurement is told and recorded; it is no failure.
package rival

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"quern/pipeline"
	"quern/quantize/llamacpp"
	"quern/quantize/policy"
	"quern/stages/job"
	"quern/stages/judge"
	"quern/stages/plan"
	"quern/stages/quality"
)

// Stage compares.
type Stage struct{}

// Name is "rival".
func (Stage) Name() string { return "rival" }

// Plan depends on the mixture and on what it is compared with.
func (Stage) Plan(_ context.Context, s *job.State) (pipeline.Step, error) {
	return pipeline.Step{Inputs: s.Built(), Params: map[string]any{"beside": s.Against, "left_out": judge.Stage{}.Skip(s)}, Versions: []string{"llama.cpp " + llamacpp.Version},
		Says: "the mixture beside named types"}, nil
}

// Run fills in the state's Rivals.
func (Stage) Run(ctx context.Context, s *job.State, ev pipeline.Events) error {
	r := &job.Rivals{}
	err := compare(ctx, s, r, ev)
	switch {
	case ctx.Err() != nil:
		return err
	case err != nil:
		r.Files, r.Says = nil, "not measured: "+err.Error()
	default:
		r.Says = verdict(r)
	}
	s.Rivals = r
	ev.Emit(pipeline.Result{Type: "rivals", Data: r})
	for _, f := range r.Files {
		ev.Emit(pipeline.Line{Stage: "rival", Label: "beside", Text: fmt.Sprintf("%-8s %9s  %6.3f bits a weight  perplexity %8.4f  KL divergence %9.6f  same top %5.1f %%",
			f.Type, plan.Size(f.Bytes), f.BPW, f.Perplexity, f.KLD, 100*f.SameTop)})
	}
	ev.Emit(pipeline.Line{Stage: "rival", Label: "beside", Text: r.Says})
	if r.Beats != nil && !*r.Beats {
		ev.Emit(pipeline.Warning{Stage: "rival", Says: fmt.Sprintf("%s is smaller and closer to the source than this mixture: take it instead", r.Next)})
	}
	return nil
}

// mixture is what the mixture is called among types.
const mixture = "mixture"

// compare makes the named types, measures all files and fills in the table.
func compare(ctx context.Context, s *job.State, r *job.Rivals, ev pipeline.Events) error {
	if len(s.Files) != 1 {
		return fmt.Errorf("%d files were made, not one", len(s.Files))
	}
	if why := (judge.Stage{}).Skip(s); why != "" {
		return &judge.LeftOut{Why: why}
	}
	named, err := named(s)
	if err != nil {
		return err
	}
	r.Next = next(named, s.Files[0].Bytes)
	types, bytes := chosen(named, s.Against, r.Next)
	if len(types) == 0 {
		return &judge.LeftOut{Why: "no named type is smaller"}
	}
	if free := s.Machine.DiskFree; free > 0 && bytes > free-free/10 {
		return &judge.LeftOut{Why: fmt.Sprintf("files of %s take %s, and %s of disk are free", types, plan.Size(bytes), plan.Size(free))}
	}
	dir, err := os.MkdirTemp(filepath.Dir(s.Files[0].Path), ".rival-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	made, err := judge.Beside(ctx, s, job.Quantized, types, dir)
	if err != nil {
		return err
	}
	report, err := judge.Compare(ctx, s, append([]*job.Artifact{s.Files[0]}, made...), ev)
	if err != nil {
		return err
	}
	r.Files = table(s.Files[0], made, report)
	return nil
}

// table puts the mixture first, then the named types from small to large.
func table(mix *job.Artifact, made []*job.Artifact, report *quality.Report) []job.Rival {
	row := func(name string, a *job.Artifact, q quality.Result) job.Rival {
		return job.Rival{Type: name, Bytes: a.Bytes, BPW: a.BitsPerWeight(), Perplexity: q.Perplexity.Value, KLD: q.Mean, SameTop: q.SameTop, Chunks: q.Chunks}
	}
	rows := []job.Rival{row(mixture, mix, report.Results[0])}
	for i, a := range made {
		rows = append(rows, row(a.Type, a, report.Results[i+1]))
	}
	slices.SortStableFunc(rows[1:], func(a, b job.Rival) int { return cmp.Compare(a.Bytes, b.Bytes) })
	return rows
}

// size is what a named type would take.
type size struct {
	Type  policy.FileType
	Bytes int64
}

// named are the sizes of the types that this source can be made in by the run's own options, from small to large. Types that only
// suit models which were trained in them are left out, and half precision, which is no choice of a budget.
func named(s *job.State) ([]size, error) {
	o := s.Policy
	o.Recipe = nil
	var all []size
	for _, k := range policy.Kinds() {
		if !k.Type.ForAny() {
			continue
		}
		out, err := policy.Plan(plan.Parts(s), k.Type, o)
		var refused *policy.Refusal
		if errors.As(err, &refused) {
			continue // it needs an imatrix, or a shape that this model does not have
		}
		if err != nil {
			return nil, err
		}
		all = append(all, size{k.Type, out.Size()})
	}
	slices.SortStableFunc(all, func(a, b size) int { return cmp.Compare(a.Bytes, b.Bytes) })
	return all, nil
}

// next is the largest that takes no more than the mixture; empty if none does.
func next(all []size, bytes int64) string {
	name := ""
	for _, c := range all {
		if c.Bytes <= bytes {
			name = c.Type.String()
		}
	}
	return name
}

// chosen are next and those that the user asked for, and what their files take.
func chosen(all []size, asked []string, next string) (types []string, bytes int64) {
	want := append([]string{next}, asked...)
	for _, c := range all {
		if name := c.Type.String(); slices.ContainsFunc(want, func(w string) bool { t, err := policy.ParseFileType(w); return err == nil && t == c.Type }) {
			types, bytes = append(types, name), bytes+c.Bytes
		}
	}
	return types, bytes
}

// verdict is the sentence of the receipt, and whether the mixture won.
func verdict(r *job.Rivals) string {
	i := slices.IndexFunc(r.Files, func(f job.Rival) bool { return f.Type == r.Next })
	if r.Next == "" || i < 0 {
		return "no named type is smaller"
	}
	mix, other := r.Files[0], r.Files[i]
	won := mix.KLD < other.KLD
	r.Beats = &won
	word := "beats"
	if !won {
		word = "does not beat"
	}
	return fmt.Sprintf("%s %s, the named type of the next smaller size, in KL divergence: %.6f in %s against %.6f in %s (%d chunks of text)",
		word, r.Next, mix.KLD, plan.Size(mix.Bytes), other.KLD, plan.Size(other.Bytes), mix.Chunks)
}

// Result is what the ledger keeps.
func (Stage) Result(s *job.State) any { return s.Rivals }

// Recall takes an earlier comparison over; one that was not measured is tried again.
func (Stage) Recall(s *job.State, kept json.RawMessage) error {
	r := &job.Rivals{}
	if err := json.Unmarshal(kept, r); err != nil {
		return err
	}
	if r.Beats == nil {
		return errors.New("not measured yet")
	}
	s.Rivals = r
	return nil
}
