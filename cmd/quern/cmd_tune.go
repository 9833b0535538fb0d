package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"time"

	"quern/pipeline"
	"quern/quantize/llamacpp"
	"quern/quantize/machine"
	"quern/stages/record"
	"quern/stages/tune"

	"github.com/urfave/cli/v2"
)

func tuneCommand() *cli.Command {
	return &cli.Command{
		Name: "tune", Category: groupSteps, ArgsUsage: "FILE", Usage: "search threads, flash attention, cache type, micro-batch and batch for this machine",
		Flags: []cli.Flag{
			&cli.DurationFlag{Name: "budget", Value: 3 * time.Minute, Usage: "stop after `TIME`"},
			&cli.IntFlag{Name: "prompt", Value: 512, Usage: "`N` tokens of the measured prompt"},
			&cli.IntFlag{Name: "generate", Value: 64, Usage: "`N` tokens of the measured answer"},
			&cli.BoolFlag{Name: "cpu", Usage: "no layer on a GPU"},
			&cli.BoolFlag{Name: "grid", Usage: "measure the full grid too and compare, whatever time that takes"},
			&cli.BoolFlag{Name: "dry-run", Usage: "print what would be measured"},
		},
		Action: action(1, 1, tuneFile),
	}
}

// tuneFile measures within its budget. After Ctrl-C what was measured until then is told and recorded like a whole run.
func tuneFile(ctx context.Context, c *cli.Context, o *output) error {
	path, err := ggufFile(c.Args().First())
	if err != nil {
		return err
	}
	prompt, generate := c.Int("prompt"), c.Int("generate")
	if prompt < 1 || generate < 1 || c.Duration("budget") <= 0 {
		return usagef("", "--prompt, --generate and --budget take positive numbers")
	}
	m := machine.Detect(ctx, filepath.Dir(path))
	opts := tune.Options{Start: tune.Point{Threads: m.FastCores(), Flash: "on", KV: "f16", UBatch: 512, Batch: 2048}, Cores: max(m.Cores, 1), Prompt: prompt,
		Budget: c.Duration("budget"), Progress: func(t tune.Trial, spent, budget time.Duration) {
			o.Emit(pipeline.Progress{Stage: "tune", Item: t.Point.String(), Done: int64(min(spent, budget).Seconds()), Total: int64(budget.Seconds()), Unit: "s"})
		}}
	if c.Bool("dry-run") {
		for _, p := range tune.Grid(opts) {
			o.printf("%s\n", p)
		}
		return nil
	}
	child, err := startChild(ctx, c)
	if err != nil {
		return err
	}
	defer child.Close()
	loaded, err := child.Load(ctx, llamacpp.ModelOptions{Path: path, CPUOnly: c.Bool("cpu")})
	if err != nil {
		return err
	}
	if n := loaded.Positions; n > 0 && prompt > n {
		return usagef(fmt.Sprintf("--prompt %d is the most", n), "the model has positions for %d tokens", n)
	}
	measure := tune.InChild(child, loaded.Slot, prompt, generate)
	out, err := tune.Run(ctx, measure, opts)
	if err != nil {
		return err
	}
	printOutcome(out, o)
	keep(path, m, out, o)
	if c.Bool("grid") && !out.Interrupted {
		return compareGrid(ctx, measure, opts, out, o)
	}
	if out.Interrupted {
		return context.Canceled
	}
	return nil
}

// printOutcome shows the curve of each knob and the winner.
func printOutcome(out *tune.Outcome, o *output) {
	last := ""
	for _, t := range out.Trials {
		o.Emit(pipeline.Result{Type: "trial", Data: t})
		if t.Knob != last {
			o.printf("%s\n", t.Knob)
			last = t.Knob
		}
		mark := " "
		if t.Point == out.Best.Point {
			mark = "*"
		}
		if t.Failed != "" {
			o.printf("  %-52s %s\n", t.Point, t.Failed)
			continue
		}
		o.printf("%s %-52s %8.1f ms ± %.1f  x%.2f\n", mark, t.Point, 1000*t.Mean, 1000*t.Error, out.Default.Mean/t.Mean)
	}
	o.Emit(pipeline.Result{Type: "tuned", Data: out})
	switch {
	case out.Interrupted:
		o.printf("stopped after %.0f s; what was measured is kept\n", out.Seconds)
	case out.OutOfTime:
		o.printf("the budget of time is spent; a longer --budget searches on\n")
	}
	if out.Best.Point == out.Default.Point {
		o.printf("the default is the best: %s\n", out.Best.Point)
		return
	}
	o.printf("best %s: %.1f %% ± %.1f faster than the default, in %.0f s\n", out.Best.Point, 100*(out.Gain-1), 100*out.GainError, out.Seconds)
}

// keep writes the outcome to the records, from which plan, prepare and the run hint take it.
func keep(path string, m *machine.Machine, out *tune.Outcome, o *output) {
	r := record.New(m)
	r.Command, r.Model, r.Type, r.Path, r.Tuned = "tune", filepath.Base(path), "tune", path, out.Knobs()
	if err := record.Append(r); err != nil {
		o.Emit(pipeline.Warning{Stage: "tune", Says: "the record could not be kept: " + err.Error()})
	}
}

// gridLine is the search held against every combination: the "grid" result of --json.
type gridLine struct {
	Points  int        `json:"points"`
	Best    tune.Point `json:"best"`
	Seconds float64    `json:"seconds"`
	Loss    float64    `json:"loss"` // how much longer the search's best takes than the grid's, as a share
}

// compareGrid measures every combination and holds the search against its best.
func compareGrid(ctx context.Context, measure tune.Measure, opts tune.Options, out *tune.Outcome, o *output) error {
	start := time.Now()
	best, where := math.Inf(1), tune.Point{}
	points := tune.Grid(opts)
	for i, p := range points {
		samples, err := measure(ctx, p, 3)
		if errors.Is(err, context.Canceled) {
			return err
		}
		if err != nil {
			continue // a combination that cannot be run is no candidate
		}
		for _, s := range samples[1:] {
			samples[0] = min(samples[0], s)
		}
		if samples[0] < best {
			best, where = samples[0], p
		}
		o.Emit(pipeline.Progress{Stage: "grid", Item: p.String(), Done: int64(i + 1), Total: int64(len(points)), Unit: "points"})
	}
	again, err := measure(ctx, where, 9)
	if err != nil {
		return err
	}
	ours := again
	if out.Best.Point != where {
		if ours, err = measure(ctx, out.Best.Point, 9); err != nil {
			return err
		}
	}
	g := gridLine{Points: len(points), Best: where, Seconds: time.Since(start).Seconds(), Loss: lowest(ours)/lowest(again) - 1}
	o.Emit(pipeline.Result{Type: "grid", Data: g})
	o.printf("grid: best of %d is %s in %.0f s; the search's best takes %.1f %% more time and took %.0f %% of the grid's\n", g.Points, g.Best, g.Seconds,
		100*g.Loss, 100*out.Seconds/g.Seconds)
	return nil
}

// lowest is the bottom of a curve: bars are drawn from there, since differences are small beside the values.
func lowest(v []float64) float64 {
	n := math.Inf(1)
	for _, x := range v {
		n = min(n, x)
	}
	return n
}
