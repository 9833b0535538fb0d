package main

import (
	"context"
	"path/filepath"
	"strings"

	"quern/stages"
	"quern/stages/job"
	"quern/stages/plan"
	"quern/stages/source"

	"github.com/urfave/cli/v2"
)

func loraFlags() []cli.Flag {
	const cat = "Adapter"
	return []cli.Flag{
		&cli.StringFlag{Name: "lora", Usage: "`ADAPTER`: a PEFT adapter's folder or repository, in place of a model", Category: cat},
		&cli.StringFlag{Name: "base", Usage: "`MODEL` that the adapter was made for (default: the one that it names)", Category: cat},
	}
}

// subject is what a command works on: its argument, or the adapter that stands in its place.
func subject(c *cli.Context) (string, error) {
	adapter, n := c.String("lora"), c.NArg()
	switch {
	case adapter == "" && c.String("base") != "":
		return "", usagef("`quern "+c.Command.Name+" --lora ADAPTER --base MODEL`", "--base belongs to --lora")
	case adapter == "" && n == 0:
		return "", usagef("`quern "+c.Command.Name+" --help` shows the form", "`quern %s %s` is the form; no argument was given", c.Command.FullName(), c.Command.ArgsUsage)
	case adapter != "" && n > 0:
		return "", usagef("the base of an adapter is named with --base", "--lora %s and %s cannot both be converted", adapter, c.Args().First())
	case adapter != "":
		return adapter, nil
	}
	return c.Args().First(), nil
}

// adapt makes a state speak of an adapter where --lora names one. Adapters are F32 unless a type is named, as the
// reference writes them.
func adapt(c *cli.Context, s *job.State) {
	if c.String("lora") == "" {
		return
	}
	s.Adapter, s.Base, s.Make, s.Label = true, c.String("base"), job.Converted, "-LoRA"
	if !c.IsSet("type") {
		s.Convert.Type = ""
	}
}

// prepareAdapter makes a LoRA file and tries it on its base, which is prepared first unless it is a GGUF file.
func prepareAdapter(ctx context.Context, c *cli.Context, o *output, adapter string) error {
	s, err := newState(c, adapter)
	if err != nil {
		return err
	}
	if isGGUFName(s.Out) {
		return usagef("name a folder: the base's file and the adapter's go into it", "-o %s is one file", s.Out)
	}
	if s.NoSmoke, s.Force = c.Bool("no-smoke"), c.Bool("force"); s.NoSmoke {
		return runStages(ctx, c, o, s, stages.Adapter)
	}
	base, err := plan.BaseName(ctx, s)
	if err != nil {
		return err
	}
	src, err := source.Parse(base)
	if err != nil {
		return err
	}
	if s.OnBase = src.Path; src.Kind != source.GGUF {
		b, err := prepared(ctx, c, o, base)
		if err != nil {
			return err
		}
		s.OnBase = b.Files[0].Path
	}
	return runStages(ctx, c, o, s, stages.Adapter)
}

// prepared makes the base as `quern prepare MODEL` with the same options does.
func prepared(ctx context.Context, c *cli.Context, o *output, base string) (*job.State, error) {
	s, err := newState(c, base)
	if err != nil {
		return nil, err
	}
	s.Adapter, s.Base, s.Make, s.Label = false, "", job.Recommended, ""
	s.Args = withoutAdapter(s.Args, base)
	if err := ask(c, s); err != nil {
		return nil, err
	}
	return s, runStages(ctx, c, o, s, stages.Prepare)
}

// withoutAdapter is the command line that makes the base alone: what its receipt keeps.
func withoutAdapter(args []string, base string) []string {
	var out []string
	for i := 0; i < len(args); i++ {
		name, _, joined := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		if strings.HasPrefix(args[i], "-") && (name == "lora" || name == "base") {
			if !joined {
				i++
			}
			continue
		}
		out = append(out, args[i])
	}
	return append(out, base)
}

func isGGUFName(p string) bool { return strings.EqualFold(filepath.Ext(p), ".gguf") }
