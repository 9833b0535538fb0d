package plan

import (
	"context"
	"fmt"

	"quern/quantize/machine"
	"quern/quantize/recommend"
	"quern/stages/job"
)

// Place is the choice for one machine of the table.
type Place struct {
	Machine    string          `json:"machine"`
	Runs       bool            `json:"runs"`
	Type       string          `json:"file_type,omitempty"`
	Fit        recommend.Fit   `json:"fit"`
	Memory     int64           `json:"memory_total_bytes"`
	Budget     int64           `json:"budget_bytes"`
	Context    int64           `json:"context"`
	KV         string          `json:"kv_type"`
	MaxContext int64           `json:"max_context"`
	Speed      recommend.Speed `json:"speed"`
	Why        string          `json:"reason,omitempty"` // where it does not run
}

// Line is the place for people; one that does not run says what is missing.
func (p Place) Line() string {
	if !p.Runs {
		return fmt.Sprintf("%-28s %-9s %-5s %9s %9s  %s at %d tokens is %s over", p.Machine, "-", recommend.No, recommend.Size(p.Memory), recommend.Size(p.Budget), p.Type, p.Context, recommend.Size(p.Memory-p.Budget))
	}
	return fmt.Sprintf("%-28s %-9s %-5s %9s %9s %8d %5s %8d %6.1f (%.0f-%.0f)", p.Machine, p.Type, p.Fit, recommend.Size(p.Memory), recommend.Size(p.Budget), p.Context, p.KV, p.MaxContext,
		p.Speed.Generation, p.Speed.Low, p.Speed.High)
}

// Everywhere chooses for every Mac of the table: s is opened, nothing of this machine is asked.
func Everywhere(ctx context.Context, s *job.State) ([]Place, error) {
	if err := Open(ctx, s); err != nil {
		return nil, err
	}
	if err := OpenTower(ctx, s); err != nil {
		return nil, err
	}
	var err error
	if s.Shape, err = recommend.ShapeOf(Base(s)); err != nil {
		return nil, err
	}
	s.Shape.Projector = towerBytes(s)
	cands, err := candidates(s)
	if err != nil {
		return nil, err
	}
	var list []Place
	for _, m := range machine.All() {
		c, err := recommend.Choose(m, s.Shape, cands, s.Wish)
		if err != nil {
			return nil, err
		}
		p := Place{Machine: fmt.Sprintf("%s %d-core %dGB", m.Chip, m.GPUCores, m.Memory>>30), Runs: c.Runs, Type: c.Type, Fit: c.Fit, Memory: c.Memory.Total(),
			Budget: c.Budget, Context: c.Setting.Context, KV: c.Setting.KV, MaxContext: c.MaxContext, Speed: c.Speed}
		if !c.Runs {
			p.Why = c.Reasons[0].Says
		}
		list = append(list, p)
	}
	return list, nil
}

// Matrix rates all offered types at doubling contexts on the planned machine.
func Matrix(s *job.State) ([]recommend.Cell, error) {
	cands, err := candidates(s)
	if err != nil {
		return nil, err
	}
	return recommend.Matrix(s.Machine, s.Shape, cands, s.Advice.Setting, s.Wish), nil
}

// Components is the table of where the chosen file's memory goes.
func Components(s *job.State) []recommend.Component {
	if s.Advice == nil || len(s.Files) == 0 {
		return nil
	}
	embedding, output, all := int64(0), int64(0), s.Advice.Memory.Weights
	for _, o := range s.Files[0].Outputs() {
		switch o.Name {
		case "token_embd.weight":
			embedding = o.Size
		case "output.weight":
			output = o.Size
		}
	}
	return s.Shape.Components(all, embedding, output, s.Advice.Setting)
}
