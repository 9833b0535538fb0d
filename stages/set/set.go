// Package set carries out a model set: the stages of all its models as one graph.
//
// For every model:
//
//	plan -> pull -> fit... -> build -> smoke, speed of each file, quality of all -> record of each file -> finish -> evict
//
// One build reads the source once for all files that are stale; a file is stale alone, whatever becomes of its neighbours.
// Each model has a folder of its own, which is what is published:
//
//	<output>/<model>/<Name>-<TYPE>.gguf  .receipt.json     files that passed their gates have a receipt, others have none
//	<output>/<model>/README.md SHA256SUMS records.jsonl    of the files with receipts
//	<output>/<model>/.quern/                               ledger, recipes, digests of local sources: never published
//	<output>/batch.json summary.md                         the report of the last run
//
// Invariants: what has a receipt in the folder passed every gate of the manifest that made it; a run that is killed at any
// point leaves nothing that the next one believes and that is not so.
package set

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"quern/pipeline"
	"quern/pipeline/batch/graph"
	"quern/pipeline/batch/lock"
	"quern/pipeline/batch/manifest"
	"quern/stages/job"

	"github.com/gofrs/flock"
)

// Tools are what a run needs of the program.
type Tools struct {
	// New makes a state by the model's options, with the means that all models of the run share. It plans nothing.
	New  func(ctx context.Context, m *manifest.Model) (*job.State, error)
	Lock *lock.Lock
	Text func() ([]byte, error) // held-out text, on which quality is judged
	// Describe says of an error which exit code it has, and what to do next.
	Describe func(error) (code int, says, hint string)
}

// Options of a run.
type Options struct {
	Dir    string // of the artifacts
	DryRun bool   // plan, and say of every other step whether it would run, and why
	Evict  bool   // give the sources that this set fetched back when their models are finished
	Budget graph.Budget
	// Machine is the key of the machine at work; empty where that does not matter.
	Machine string
	// Made are files that were built elsewhere and lie in their model's folder: their digests by name. They are believed only
	// if header and digest are what this machine's own plan expects.
	Made map[string]string
	// Trials are what other machines found out about those files: by file and stage, in the form that the ledger keeps.
	Trials Trials
	Part   Part
}

// Trials are results of stages by the name of their file and the stage's.
type Trials map[string]map[string]json.RawMessage

// Part is what of the work is done here.
type Part string

// The parts. A worker that is not the machine of an entry makes its files; one that is tries them.
const (
	All   Part = ""
	Make  Part = "make"
	Trial Part = "trial"
	// Collect takes over what other machines made, and does nothing itself.
	Collect Part = "collect"
)

// classes limit what does not gain from company: connections are shared anyway, and a build uses all cores.
var classes = map[graph.Class]int{"plan": 4, "pull": 2, "build": 1, "speed": 1}

// Failed says that some entries of a set failed.
type Failed struct {
	Entries int
	Failed  []Entry
}

// Error counts, and names the first.
func (f *Failed) Error() string {
	e := f.Failed[0]
	return fmt.Sprintf("%d of %d entries failed; %s: %s", len(f.Failed), f.Entries, e.Key, e.Says)
}

// Hint is the first one's.
func (f *Failed) Hint() string { return f.Failed[0].Hint }

// Code is the exit code that all failures share, 1 where they differ.
func (f *Failed) Code() int {
	code := f.Failed[0].Code
	for _, e := range f.Failed {
		if e.Code != code {
			return 1
		}
	}
	return code
}

// BusyError says that another process works in the folder.
type BusyError struct{ Dir string }

// Error names the folder.
func (e *BusyError) Error() string { return e.Dir + ": another batch is at work there" }

// Hint says what to do.
func (e *BusyError) Hint() string { return "wait for it, or give this one another folder with -o" }

// run is a run under way.
type run struct {
	Tools
	Options
	set    *manifest.Set
	ev     pipeline.Events
	models []*model
	ran    int
}

// Run carries out the entries. The report is complete even when the error is a *Failed.
func Run(ctx context.Context, s *manifest.Set, entries []manifest.Entry, t Tools, o Options, ev pipeline.Events) (*Report, error) {
	r := &run{Tools: t, Options: o, set: s, ev: ev}
	unlock, err := r.occupy()
	if err != nil {
		return nil, err
	}
	defer unlock()
	var nodes []*graph.Node
	var models []*graph.Model
	for _, e := range entries {
		m := r.model(e.Model)
		m.entries = append(m.entries, e)
	}
	for i, m := range r.models {
		m.node = &graph.Model{Key: m.Key, Order: i}
		if m.ledger, err = pipeline.OpenLedger(filepath.Join(m.hidden(), "ledger.json")); err != nil {
			return nil, err
		}
		models = append(models, m.node)
		nodes = append(nodes, m.planNode())
	}
	defer func() {
		for _, m := range r.models {
			m.shut()
		}
	}()
	o.Budget.Limits = classes
	watch := newWatch(r, ev)
	stats, err := graph.Run(ctx, o.Budget, models, nodes, watch.change)
	if err != nil {
		return nil, err
	}
	rep := r.report(stats)
	rep.Ran = r.ran
	if !o.DryRun {
		if err := errors.Join(t.Lock.Write(), rep.write(o.Dir)); err != nil {
			return rep, err
		}
	}
	return rep, rep.err()
}

// occupy lets one process at a time work in the folder. A dry run writes nothing and needs no lock.
func (r *run) occupy() (func(), error) {
	if r.DryRun {
		return func() {}, nil
	}
	dir := filepath.Join(r.Dir, hiddenName)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	l := flock.New(filepath.Join(dir, "lock"))
	ok, err := l.TryLock()
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, &BusyError{r.Dir}
	}
	return func() { l.Unlock() }, nil //nolint:errcheck // it ends with the process at the latest
}

// hiddenName is the folder of what is never published.
const hiddenName = ".quern"

func (r *run) model(m *manifest.Model) *model {
	for _, have := range r.models {
		if have.Model == m {
			return have
		}
	}
	n := &model{run: r, Model: m, dir: filepath.Join(r.Dir, m.Key)}
	n.ev = pipeline.Tagged{Entry: m.Key, To: quiet{r.ev}}
	r.models = append(r.models, n)
	return n
}

// quiet drops what the graph says itself: which stage starts and ends, and lines that would stand between those of other models.
type quiet struct{ to pipeline.Events }

// Emit passes progress, warnings and results on.
func (q quiet) Emit(e pipeline.Event) {
	switch e.(type) {
	case pipeline.Progress, pipeline.Warning, pipeline.Result:
		q.to.Emit(e)
	}
}
