package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"quern/convert/fault"
	"quern/convert/gguf"
	"quern/pipeline"
	"quern/stages"
	"quern/stages/fit"
	"quern/stages/job"
	"quern/stages/record"

	"github.com/urfave/cli/v2"
)

// rebuilt is a receipt whose files came out with the same bytes again: the "rebuilt" result of --json.
type rebuilt struct {
	Receipt string              `json:"receipt"`
	Outputs []record.FileDigest `json:"outputs"`
}

// rebuild makes the files of a receipt again, in a folder of their own, from the source that the receipt pins, and compares
// digests: of the source first, so that a difference is blamed on what differs. The options are those of the receipt's own command
// line; a mixture of types is replayed as the receipt lists it, not searched for anew.
func rebuild(ctx context.Context, c *cli.Context, o *output, path string, r *record.Receipt) error {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".rebuild-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := stateOf(c, r)
	if err != nil {
		return err
	}
	defer s.Shut()
	if r.Imatrix != nil && s.Matrix != nil && s.Matrix.Digest != r.Imatrix.Digest {
		return &fault.Invalid{On: s.Matrix.File, Says: fmt.Sprintf("the importance matrix has digest %s, the receipt says %s", s.Matrix.Digest, r.Imatrix.Digest)}
	}
	s.Out = filepath.Join(dir, firstName(r, path))
	if err := pipeline.Run(ctx, stages.Build, s, o, pipeline.Options{}); err != nil {
		return err
	}
	if err := sameSource(ctx, s, r); err != nil {
		return err
	}
	if n := len(s.Files[0].SHA256); n != len(r.Outputs) {
		return &fault.Invalid{On: path, Says: fmt.Sprintf("made again it is %d files, the receipt names %d", n, len(r.Outputs))}
	}
	for i, sum := range s.Files[0].SHA256 {
		if r.Outputs[i].Digest != "sha256:"+sum {
			return &fault.Invalid{On: r.Outputs[i].Name, Says: "made again from the same source it has digest sha256:" + sum + ", the receipt says " + r.Outputs[i].Digest,
				Next: "the bytes hold for quern " + r.Quern + ", llama.cpp " + r.LlamaCpp + " and the platform " + r.Platform}
		}
	}
	o.Emit(pipeline.Result{Type: "rebuilt", Data: rebuilt{path, r.Outputs}})
	o.printf("rebuilt  %s: the same bytes\n", path)
	return nil
}

// stateOf is what made a receipt's files: its command line, its types, its source at the pinned commit.
func stateOf(c *cli.Context, r *record.Receipt) (*job.State, error) {
	again, err := contextOf(c, r.Arguments)
	if err != nil {
		return nil, err
	}
	s, err := newState(again, r.Source.Argument())
	if err != nil {
		return nil, err
	}
	if s.Policy, err = policyOptions(again); err != nil {
		return nil, err
	}
	if err := useImatrix(again, s); err != nil {
		return nil, err
	}
	if s.Split, err = splitting(again); err != nil {
		return nil, err
	}
	s.NoTower, s.NoSmoke, s.NoBench = true, true, true
	s.Types = []string{r.Type}
	switch again.Command.Name {
	case "convert":
		s.Make, s.Types = job.Converted, nil
	case "quantize":
		s.Make = job.Quantized
	}
	switch {
	case s.Adapter:
		s.Types = nil
	case r.Projector(): // a projector that was made beside its model
		s.Make, s.Types, s.Convert.Projector = job.Converted, nil, true
	case r.Recipe != nil:
		fit.Use(s, r.Mixture())
	}
	return s, nil
}

// firstName is the name that was asked for: that of the file, or of parts without their numbers.
func firstName(r *record.Receipt, path string) string {
	name := strings.TrimSuffix(filepath.Base(path), record.Suffix)
	if len(r.Outputs) > 1 {
		if stem, _, _, ok := gguf.ParseSplitName(name); ok {
			return stem + ".gguf"
		}
	}
	return name
}

// sameSource holds the digests of what was read now against the receipt's.
func sameSource(ctx context.Context, s *job.State, r *record.Receipt) error {
	now, _, err := record.Sources(ctx, s)
	if err != nil {
		return err
	}
	was := map[string]string{}
	for _, f := range r.Source.Files {
		was[f.Name] = f.Digest
	}
	for _, f := range now {
		switch d, ok := was[f.Name]; {
		case !ok:
			return &fault.Invalid{On: f.Name, Says: "the source has it, the receipt does not", Next: "the file was made from other bytes: rebuild it from those, or make it anew"}
		case d != f.Digest:
			return &fault.Invalid{On: f.Name, Says: fmt.Sprintf("the source's file has digest %s, the receipt says %s", f.Digest, d), Next: "the file was made from other bytes: rebuild it from those, or make it anew"}
		}
		delete(was, f.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(was)) {
		return &fault.Invalid{On: name, Says: "the receipt names it, the source does not have it"}
	}
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
