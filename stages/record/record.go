// Package record is the stage that writes down what was made: a receipt beside each file, a record of its measurements, and
// how to run it.
package record

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"quern/pipeline"
	"quern/stages/job"
)

// Stage is the record.
type Stage struct{}

// Name is "record".
func (Stage) Name() string { return "record" }

// Plan names the receipts.
func (Stage) Plan(_ context.Context, s *job.State) (pipeline.Step, error) {
	var step pipeline.Step
	for _, a := range s.Files {
		step.Outputs = append(step.Outputs, a.Path+Suffix)
	}
	step.Says = fmt.Sprintf("%d receipts", len(step.Outputs))
	return step, nil
}

// Run writes receipts and records.
func (Stage) Run(ctx context.Context, s *job.State, ev pipeline.Events) error {
	files, verified, err := Sources(ctx, s)
	if err != nil {
		return err
	}
	for _, a := range s.Files {
		a.Receipt = a.Path + Suffix
		r := NewReceipt(s, a, files, verified)
		if err := r.Write(a.Receipt); err != nil {
			return err
		}
		if err := keep(s, a); err != nil {
			ev.Emit(pipeline.Warning{Stage: "record", Says: "the record could not be kept: " + err.Error()})
		}
		ev.Emit(pipeline.Line{Stage: "record", Label: "wrote", Text: a.Path + " + " + Suffix})
		ev.Emit(pipeline.Result{Type: "file", Data: Written{Path: a.Path, Paths: a.Paths, Type: a.Type, Bytes: a.Bytes, SHA256: a.SHA256, BPW: a.BitsPerWeight(), Receipt: a.Receipt, Run: HowToRun(s, a), Mmproj: a.Mmproj}})
	}
	if run := HowToRun(s, s.Files[0]); run != "" {
		ev.Emit(pipeline.Line{Stage: "record", Label: "run", Text: run})
	}
	return nil
}

// keep appends the record of a model; nothing is measured about a projector.
func keep(s *job.State, a *job.Artifact) error {
	if a.Mmproj {
		return nil
	}
	return Append(NewRecord(s, a))
}

// Written is a finished file: the "file" event of --json.
type Written struct {
	Path    string   `json:"path"`
	Paths   []string `json:"paths"`
	Type    string   `json:"file_type"`
	Bytes   int64    `json:"bytes"`
	SHA256  []string `json:"sha256"`
	BPW     float64  `json:"bits_per_weight"`
	Receipt string   `json:"receipt,omitempty"`
	Run     string   `json:"run,omitempty"`
	Mmproj  bool     `json:"projector,omitempty"` // it is loaded beside a model
}

// HowToRun is the llama-server line with the recommended values; empty where no setting was chosen.
func HowToRun(s *job.State, a *job.Artifact) string {
	if s.Adapter && s.OnBase != "" {
		return fmt.Sprintf("llama-server -m %s --lora %s", Quote(s.OnBase), Quote(a.Path))
	}
	if s.Advice == nil {
		return ""
	}
	p := s.Projector()
	if a.Mmproj {
		a, p = s.Host(), a
	}
	if p == nil {
		return s.Advice.Setting.Server(Quote(a.Path))
	}
	return s.Advice.Setting.Server(Quote(a.Path)) + " --mmproj " + Quote(p.Path)
}

// Quote makes a path safe for a shell.
func Quote(p string) string {
	if strings.ContainsAny(p, " '\"$&;()*?[]{}|<>\\`") {
		return "'" + strings.ReplaceAll(p, "'", `'\''`) + "'"
	}
	return filepath.ToSlash(p)
}
