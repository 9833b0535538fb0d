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
		}, inferenceFlags(), workFlags(), hubFlags()),
		Action: action(1, -1, judge),
	}
}

func judge(ctx context.Context, c *cli.Context, o *output) error {
	opts := quality.Options{Chunks: c.Int("chunks"), Chunk: c.Int("chunk"), Progress: func(what string, done, total int64) {
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
	for _, res := range r.Results {
		o.Emit(pipeline.Result{Type: "quality", Data: res})
		o.printf("%s: %s\n", res.Path, res.Summary())
	}
	return nil
}

// heldOut is the text that is judged: a file, or the one that comes with the pocket model.
func heldOut(path string) ([]byte, error) {
	if path != "" {
		return os.ReadFile(path)
	}
	return pocketText()
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
