package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"quern/pipeline"
	"quern/quantize/llamacpp"
	"quern/stages/job"
)

// Stage measures every file that was built.
type Stage struct{}

// Name is "bench".
func (Stage) Name() string { return "bench" }

// Skip gives the reason why nothing is measured.
func (Stage) Skip(s *job.State) string {
	switch {
	case s.NoBench:
		return "--no-bench"
	case s.Convert.VocabOnly:
		return "a file without weights cannot be run"
	case s.CannotRun != "":
		return s.CannotRun
	case len(s.Files) > 0 && !generates(s):
		return "the model does not generate text"
	}
	return ""
}

// generates tells whether the model has an output over a vocabulary: encoders are measured by other means.
func generates(s *job.State) bool {
	if len(s.Files[0].Plans) == 0 {
		return false
	}
	p := s.Files[0].Plans[0]
	causal, stated := p.Bool(p.Architecture() + ".attention.causal")
	return !stated || causal
}

// Plan depends on the files and the machine.
func (Stage) Plan(_ context.Context, s *job.State) (pipeline.Step, error) {
	step := pipeline.Step{Versions: []string{"llama.cpp " + llamacpp.Version}, Says: "prompt and generation speed"}
	if s.Machine != nil {
		step.Params = map[string]any{"machine": s.Machine.Chip, "cores": s.Machine.Cores}
	}
	step.Inputs = s.Built()
	return step, nil
}

// Run measures each file in a child of its own, whose peak memory is the file's. The files share the stage's time.
func (Stage) Run(ctx context.Context, s *job.State, ev pipeline.Events) error {
	rt, err := s.Runtime()
	if err != nil {
		return err
	}
	begun := time.Now()
	for i, a := range s.Models() {
		left := time.Duration(0)
		if s.BenchTime > 0 {
			left = max(time.Nanosecond, (s.BenchTime-time.Since(begun))/time.Duration(len(s.Models())-i))
		}
		r, err := inChild(ctx, rt, s, a, left, ev)
		if err != nil {
			return err
		}
		a.Bench = r
		for _, t := range r.Results {
			ev.Emit(pipeline.Result{Type: "bench", Data: Line{a.Path, t}})
		}
		text := Summary(r)
		if len(s.Models()) > 1 {
			text = fmt.Sprintf("%-7s %s", a.Type, text)
		}
		ev.Emit(pipeline.Line{Stage: "bench", Label: "bench", Text: text})
		for _, why := range r.Skipped {
			ev.Emit(pipeline.Line{Stage: "bench", Label: "bench", Text: "skipped " + why})
		}
		for _, why := range r.Unrecorded() {
			ev.Emit(pipeline.Warning{Stage: "bench", Says: why, Next: "measure again with `quern bench " + a.Path + "` when it is quiet"})
		}
	}
	return nil
}

// Line is the "bench" result of --json: one test of a file.
type Line struct {
	Path string `json:"path"`
	Result
}

// Summary is all tests on one line, and the peak memory.
func Summary(r *Report) string {
	var parts []string
	for _, t := range r.Results {
		parts = append(parts, t.Summary())
	}
	return strings.Join(parts, "   ") + fmt.Sprintf("   peak %.0f MB", float64(r.PeakRSS)/1e6)
}

func inChild(ctx context.Context, rt *llamacpp.Runtime, s *job.State, a *job.Artifact, budget time.Duration, ev pipeline.Events) (*Report, error) {
	child, err := llamacpp.Start(ctx, rt, s.Worker, llamacpp.StartOptions{})
	if err != nil {
		return nil, err
	}
	defer child.Close()
	o := Options{Model: llamacpp.ModelOptions{Path: a.Path}, Tests: Default(depths(a)...), Budget: budget, Progress: func(t Test, done, total int) {
		ev.Emit(pipeline.Progress{Stage: "bench", Item: t.String(), Done: int64(done), Total: int64(total), Unit: "runs"})
	}}
	if s.Advice != nil {
		o.Context.Threads = s.Advice.Setting.Threads
	}
	if s.Threads > 0 {
		o.Context.Threads = s.Threads
	}
	return Measure(ctx, child, o)
}

// depths are an empty cache and, to show what a long conversation costs, 4096 tokens or what the model was trained for less
// the longest test.
func depths(a *job.Artifact) []int {
	const usual, test = 4096, 512
	if len(a.Plans) == 0 {
		return nil
	}
	trained, ok := a.Plans[0].Int(a.Plans[0].Architecture() + ".context_length")
	if !ok || trained >= usual+test {
		return []int{0, usual}
	}
	if trained >= 2*test {
		return []int{0, int(trained) - test}
	}
	return nil
}

// Result is what the ledger keeps. A busy machine's figures are not kept: the next run measures again.
func (Stage) Result(s *job.State) any {
	var rs []*Report
	for _, a := range s.Models() {
		r, ok := a.Bench.(*Report)
		if !ok || r.Busy() {
			return nil
		}
		rs = append(rs, r)
	}
	return rs
}

// Recall takes an earlier run's figures over.
func (Stage) Recall(s *job.State, b json.RawMessage) error {
	var rs []*Report
	if err := json.Unmarshal(b, &rs); err != nil {
		return err
	}
	if len(rs) == 0 || len(rs) != len(s.Models()) {
		return errors.New("another number of files")
	}
	for i, a := range s.Models() {
		a.Bench = rs[i]
	}
	return nil
}
