package main

import (
	"context"
	"os"

	"quern/hfclient"
	"quern/pipeline"
	"quern/stages/plan"
	"quern/stages/publish"

	"github.com/urfave/cli/v2"
)

func publishCommand() *cli.Command {
	const (
		hub      = "Hub"
		registry = "Registry"
	)
	return &cli.Command{
		Name: "publish", Category: groupSteps, ArgsUsage: "DIR --to TARGET", Usage: "finished files to the Hub, an OCI registry, a folder, or a program of this machine",
		Description: "Verifies every file against its receipt first; files without receipts and hidden names stay. TARGET is one of\n" +
			"  hf:org/name[@branch]        a repository on the Hub, made private where it is new; card, checksums and receipts go along\n" +
			"  oci://registry/name[:tag]   an artifact that Docker Model Runner or Ollama pulls; without a tag each model gets its type\n" +
			"  dir:PATH                    a folder, by link where that can be\n" +
			"  ollama:NAME[:tag]           through the installed `ollama create`\n" +
			"  lmstudio:[publisher/name]   the folder of LM Studio's models, by link\n" +
			"  llama.cpp:[org/name]        the cache in which llama.cpp's -hf looks, by link\n" +
			"What is there already is not sent again: the same command continues one that was stopped.",
		Flags: join([]cli.Flag{
			&cli.StringSliceFlag{Name: "to", Usage: "`TARGET`; may be repeated"},
			&cli.StringSliceFlag{Name: "quant", Usage: "only the models of `TYPE,...`"},
			dryRunFlag(),
			&cli.BoolFlag{Name: "have-permission", Usage: "publish though the licence is not known to allow it: I have the right to"},
			&cli.BoolFlag{Name: "public", Usage: "a new repository is open to all, and one that is open is meant", Category: hub},
			&cli.StringFlag{Name: "message", Aliases: []string{"m"}, Usage: "`TEXT` of the commit", Category: hub},
			&cli.StringFlag{Name: "layout", Value: string(publish.DockerLayout), Usage: "`WHOSE` artifact: docker, ollama", Category: registry},
			&cli.StringFlag{Name: "template", Usage: "`FILE` with Ollama's chat template, for --layout ollama", Category: registry},
			&cli.BoolFlag{Name: "plain-http", Usage: "the registry speaks no HTTPS", Category: registry},
		}, uploadFlags()),
		Action: action(1, 1, publishFolder),
	}
}

// uploadFlags are those of hubFlags that mean something for what is sent.
func uploadFlags() []cli.Flag {
	var kept []cli.Flag
	for _, f := range hubFlags() {
		switch f.Names()[0] {
		case "connections", "limit-rate", "cache-dir":
			kept = append(kept, f)
		}
	}
	return kept
}

// publishFolder checks the whole folder before anything leaves this machine.
func publishFolder(ctx context.Context, c *cli.Context, o *output) error {
	var targets []publish.Target
	for _, s := range c.StringSlice("to") {
		t, err := publish.Parse(s)
		if err != nil {
			return err
		}
		targets = append(targets, t)
	}
	if len(targets) == 0 {
		return usagef("--to "+publish.Forms(), "--to says where the files go")
	}
	opts, err := publishOptions(c)
	if err != nil {
		return err
	}
	f, err := publish.Open(ctx, c.Args().First(), types(c.StringSlice("quant")), o)
	if err != nil {
		return err
	}
	o.clear()
	for _, name := range f.Left {
		o.Emit(pipeline.Line{Stage: "publish", Label: "stays", Text: name})
	}
	for _, t := range targets {
		d, err := publish.Send(ctx, f, t, opts, o)
		o.clear()
		if err != nil {
			return err
		}
		tellPublished(o, d)
	}
	return nil
}

// publishOptions reads where to, and what the user answers for.
func publishOptions(c *cli.Context) (publish.Options, error) {
	opts := publish.Options{Public: c.Bool("public"), Permission: c.Bool("have-permission"), DryRun: c.Bool("dry-run"), Message: c.String("message"),
		Layout: publish.Layout(c.String("layout")), PlainHTTP: c.Bool("plain-http"), Env: os.Getenv, Version: quernVersion()}
	if opts.Layout != publish.DockerLayout && opts.Layout != publish.OllamaLayout {
		return opts, usagef("use one of docker, ollama", "--layout %q is not known", opts.Layout)
	}
	var err error
	if name := c.String("template"); name != "" {
		if opts.Layout != publish.OllamaLayout {
			return opts, usagef("--layout ollama", "--template belongs to Ollama's layout: the other programs read the template in the file")
		}
		if opts.Template, err = os.ReadFile(name); err != nil {
			return opts, err
		}
	}
	opts.Hub, err = hubClientWith(c, func(*hfclient.Options) {})
	return opts, err
}

// tellPublished says what went where, and how it is used from there.
func tellPublished(o *output, d *publish.Done) {
	o.Emit(pipeline.Result{Type: "published", Data: d})
	verb := "%-13s %10s  %s\n"
	for _, m := range d.Moves {
		how := m.How
		if d.DryRun {
			how = "would go"
		} else if how == "" {
			how = "is there"
		}
		text := m.File
		if m.To != m.File {
			text += " -> " + m.To
		}
		o.printf(verb, how, plan.Size(m.Bytes), text)
	}
	done := "published"
	if d.DryRun {
		done = "planned  "
	}
	o.printf("%s %s", done, d.Target)
	if d.Version != "" {
		o.printf(" at %s", d.Version)
	}
	if !d.DryRun && d.Sent > 0 {
		o.printf(", %s sent", plan.Size(d.Sent))
	}
	o.printf("\n")
	if d.Run != "" {
		o.printf("run      %s\n", d.Run)
	}
}
