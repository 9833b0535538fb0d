package set

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"quern/pipeline"
	"quern/pipeline/batch/manifest"
	"quern/pipeline/queue"
	"quern/quantize/machine"

	"golang.org/x/sync/errgroup"
)

// distribution is a set whose entries are done by workers.
type distribution struct {
	set   *manifest.Set
	tools Tools
	opts  Options
	q     *queue.Queue
	store queue.Store
	ev    pipeline.Events
	quern string

	mu      sync.Mutex
	made    map[string]string
	trials  Trials
	answers map[string]Entry
	carried []Carried
	totals  Totals
	begun   time.Time
}

// Distribute hands the entries to the workers of a queue and collects what they make. This machine plans, pins and seals.
func Distribute(ctx context.Context, s *manifest.Set, entries []manifest.Entry, t Tools, o Options, q *queue.Queue, store queue.Store, version string, ev pipeline.Events) (*Report, error) {
	d := &distribution{set: s, tools: t, opts: o, q: q, store: store, ev: ev, quern: version, made: map[string]string{}, trials: Trials{}, answers: map[string]Entry{}, begun: time.Now()}
	look := o
	look.DryRun = true
	first, err := Run(ctx, s, entries, t, look, quietSet{ev})
	var failed *Failed
	if err != nil && !errors.As(err, &failed) {
		return nil, err
	}
	if o.DryRun {
		return first, err
	}
	if err := t.Lock.Write(); err != nil {
		return nil, err
	}
	var collect []manifest.Entry
	var away []manifest.Entry
	for i, e := range first.Entries {
		switch e.State {
		case pipeline.Failed:
		case pipeline.Planned:
			away = append(away, entries[d.index(entries, first.Entries[i].Key)])
			collect = append(collect, away[len(away)-1])
		default:
			collect = append(collect, entries[d.index(entries, e.Key)])
		}
	}
	d.totals.Known = len(away)
	if err := d.all(ctx, away); err != nil {
		return nil, err
	}
	rep := &Report{Entries: []Entry{}}
	if len(collect) > 0 {
		o.Part, o.Made, o.Trials = Collect, d.made, d.trials
		if rep, err = Run(ctx, s, collect, t, o, quietSet{ev}); err != nil && !errors.As(err, &failed) {
			return nil, err
		}
	}
	for _, c := range d.carried { // they have arrived, and the ledger has them
		if err := store.Delete(ctx, c.Object); err != nil {
			return nil, err
		}
	}
	out := d.merge(first, rep)
	return out, errors.Join(out.write(o.Dir), out.err())
}

// quietSet lets warnings through: what a plan or a collection does by itself is no news.
type quietSet struct{ to pipeline.Events }

// Emit passes warnings on.
func (q quietSet) Emit(e pipeline.Event) {
	if w, ok := e.(pipeline.Warning); ok {
		q.to.Emit(w)
	}
}

func (d *distribution) index(entries []manifest.Entry, key string) int {
	for i, e := range entries {
		if e.Key == key {
			return i
		}
	}
	return 0
}

func (d *distribution) all(ctx context.Context, entries []manifest.Entry) error {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	go d.watch(watching, entries)
	g, ctx := errgroup.WithContext(ctx)
	for _, e := range entries {
		g.Go(func() error { return d.entry(ctx, e) })
	}
	return g.Wait()
}

// entry has one entry done: whole by any worker, or its files by any and their trials by the machine that they are for.
func (d *distribution) entry(ctx context.Context, e manifest.Entry) error {
	key := ""
	if e.Machine != "" {
		m, err := machine.For(e.Machine)
		if err != nil {
			return err
		}
		key = MachineKey(m)
	}
	if key == "" {
		o, err := newOrder(d.set, e, All, d.tools.Lock, d.quern)
		if err != nil {
			return err
		}
		return d.order(ctx, e, o, "", "all")
	}
	o, err := newOrder(d.set, e, Make, d.tools.Lock, d.quern)
	if err != nil {
		return err
	}
	if err := d.order(ctx, e, o, "", "make"); err != nil {
		return err
	}
	d.mu.Lock()
	failed := d.answers[e.Key].State == pipeline.Failed
	t, err := newOrder(d.set, e, Trial, d.tools.Lock, d.quern)
	if err == nil {
		t.Made = map[string]string{}
		for _, c := range d.carried {
			if strings.HasPrefix(c.Object, o.ID()+"/") {
				t.Made[FileKey(e.Model.Key, c.Path)] = c.Digest
				t.Files = append(t.Files, c)
			}
		}
	}
	d.mu.Unlock()
	if err != nil || failed {
		return err
	}
	return d.order(ctx, e, t, key, "trial")
}

// order hands an order in, waits for its answer and brings its files here. A failure of an earlier run is tried again.
func (d *distribution) order(ctx context.Context, e manifest.Entry, o *Order, on, stage string) error {
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	task := queue.Task{ID: o.ID(), Name: e.Key, Machine: on, Body: body}
	ev := pipeline.Tagged{Entry: e.Key, To: d.ev}
	begun := time.Now()
	ev.Emit(pipeline.Started{Stage: stage})
	if r, err := d.q.Result(ctx, task.ID); err == nil && r != nil && unusable(r) {
		if err := d.q.Forget(ctx, task.ID); err != nil {
			return err
		}
	}
	var r *queue.Result
	var a Answer
	for try := 0; ; try++ {
		if err := d.q.Submit(ctx, task); err != nil {
			return err
		}
		if r, err = d.q.Await(ctx, task.ID); err != nil {
			return err
		}
		a = Answer{}
		if r.Fault != "" {
			a.Entry = Entry{Key: e.Key, Model: e.Model.Model, Machine: e.Machine, State: pipeline.Failed, Code: 1, Stage: "worker", Says: r.Fault, Files: []File{}}
			break
		}
		if err := json.Unmarshal(r.Body, &a); err != nil {
			return err
		}
		if err = d.fetch(ctx, e, a); err == nil {
			break
		}
		if ctx.Err() != nil || try > 0 {
			return err
		}
		if err := d.q.Forget(ctx, task.ID); err != nil { // an old result whose files are gone
			return err
		}
	}
	d.take(e, a)
	state, says := pipeline.OK, fmt.Sprintf("by %s, try %d", r.Worker, r.Tries)
	if a.Entry.State == pipeline.Failed {
		state, says = pipeline.Failed, a.Entry.Says+" ("+says+")"
	}
	took := time.Since(begun)
	ev.Emit(pipeline.Finished{Stage: stage, State: state, Says: says, Elapsed: took, Seconds: took.Seconds()})
	return nil
}

// unusable tells a result that is to be tried again.
func unusable(r *queue.Result) bool {
	var a Answer
	return r.Fault != "" || json.Unmarshal(r.Body, &a) != nil || a.Entry.State == pipeline.Failed
}

func (d *distribution) fetch(ctx context.Context, e manifest.Entry, a Answer) error {
	for _, c := range a.Files {
		if err := c.fetch(ctx, d.store, filepath.Join(d.opts.Dir, e.Model.Key)); err != nil {
			return err
		}
	}
	return nil
}

// take notes what an answer says.
func (d *distribution) take(e manifest.Entry, a Answer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answers[e.Key] = a.Entry
	for _, c := range a.Files {
		d.made[FileKey(e.Model.Key, c.Path)] = c.Digest
		d.carried = append(d.carried, c)
	}
	for file, found := range a.Found {
		d.trials[file] = found
	}
}

// watch tells how far the set is, and when no worker is the machine that an entry waits for.
func (d *distribution) watch(ctx context.Context, entries []manifest.Entry) {
	warned := map[string]bool{}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		workers, err := d.q.Workers(ctx)
		if err != nil {
			continue
		}
		d.mu.Lock()
		t := Totals{Done: len(d.answers), Known: d.totals.Known, Running: []string{}, Seconds: time.Since(d.begun).Seconds()}
		d.mu.Unlock()
		are := map[string]bool{}
		for _, w := range workers {
			are[w.Machine] = true
			if w.Task != "" {
				t.Running = append(t.Running, w.Task+" on "+w.Name)
			}
		}
		d.ev.Emit(pipeline.Result{Type: "batch", Data: t})
		const patience = 10 // seconds in which workers may still come
		for _, e := range entries {
			m, err := machine.For(e.Machine)
			if n < patience || e.Machine == "" || err != nil || are[MachineKey(m)] || warned[e.Machine] {
				continue
			}
			warned[e.Machine] = true
			d.ev.Emit(pipeline.Warning{Entry: e.Key, Stage: "queue", Says: "no worker is a " + e.Machine, Next: "start `quern worker` on one; the entry waits"})
		}
	}
}

// merge puts the entries of the plan, of the workers and of the collection together: a failure is told by who had it.
func (d *distribution) merge(first, collected *Report) *Report {
	by := map[string]Entry{}
	for _, e := range collected.Entries {
		by[e.Key] = e
	}
	out := *collected
	out.Entries, out.Seconds, out.Ran = []Entry{}, time.Since(d.begun).Seconds(), len(d.answers)
	out.PeakDisk = first.PeakDisk
	for _, e := range first.Entries {
		if c, ok := by[e.Key]; ok {
			e = c
		}
		if a, ok := d.answers[e.Key]; ok {
			if a.State == pipeline.Failed {
				e.State, e.Code, e.Stage, e.Says, e.Hint = a.State, a.Code, a.Stage, a.Says, a.Hint
				for i := range e.Files {
					for _, f := range a.Files {
						if filepath.Base(f.Path) == filepath.Base(e.Files[i].Path) {
							e.Files[i].State, e.Files[i].Says = f.State, f.Says
						}
					}
				}
			} else if e.State == pipeline.Proven {
				e.State = pipeline.OK
				for i := range e.Files {
					e.Files[i].State = pipeline.OK
				}
			}
		}
		out.Entries = append(out.Entries, e)
	}
	out.Failed = 0
	for _, e := range out.Entries {
		if e.State == pipeline.Failed {
			out.Failed++
		}
	}
	return &out
}
