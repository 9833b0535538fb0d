package plan

import (
	"quern/convert/arch"
	"quern/hfclient"
	"quern/quantize/machine"
	"quern/quantize/recommend"
	"quern/stages/job"
	"quern/stages/source"
)

// Report is the plan as data: the "plan" event of --json.
type Report struct {
	Source       *source.Source   `json:"source"`
	Architecture string           `json:"architecture"`
	Class        string           `json:"class,omitempty"` // the checkpoint's class name
	Parameters   int64            `json:"parameters,omitempty"`
	License      string           `json:"license,omitempty"`
	Precision    string           `json:"precision,omitempty"` // of the checkpoint
	Machine      *machine.Machine `json:"machine,omitempty"`
	Advice       *Advice          `json:"advice,omitempty"`
	Files        []File           `json:"files"`
	Download     *Download        `json:"download,omitempty"`
	Warnings     []string         `json:"warnings,omitempty"`
}

// Advice is the recommendation as data.
type Advice struct {
	Type       string            `json:"type"`
	Runs       bool              `json:"runs"`
	Setting    recommend.Setting `json:"setting"`
	Memory     recommend.Memory  `json:"memory"`
	Total      int64             `json:"memory_total_bytes"`
	Budget     int64             `json:"budget_bytes"`
	BudgetWhy  string            `json:"budget_reason"`
	MaxContext int64             `json:"max_context"`
	Speed      recommend.Speed   `json:"speed"`
	Reasons    []string          `json:"reasons"`
	Candidates []Candidate       `json:"candidates"`
}

// Candidate is a type that was weighed.
type Candidate struct {
	Type   string          `json:"type"`
	Bytes  int64           `json:"bytes"`
	BPW    float64         `json:"bits_per_weight"`
	Memory int64           `json:"memory_total_bytes"`
	Fit    recommend.Fit   `json:"fit"`
	Speed  recommend.Speed `json:"speed"`
	KLD    float64         `json:"kld,omitempty"`
	Reason string          `json:"reason,omitempty"` // why it is not the choice
}

// File is an output before it is written.
type File struct {
	Path    string  `json:"path"`
	Type    string  `json:"type"`
	Bytes   int64   `json:"bytes"`
	Tensors int     `json:"tensors"`
	BPW     float64 `json:"bits_per_weight"`
	Mmproj  bool    `json:"projector,omitempty"` // it is loaded beside a model
}

// Download is what pull would fetch.
type Download struct {
	Files   int   `json:"files"`
	Bytes   int64 `json:"bytes"`
	Missing int64 `json:"bytes_to_fetch"`
}

// NewReport makes the report of a planned state.
func NewReport(s *job.State) Report {
	r := Report{Source: s.Source, Machine: s.Machine, Warnings: Warnings(s)}
	if m := s.Checked; m != nil {
		r.Class, r.Architecture, r.Parameters = m.HF, m.Plan.Architecture(), max(m.Params.Total, -m.Params.Total)
		r.License, r.Precision = m.Card.License, string(m.Type)
		if m.Type == arch.Auto {
			r.Precision = ""
		}
	} else if len(s.Parts) > 0 {
		r.Architecture = s.Parts[0].Architecture()
	}
	if s.Advice != nil {
		r.Advice = newAdvice(s.Advice)
	}
	for _, a := range s.Files {
		r.Files = append(r.Files, File{Path: a.Path, Type: a.Type, Bytes: a.Bytes, Tensors: len(a.Outputs()), BPW: a.BitsPerWeight(), Mmproj: a.Mmproj})
	}
	if s.Pull != nil {
		r.Download = &Download{Files: len(s.Pull.Files), Bytes: total(s.Pull.Files), Missing: s.Pull.Fetch}
	}
	return r
}

func newAdvice(c *recommend.Choice) *Advice {
	a := &Advice{Type: c.Type, Runs: c.Runs, Setting: c.Setting, Memory: c.Memory, Total: c.Memory.Total(), Budget: c.Budget,
		BudgetWhy: c.BudgetWhy, MaxContext: c.MaxContext, Speed: c.Speed}
	for _, r := range c.Reasons {
		a.Reasons = append(a.Reasons, r.String())
	}
	for _, r := range c.Rows {
		a.Candidates = append(a.Candidates, Candidate{r.Type, r.Weights, r.BPW, r.Memory.Total(), r.Fit, r.Speed, r.KLD, r.Reason})
	}
	return a
}

func total(files []hfclient.File) int64 {
	n := int64(0)
	for _, f := range files {
		n += f.Size
	}
	return n
}
