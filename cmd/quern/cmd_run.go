package main

import (
	"context"
	"fmt"
	"strings"

	"quern/pipeline"
	"quern/quantize/llamacpp"
	"quern/quantize/llamacpp/worker"
	"quern/stages/smoke"

	"github.com/urfave/cli/v2"
)

// workerCommand is the inside of the child process; users never call it.
func workerCommand() *cli.Command {
	return &cli.Command{Name: workerName, Hidden: true, Action: func(c *cli.Context) error { return worker.Main(c.Context) }}
}

// workerOf is how the binary starts itself for inference.
func workerOf(c *cli.Context) llamacpp.WorkerCommand {
	return llamacpp.WorkerCommand{Args: []string{workerName}, Stall: c.Duration("stall")}
}

func stallFlag() cli.Flag {
	return &cli.DurationFlag{Name: "stall", Usage: "stop the inference process after `TIME` without a sign of life (default 10m)", Category: "Inference"}
}

// startChild starts an inference process for a file.
func startChild(ctx context.Context, c *cli.Context) (*llamacpp.Child, error) {
	rt, err := findRuntime(c)
	if err != nil {
		return nil, err
	}
	return llamacpp.Start(ctx, rt, workerOf(c), llamacpp.StartOptions{})
}

func inferenceFlags() []cli.Flag {
	const cat = "Inference"
	return []cli.Flag{
		&cli.IntFlag{Name: "threads", Aliases: []string{"t"}, Usage: "`N` threads (default: the fast cores)", Category: cat},
		&cli.BoolFlag{Name: "cpu", Usage: "no layer on a GPU", Category: cat},
		&cli.StringFlag{Name: "flash-attn", Value: "auto", Usage: "`WHEN`: auto, on, off", Category: cat},
		stallFlag(),
	}
}

// modelOptions are the settings under which a file is loaded and evaluated.
func modelOptions(c *cli.Context, path string) (llamacpp.ModelOptions, llamacpp.ContextOptions) {
	return llamacpp.ModelOptions{Path: path, CPUOnly: c.Bool("cpu")}, llamacpp.ContextOptions{Threads: c.Int("threads"), Flash: c.String("flash-attn")}
}

func smokeCommand() *cli.Command {
	return &cli.Command{
		Name: "smoke", Category: groupSteps, ArgsUsage: "FILE", Usage: "load, generate, look for the known failure modes",
		Description: describeChecks(),
		Flags: join([]cli.Flag{
			&cli.StringFlag{Name: "against", Usage: "`FILE` of the source precision to compare with"},
			&cli.StringFlag{Name: "mmproj", Usage: "`FILE` of the vision or audio part to try beside the model"},
			&cli.StringFlag{Name: "checks", Usage: "make only `NAME,...` of the checks above; " + smoke.Untrained + " for random weights (default: all that fit the model)"},
		}, inferenceFlags()),
		Action: action(1, 1, smokeFile),
	}
}

// describeChecks lists the checks by name; a star marks those that random weights cannot pass.
func describeChecks() string {
	var b strings.Builder
	b.WriteString("Each model gets the checks that fit it. A star marks those that only trained weights pass; --checks " + smoke.Untrained + " leaves them out.\n")
	for _, k := range smoke.Kinds() {
		star := ' '
		if k.Trained {
			star = '*'
		}
		fmt.Fprintf(&b, "\n%-10s %c %s", k.Name, star, k.Judges)
	}
	return b.String()
}

// smokeFile tries a file that is there already. A failed check is an exit code of its own, and all results are shown first.
func smokeFile(ctx context.Context, c *cli.Context, o *output) error {
	path, err := ggufFile(c.Args().First())
	if err != nil {
		return err
	}
	checks, err := smoke.ParseChecks(c.String("checks"))
	if err != nil {
		return err
	}
	child, err := startChild(ctx, c)
	if err != nil {
		return err
	}
	defer child.Close()
	opts := smoke.Options{Source: c.String("against"), Checks: checks, Projector: c.String("mmproj")}
	opts.Model, opts.Context = modelOptions(c, path)
	r, err := smoke.Try(ctx, child, opts)
	if err != nil {
		return err
	}
	o.Emit(pipeline.Result{Type: "smoke", Data: smoke.Outcome{Path: path, OK: r.Count(smoke.Failed) == 0, Report: r}})
	for _, k := range r.Checks {
		o.printf("%-8s %-18s %s%s\n", k.State, k.Name, k.Value, limit(k.Limit))
	}
	return r.Err(path)
}

// limit is the bound that a value was held against, where the check has one.
func limit(s string) string {
	if s == "" {
		return ""
	}
	return "  (" + s + ")"
}
