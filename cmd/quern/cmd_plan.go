package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"runtime/debug"

	"quern/convert"
	"quern/convert/gguf"
	"quern/pipeline"
	"quern/stages"
	"quern/stages/job"
	"quern/stages/plan"

	"github.com/urfave/cli/v2"
)

func planCommand() *cli.Command {
	flags := []cli.Flag{
		&cli.StringSliceFlag{Name: "quant", Aliases: []string{"q"}, Usage: "`TYPE,...` to plan for (default: the recommended one)"},
		outFlag(), noTowerFlag(),
		&cli.BoolFlag{Name: "config", Usage: "print the completed configuration as one JSON object"},
		&cli.BoolFlag{Name: "metadata-keys", Usage: "print every key that would be written"},
		&cli.BoolFlag{Name: "tensors", Usage: "print which tensors are written, which are dropped and why"},
		&cli.BoolFlag{Name: "vocab-only", Usage: "plan a file without tensors"},
		&cli.StringFlag{Name: "type", Usage: "`TYPE` of the conversion for --metadata-keys and --tensors (default auto)"},
		&cli.BoolFlag{Name: "matrix", Usage: "rate every type at every context: fits, tight or no, memory, tokens a second"},
		&cli.BoolFlag{Name: "explain", Usage: "print the formulas with the numbers in them"},
		&cli.BoolFlag{Name: "modelfile", Usage: "print a Modelfile for Ollama with the chosen values"},
		&cli.IntFlag{Name: "finetune", Usage: "print what training an adapter of rank `R` takes, LoRA and QLoRA"},
	}
	return &cli.Command{
		Name: "plan", Category: groupMain, ArgsUsage: "MODEL", Usage: "everything that prepare would decide, from headers alone",
		Flags:  join(flags, wishFlags(), convertFlags(), policyFlags(), workFlags(), hubFlags()),
		Action: action(1, 1, planModel),
	}
}

// planGC collects four times as often as usual: a plan keeps little and makes much that is soon unused, and its memory counts
// for more than some milliseconds.
const planGC = 25

// planModel decides everything and fetches headers only. Each of its special forms prints one thing and nothing beside it.
func planModel(ctx context.Context, c *cli.Context, o *output) error {
	debug.SetGCPercent(planGC)
	s, err := newState(c, c.Args().First())
	if err != nil {
		return err
	}
	if c.Bool("config") {
		return printConfig(ctx, s, o)
	}
	if s.Wish, err = wish(c); err != nil {
		return err
	}
	if s.Policy, err = policyOptions(c); err != nil {
		return err
	}
	if err := useImatrix(c, s); err != nil {
		return err
	}
	s.Types, s.For, s.NoTower = types(c.StringSlice("quant")), c.String("for"), c.Bool("no-mmproj")
	if s.For == "all" {
		defer s.Shut()
		return printEverywhere(ctx, s, o)
	}
	keys, tensors := c.Bool("metadata-keys"), c.Bool("tensors")
	if keys || tensors {
		defer s.Shut()
		if err := plan.Open(ctx, s); err != nil {
			return err
		}
		if keys {
			printKeys(s, o)
		}
		if tensors {
			printTensors(s, o)
		}
		return nil
	}
	defer s.Shut()
	if err := pipeline.Run(ctx, stages.Plan, s, o, pipeline.Options{}); err != nil {
		return err
	}
	printAdvice(s, o)
	return printMore(c, s, o)
}

// printConfig needs config.json alone, so that it answers for checkpoints whose weights are not there.
func printConfig(ctx context.Context, s *job.State, o *output) error {
	cfg, err := plan.Config(ctx, s)
	if err != nil {
		return err
	}
	fmt.Fprintln(o.out, string(cfg)) // an object of its own, not an event
	return nil
}

// keyLine is a metadata entry: the "metadata" result of --json.
type keyLine struct {
	Key   string `json:"key"`
	Kind  string `json:"kind"`
	Value any    `json:"value"`
}

// printKeys shows long values shortened; --json has them whole.
func printKeys(s *job.State, o *output) {
	for _, kv := range plan.Base(s).Metadata {
		t, elem, n, _ := gguf.Kind(kv.Value)
		kind := t.String()
		if t == gguf.Array {
			kind = fmt.Sprintf("%s[%d]", elem, n)
		}
		o.Emit(pipeline.Result{Type: "metadata", Data: keyLine{kv.Key, kind, jsonValue(kv.Value)}})
		o.printf("%-44s %-12s %s\n", kv.Key, kind, gguf.Format(kv.Value, 100))
	}
}

// jsonValue replaces numbers that JSON cannot hold.
func jsonValue(v any) any {
	switch f := v.(type) {
	case float32:
		if math.IsNaN(float64(f)) || math.IsInf(float64(f), 0) {
			return fmt.Sprint(f)
		}
	case float64:
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Sprint(f)
		}
	case []float32:
		for _, x := range f {
			if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
				return fmt.Sprint(f)
			}
		}
	case []uint8:
		return json.RawMessage(fmt.Sprint(toInts(f)))
	}
	return v
}

// toInts writes bytes as numbers: JSON would make text of them.
func toInts(b []uint8) string {
	s := "["
	for i, x := range b {
		if i > 0 {
			s += ","
		}
		s += fmt.Sprint(x)
	}
	return s + "]"
}

// tensorLine is a tensor of the plan: the "tensor" result of --json.
type tensorLine struct {
	State  string  `json:"state"` // written, dropped
	Name   string  `json:"name"`
	Type   string  `json:"tensor_type,omitempty"`
	Shape  []int64 `json:"shape,omitempty"`
	Size   int64   `json:"bytes,omitempty"`
	Reason string  `json:"reason,omitempty"`
}

// printTensors accounts for every tensor of the source: those that are written, then those that are dropped and why.
func printTensors(s *job.State, o *output) {
	for _, t := range plan.Base(s).Outputs {
		o.Emit(pipeline.Result{Type: "tensor", Data: tensorLine{"written", t.Name, t.Type.String(), t.Shape, t.Size, ""}})
		o.printf("written  %-40s %-8s %v\n", t.Name, t.Type, t.Shape)
	}
	if m := s.Checked; m != nil {
		printDropped(m, o)
	}
}

// printDropped has no lines for a GGUF source, of which nothing is dropped.
func printDropped(m *convert.Model, o *output) {
	for _, d := range m.Dropped {
		o.Emit(pipeline.Result{Type: "tensor", Data: tensorLine{State: "dropped", Name: d.Name, Reason: d.Reason}})
		o.printf("dropped  %-40s %s\n", d.Name, d.Reason)
	}
	o.printf("%d tensors of the checkpoint are in the file, %d are dropped\n", len(m.Mapped), len(m.Dropped))
}
