package pipeline

import "time"

// Events receives what happens in a run, as data. Implementations are safe for concurrent use and never block for long.
type Events interface {
	Emit(Event)
}

// Event is one of the types of this file.
type Event interface {
	// Kind is the event's "type" in JSON output.
	Kind() string
}

// State of a stage in a Finished event.
type State string

// The states in which a stage ends.
const (
	OK      State = "ok"
	Skipped State = "skipped" // not needed, for the reason given
	Proven  State = "proven"  // an earlier run did it; its outputs are still what they were
	Planned State = "planned" // a dry run: this would have been done
	Failed  State = "failed"
)

// Started says that a stage begins.
type Started struct {
	Entry string `json:"entry,omitempty"` // of a batch: the model that the stage is about; so in all events
	Stage string `json:"stage"`
	Says  string `json:"says,omitempty"`
	Why   string `json:"why,omitempty"` // what makes an earlier run's result unfit
}

// Progress says how far a stage is. Total is 0 where it is not known.
type Progress struct {
	Entry string  `json:"entry,omitempty"`
	Stage string  `json:"stage"`
	Item  string  `json:"item,omitempty"` // the file or test at work
	Done  int64   `json:"done"`
	Total int64   `json:"total"`
	Unit  string  `json:"unit"`           // "bytes", "tokens", "tests"
	Rate  float64 `json:"rate,omitempty"` // units a second, over the last seconds
}

// Line is something that a stage has to say to a person: a label of one word and a text.
type Line struct {
	Entry string `json:"entry,omitempty"`
	Stage string `json:"stage"`
	Label string `json:"label"`
	Text  string `json:"text"`
}

// Warning is a fact that the user should know and that does not stop the run.
type Warning struct {
	Entry string `json:"entry,omitempty"`
	Stage string `json:"stage"`
	Says  string `json:"says"`
	Next  string `json:"hint,omitempty"`
}

// Finished says how a stage ended.
type Finished struct {
	Entry   string        `json:"entry,omitempty"`
	Stage   string        `json:"stage"`
	State   State         `json:"state"`
	Says    string        `json:"says,omitempty"` // the reason of a skip, a summary otherwise
	Elapsed time.Duration `json:"-"`
	Seconds float64       `json:"seconds"`
}

// Result is a value that the run is about: a measurement, a file, a plan. Type is its "type" in JSON output.
type Result struct {
	Entry string
	Type  string
	Data  any
}

// Kind is "stage".
func (Started) Kind() string { return "stage" }

// Kind is "progress".
func (Progress) Kind() string { return "progress" }

// Kind is "summary".
func (Line) Kind() string { return "summary" }

// Kind is "warning".
func (Warning) Kind() string { return "warning" }

// Kind is "stage".
func (Finished) Kind() string { return "stage" }

// Kind is the result's own type.
func (r Result) Kind() string { return r.Type }

// Tagged gives every event that passes the name of an entry.
type Tagged struct {
	Entry string
	To    Events
}

// Emit passes e on with the entry's name.
func (t Tagged) Emit(e Event) {
	switch v := e.(type) {
	case Started:
		v.Entry = t.Entry
		e = v
	case Progress:
		v.Entry = t.Entry
		e = v
	case Line:
		v.Entry = t.Entry
		e = v
	case Warning:
		v.Entry = t.Entry
		e = v
	case Finished:
		v.Entry = t.Entry
		e = v
	case Result:
		v.Entry = t.Entry
		e = v
	}
	t.To.Emit(e)
}

// Discard is an Events that drops everything.
type Discard struct{}

// Emit drops e.
func (Discard) Emit(Event) {}
