package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"quern/pipeline"
	"quern/quantize/llamacpp"
	"quern/quantize/llamacpp/worker"
	"quern/stages/bench"
	"quern/stages/smoke"

	"github.com/urfave/cli/v2"
)

// workerCommand is the inside of the child process; users never call it.
func workerCommand() *cli.Command {
	return &cli.Command{Name: workerName, Hidden: true, Action: func(c *cli.Context) error { return worker.Main(c.Context) }}
}

// startChild starts an inference process for a file.
func startChild(ctx context.Context, c *cli.Context) (*llamacpp.Child, error) {
	rt, err := findRuntime(c)
	if err != nil {
		return nil, err
	}
	return llamacpp.Start(ctx, rt, llamacpp.WorkerCommand{Args: []string{workerName}}, llamacpp.StartOptions{})
}

func inferenceFlags() []cli.Flag {
	const cat = "Inference"
	return []cli.Flag{
		&cli.IntFlag{Name: "threads", Aliases: []string{"t"}, Usage: "`N` threads (default: the fast cores)", Category: cat},
		&cli.BoolFlag{Name: "cpu", Usage: "no layer on a GPU", Category: cat},
		&cli.StringFlag{Name: "flash-attn", Value: "auto", Usage: "`WHEN`: auto, on, off", Category: cat},
	}
}

func modelOptions(c *cli.Context, path string) (llamacpp.ModelOptions, llamacpp.ContextOptions) {
	return llamacpp.ModelOptions{Path: path, CPUOnly: c.Bool("cpu")}, llamacpp.ContextOptions{Threads: c.Int("threads"), Flash: c.String("flash-attn")}
}

func smokeCommand() *cli.Command {
	return &cli.Command{
		Name: "smoke", Category: groupSteps, ArgsUsage: "FILE", Usage: "load, generate, look for the known failure modes",
		Flags:  join([]cli.Flag{&cli.StringFlag{Name: "against", Usage: "`FILE` of the source precision to compare with"}}, inferenceFlags()),
		Action: action(1, 1, smokeFile),
	}
}

func smokeFile(ctx context.Context, c *cli.Context, o *output) error {
	path, err := ggufFile(c.Args().First())
	if err != nil {
		return err
	}
	child, err := startChild(ctx, c)
	if err != nil {
		return err
	}
	defer child.Close()
	opts := smoke.Options{Source: c.String("against")}
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

func limit(s string) string {
	if s == "" {
		return ""
	}
	return "  (" + s + ")"
}

func benchCommand() *cli.Command {
	return &cli.Command{
		Name: "bench", Category: groupSteps, ArgsUsage: "FILE", Usage: "prompt and generation speed, memory; as llama-bench measures them",
		Flags: join([]cli.Flag{
			&cli.StringFlag{Name: "pp", Value: "512", Usage: "`N,...` prompt lengths; 0 for none"},
			&cli.StringFlag{Name: "tg", Value: "128", Usage: "`N,...` generation lengths; 0 for none"},
			&cli.StringFlag{Name: "depth", Value: "0", Usage: "`N,...` tokens in the cache before the clock starts"},
			&cli.IntFlag{Name: "batch", Usage: "`N` tokens submitted at once (default 2048)"},
			&cli.IntFlag{Name: "ubatch", Usage: "`N` tokens computed at once (default 512)"},
			&cli.IntFlag{Name: "repetitions", Aliases: []string{"r"}, Usage: "`N` of each test at least (default 5)"},
			&cli.StringFlag{Name: "target", Usage: "repeat until the interval is within `P%` (default 2%)"},
		}, inferenceFlags()),
		Action: action(1, 1, benchFile),
	}
}

func benchFile(ctx context.Context, c *cli.Context, o *output) error {
	path, err := ggufFile(c.Args().First())
	if err != nil {
		return err
	}
	opts, err := benchOptions(c, path, o)
	if err != nil {
		return err
	}
	child, err := startChild(ctx, c)
	if err != nil {
		return err
	}
	defer child.Close()
	o.Emit(pipeline.Started{Stage: "bench", Says: path})
	r, err := bench.Measure(ctx, child, opts)
	if err != nil {
		return err
	}
	o.Emit(pipeline.Finished{Stage: "bench", State: pipeline.OK})
	for _, t := range r.Results {
		o.Emit(pipeline.Result{Type: "bench", Data: bench.Line{Path: path, Result: t}})
		o.printf("%-16s %10.2f t/s ± %.1f %%  mean %.2f, %d runs, %d threads\n", t.Name, t.TokensPerSecond, 100*t.Spread, t.Mean, len(t.Samples), t.Threads)
	}
	o.printf("load %.2f s, peak memory %.0f MB\n", r.LoadSeconds, float64(r.PeakRSS)/1e6)
	if r.Busy() {
		o.Emit(pipeline.Warning{Stage: "bench", Says: "the repetitions differ too much to be recorded: the machine has other work", Next: "measure again when it is quiet"})
	}
	return nil
}

func benchOptions(c *cli.Context, path string, o *output) (bench.Options, error) {
	opts := bench.Options{Repetitions: c.Int("repetitions"), Progress: func(t bench.Test, done, total int) {
		o.Emit(pipeline.Progress{Stage: "bench", Item: t.String(), Done: int64(done), Total: int64(total), Unit: "runs"})
	}}
	opts.Model, opts.Context = modelOptions(c, path)
	opts.Context.Batch, opts.Context.UBatch = c.Int("batch"), c.Int("ubatch")
	if t := c.String("target"); t != "" {
		f, err := strconv.ParseFloat(strings.TrimSuffix(t, "%"), 64)
		if err != nil || f <= 0 || f >= 100 {
			return opts, usagef("write a share such as 2%", "--target %q is not a share", t)
		}
		opts.Target = f / 100
	}
	lists := map[string][]int{}
	for _, name := range []string{"pp", "tg", "depth"} {
		ns, err := numbers(name, c.String(name))
		if err != nil {
			return opts, err
		}
		lists[name] = ns
	}
	for _, d := range lists["depth"] {
		for _, n := range lists["pp"] {
			if n > 0 {
				opts.Tests = append(opts.Tests, bench.Test{Prompt: n, Depth: d})
			}
		}
		for _, n := range lists["tg"] {
			if n > 0 {
				opts.Tests = append(opts.Tests, bench.Test{Generate: n, Depth: d})
			}
		}
	}
	if len(opts.Tests) == 0 {
		return opts, usagef("give --pp or --tg a length", "nothing is to be measured")
	}
	return opts, nil
}

// numbers reads a list of lengths.
func numbers(option, list string) ([]int, error) {
	var ns []int
	for w := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(w))
		if err != nil || n < 0 || n > 1<<24 {
			return nil, usagef(fmt.Sprintf("write lengths such as --%s 512,1024", option), "--%s %q: %q is not a length", option, list, w)
		}
		ns = append(ns, n)
	}
	return ns, nil
}
