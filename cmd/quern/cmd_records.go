package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"

	"quern/pipeline"
	"quern/stages/plan"
	"quern/stages/record"

	"github.com/urfave/cli/v2"
)

// noRecordError says that no record has the id. It is an fs.ErrNotExist.
type noRecordError struct{ id string }

func (e *noRecordError) Error() string        { return fmt.Sprintf("no record has the id %q", e.id) }
func (e *noRecordError) Hint() string         { return "`quern records list` shows the ids" }
func (e *noRecordError) Is(target error) bool { return target == fs.ErrNotExist }

func records(o *output) ([]record.Record, error) {
	rs, damaged, err := record.List()
	if err == nil && damaged > 0 {
		o.Emit(pipeline.Warning{Stage: "records", Says: fmt.Sprintf("%d lines of %s cannot be read and are passed over", damaged, record.Path())})
	}
	return rs, err
}

func listRecords(_ context.Context, _ *cli.Context, o *output) error {
	rs, err := records(o)
	if err != nil {
		return err
	}
	for _, r := range rs {
		o.Emit(pipeline.Result{Type: "record", Data: r})
		o.printf("%s  %s  %-30s %-8s %10s  %s\n", r.ID, r.When.Format("2006-01-02 15:04"), r.Model, r.Type, plan.Size(r.Bytes), r.Machine)
	}
	return nil
}

func showRecord(_ context.Context, c *cli.Context, o *output) error {
	rs, err := records(o)
	if err != nil {
		return err
	}
	for _, r := range rs {
		if r.ID != c.Args().First() {
			continue
		}
		o.Emit(pipeline.Result{Type: "record", Data: r})
		b, err := json.MarshalIndent(r, "", " ")
		if err != nil {
			return err
		}
		o.printf("%s\n", b)
		return nil
	}
	return &noRecordError{c.Args().First()}
}

func exportRecords(_ context.Context, c *cli.Context, o *output) error {
	rs, err := records(o)
	if err != nil {
		return err
	}
	switch f := c.String("format"); f {
	case "jsonl":
		for _, r := range rs {
			b, err := json.Marshal(r)
			if err != nil {
				return err
			}
			fmt.Fprintf(o.out, "%s\n", b)
		}
	case "bench":
		for _, r := range rs {
			for _, line := range record.BenchLines(r) {
				fmt.Fprintln(o.out, line)
			}
		}
	default:
		return usagef("use jsonl or bench", "--format %q is not known", f)
	}
	return nil
}
