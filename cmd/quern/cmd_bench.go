package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"quern/convert/gguf"
	"quern/pipeline"
	"quern/quantize/recommend"
	"quern/stages/bench"
	"quern/stages/plan"
	"quern/stages/record"

	"github.com/urfave/cli/v2"
)

func benchCommand() *cli.Command {
	return &cli.Command{
		Name: "bench", Category: groupSteps, ArgsUsage: "FILE", Usage: "prompt and generation speed, memory; as llama-bench measures them, and recorded",
		Flags: join([]cli.Flag{
			&cli.StringFlag{Name: "pp", Value: "512", Usage: "`N,...` prompt lengths; 0 for none"},
			&cli.StringFlag{Name: "tg", Value: "128", Usage: "`N,...` generation lengths; 0 for none"},
			&cli.StringFlag{Name: "depth", Value: "0", Usage: "`N,...` tokens in the cache before the clock starts"},
			&cli.IntFlag{Name: "batch", Usage: "`N` tokens submitted at once (default 2048)"},
			&cli.IntFlag{Name: "ubatch", Usage: "`N` tokens computed at once (default 512)"},
			&cli.StringFlag{Name: "kv", Usage: "`TYPE` of the cache: f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0, iq4_nl (default f16)"},
			&cli.IntFlag{Name: "repetitions", Aliases: []string{"r"}, Usage: "`N` of each test at least (default 5)"},
			&cli.StringFlag{Name: "target", Usage: "repeat until the interval is within `P%` (default 2%)"},
			&cli.DurationFlag{Name: "budget", Usage: "stop after `TIME`; tests that would not fit are skipped (default: no limit)"},
			&cli.StringFlag{Name: "format", Value: "table", Usage: "`FORM`: table, jsonl, csv, or bench, which benchstat reads"},
			&cli.StringFlag{Name: "compare", Usage: "with `WHAT`: a record's ID, last (this file's or type's latest record), or prediction"},
			&cli.BoolFlag{Name: "no-record", Usage: "do not keep the figures"},
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
	rec, predicted, err := plan.Subject(ctx, path)
	if err != nil {
		return err
	}
	old, err := earlier(c.String("compare"), rec, o) // before minutes are spent on measuring
	if err != nil {
		return err
	}
	child, err := startChild(ctx, c)
	if err != nil {
		return err
	}
	defer child.Close()
	begun := time.Now()
	o.Emit(pipeline.Started{Stage: "bench", Says: path})
	r, err := bench.Measure(ctx, child, opts)
	if err != nil {
		return &pipeline.StageError{Stage: "bench", Err: err}
	}
	d := time.Since(begun)
	o.Emit(pipeline.Finished{Stage: "bench", State: pipeline.OK, Elapsed: d, Seconds: d.Seconds()})
	rec.Command, rec.Bench = "bench", r
	if err := writeBench(c.String("format"), rec, o); err != nil {
		return err
	}
	if old != nil {
		printDeltas(old.ID, bench.Compare(old.Bench, r), o)
	}
	if c.String("compare") == "prediction" {
		printPrediction(predicted, r, o)
	}
	if !c.Bool("no-record") {
		keepBench(rec, o)
	}
	return nil
}

// writeBench writes the figures in the form that was asked for; --json has them as events.
func writeBench(format string, rec record.Record, o *output) error {
	r := rec.Bench
	subject := bench.Subject{Model: rec.Model, Type: rec.Type, Machine: rec.Machine, Runtime: rec.LlamaCpp}
	for _, t := range r.Results {
		o.Emit(pipeline.Result{Type: "bench", Data: bench.Line{Path: rec.Path, Result: t}})
	}
	if o.json {
		return nil
	}
	switch format {
	case "table":
		printBench(r, o)
	case "jsonl":
		for _, t := range r.Results {
			writeJSON(o.out, "bench", bench.Line{Path: rec.Path, Result: t})
		}
	case "csv":
		w := csv.NewWriter(o.out)
		if err := errors.Join(w.Write(bench.CSVHead), r.CSV(w, subject)); err != nil {
			return err
		}
		w.Flush()
		return w.Error()
	case "bench":
		fmt.Fprintln(o.out, bench.GoHead)
		return r.Go(o.out, subject)
	}
	return nil
}

func printBench(r *bench.Report, o *output) {
	o.printf("%-16s %12s %8s %12s %6s %8s\n", "test", "tokens/s", "spread", "mean", "runs", "threads")
	for _, t := range r.Results {
		mark := ""
		switch {
		case t.Busy:
			mark = "  busy"
		case !t.Quiet():
			mark = "  one run"
		}
		o.printf("%-16s %12.2f %6.1f %% %12.2f %6d %8d%s\n", t.Name, t.TokensPerSecond, 100*t.Spread, t.Mean, len(t.Samples), t.Threads, mark)
	}
	for _, why := range r.Skipped {
		o.printf("skipped  %s\n", why)
	}
	o.printf("load %.2f s, peak memory %.0f MB", r.LoadSeconds, float64(r.PeakRSS)/1e6)
	if p := r.Conditions.String(); p != "" {
		o.printf(", %s", p)
	}
	o.printf("\n")
}

// keepBench records what a quiet machine measured, and says what is not recorded.
func keepBench(rec record.Record, o *output) {
	if slow := rec.Bench.Conditions.Slowed(); slow != "" {
		o.Emit(pipeline.Warning{Stage: "bench", Says: slow + ": the figures are below what the machine can do"})
	}
	for _, why := range rec.Bench.Unrecorded() {
		o.Emit(pipeline.Warning{Stage: "bench", Says: why, Next: "measure again when nothing else runs, without --budget or with a longer one"})
	}
	if rec.Bench = rec.Bench.Quiet(); rec.Bench == nil {
		return
	}
	if err := record.Append(rec); err != nil {
		o.Emit(pipeline.Warning{Stage: "bench", Says: "the record could not be kept: " + err.Error()})
		return
	}
	o.Emit(pipeline.Line{Stage: "bench", Label: "record", Text: rec.ID})
}

// earlier finds the record to compare with; nil when none is wanted.
func earlier(what string, now record.Record, o *output) (*record.Record, error) {
	if what == "" || what == "prediction" {
		return nil, nil
	}
	rs, err := records(o)
	if err != nil {
		return nil, err
	}
	rs = slices.DeleteFunc(rs, func(r record.Record) bool { return r.Bench == nil })
	for _, r := range slices.Backward(rs) {
		same := now.SHA256 != "" && r.SHA256 == now.SHA256 || r.Model == now.Model && r.Type == now.Type || r.Path == now.Path
		if what == r.ID || what == "last" && same && r.Machine == now.Machine {
			return &r, nil
		}
	}
	return nil, &noRecordError{what}
}

func printDeltas(with string, ds []bench.Delta, o *output) {
	o.printf("against %s\n", with)
	for _, d := range ds {
		o.Emit(pipeline.Result{Type: "delta", Data: d})
		verdict := fmt.Sprintf("%+.1f %%", 100*d.Change)
		if !d.Sure {
			verdict += "  within the noise"
		}
		o.printf("%-16s %12.2f -> %10.2f  %s (p=%.3f)\n", d.Test, d.Old, d.New, verdict, d.P)
	}
	if len(ds) == 0 {
		o.printf("no test is in both\n")
	}
}

// prediction is a measured speed beside the predicted one: the "prediction" result of --json.
type prediction struct {
	Test      string  `json:"test"`
	Measured  float64 `json:"measured"`
	Predicted float64 `json:"predicted"`
	Low       float64 `json:"low,omitempty"` // nine in ten machines measure between Low and High
	High      float64 `json:"high,omitempty"`
}

// printPrediction holds prompts and answers without depth against the speed model; it says nothing of depths.
func printPrediction(predicted *recommend.Choice, r *bench.Report, o *output) {
	if predicted == nil {
		o.printf("nothing is predicted for this kind of model\n")
		return
	}
	sp := predicted.Speed
	o.printf("against the prediction (%s)\n", sp.Confidence)
	for _, t := range r.Results {
		var p prediction
		switch {
		case t.Depth > 0:
			continue
		case t.Generate == 0:
			p = prediction{Predicted: sp.Prefill}
		case t.Prompt == 0:
			p = prediction{Predicted: sp.Generation, Low: sp.Low, High: sp.High}
		}
		if p.Predicted <= 0 {
			continue
		}
		p.Test, p.Measured = t.Name, t.TokensPerSecond
		o.Emit(pipeline.Result{Type: "prediction", Data: p})
		o.printf("%-16s %12.2f of %10.2f  x%.2f%s\n", p.Test, p.Measured, p.Predicted, p.Measured/p.Predicted, between(p))
	}
}

func between(p prediction) string {
	switch {
	case p.High == 0:
		return ""
	case p.Measured < p.Low || p.Measured > p.High:
		return fmt.Sprintf("  outside %.1f to %.1f", p.Low, p.High)
	}
	return fmt.Sprintf("  within %.1f to %.1f", p.Low, p.High)
}

func benchOptions(c *cli.Context, path string, o *output) (bench.Options, error) {
	opts := bench.Options{Repetitions: c.Int("repetitions"), Budget: c.Duration("budget"), Progress: func(t bench.Test, done, total int) {
		o.Emit(pipeline.Progress{Stage: "bench", Item: t.String(), Done: int64(done), Total: int64(total), Unit: "runs"})
	}}
	opts.Model, opts.Context = modelOptions(c, path)
	opts.Context.Batch, opts.Context.UBatch = c.Int("batch"), c.Int("ubatch")
	if f := c.String("format"); !slices.Contains([]string{"table", "jsonl", "csv", "bench"}, f) {
		return opts, usagef("use one of table, jsonl, csv, bench", "--format %q is not known", f)
	}
	if opts.Budget < 0 {
		return opts, usagef("write a time such as 2m", "--budget %s is less than nothing", opts.Budget)
	}
	if err := share(c.String("target"), &opts.Target); err != nil {
		return opts, err
	}
	if kv := c.String("kv"); kv != "" {
		t, err := cacheType(kv)
		if err != nil {
			return opts, err
		}
		opts.Context.TypeK, opts.Context.TypeV = t, t
	}
	return opts, benchTests(c, &opts)
}

// cacheType reads the type of keys and values. F32 is not among them: it is how llama.cpp's default, F16, is written inside.
func cacheType(name string) (gguf.Type, error) {
	t, ok := gguf.ParseType(name)
	if !ok || !slices.Contains([]gguf.Type{gguf.F16, gguf.BF16, gguf.Q8_0, gguf.Q5_1, gguf.Q5_0, gguf.Q4_1, gguf.Q4_0, gguf.IQ4NL}, t) {
		return t, usagef("use one of f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0, iq4_nl", "--kv %q is not a type of the cache", name)
	}
	return t, nil
}

// share reads a percentage into v; an empty text leaves it.
func share(text string, v *float64) error {
	if text == "" {
		return nil
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(text, "%")), 64)
	if err != nil || f <= 0 || f >= 100 {
		return usagef("write a share such as 2%", "--target %q is not a share", text)
	}
	*v = f / 100
	return nil
}

// benchTests makes a test of each prompt and each answer at each depth.
func benchTests(c *cli.Context, opts *bench.Options) error {
	lists := map[string][]int{}
	for _, name := range []string{"pp", "tg", "depth"} {
		ns, err := numbers(name, c.String(name))
		if err != nil {
			return err
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
		return usagef("give --pp or --tg a length", "nothing is to be measured")
	}
	return nil
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
