package set

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"quern/pipeline"
	"quern/pipeline/batch/graph"
	"quern/stages/bench"
	"quern/stages/plan"
	"quern/stages/smoke"

	"github.com/google/renameio/v2"
)

// The names of the reports in the output folder.
const (
	ReportName  = "batch.json"
	SummaryName = "summary.md"
)

// Report is what became of a set.
type Report struct {
	Entries []Entry `json:"entries"`
	Steps   int     `json:"steps"`
	Ran     int     `json:"ran"` // steps that did something, and were neither proven nor skipped
	Failed  int     `json:"failed"`
	Blocked int     `json:"blocked"`
	Seconds float64 `json:"seconds"`
	// PeakDisk is what sources and outputs held at most, by their sizes.
	PeakDisk int64 `json:"peak_disk_bytes"`
	// Found is what was found out about every file, for another machine to take over.
	Found Trials `json:"-"`
	// Extra are other files that belong to the outputs: recipes of mixtures. By entry.
	Extra map[string][]string `json:"-"`
}

// Entry is what became of a model on a machine.
type Entry struct {
	Key     string         `json:"key"`
	Model   string         `json:"model"`
	Commit  string         `json:"commit,omitempty"`
	Machine string         `json:"machine,omitempty"` // as the manifest has it
	State   pipeline.State `json:"state"`             // ok, proven, planned, failed
	Code    int            `json:"code"`              // the exit code of its first failure
	Stage   string         `json:"stage,omitempty"`   // in which it failed
	Says    string         `json:"says,omitempty"`
	Hint    string         `json:"hint,omitempty"`
	Files   []File         `json:"files"`
}

// File is one output of an entry.
type File struct {
	Path       string         `json:"path"`
	Paths      []string       `json:"paths"`
	Type       string         `json:"file_type"`
	Wanted     string         `json:"wanted"` // as the manifest has it; "projector" for what is made beside a model that sees or hears
	Bytes      int64          `json:"bytes"`
	SHA256     []string       `json:"sha256,omitempty"`
	BPW        float64        `json:"bits_per_weight"`
	State      pipeline.State `json:"state"`
	Receipt    bool           `json:"receipt"` // it passed everything
	Smoke      string         `json:"smoke,omitempty"`
	KLD        float64        `json:"kld,omitempty"`
	SameTop    float64        `json:"same_top,omitempty"`
	Perplexity float64        `json:"perplexity,omitempty"`
	Speed      float64        `json:"tokens_per_second,omitempty"` // generation, measured
	Says       string         `json:"says,omitempty"`              // why it failed
}

// report gathers what the models found.
func (r *run) report(s graph.Stats) *Report {
	rep := &Report{Entries: []Entry{}, Steps: s.Nodes, Failed: s.Failed, Blocked: s.Blocked, PeakDisk: s.PeakDisk, Seconds: s.Elapsed.Seconds(),
		Found: Trials{}, Extra: map[string][]string{}}
	for _, m := range r.models {
		for _, e := range m.entries {
			out := Entry{Key: e.Key, Model: m.Model.Model, Machine: e.Machine, State: pipeline.Proven, Files: []File{}}
			if m.base != nil && m.base.Source != nil {
				out.Commit = m.base.Source.Commit
			}
			var beside *file
			for _, p := range m.pieces {
				if p.entry.Key == e.Key && p.file != nil {
					out.Files = append(out.Files, m.describeFile(p.file, p.typ.String()))
					rep.Found[FileKey(m.Key, p.file.art.Path)] = p.file.found()
					beside = p.file.beside
					if p.fit != nil {
						rep.Extra[e.Key] = append(rep.Extra[e.Key], m.recipePath(p))
					}
				}
			}
			if beside != nil {
				out.Files = append(out.Files, m.describeFile(beside, "projector"))
				rep.Found[FileKey(m.Key, beside.art.Path)] = beside.found()
			}
			for _, f := range out.Files {
				if f.State == pipeline.OK || f.State == pipeline.Planned {
					out.State = f.State
				}
			}
			if m.planned && out.State == pipeline.Proven {
				out.State = pipeline.Planned
			}
			m.blame(&out)
			rep.Entries = append(rep.Entries, out)
		}
	}
	return rep
}

func (m *model) describeFile(f *file, wanted string) File {
	a := f.art
	out := File{Path: a.Path, Paths: a.Paths, Type: f.name(), Wanted: wanted, Bytes: a.Bytes, SHA256: a.SHA256, BPW: a.BitsPerWeight(), Receipt: f.receipt}
	switch {
	case f.built:
		out.State = pipeline.OK
	case m.run.DryRun && f.why != "":
		out.State = pipeline.Planned
	case f.why == "":
		out.State = pipeline.Proven
	default:
		out.State = graph.Blocked
	}
	if r, ok := a.Smoke.(*smoke.Report); ok && r != nil {
		out.Smoke = "ok"
		if n := r.Count(smoke.Failed); n > 0 {
			out.Smoke = fmt.Sprintf("%d checks failed", n)
		}
	}
	if q := f.quality; q != nil {
		out.KLD, out.SameTop, out.Perplexity = finite(float64(q.Mean)), q.SameTop, finite(float64(q.Perplexity.Value))
	}
	out.Speed = generation(a.Bench)
	return out
}

// found are the results of a file's trials, as the ledger keeps them.
func (f *file) found() map[string]json.RawMessage {
	all := map[string]json.RawMessage{}
	keep := func(stage string, v any) {
		if b, err := json.Marshal(v); err == nil && string(b) != "null" {
			all[stage] = b
		}
	}
	if f.art.Smoke != nil {
		keep("smoke", smoke.Stage{}.Result(f.state))
	}
	if f.art.Bench != nil {
		keep("bench", bench.Stage{}.Result(f.state))
	}
	if f.quality != nil {
		keep("quality", f.quality)
	}
	if f.receipt {
		keep("record", true)
	}
	return all
}

// finite replaces what JSON cannot hold.
func finite(f float64) float64 {
	if f != f || f-f != 0 {
		return -1
	}
	return f
}

// blame writes an entry's failures down: those of the whole model, of its types, of its files.
func (m *model) blame(e *Entry) {
	for _, f := range m.failed {
		hit := f.path == ""
		for _, p := range m.pieces {
			hit = hit || p.entry.Key == e.Key && p.file == nil && p.typ.String() == f.path
		}
		for i := range e.Files {
			if e.Files[i].Path == f.path {
				hit = true
				e.Files[i].State, e.Files[i].Says = pipeline.Failed, f.err.Error()
			}
		}
		if hit && e.State != pipeline.Failed {
			e.State, e.Stage = pipeline.Failed, f.stage
			e.Code, e.Says, e.Hint = m.run.Describe(f.err)
		}
	}
}

// err is a *Failed where entries failed.
func (r *Report) err() error {
	f := &Failed{Entries: len(r.Entries)}
	for _, e := range r.Entries {
		if e.State == pipeline.Failed {
			f.Failed = append(f.Failed, e)
		}
	}
	if len(f.Failed) == 0 {
		return nil
	}
	return f
}

// write puts the report into the output folder, for programs and for people.
func (r *Report) write(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return errors.Join(renameio.WriteFile(filepath.Join(dir, ReportName), append(b, '\n'), 0o644),
		renameio.WriteFile(filepath.Join(dir, SummaryName), r.Markdown(), 0o644))
}

// Markdown is the report for a CI job's page.
func (r *Report) Markdown() []byte {
	var b bytes.Buffer
	n := map[pipeline.State]int{}
	for _, e := range r.Entries {
		n[e.State]++
	}
	fmt.Fprintf(&b, "## quern: %d entries, %d failed\n\n%d built, %d proven by an earlier run, %d steps of which %d ran, %.0f s, at most %s of sources and files on the disk\n\n",
		len(r.Entries), n[pipeline.Failed], n[pipeline.OK], n[pipeline.Proven], r.Steps, r.Ran, r.Seconds, plan.Size(r.PeakDisk))
	b.WriteString("| entry | type | size | bits | KL divergence | tokens/s | tried | state |\n|---|---|---:|---:|---:|---:|---|---|\n")
	for _, e := range r.Entries {
		for _, f := range e.Files {
			fmt.Fprintf(&b, "| %s | %s | %s | %.2f | %s | %s | %s | %s |\n", e.Key, f.Type, plan.Size(f.Bytes), f.BPW, figure(f.KLD, 4), figure(f.Speed, 1), f.Smoke, line(string(f.State), f.Says))
		}
		if len(e.Files) == 0 || e.State == pipeline.Failed && !slices.ContainsFunc(e.Files, func(f File) bool { return f.State == pipeline.Failed }) {
			fmt.Fprintf(&b, "| %s | | | | | | | %s |\n", e.Key, line(string(e.State), e.Says))
		}
	}
	return b.Bytes()
}

func figure(f float64, digits int) string {
	if f == 0 {
		return ""
	}
	return fmt.Sprintf("%.*f", digits, f)
}

// line is a state with its reason, as a cell of a table.
func line(state, says string) string {
	if says != "" {
		state += ": " + says
	}
	return strings.NewReplacer("|", `\|`, "\n", " ").Replace(state)
}
