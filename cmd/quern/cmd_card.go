package main

import (
	"context"
	"path/filepath"

	"quern/pipeline"
	"quern/stages/card"
	"quern/stages/record"

	"github.com/urfave/cli/v2"
)

// sealed is a file about a folder's files: the "sealed" result of --json.
type sealed struct {
	Path string `json:"path"`
}

func cardCommand() *cli.Command {
	return &cli.Command{
		Name: "card", Category: groupSteps, ArgsUsage: "DIR...", Usage: "model card, SHA256SUMS and records of a folder of finished files, from their receipts",
		Action: action(1, -1, func(_ context.Context, c *cli.Context, o *output) error {
			for _, dir := range c.Args().Slice() {
				if _, err := record.Receipts(dir); err != nil {
					return err
				}
				if _, err := card.Seal(dir); err != nil {
					return err
				}
				for _, name := range []string{card.CardName, card.SumsName} {
					o.Emit(pipeline.Result{Type: "sealed", Data: sealed{filepath.Join(dir, name)}})
					o.printf("wrote    %s\n", filepath.Join(dir, name))
				}
			}
			return nil
		}),
	}
}
