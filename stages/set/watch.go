package set

import (
	"strings"
	"time"

	"quern/pipeline"
	"quern/pipeline/batch/graph"
)

// Totals say how far a set is: the "batch" event.
type Totals struct {
	Done    int      `json:"done"` // steps that have ended
	Known   int      `json:"known"`
	Running []string `json:"running"`
	Failed  int      `json:"failed"`
	Seconds float64  `json:"seconds"`
	// Left is the time that what is left takes at the pace so far; 0 while that is not known.
	Left float64 `json:"seconds_left,omitempty"`
}

// watch turns what the graph does into events. It is called by one goroutine.
type watch struct {
	r      *run
	ev     pipeline.Events
	models map[*graph.Model]*model
	begun  time.Time
	on     []string
	totals Totals
	done   map[*model]int
	closed map[*model]bool // nothing more will be added to it
}

func newWatch(r *run, ev pipeline.Events) *watch {
	w := &watch{r: r, ev: ev, models: map[*graph.Model]*model{}, begun: time.Now(), done: map[*model]int{}, closed: map[*model]bool{}}
	for _, m := range r.models {
		w.models[m.node] = m
	}
	return w
}

func (w *watch) change(c graph.Change) {
	m := w.models[c.Node.Model]
	name := m.Key + " " + c.Node.Name
	ev := pipeline.Tagged{Entry: m.Key, To: w.ev}
	if c.State == "" {
		w.on = append(w.on, name)
		ev.Emit(pipeline.Started{Stage: c.Node.Name})
		w.tell()
		return
	}
	for i, o := range w.on {
		if o == name {
			w.on = append(w.on[:i:i], w.on[i+1:]...)
			break
		}
	}
	w.totals.Done++
	w.done[m]++
	if n := c.Node; n == m.sealed || n == m.build && c.State != pipeline.OK && c.State != pipeline.Proven && c.State != pipeline.Planned || n.Name == "plan" && c.State == pipeline.Failed {
		w.closed[m] = true
	}
	says := c.Node.Says
	if c.State == pipeline.OK && c.Node.Name != "plan" {
		m.run.ran++
	}
	if c.State == pipeline.Planned && c.Node != m.sealed && c.Node.Name != "pull" {
		m.planned = true
	}
	if c.State == pipeline.Failed {
		w.totals.Failed++
		m.blamed(c.Node, c.Err)
		says = c.Err.Error()
	}
	ev.Emit(pipeline.Finished{Stage: c.Node.Name, State: c.State, Says: says, Elapsed: c.Elapsed, Seconds: c.Elapsed.Seconds()})
	w.tell()
}

// blamed writes down what failed before it could run: a need over the budget.
func (m *model) blamed(n *graph.Node, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.failed {
		if f.err == err {
			return
		}
	}
	f := failure{stage: n.Name, err: err}
	f.stage, _, _ = strings.Cut(n.Name, " ")
	for _, file := range m.files {
		if n == file.smoke || n == file.speed || n == file.record {
			f.path = file.art.Path
		}
	}
	m.failed = append(m.failed, f)
}

func (w *watch) tell() {
	t := w.totals
	t.Known = w.expected()
	t.Running = append([]string{}, w.on...)
	t.Seconds = time.Since(w.begun).Seconds()
	if t.Known > t.Done && t.Done*10 > t.Known {
		t.Left = t.Seconds / float64(t.Done) * float64(t.Known-t.Done)
	}
	w.ev.Emit(pipeline.Result{Type: "batch", Data: t})
}

// expected is how many steps there will be: those of finished models are counted, others have as many as their types give.
func (w *watch) expected() int {
	n := 0
	for _, m := range w.r.models {
		guess := 4 + 3*len(m.Types)*len(m.entries)
		if w.closed[m] || w.done[m] > guess {
			guess = w.done[m]
		}
		n += guess
	}
	return n
}
