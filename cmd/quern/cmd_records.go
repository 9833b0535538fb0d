package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"quern/pipeline"
	"quern/quantize/llamacpp"
	"quern/stages/bench"
	"quern/stages/plan"
	"quern/stages/record"
	"quern/stages/report"

	"github.com/google/renameio/v2"
	"github.com/urfave/cli/v2"
)

// noRecordError says that no record has the id. It is an fs.ErrNotExist.
type noRecordError struct{ id string }

func (e *noRecordError) Error() string        { return fmt.Sprintf("no record has the id %q", e.id) }
func (e *noRecordError) Hint() string         { return "`quern records list` shows the ids" }
func (e *noRecordError) Is(target error) bool { return target == fs.ErrNotExist }

func recordsCommand() *cli.Command {
	return &cli.Command{
		Name: "records", Category: groupLook, Usage: "what was measured on this machine",
		Subcommands: []*cli.Command{
			{Name: "list", Usage: "one line each", Action: action(0, 0, listRecords)},
			{Name: "show", ArgsUsage: "ID", Usage: "all of one record as JSON", Action: action(1, 1, showRecord)},
			{Name: "compare", ArgsUsage: "ID ID", Usage: "the second against the first, with what is noise marked", Action: action(2, 2, compareRecords)},
			{Name: "export", Usage: "all records", Flags: []cli.Flag{
				&cli.StringFlag{Name: "format", Value: "jsonl", Usage: "`FORM`: jsonl, csv, or bench, which benchstat reads"},
			}, Action: action(0, 0, exportRecords)},
			{Name: "report", Usage: "one HTML page with plots and tables, which needs no network", Flags: []cli.Flag{
				&cli.StringFlag{Name: "out", Aliases: []string{"o"}, Value: "quern-report.html", Usage: "`FILE` to write"},
				&cli.StringSliceFlag{Name: "model", Usage: "only records whose model's name contains `TEXT`; may be repeated"},
			}, Action: action(0, 0, reportRecords)},
		},
	}
}

// records reads all that were written. A line that a killed writer left torn is told and passed over: the others count.
func records(o *output) ([]record.Record, error) {
	rs, damaged, err := record.List()
	if err == nil && damaged > 0 {
		o.Emit(pipeline.Warning{Stage: "records", Says: fmt.Sprintf("%d lines of %s cannot be read and are passed over", damaged, record.Path())})
	}
	return rs, err
}

// listRecords shows the oldest first, as they stand in the file: the newest is next to the prompt.
func listRecords(_ context.Context, _ *cli.Context, o *output) error {
	rs, err := records(o)
	if err != nil {
		return err
	}
	for _, r := range rs {
		o.Emit(pipeline.Result{Type: "record", Data: r})
		o.printf("%-14s %s  %-8s %-28s %-8s %10s  %s\n", r.ID, r.When.Format("2006-01-02 15:04"), orElse(r.Command, "-"), r.Model, r.Type, plan.Size(r.Bytes), headline(r))
	}
	return nil
}

// headline is the figures of a record that people compare.
func headline(r record.Record) string {
	var parts []string
	if r.Bench != nil {
		for _, t := range r.Bench.Results {
			if t.Depth == 0 {
				parts = append(parts, t.Summary())
			}
		}
	}
	if r.Quality != nil {
		parts = append(parts, fmt.Sprintf("agrees on %.1f %%", 100*r.Quality.SameTop))
	}
	if r.Tuned != nil {
		parts = append(parts, fmt.Sprintf("x%.2f by tuning", r.Tuned.Gain))
	}
	return strings.Join(parts, ", ")
}

// showRecord prints what was written, also the parts that no other command shows.
func showRecord(_ context.Context, c *cli.Context, o *output) error {
	rs, err := records(o)
	if err != nil {
		return err
	}
	r, err := findRecord(rs, c.Args().First())
	if err != nil {
		return err
	}
	o.Emit(pipeline.Result{Type: "record", Data: r})
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	o.printf("%s\n", b)
	return nil
}

// exportRecords writes for other programs: the records themselves, or the figures of their benchmarks.
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
		fmt.Fprintln(o.out, bench.GoHead)
		for _, r := range measured(rs) {
			if err := r.Bench.Go(o.out, r.Subject()); err != nil {
				return err
			}
		}
	case "csv":
		w := csv.NewWriter(o.out)
		if err := w.Write(bench.CSVHead); err != nil {
			return err
		}
		for _, r := range measured(rs) {
			if err := r.Bench.CSV(w, r.Subject()); err != nil {
				return err
			}
		}
		w.Flush()
		return w.Error()
	default:
		return usagef("use jsonl, csv or bench", "--format %q is not known", f)
	}
	return nil
}

// measured leaves the records that hold a benchmark: the other forms have no place for anything else.
func measured(rs []record.Record) []record.Record {
	return slices.DeleteFunc(rs, func(r record.Record) bool { return r.Bench == nil })
}

// findRecord gives the record of an id, of which the beginning is enough where only one has it.
func findRecord(rs []record.Record, id string) (*record.Record, error) {
	var found *record.Record
	for i, r := range rs {
		if r.ID == id {
			return &rs[i], nil
		}
		if strings.HasPrefix(r.ID, id) {
			if found != nil {
				return nil, usagef("write more of it", "more than one record's id begins with %q", id)
			}
			found = &rs[i]
		}
	}
	if found == nil {
		return nil, &noRecordError{id}
	}
	return found, nil
}

// closeness is how close two records' files are to their originals: the "closeness" result of --json.
type closeness struct {
	Old     string          `json:"old"` // ids
	New     string          `json:"new"`
	OldTop  float64         `json:"old_same_top"` // share of next tokens on which the file agrees with the original
	NewTop  float64         `json:"new_same_top"`
	OldMean llamacpp.Number `json:"old_kld"` // mean divergence, nats
	NewMean llamacpp.Number `json:"new_kld"`
}

// compareRecords holds two records against one another: speed with its significance, size, quality.
func compareRecords(_ context.Context, c *cli.Context, o *output) error {
	rs, err := records(o)
	if err != nil {
		return err
	}
	a, err := findRecord(rs, c.Args().Get(0))
	if err != nil {
		return err
	}
	b, err := findRecord(rs, c.Args().Get(1))
	if err != nil {
		return err
	}
	for _, r := range []*record.Record{a, b} {
		o.printf("%s  %s  %s %s, %s, %s\n", r.ID, r.When.Format("2006-01-02 15:04"), r.Model, r.Type, plan.Size(r.Bytes), r.Machine)
	}
	if a.Bench != nil && b.Bench != nil {
		printDeltas(a.ID, bench.Compare(a.Bench, b.Bench), o)
	}
	if qa, qb := a.Quality, b.Quality; qa != nil && qb != nil {
		o.Emit(pipeline.Result{Type: "closeness", Data: closeness{a.ID, b.ID, qa.SameTop, qb.SameTop, qa.Mean, qb.Mean}})
		o.printf("agreement %.1f %% -> %.1f %%, divergence %.4f -> %.4f\n", 100*qa.SameTop, 100*qb.SameTop, qa.Mean, qb.Mean)
	}
	return nil
}

// written is a report page: the "page" result of --json.
type written struct {
	Path    string `json:"path"`
	Bytes   int64  `json:"bytes"`
	Records int    `json:"records"`
}

// reportRecords makes the page in memory first: it is small, and a page half written never has its name.
func reportRecords(_ context.Context, c *cli.Context, o *output) error {
	rs, err := records(o)
	if err != nil {
		return err
	}
	if want := c.StringSlice("model"); len(want) > 0 {
		rs = slices.DeleteFunc(rs, func(r record.Record) bool {
			return !slices.ContainsFunc(want, func(w string) bool { return strings.Contains(strings.ToLower(r.Model), strings.ToLower(w)) })
		})
	}
	var page bytes.Buffer
	if err := report.Write(&page, rs, report.Info{Quern: quernVersion(), When: time.Now()}); err != nil {
		return err
	}
	path := c.String("out")
	if err := renameio.WriteFile(path, page.Bytes(), 0o644); err != nil {
		return err
	}
	o.Emit(pipeline.Result{Type: "page", Data: written{path, int64(page.Len()), len(rs)}})
	o.printf("%s: %d records\n", path, len(rs))
	return nil
}
