package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"quern/convert/fault"
	"quern/pipeline"
	"quern/stages"
	"quern/stages/job"
	"quern/stages/record"

	"github.com/urfave/cli/v2"
)

// rebuild makes the files of a receipt again, in a folder of their own, from the source that the receipt pins, and compares
// digests. The options are those of the receipt's own command line.
func rebuild(ctx context.Context, c *cli.Context, o *output, path string, r *record.Receipt) error {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".rebuild-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	again, err := contextOf(c, r.Arguments)
	if err != nil {
		return err
	}
	s, err := newState(again, r.Source.Argument())
	if err != nil {
		return err
	}
	defer s.Shut()
	if s.Policy, err = policyOptions(again); err != nil {
		return err
	}
	if err := useImatrix(again, s); err != nil {
		return err
	}
	s.Out, s.Types = filepath.Join(dir, strings.TrimSuffix(filepath.Base(path), record.Suffix)), []string{r.Type}
	switch again.Command.Name {
	case "convert":
		s.Make, s.Types = job.Converted, nil
	case "quantize":
		s.Make = job.Quantized
	}
	switch s.NoTower = true; {
	case s.Adapter:
		s.Types = nil
	case r.Projector(): // a projector that was made beside its model
		s.Make, s.Types, s.Convert.Projector = job.Converted, nil, true
	}
	s.NoSmoke, s.NoBench = true, true
	if err := pipeline.Run(ctx, stages.Build, s, o, pipeline.Options{}); err != nil {
		return err
	}
	for i, sum := range s.Files[0].SHA256 {
		if i >= len(r.Outputs) || r.Outputs[i].Digest != "sha256:"+sum {
			return &fault.Invalid{On: path, Says: "made again from its source the file has digest sha256:" + sum,
				Next: "the kernel's bits hold for " + r.Platform + " and llama.cpp " + r.LlamaCpp}
		}
	}
	o.printf("rebuilt  %s: the same bytes\n", path)
	return nil
}

// contextOf parses a receipt's command line.
func contextOf(c *cli.Context, args []string) (*cli.Context, error) {
	var got *cli.Context
	app := newApp()
	for _, cmd := range app.Commands {
		cmd.Action = func(c *cli.Context) error { got = c; return nil }
	}
	ordered, err := reorder(app, append([]string{"quern"}, args...))
	if err != nil {
		return nil, err
	}
	if err := app.RunContext(c.Context, ordered); err != nil {
		return nil, err
	}
	if got == nil {
		return nil, &fault.Invalid{On: "receipt", Says: "its arguments are no command that makes files"}
	}
	return got, nil
}
