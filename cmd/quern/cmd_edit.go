package main

import (
	"context"
	"os"
	"strings"

	"quern/pipeline"
	"quern/stages/edit"
	"quern/stages/job"
	"quern/stages/record"

	"github.com/urfave/cli/v2"
)

// words is a repeated option whose values may hold commas.
type words []string

// Set takes one more value.
func (w *words) Set(s string) error { *w = append(*w, s); return nil }

// String is what help shows.
func (w *words) String() string { return strings.Join(*w, " ") }

func editCommand() *cli.Command {
	return &cli.Command{
		Name: "edit", Category: groupFiles, ArgsUsage: "FILE", Usage: "change the metadata of a GGUF file; its data does not move where the new header fits",
		Flags: join([]cli.Flag{
			&cli.GenericFlag{Name: "set", Usage: "`KEY=TYPE:VALUE` to set (u32, f32, str, bool, str[], ...); may be repeated", Value: &words{}},
			&cli.GenericFlag{Name: "delete", Usage: "`KEY` to take out; may be repeated", Value: &words{}},
			&cli.GenericFlag{Name: "rename", Usage: "`OLD=NEW` name of a key; may be repeated", Value: &words{}},
			&cli.StringFlag{Name: "out", Aliases: []string{"o"}, Usage: "`FILE` to write in place of changing the one that is there"},
			dryRunFlag(), &cli.BoolFlag{Name: "force", Usage: "write over a file that is there"},
		}, workFlags()),
		Action: action(1, 1, editFile),
	}
}

// editFile writes a new file, or changes one in place where its padding has room for the new header.
func editFile(ctx context.Context, c *cli.Context, o *output) error {
	s, err := newState(c, c.Args().First())
	if err != nil {
		return err
	}
	defer s.Shut()
	e, err := edits(c)
	if err != nil {
		return err
	}
	out := c.String("out")
	if _, err := os.Stat(out); out != "" && err == nil && !c.Bool("force") {
		return usagef("choose another name, or --force to write over it", "%s is there already", out)
	}
	r, err := edit.Plan(s, e, out)
	if err != nil {
		return err
	}
	for _, n := range r.Notes {
		o.Emit(pipeline.Warning{Stage: "edit", Says: n})
	}
	if _, err := os.Stat(s.Source.Path + record.Suffix); err == nil && out == "" {
		o.Emit(pipeline.Warning{Stage: "edit", Says: "the receipt beside the file tells of it as it was before"})
	}
	if !r.InPlace {
		o.printf("the data moves from %d to %d\n", r.File.DataOffset, r.Plan.DataOffset)
		return writeFiles(ctx, c, o, s)
	}
	return editInPlace(c, o, s, r)
}

// edits reads the changes by their kinds; package edit says in which order they are made.
func edits(c *cli.Context) (e edit.Edits, err error) {
	e.Delete = *c.Generic("delete").(*words)
	for _, v := range *c.Generic("set").(*words) {
		kv, err := edit.ParseSet(v)
		if err != nil {
			return e, usagef(hintOf(err), "--set: %s", err)
		}
		e.Set = append(e.Set, kv)
	}
	for _, v := range *c.Generic("rename").(*words) {
		r, err := edit.ParseRename(v)
		if err != nil {
			return e, usagef("", "--rename: %s", err)
		}
		e.Rename = append(e.Rename, r)
	}
	if len(e.Delete)+len(e.Set)+len(e.Rename) == 0 {
		return e, usagef("--set, --delete or --rename says what", "nothing is to be changed")
	}
	return e, nil
}

// editInPlace writes the header alone, where the new one fits into the room of the old.
func editInPlace(c *cli.Context, o *output, s *job.State, r *edit.Result) error {
	o.printf("the data stays at %d\n", r.Plan.DataOffset)
	if c.Bool("dry-run") {
		return nil
	}
	if err := edit.Rewrite(s.Source.Path, &r.Plan); err != nil {
		return err
	}
	o.Emit(pipeline.Result{Type: "copied", Data: copied{Path: s.Source.Path, Bytes: r.Plan.FileSize}})
	o.printf("wrote    %s\n", s.Source.Path)
	return nil
}
