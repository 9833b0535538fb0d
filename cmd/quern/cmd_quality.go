package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"quern/convert/arch"
	"quern/pipeline"
	"quern/quantize/llamacpp"
	"quern/stages"
	"quern/stages/job"
	"quern/stages/judge"
	"quern/stages/plan"
	"quern/stages/quality"
	"quern/stages/record"
	"quern/stages/source"

	"github.com/urfave/cli/v2"
)

func qualityCommand() *cli.Command {
	return &cli.Command{
		Name: "quality", Category: groupSteps, ArgsUsage: "FILE...", Usage: "agreement with the source precision: KL divergence, top-1, perplexity",
		Flags: join([]cli.Flag{
			&cli.StringFlag{Name: "against", Usage: "`SOURCE`: a GGUF file of the source precision, or the checkpoint (default: the source in the receipt)"},
			&cli.StringFlag{Name: "text", Usage: "held-out text from `FILE` (default: a public-domain text)"},
			&cli.IntFlag{Name: "chunks", Usage: "`N` chunks at most (default 60)"},
			&cli.IntFlag{Name: "chunk", Usage: "`N` tokens a chunk (default 256)"},
			&cli.DurationFlag{Name: "budget", Usage: "judge fewer chunks where all would take longer than `TIME` (default: no limit)"},
			&cli.BoolFlag{Name: "no-record", Usage: "do not keep the figures"},
		}, inferenceFlags(), workFlags(), hubFlags()),
		Action: action(1, -1, judgeFiles),
	}
}

// judgeFiles compares one file, or several that share the evaluation of their source.
func judgeFiles(ctx context.Context, c *cli.Context, o *output) error {
	opts := quality.Options{Chunks: c.Int("chunks"), Chunk: c.Int("chunk"), Budget: c.Duration("budget"), Progress: func(what string, done, total int64) {
		o.Emit(pipeline.Progress{Stage: "quality", Item: what, Done: done, Total: total, Unit: "chunks"})
	}}
	for _, arg := range c.Args().Slice() {
		path, err := ggufFile(arg)
		if err != nil {
			return err
		}
		opts.Candidates = append(opts.Candidates, path)
	}
	opts.Model, opts.Context = modelOptions(c, "")
	var err error
	if opts.Text, err = heldOut(c.String("text")); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "quern-quality-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if opts.Source, err = sourceFile(ctx, c, o, opts.Candidates[0], dir); err != nil {
		return err
	}
	opts.Dir = dir
	r, err := quality.Compare(ctx, func(ctx context.Context) (*llamacpp.Child, error) { return startChild(ctx, c) }, opts)
	if err != nil {
		return err
	}
	printJudged(r, o)
	if !c.Bool("no-record") {
		keepQuality(ctx, r, o)
	}
	return nil
}

// printJudged puts the sentence that a person understands first, and the figures behind it into a table.
func printJudged(r *quality.Report, o *output) {
	for _, res := range r.Results {
		o.Emit(pipeline.Result{Type: "quality", Data: res})
		o.printf("%s %s\n", filepath.Base(res.Path), res.Agreement())
	}
	o.printf("\n%-32s %8s %10s %9s %9s %11s %9s\n", "file", "same top", "divergence", "99 %", "max", "perplexity", "of source")
	for _, res := range r.Results {
		o.printf("%-32s %6.2f %% %10.6f %9.5f %9.4f %11.4f %9.4f\n", filepath.Base(res.Path), 100*res.SameTop, res.Mean, res.P99, res.Max, res.Perplexity.Value, res.Divergence.Source.Value)
	}
	o.printf("%d chunks of %d tokens in %.1f s\n", r.Chunks, r.Chunk, r.Seconds)
}

// keepQuality records each file's figures.
func keepQuality(ctx context.Context, r *quality.Report, o *output) {
	for _, res := range r.Results {
		rec, _, err := plan.Subject(ctx, res.Path)
		if err == nil {
			rec.Command, rec.Quality = "quality", &res
			err = record.Append(rec)
		}
		if err != nil {
			o.Emit(pipeline.Warning{Stage: "quality", Says: "the record could not be kept: " + err.Error()})
		}
	}
}

// heldOut is the text that is judged: a file, or the one that comes with the pocket model.
func heldOut(path string) ([]byte, error) {
	if path != "" {
		return os.ReadFile(path)
	}
	return judge.HeldOut()
}

// noSourceError says that the source precision is not known. It is an fs.ErrNotExist.
type noSourceError struct{ path string }

func (e *noSourceError) Error() string        { return e.path + ": its source precision is not known" }
func (e *noSourceError) Hint() string         { return "name it: --against FILE.gguf or --against MODEL" }
func (e *noSourceError) Is(target error) bool { return target == fs.ErrNotExist }

// sourceFile is the GGUF file of the source precision: as named, or converted from the checkpoint into dir.
func sourceFile(ctx context.Context, c *cli.Context, o *output, candidate, dir string) (string, error) {
	arg := c.String("against")
	if arg == "" {
		r, err := record.ReadReceipt(candidate + record.Suffix)
		if err != nil {
			return "", &noSourceError{candidate}
		}
		arg = r.Source.Argument()
	}
	src, err := source.Parse(arg)
	if err != nil {
		return "", err
	}
	if src.Kind == source.GGUF {
		return src.Path, nil
	}
	s, err := newState(c, arg)
	if err != nil {
		return "", err
	}
	defer s.Shut()
	s.Make, s.Convert.Type, s.Out = job.Converted, arch.Auto, filepath.Join(dir, "source.gguf")
	if err := pipeline.Run(ctx, stages.Build, s, quietLines{o}, pipeline.Options{}); err != nil {
		return "", fmt.Errorf("the source precision of %s: %w", candidate, err)
	}
	return s.Out, nil
}

// quietLines passes progress and warnings on, and drops the lines of a run that is only a means.
type quietLines struct{ o *output }

func (q quietLines) Emit(e pipeline.Event) {
	switch e.(type) {
	case pipeline.Progress, pipeline.Warning, pipeline.Started, pipeline.Finished:
		q.o.Emit(e)
	}
}
