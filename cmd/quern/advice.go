package main

import (
	"context"
	"fmt"

	"quern/pipeline"
	"quern/quantize/recommend"
	"quern/stages/job"
	"quern/stages/plan"
	"quern/stages/record"

	"github.com/urfave/cli/v2"
)

// printAdvice is the rest of the plan, most important first: why each value, how to run it, then the types that were weighed and
// where the memory of the choice goes.
func printAdvice(s *job.State, o *output) {
	a := s.Advice
	if a == nil {
		return
	}
	line := func(label, format string, args ...any) { o.printf("%-9s%s\n", label, fmt.Sprintf(format, args...)) }
	for _, r := range a.Reasons {
		if r.About != "type" && r.About != "better" { // they stand above
			line(r.About, "%s", r.Says)
		}
	}
	if a.Runs {
		sp := a.Speed
		line("speed", "%.1f tokens/s, nine in ten between %.1f and %.1f; prompts %.0f tokens/s (%s)", sp.Generation, sp.Low, sp.High, sp.Prefill, sp.Confidence)
		if len(s.Files) > 0 {
			line("run", "%s", record.HowToRun(s, s.Files[0]))
		}
	}
	printTypes(a, o)
	if !a.Runs {
		return
	}
	o.printf("\n")
	for _, c := range plan.Components(s) {
		o.Emit(pipeline.Result{Type: "component", Data: c})
		o.printf("  %-24s %9s  %s\n", c.Name, recommend.Size(c.Bytes), c.Note)
	}
	o.printf("  %-24s %9s\n", "total", recommend.Size(a.Memory.Total()))
}

// printTypes is the table of types with the reasons against all but the choice.
func printTypes(a *recommend.Choice, o *output) {
	o.printf("\n  %-9s %9s %5s %9s  %-5s %8s %7s\n", "type", "weights", "bits", "memory", "fit", "tokens/s", "KL div")
	for _, r := range a.Rows {
		mark, why := " ", r.Reason
		if r.Type == a.Type {
			mark, why = "*", "chosen"
			if !a.Runs {
				why = recommend.Size(r.Memory.Total()-a.Budget) + " over the budget"
			}
		}
		o.printf("%s %-9s %9s %5.2f %9s  %-5s %8.1f %7.4f  %s\n", mark, r.Type, recommend.Size(r.Weights), r.BPW, recommend.Size(r.Memory.Total()), r.Fit,
			r.Speed.Generation, r.KLD, why)
	}
}

// printMore prints what was asked for beyond the plan.
func printMore(c *cli.Context, s *job.State, o *output) error {
	asked := c.Bool("matrix") || c.Bool("explain") || c.Bool("modelfile") || c.Int("finetune") > 0
	if !asked {
		return nil
	}
	if s.Advice == nil {
		return usagef("", "--matrix, --explain, --modelfile and --finetune need a model with layers to weigh")
	}
	if c.Bool("explain") {
		o.printf("\n")
		for _, l := range s.Advice.Explain(s.Machine, s.Shape) {
			o.Emit(pipeline.Result{Type: "formula", Data: textLine{l}})
			o.printf("%s\n", l)
		}
	}
	if c.Bool("matrix") {
		cells, err := plan.Matrix(s)
		if err != nil {
			return err
		}
		printMatrix(cells, o)
	}
	if c.Bool("modelfile") {
		file := s.Advice.Setting.Modelfile(s.Files[0].Path)
		o.Emit(pipeline.Result{Type: "modelfile", Data: textLine{file}})
		o.printf("\n%s", file)
	}
	if rank := c.Int("finetune"); rank > 0 {
		printTuning(s, int64(rank), o)
	}
	return nil
}

// printMatrix has a row for each type and a column for each context.
func printMatrix(cells []recommend.Cell, o *output) {
	var contexts []int64
	rows := map[string][]recommend.Cell{}
	var types []string
	for _, c := range cells {
		o.Emit(pipeline.Result{Type: "cell", Data: c})
		if len(contexts) == 0 || contexts[len(contexts)-1] != c.Context {
			contexts = append(contexts, c.Context)
		}
		if rows[c.Type] == nil {
			types = append(types, c.Type)
		}
		rows[c.Type] = append(rows[c.Type], c)
	}
	o.printf("\n  %-9s", "type")
	for _, ctx := range contexts {
		o.printf(" %16d", ctx)
	}
	o.printf("\n")
	for _, t := range types {
		o.printf("  %-9s", t)
		for _, c := range rows[t] {
			o.printf(" %9s %-6s", recommend.Size(c.Memory), c.Fit)
		}
		o.printf(" %6.1f tokens/s\n", rows[t][0].Generation)
	}
}

func printTuning(s *job.State, rank int64, o *output) {
	const tokens = 2048
	o.printf("\n%-9s %5s %10s %10s %10s %10s\n", "training", "rank", "base", "adapter", "working", "total")
	for _, t := range s.Shape.Finetune(rank, tokens) {
		o.Emit(pipeline.Result{Type: "finetune", Data: t})
		fit := "does not fit"
		if t.Total <= s.Advice.Budget {
			fit = "fits"
		}
		o.printf("%-9s %5d %10s %10s %10s %10s  %s\n", t.Technique, t.Rank, recommend.Size(t.Base), recommend.Size(t.Adapter), recommend.Size(t.Working), recommend.Size(t.Total), fit)
	}
	o.printf("one sequence of %d tokens, all linear layers but experts, gradient checkpoints; train with MLX or PEFT, `quern convert` makes a GGUF of the adapter\n", tokens)
}

// printEverywhere has a row for each Mac of the table.
func printEverywhere(ctx context.Context, s *job.State, o *output) error {
	places, err := plan.Everywhere(ctx, s)
	if err != nil {
		return err
	}
	o.printf("%-28s %-9s %-5s %9s %9s %8s %5s %8s %15s\n", "machine", "type", "fit", "memory", "budget", "context", "cache", "most", "tokens/s")
	for _, p := range places {
		o.Emit(pipeline.Result{Type: "place", Data: p})
		o.printf("%s\n", p.Line())
	}
	return nil
}
