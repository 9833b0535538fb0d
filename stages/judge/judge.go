// Package judge is the stage that says how close the files are to their source: it finds or makes a file of the source
// precision, and lets quality compare all files with it at once.
//
// A measurement never fails a preparation. Where it would take more time, memory or disk than there is, it is left out, with the
// reason in a line, and `quern quality` measures it when it is asked to.
package judge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"quern/convert/gguf"
	"quern/pipeline"
	"quern/quantize/llamacpp"
	"quern/quantize/recommend"
	"quern/stages/bench"
	"quern/stages/build"
	"quern/stages/job"
	"quern/stages/plan"
	"quern/stages/quality"
	"quern/stages/source"
	"quern/stages/source/pocket"
)

// Stage judges every file that was built.
type Stage struct{}

// Name is "quality".
func (Stage) Name() string { return "quality" }

// version changes when the figures do, so that files are judged again.
const version = 1

// Skip gives the reason why nothing is judged.
func (Stage) Skip(s *job.State) string {
	switch {
	case s.NoQuality:
		return "--no-quality"
	case s.Adapter:
		return "an adapter has no precision of its own"
	case s.Convert.VocabOnly:
		return "a file without weights cannot be run"
	case s.CannotRun != "":
		return s.CannotRun
	case s.Stream:
		return "the source was streamed: nothing of it is kept to compare with"
	case len(s.Files) > 0 && !generates(s.Files[0]):
		return "the model does not predict a text token by token"
	case len(rivals(s)) == 0:
		return "nothing was quantized here: `quern quality FILE --against SOURCE` compares a file that was made elsewhere"
	}
	return ""
}

// generates tells models with an output over a vocabulary from encoders and from those that read both ways.
func generates(a *job.Artifact) bool {
	if len(a.Plans) == 0 {
		return false
	}
	p := a.Plans[0]
	if _, pools := p.Int(p.Architecture() + ".pooling_type"); pools { // an embedder or a reranker, whose head nobody reads
		return false
	}
	causal, stated := p.Bool(p.Architecture() + ".attention.causal")
	_, both := p.Int(p.Architecture() + ".decoder_start_token_id")
	return (!stated || causal) && !both
}

// rivals are the files that differ from the source.
func rivals(s *job.State) []*job.Artifact {
	return slices.DeleteFunc(slices.Clone(s.Files), func(a *job.Artifact) bool { return a.Policy == nil })
}

// Plan depends on the files; how many chunks fit the time is part of the result.
func (Stage) Plan(_ context.Context, s *job.State) (pipeline.Step, error) {
	return pipeline.Step{Inputs: s.Built(), Versions: []string{"llama.cpp " + llamacpp.Version, fmt.Sprintf("quality %d", version)}, Says: "agreement with the source precision"}, nil
}

// LeftOut is why files are not judged, where that is no failure.
type LeftOut struct{ Why string }

// Error is the reason.
func (l *LeftOut) Error() string { return l.Why }

// Run compares all files with the source in one go. What stands in the way is told, and is no error.
func (Stage) Run(ctx context.Context, s *job.State, ev pipeline.Events) error {
	r, err := Compare(ctx, s, rivals(s), ev)
	var l *LeftOut
	if errors.As(err, &l) {
		ev.Emit(pipeline.Line{Stage: "quality", Label: "quality", Text: "skipped: " + l.Why + "; `quern quality " + rivals(s)[0].Path + "` measures it"})
		return nil
	}
	if err != nil {
		return err
	}
	for i, a := range rivals(s) {
		res := r.Results[i]
		a.Quality = &res
		ev.Emit(pipeline.Result{Type: "quality", Data: res})
		text := res.Summary()
		if len(rivals(s)) > 1 {
			text = fmt.Sprintf("%-7s %s", a.Type, text)
		}
		ev.Emit(pipeline.Line{Stage: "quality", Label: "quality", Text: text})
	}
	return nil
}

// Compare holds files of a run against their source; results are in the order of the files. The error is a *LeftOut where that would
// take more than there is.
func Compare(ctx context.Context, s *job.State, files []*job.Artifact, ev pipeline.Events) (*quality.Report, error) {
	size := sourceSize(s)
	if err := affordable(s, files, size); err != nil {
		return nil, err
	}
	begun := time.Now()
	rt, err := s.Runtime()
	if err != nil {
		return nil, err
	}
	text, err := HeldOut()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(filepath.Dir(s.Files[0].Path), ".quality-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	src, err := SourceFile(ctx, s, dir)
	if err != nil {
		return nil, err
	}
	o := quality.Options{Source: src, Text: text, Dir: dir, Progress: func(what string, done, total int64) {
		ev.Emit(pipeline.Progress{Stage: "quality", Item: what, Done: done, Total: total, Unit: "chunks"})
	}}
	o.Memory, _ = recommend.Budget(s.Machine)
	if s.Machine.DiskFree > 0 {
		o.Disk = min(4<<30, max(1<<20, s.Machine.DiskFree/4))
	}
	if s.QualityTime > 0 {
		o.Budget = max(time.Nanosecond, s.QualityTime-time.Since(begun))
	}
	if s.Advice != nil {
		o.Context.Threads = s.Advice.Setting.Threads
	}
	for _, a := range files {
		o.Candidates = append(o.Candidates, a.Path)
	}
	return quality.Compare(ctx, func(ctx context.Context) (*llamacpp.Child, error) {
		return llamacpp.Start(ctx, rt, s.Worker, llamacpp.StartOptions{})
	}, o)
}

// HeldOut is the text on which files are judged: the built-in model's, which no model was made of.
func HeldOut() ([]byte, error) {
	src, err := pocket.FS()
	if err != nil {
		return nil, err
	}
	return fs.ReadFile(src, pocket.HeldOut)
}

// SourceFile is a GGUF file of the source precision: the source itself, one of the files that were made, or one that is
// converted into dir for the time being.
func SourceFile(ctx context.Context, s *job.State, dir string) (string, error) {
	if s.Source.Kind == source.GGUF {
		return s.Source.Path, nil
	}
	if a := own(s); a != nil {
		return a.Path, nil
	}
	files, err := Beside(ctx, s, job.Converted, nil, filepath.Join(dir, "source.gguf"))
	if err != nil {
		return "", fmt.Errorf("the source precision: %w", err)
	}
	return files[0].Path, nil
}

// Beside makes other files of a run's source for the time being: the converter's own, or named types by the run's own options. The
// run's mixture, label and parts are not theirs.
func Beside(ctx context.Context, s *job.State, what job.Make, types []string, out string) ([]*job.Artifact, error) {
	tmp := &job.State{Request: s.Request, Tools: s.Tools, Source: s.Source, Pinned: s.Pinned, Pull: s.Pull, Remote: s.Remote, Local: s.Local,
		Checked: s.Checked, Parts: s.Parts, Machine: s.Machine}
	tmp.Make, tmp.Types, tmp.Split, tmp.Label, tmp.Out = what, types, gguf.Splitting{}, "", out
	tmp.Recipe, tmp.Policy.Recipe = nil, nil
	list := []pipeline.Stage[job.State]{plan.Stage{}, build.Stage{}}
	err := pipeline.Run(ctx, list, tmp, pipeline.Discard{}, pipeline.Options{})
	return tmp.Files, err
}

// own is the file of the source's own precision, where it is among those that were made.
func own(s *job.State) *job.Artifact {
	for _, a := range s.Files {
		if a.Policy == nil && !a.Mmproj && s.Checked != nil && strings.EqualFold(a.Type, s.Checked.Type.Label()) {
			return a
		}
	}
	return nil
}

// sourceSize is the size of the source as a GGUF file.
func sourceSize(s *job.State) int64 {
	if s.Checked != nil {
		return s.Checked.Plan.FileSize
	}
	n := int64(0)
	for _, f := range s.Parts {
		n += f.FileSize
	}
	return n
}

// leastChunks is how many are worth the trouble: some five hundred predictions.
const leastChunks = 4

// affordable weighs memory, disk and time before anything is made. The time is that of the fewest chunks, by the speed that bench
// measured; the source is taken to run at half the speed of the largest file.
func affordable(s *job.State, files []*job.Artifact, size int64) error {
	if budget, _ := recommend.Budget(s.Machine); size > budget {
		return &LeftOut{fmt.Sprintf("the source precision takes %s, and %s of memory may be used", plan.Size(size), plan.Size(budget))}
	}
	converts := s.Source.Kind != source.GGUF && own(s) == nil
	if free := s.Machine.DiskFree; converts && free > 0 && size > free-free/10 {
		return &LeftOut{fmt.Sprintf("a file of the source precision takes %s, and %s of disk are free", plan.Size(size), plan.Size(free))}
	}
	if s.QualityTime == 0 {
		return nil
	}
	const reading = 300e6 // bytes a second, of converting and loading: a plain disk's
	seconds := float64(size) / reading
	if converts {
		seconds *= 2
	}
	for i, a := range files {
		rate := prefill(a)
		if rate == 0 {
			continue
		}
		tokens := float64(leastChunks * 256)
		if i == 0 {
			tokens *= 3
		}
		seconds += tokens/rate + float64(a.Bytes)/reading
	}
	if need := time.Duration(seconds * float64(time.Second)); need > s.QualityTime {
		return &LeftOut{fmt.Sprintf("it would take about %s, and %s are given (--quality-time)", need.Round(time.Second), s.QualityTime)}
	}
	return nil
}

// prefill is the speed of prompts that bench measured, tokens a second; 0 where it did not.
func prefill(a *job.Artifact) float64 {
	r, ok := a.Bench.(*bench.Report)
	if !ok {
		return 0
	}
	for _, t := range r.Results {
		if t.Generate == 0 && t.Depth == 0 {
			return t.TokensPerSecond
		}
	}
	return 0
}

// Result is what the ledger keeps: the figures of each file, null where it was left out.
func (Stage) Result(s *job.State) any {
	rs := make([]any, len(s.Files))
	for i, a := range s.Files {
		rs[i] = a.Quality
	}
	return rs
}

// Recall takes an earlier run's figures over. Files that were left out are tried again: there may be more time now.
func (Stage) Recall(s *job.State, kept json.RawMessage) error {
	var rs []*quality.Result
	if err := json.Unmarshal(kept, &rs); err != nil {
		return err
	}
	if len(rs) != len(s.Files) {
		return errors.New("another number of files")
	}
	for i, a := range s.Files {
		if rs[i] != nil {
			a.Quality = rs[i]
		} else if a.Policy != nil {
			return errors.New("not judged yet")
		}
	}
	return nil
}
