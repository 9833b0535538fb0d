package main

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"quern/pipeline"
	"quern/stages"
	"quern/stages/job"

	"github.com/urfave/cli/v2"
)

// How long prepare measures speed, and closeness to the source, unless it is told otherwise.
const (
	benchTime   = time.Minute
	qualityTime = 2 * time.Minute
)

func prepareCommand() *cli.Command {
	flags := []cli.Flag{
		&cli.StringSliceFlag{Name: "quant", Aliases: []string{"q"}, Usage: "`TYPE,...` to make, such as Q4_K_M or BF16 (default: the recommended one)"},
		outFlag(), dryRunFlag(), forceFlag(),
		&cli.BoolFlag{Name: "no-smoke", Usage: "do not try whether the files work"},
		&cli.BoolFlag{Name: "no-bench", Usage: "do not measure how fast they are"},
		noTowerFlag(),
		&cli.DurationFlag{Name: "bench-time", Value: benchTime, Usage: "measure speed for `TIME` at most"},
		stallFlag(),
		&cli.BoolFlag{Name: "no-quality", Usage: "do not measure how close they are to the source"},
		&cli.DurationFlag{Name: "quality-time", Value: qualityTime, Usage: "measure closeness for `TIME` at most"},
	}
	return &cli.Command{
		Name: "prepare", Category: groupMain, ArgsUsage: "MODEL | --lora ADAPTER", Usage: "the whole job: plan, download, build in one pass, try, measure, write down",
		Flags:  join(flags, wishFlags(), loraFlags(), convertFlags(), policyFlags(), workFlags(), hubFlags()),
		Action: action(0, 1, prepare),
	}
}

// prepare runs every stage over one model. What a stage finds done and proven by the ledger it passes over.
func prepare(ctx context.Context, c *cli.Context, o *output) error {
	model, err := subject(c)
	if err != nil {
		return err
	}
	if c.String("lora") != "" {
		return prepareAdapter(ctx, c, o, model)
	}
	s, err := newState(c, model)
	if err != nil {
		return err
	}
	if err := ask(c, s); err != nil {
		return err
	}
	return runStages(ctx, c, o, s, stages.Prepare)
}

// ask fills what a preparation wants to know.
func ask(c *cli.Context, s *job.State) (err error) {
	if s.Wish, err = wish(c); err != nil {
		return err
	}
	if s.Policy, err = policyOptions(c); err != nil {
		return err
	}
	if err := useImatrix(c, s); err != nil {
		return err
	}
	s.Types, s.For = types(c.StringSlice("quant")), c.String("for")
	s.NoTower = c.Bool("no-mmproj")
	s.NoSmoke, s.NoBench, s.Force, s.BenchTime = c.Bool("no-smoke"), c.Bool("no-bench"), c.Bool("force"), c.Duration("bench-time")
	s.NoQuality, s.QualityTime = c.Bool("no-quality"), c.Duration("quality-time")
	return nil
}

func noTowerFlag() cli.Flag {
	return &cli.BoolFlag{Name: "no-mmproj", Usage: "no projector beside the model, though the checkpoint sees or hears"}
}

// types splits lists at commas, whatever mixture of repeated options and lists was given.
func types(words []string) []string {
	var ts []string
	for _, w := range words {
		for t := range strings.SplitSeq(w, ",") {
			if t = strings.TrimSpace(t); t != "" {
				ts = append(ts, t)
			}
		}
	}
	return ts
}

// runStages runs a list of stages over a state with the ledger of the output folder.
func runStages(ctx context.Context, c *cli.Context, o *output, s *job.State, list []pipeline.Stage[job.State]) (err error) {
	defer func() {
		if e := s.Shut(); err == nil {
			err = e
		}
	}()
	opts := pipeline.Options{DryRun: c.Bool("dry-run")}
	if !c.Bool("force") {
		if opts.Ledger, err = pipeline.OpenLedger(filepath.Join(ledgerFolder(s), ".quern", "ledger.json")); err != nil {
			return err
		}
	}
	return pipeline.Run(ctx, list, s, o, opts)
}

// ledgerFolder is where the results go, and with them the record of what they depended on: who moves the folder moves both.
func ledgerFolder(s *job.State) string {
	if s.Out == "" {
		return "models"
	}
	if strings.EqualFold(filepath.Ext(s.Out), ".gguf") {
		return filepath.Dir(s.Out)
	}
	return s.Out
}

// join puts the groups of options together that commands share.
func join(lists ...[]cli.Flag) []cli.Flag {
	var all []cli.Flag
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}
