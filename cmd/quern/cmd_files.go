package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"quern/pipeline"
	"quern/stages"
	"quern/stages/job"
	"quern/stages/plan"

	"github.com/urfave/cli/v2"
)

func splitCommand() *cli.Command {
	return &cli.Command{
		Name: "split", Category: groupFiles, ArgsUsage: "FILE [OUT]", Usage: "cut a GGUF file into parts OUT-00001-of-0000N.gguf, as llama-gguf-split",
		Flags:  join([]cli.Flag{&cli.StringFlag{Name: "out", Aliases: []string{"o"}, Usage: "`PATH` of the parts without numbers (default: the file's)"}, dryRunFlag()}, splitFlags(), workFlags()),
		Action: action(1, 2, splitFile),
	}
}

// splitFile cuts between tensors as llama-gguf-split does: the same parts with the same names.
func splitFile(ctx context.Context, c *cli.Context, o *output) error {
	s, err := newState(c, c.Args().First())
	if err != nil {
		return err
	}
	if s.Split, err = splitting(c); err != nil {
		return err
	}
	if s.Split.MaxTensors > 0 && s.Split.MaxBytes > 0 {
		return usagef("", "--split-max-tensors and --split-max-size exclude one another")
	}
	if c.IsSet("split-max-tensors") && s.Split.MaxTensors == 0 || c.IsSet("split-max-size") && s.Split.MaxBytes == 0 {
		return usagef("", "parts of nothing cannot be made: a bound is positive")
	}
	out := outArgument(c, strings.TrimSuffix(c.Args().First(), filepath.Ext(c.Args().First())))
	if err := plan.SplitFile(s, out); err != nil {
		return err
	}
	for _, l := range plan.Lines(s) {
		o.printf("%s\n", l)
	}
	return writeFiles(ctx, c, o, s)
}

func mergeCommand() *cli.Command {
	return &cli.Command{
		Name: "merge", Category: groupFiles, ArgsUsage: "FIRST-PART OUT", Usage: "make one GGUF file of all parts of a split model",
		Flags: join([]cli.Flag{&cli.StringFlag{Name: "out", Aliases: []string{"o"}, Usage: "`FILE` to write"}, dryRunFlag(),
			&cli.BoolFlag{Name: "force", Usage: "write over a file that is there"}}, workFlags()),
		Action: action(1, 2, mergeFiles),
	}
}

// mergeFiles finds the other parts by the name of the first, and checks that they belong together.
func mergeFiles(ctx context.Context, c *cli.Context, o *output) error {
	s, err := newState(c, c.Args().First())
	if err != nil {
		return err
	}
	out := outArgument(c, "")
	if out == "" {
		return usagef("`quern merge FIRST-PART OUT`", "the merged file has no name")
	}
	if _, err := os.Stat(out); err == nil && !c.Bool("force") {
		return usagef("choose another name, or --force to write over it", "%s is there already", out)
	}
	if err := plan.MergeFiles(s, out); err != nil {
		return err
	}
	return writeFiles(ctx, c, o, s)
}

// outArgument takes the name of the result from --out, or from the second argument as llama-gguf-split does.
func outArgument(c *cli.Context, otherwise string) string {
	if v := c.String("out"); v != "" {
		return v
	}
	if c.NArg() > 1 {
		return c.Args().Get(1)
	}
	return otherwise
}

// copied is a file with the tensors of its source: the "copied" result of --json.
type copied struct {
	Path   string `json:"path"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256,omitempty"` // where the whole file was written
}

// writeFiles builds planned files without receipts: their tensors are those of the source.
func writeFiles(ctx context.Context, c *cli.Context, o *output, s *job.State) error {
	if err := pipeline.Run(ctx, stages.Copy, s, o, pipeline.Options{DryRun: c.Bool("dry-run")}); err != nil {
		return err
	}
	if c.Bool("dry-run") {
		return nil
	}
	for _, a := range s.Files {
		for i, p := range a.Paths {
			o.Emit(pipeline.Result{Type: "copied", Data: copied{p, a.Plans[i].FileSize, a.SHA256[i]}})
			o.printf("wrote    %s\n", p)
		}
	}
	return nil
}
