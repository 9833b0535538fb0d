package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"quern/hfclient"
	"quern/pipeline"
	"quern/pipeline/batch/graph"
	"quern/pipeline/batch/lock"
	"quern/pipeline/batch/manifest"
	"quern/pipeline/batch/matrix"
	"quern/quantize/machine"
	"quern/quantize/policy"
	"quern/quantize/recipe"
	"quern/stages/job"
	"quern/stages/judge"
	"quern/stages/set"

	"github.com/urfave/cli/v2"
)

func batchCommand() *cli.Command {
	const (
		choice = "Which entries"
		ci     = "CI"
		sort   = "Sources"
		budget = "Budget (in place of the manifest's)"
	)
	return &cli.Command{
		Name: "batch", Category: groupMain, ArgsUsage: "FILE", Usage: "a model set: models x types x machines by a manifest, each step once",
		Flags: join([]cli.Flag{
			outFolderFlag("(default: the manifest's output)"), dryRunFlag(),
			&cli.BoolFlag{Name: "explain", Usage: "say of every step whether it would run, and why; the same as --dry-run"},
			&cli.BoolFlag{Name: "schema", Usage: "print the JSON Schema of manifests, for editors"},
			&cli.StringSliceFlag{Name: "only", Usage: "the entries `KEY,...`; may be repeated", Category: choice},
			&cli.StringFlag{Name: "shard", Usage: "the entries of part `I/N`, the same on every machine", Category: choice},
			&cli.BoolFlag{Name: "update", Usage: "resolve all sources anew and write " + lock.Name, Category: sort},
			&cli.BoolFlag{Name: "locked", Usage: "fail where a source is not what " + lock.Name + " says", Category: sort},
			&cli.BoolFlag{Name: "evict", Usage: "give sources that this set fetched back when their models are finished", Category: sort},
			&cli.StringFlag{Name: "disk", Usage: "`SIZE` that sources and outputs may take together", Category: budget},
			&cli.StringFlag{Name: "memory", Usage: "`SIZE` that models under test may take", Category: budget},
			&cli.IntFlag{Name: "cores", Usage: "`N` cores that work", Category: budget},
			&cli.IntFlag{Name: "jobs", Usage: "`N` steps at once at most; 1: one after the other", Category: budget},
			&cli.BoolFlag{Name: "matrix", Usage: "print the entries as a CI job matrix, and do nothing else", Category: ci},
			&cli.StringFlag{Name: "shape", Value: string(matrix.GitHub), Usage: "`CI` of the matrix: github, gitlab", Category: ci},
			&cli.StringFlag{Name: "summary", Usage: "append a summary in Markdown to `FILE` (default GITHUB_STEP_SUMMARY where that is set)", Category: ci},
		}, queueFlags(), hubFlags()[1:]),
		Action: action(0, 1, batch),
	}
}

// outFolderFlag is an --out that names a folder; the words say which one it is by default.
func outFolderFlag(more string) cli.Flag {
	return &cli.StringFlag{Name: "out", Aliases: []string{"o"}, Usage: "`DIR` of the artifacts " + more}
}

// batch reads and checks the whole manifest first: a mistake in its last line costs nothing.
func batch(ctx context.Context, c *cli.Context, o *output) error {
	if c.Bool("schema") {
		o.raw(manifest.Schema)
		return nil
	}
	if c.NArg() == 0 {
		return usagef("`quern batch --help` shows the form", "`quern batch FILE` is the form; no manifest was given")
	}
	s, err := manifest.ReadFile(c.Args().First(), manifestWords())
	if err != nil {
		return err
	}
	entries, err := chosen(c, s)
	if err != nil {
		return err
	}
	if c.Bool("matrix") {
		b, err := matrix.Write(matrix.Shape(c.String("shape")), s, entries)
		if err != nil {
			return usagef("use one of github, gitlab", "%s", err)
		}
		o.raw(b)
		return nil
	}
	if len(entries) == 0 {
		o.printf("batch    no entry is in this part\n")
		return nil
	}
	return runBatch(ctx, c, o, s, entries)
}

// runBatch carries the entries out on this machine.
func runBatch(ctx context.Context, c *cli.Context, o *output, s *manifest.Set, entries []manifest.Entry) error {
	opts, err := batchOptions(c, s)
	if err != nil {
		return err
	}
	t, done, err := batchTools(c, s)
	if err != nil {
		return err
	}
	defer done()
	if c.Bool("update") && len(entries) == len(s.Entries()) { // other manifests beside this one have their sources in it too
		t.Lock.Keep(models(s))
	}
	o.forSet()
	rep, err := carryOut(ctx, c, o, s, entries, t, opts)
	o.clear()
	if rep != nil {
		tellBatch(c, o, rep, opts)
	}
	return err
}

// carryOut does the entries here, or has them done by the workers of --queue.
func carryOut(ctx context.Context, c *cli.Context, o *output, s *manifest.Set, entries []manifest.Entry, t set.Tools, opts set.Options) (*set.Report, error) {
	if c.String("queue") == "" {
		return set.Run(ctx, s, entries, t, opts, o)
	}
	q, store, err := connect(ctx, c, "batch")
	if err != nil {
		return nil, err
	}
	defer q.Close()
	return set.Distribute(ctx, s, entries, t, opts, q, store, quernVersion(), o)
}

// models are the names that the lock file keeps when it is renewed.
func models(s *manifest.Set) []string {
	var all []string
	for _, m := range s.Models {
		all = append(all, m.Model)
	}
	return all
}

// chosen are the entries that --only and --shard leave.
func chosen(c *cli.Context, s *manifest.Set) ([]manifest.Entry, error) {
	entries := s.Entries()
	if only := types(c.StringSlice("only")); len(only) > 0 {
		var keys []string
		for _, e := range entries {
			keys = append(keys, e.Key)
		}
		for _, k := range only {
			if !slices.Contains(keys, k) {
				return nil, usagef(nearest("--only ", k, keys, "`quern batch "+s.File+" --matrix` lists the entries"), "%s has no entry %q", s.File, k)
			}
		}
		entries = slices.DeleteFunc(entries, func(e manifest.Entry) bool { return !slices.Contains(only, e.Key) })
	}
	shard := c.String("shard")
	if shard == "" {
		return entries, nil
	}
	is, ns, _ := strings.Cut(shard, "/")
	i, err1 := strconv.Atoi(is)
	n, err2 := strconv.Atoi(ns)
	if err1 != nil || err2 != nil || i < 1 || n < i || n > 1<<16 {
		return nil, usagef("write --shard 2/4 for the second of four parts", "--shard %q is not a part", shard)
	}
	return slices.DeleteFunc(entries, func(e manifest.Entry) bool { return matrix.Shard(e, n) != i }), nil
}

// paths are the options of prepare that name files.
var paths = map[string]bool{"metadata": true, "imatrix": true, "tensor-type-file": true, "target-model-dir": true}

// modelOptionNames are the options of prepare that a manifest may give to a model: all that do not belong to the set as a whole.
func modelOptionNames() map[string]manifest.Kind {
	names := map[string]manifest.Kind{}
	for _, f := range join(wishFlags(), convertFlags(), policyFlags(), workFlags(), hubFlags(), []cli.Flag{noTowerFlag()}) {
		name := f.Names()[0]
		switch name {
		case "for", "workers", "offline", "cache-dir", "connections", "limit-rate":
			continue
		}
		kind := manifest.Text
		switch f.(type) {
		case *cli.BoolFlag:
			kind = manifest.Bool
		case *cli.IntFlag, *cli.Int64Flag, *cli.Float64Flag:
			kind = manifest.Number
		case *cli.StringSliceFlag:
			kind = manifest.List
		}
		if paths[name] {
			kind = manifest.Path
		}
		names[strings.ReplaceAll(name, "-", "_")] = kind
	}
	return names
}

// manifestWords are what a manifest may say that its reader does not know.
func manifestWords() manifest.Words {
	return manifest.Words{
		Options: modelOptionNames(),
		Type: func(name string) error {
			if n := strings.ToUpper(name); n == "F32" || n == "F16" || n == "BF16" {
				return nil
			}
			_, err := policy.ParseFileType(name)
			return err
		},
		Machine: func(text string) error { _, err := machine.For(text); return err },
		Size: func(text string) (int64, error) {
			b, err := recipe.ParseSize(text)
			if err != nil {
				n, err := parseBytes(text)
				return n, err
			}
			return b.Bytes, nil
		},
		Nearest: func(name string, known []string) string {
			slices.Sort(known)
			return nearest("", name, known, "known are "+strings.Join(known, ", "))
		},
	}
}

// batchOptions puts the budgets together: the command line before the manifest before what this machine has.
func batchOptions(c *cli.Context, s *manifest.Set) (set.Options, error) {
	o := set.Options{Dir: s.Resolve(s.Output), DryRun: c.Bool("dry-run") || c.Bool("explain"), Evict: c.Bool("evict")}
	if d := c.String("out"); d != "" {
		o.Dir = d
	}
	o.Budget = graph.Budget{Disk: s.Budget.Disk, Memory: s.Budget.Memory, Cores: s.Budget.Cores, Jobs: c.Int("jobs")}
	for name, to := range map[string]*int64{"disk": &o.Budget.Disk, "memory": &o.Budget.Memory} {
		v := c.String(name)
		if v == "" {
			continue
		}
		n, err := parseBytes(v)
		if err != nil {
			return o, usagef("write a size such as 100G or 16GiB", "--%s %q is not a size", name, v)
		}
		*to = n
	}
	if s.Budget.Memory == 0 {
		s.Budget.Memory = o.Budget.Memory // what was demanded is a limit, what the machine has is one to go by
	}
	here := machine.Detect(c.Context, o.Dir)
	o.Machine = set.MachineKey(here)
	if o.Budget.Memory == 0 {
		o.Budget.Memory = here.Available
	}
	if n := c.Int("cores"); n > 0 {
		o.Budget.Cores = n
	}
	if o.Budget.Cores == 0 {
		o.Budget.Cores = runtime.GOMAXPROCS(0)
	}
	return o, nil
}

// batchTools are the means that all models share: one client with one limit of rate, one prover, one runtime.
func batchTools(c *cli.Context, s *manifest.Set) (set.Tools, func(), error) {
	mode := lock.Follow
	switch {
	case c.Bool("update") && c.Bool("locked"):
		return set.Tools{}, nil, usagef("", "--update and --locked exclude one another")
	case c.Bool("update"):
		mode = lock.Update
	case c.Bool("locked"):
		mode = lock.Locked
	}
	l, err := lock.Open(filepath.Join(s.Dir(), lock.Name), mode)
	if err != nil {
		return set.Tools{}, nil, err
	}
	shared, err := newState(c, "")
	if err != nil {
		return set.Tools{}, nil, err
	}
	if rate := s.Budget.Bandwidth; rate > 0 && c.String("limit-rate") == "" {
		if shared.Hub, err = hubClientWith(c, func(o *hfclient.Options) { o.RateLimit = rate }); err != nil {
			return set.Tools{}, nil, err
		}
	}
	t := set.Tools{Lock: l, Text: judge.HeldOut, Describe: describeError}
	t.New = func(ctx context.Context, m *manifest.Model) (*job.State, error) { return modelState(c, s, m, shared) }
	return t, func() { shared.Shut() }, nil //nolint:errcheck // a child that ends
}

// describeError is how an error is told: its exit code, what it says, and what to do next.
func describeError(err error) (code int, says, hint string) {
	return exitCode(err), errorText(err), hintOf(err)
}

// modelState is the state that `quern prepare` makes of a model's options. Its arguments are those of that command, so that a
// receipt says how the file can be made by itself.
func modelState(c *cli.Context, s *manifest.Set, m *manifest.Model, shared *job.State) (*job.State, error) {
	args := []string{"prepare", m.Model}
	for _, name := range sortedKeys(m.Options) {
		opt := m.Options[name]
		flag := "--" + strings.ReplaceAll(name, "_", "-")
		for _, w := range opt.Words {
			switch opt.Kind {
			case manifest.Bool:
				if w == "true" {
					args = append(args, flag)
				}
			case manifest.Path:
				args = append(args, flag, s.Resolve(w))
			default:
				args = append(args, flag, w)
			}
		}
	}
	again, err := contextOf(c, args)
	if err != nil {
		return nil, err
	}
	st, err := newState(again, m.Model)
	if err != nil {
		return nil, err
	}
	if err := ask(again, st); err != nil {
		return nil, err
	}
	st.Shut() //nolint:errcheck // a prover that was not started
	st.Args, st.Hub, st.Runtime, st.Prover = args, shared.Hub, shared.Runtime, shared.Prover
	return st, nil
}

// sortedKeys makes what is written out of a map the same in every run.
func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// tellBatch writes the summary for people, for the CI, and the result of every entry.
func tellBatch(c *cli.Context, o *output, rep *set.Report, opts set.Options) {
	for _, e := range rep.Entries {
		o.Emit(pipeline.Result{Type: "entry", Data: e})
		for _, f := range e.Files {
			o.printf("%-9s %-20s %-16s %10s  %s\n", f.State, e.Key, f.Type, bytesText(f.Bytes), fileText(f))
		}
		if e.State == pipeline.Failed && (len(e.Files) == 0 || e.Stage != "smoke" && e.Stage != "gate" && e.Stage != "bench") {
			o.printf("%-9s %-20s %s: %s\n", e.State, e.Key, e.Stage, e.Says)
			if e.Hint != "" {
				o.printf("%-9s %-20s %s\n", "", "", e.Hint)
			}
		}
	}
	o.Emit(pipeline.Result{Type: "report", Data: *rep})
	o.printf("batch    %d entries, %d steps of which %d ran, %d failed, %d not reached; %.1f s; at most %s on the disk\n",
		len(rep.Entries), rep.Steps, rep.Ran, rep.Failed, rep.Blocked, rep.Seconds, bytesText(rep.PeakDisk))
	if !opts.DryRun {
		o.printf("wrote    %s\n", filepath.Join(opts.Dir, set.SummaryName))
	}
	annotate(c, o, rep)
}

// fileText is what a line says of a file besides its state and size: what was measured, and what went wrong.
func fileText(f set.File) string {
	var parts []string
	if f.Smoke != "" {
		parts = append(parts, "smoke "+f.Smoke)
	}
	if f.KLD != 0 {
		parts = append(parts, fmt.Sprintf("divergence %.4f", f.KLD))
	}
	if f.Speed > 0 {
		parts = append(parts, fmt.Sprintf("%.1f tokens/s", f.Speed))
	}
	if f.Says != "" {
		parts = append(parts, f.Says)
	}
	return strings.Join(parts, ", ")
}

// annotate tells a CI what it shows beside the log: the summary, and a line for each failure.
func annotate(c *cli.Context, o *output, rep *set.Report) {
	file := c.String("summary")
	if file == "" {
		file = os.Getenv("GITHUB_STEP_SUMMARY")
	}
	if file != "" {
		if err := appendTo(file, rep.Markdown()); err != nil {
			o.Emit(pipeline.Warning{Stage: "batch", Says: "the summary could not be written: " + err.Error()})
		}
	}
	if os.Getenv("GITHUB_ACTIONS") != "true" {
		return
	}
	for _, e := range rep.Entries {
		if e.State == pipeline.Failed {
			o.note("::error title=%s::%s\n", workflowText(e.Key+" "+e.Stage, true), workflowText(strings.TrimSuffix(e.Says+"; "+e.Hint, "; "), false))
		}
	}
}

// workflowText escapes what ends a command of GitHub's runner; a property ends earlier than a message.
func workflowText(s string, property bool) string {
	s = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(s)
	if property {
		s = strings.NewReplacer(":", "%3A", ",", "%2C").Replace(s)
	}
	return s
}

// appendTo adds to a summary that other steps of the same job write to as well.
func appendTo(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(data)
	return err
}
