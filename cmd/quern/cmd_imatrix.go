package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"quern/convert/gguf"
	"quern/pipeline"
	"quern/quantize/imatrix"
	"quern/stages/importance"
	"quern/stages/source/calibration"

	"github.com/urfave/cli/v2"
)

func imatrixCommand() *cli.Command {
	return &cli.Command{
		Name: "imatrix", Category: groupSteps, ArgsUsage: "FILE", Usage: "an importance matrix from a text; or merge matrices with --merge",
		Flags: join([]cli.Flag{
			&cli.StringFlag{Name: "text", Usage: "calibration text from `FILE` (default: one that ships, of several subjects and languages)"},
			&cli.StringFlag{Name: "out", Aliases: []string{"o"}, Usage: "`PATH` of the matrix (default: FILE's name with .imatrix.gguf); an unfinished one is continued"},
			&cli.IntFlag{Name: "chunks", Usage: "`N` chunks at most (default all)"},
			&cli.IntFlag{Name: "chunk", Usage: "`N` tokens a chunk (default 512)"},
			&cli.BoolFlag{Name: "process-output", Usage: "for output.weight too"},
			&cli.StringSliceFlag{Name: "merge", Usage: "add up matrices of one model from `FILE`; may be repeated"},
		}, inferenceFlags()),
		Action: action(0, 1, computeImatrix),
	}
}

// computeImatrix evaluates a text, or adds matrices up: both end in one file of the form that was asked for.
func computeImatrix(ctx context.Context, c *cli.Context, o *output) error {
	if files := types(c.StringSlice("merge")); len(files) > 0 {
		return mergeImatrices(c, o, files)
	}
	if c.NArg() != 1 {
		return usagef("`quern imatrix FILE`, or `quern imatrix --merge A --merge B -o OUT`", "no model is named")
	}
	path, err := ggufFile(c.Args().First())
	if err != nil {
		return err
	}
	plan, err := readPlan(path)
	if err != nil {
		return err
	}
	opts := importance.Options{Chunks: c.Int("chunks"), Output: c.Bool("process-output"), Path: c.String("out"), Dataset: calibration.Name,
		Progress: func(done, total int) {
			o.Emit(pipeline.Progress{Stage: "imatrix", Done: int64(done), Total: int64(total), Unit: "chunks"})
		}}
	opts.Model, opts.Context = modelOptions(c, path)
	opts.Context.Context = c.Int("chunk")
	if opts.Path == "" {
		opts.Path = strings.TrimSuffix(path, filepath.Ext(path)) + ".imatrix.gguf"
	}
	if t := c.String("text"); t != "" {
		opts.Dataset = t
	}
	if opts.Text, err = calibrationText(c.String("text")); err != nil {
		return err
	}
	child, err := startChild(ctx, c)
	if err != nil {
		return err
	}
	defer child.Close()
	o.Emit(pipeline.Started{Stage: "imatrix", Says: path})
	r, err := importance.Compute(ctx, child, plan, opts)
	if err != nil {
		return err
	}
	o.Emit(pipeline.Finished{Stage: "imatrix", State: pipeline.OK})
	o.Emit(pipeline.Result{Type: "imatrix", Data: r})
	for _, l := range r.Coverage.Lines() {
		o.printf("%s\n", l)
	}
	o.printf("wrote    %s: %d entries from %d chunks\n", r.Path, r.Entries, r.Chunks)
	return nil
}

// calibrationText is a text of the user's, or the one that ships.
func calibrationText(path string) ([]byte, error) {
	if path != "" {
		return os.ReadFile(path)
	}
	return calibration.Text()
}

// readPlan reads the header alone: names and shapes are what coverage is counted against.
func readPlan(path string) (*gguf.Plan, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	g, err := gguf.Read(filepath.Base(path), f, fi.Size())
	if err != nil {
		return nil, err
	}
	return &g.Plan, nil
}

// mergedLine is a sum of matrices: the "merged" result of --json.
type mergedLine struct {
	Path string   `json:"path"`
	Of   []string `json:"of"`
}

// mergeImatrices adds the sums of several runs, so that a long text can be evaluated in parts and on several machines.
func mergeImatrices(c *cli.Context, o *output, files []string) error {
	out := c.String("out")
	if out == "" {
		return usagef("add -o OUT", "the merged matrix has no name")
	}
	var all []*imatrix.Matrix
	for _, f := range files {
		m, err := importance.ReadFile(f)
		if err != nil {
			return err
		}
		all = append(all, m)
	}
	if err := importance.MergeFiles(out, all...); err != nil {
		return err
	}
	o.Emit(pipeline.Result{Type: "merged", Data: mergedLine{out, files}})
	o.printf("wrote    %s: the sum of %d matrices\n", out, len(files))
	return nil
}
