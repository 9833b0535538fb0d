// Package pipeline runs stages: it plans them, skips what needs no run, keeps a ledger of what is proven, and reports events.
//
// It knows nothing of models, files or terminals. S is the state that one run shares: a small struct whose fields say what
// a stage hands to the next.
package pipeline

import (
	"context"
	"encoding/json"
)

// Stage is one step of a run.
type Stage[S any] interface {
	// Name is the word by which users, events and the ledger know the stage.
	Name() string
	// Plan says what Run would read, write and depend on, from headers alone; it writes nothing.
	Plan(ctx context.Context, s *S) (Step, error)
	// Run does the work. It leaves nothing half-written under a final name, whatever stops it.
	Run(ctx context.Context, s *S, ev Events) error
}

// Skipper is a stage that is not always needed. The reason is shown to the user.
type Skipper[S any] interface {
	Skip(s *S) (reason string)
}

// Looker is a stage that only reads: a dry run carries it out.
type Looker interface {
	OnlyReads()
}

// Recaller is a stage whose result can stand in the ledger, so that a proven stage need not run again.
type Recaller[S any] interface {
	// Result is what Run found, to be kept as JSON.
	Result(s *S) any
	// Recall puts a kept result back into the state. An error means that the stage runs again.
	Recall(s *S, kept json.RawMessage) error
}

// Step is what a stage is about to do. Its key decides whether an earlier run has done the same already.
type Step struct {
	Inputs   []Input        `json:"inputs"`   // what is read, each with the digest that pins it
	Params   map[string]any `json:"params"`   // what the user and the plan decided
	Versions []string       `json:"versions"` // of the programs and libraries that shape the result
	Outputs  []string       `json:"outputs"`  // paths of the files that Run writes
	Cost     Cost           `json:"cost"`
	Says     string         `json:"says"` // one line for a dry run: what would be done
	// Fresh demands a run even where the ledger knows the step: a measurement that is asked for again.
	Fresh bool `json:"-"`
}

// Input is something that a stage reads.
type Input struct {
	Name   string `json:"name"`
	Digest string `json:"digest"` // sha256:..., git-sha1:..., or a key of an earlier step
}

// Cost is what a stage is expected to use, in bytes.
type Cost struct {
	Download int64 `json:"download,omitempty"`
	Read     int64 `json:"read,omitempty"`
	Write    int64 `json:"write,omitempty"`
	Memory   int64 `json:"memory,omitempty"`
}
