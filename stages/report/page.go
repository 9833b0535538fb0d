package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"quern/stages/record"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

var page = template.Must(template.New("page").Parse(pageHTML))

// Info is what the page says of itself.
type Info struct {
	Quern string // the version that wrote it
	When  time.Time
	Title string // "" means a title by the models
}

// view is what the template sees.
type view struct {
	Info
	CSS    template.CSS
	Date   string
	Models []section
	Tuned  []tuning
	Bare   []bare
	More   int // bare files that are not listed
}

// bare is a file of which nothing but its making is known.
type bare struct{ Model, Type, Size, When string }

// maxBare is how many of them are listed: a machine that converts for others makes thousands.
const maxBare = 40

// section is a model with all that is derived from its records, so that the template decides nothing.
type section struct {
	*model
	Lead    *row
	Verdict string
	Tiles   []tile
	Figures []*figure
	Types   []typeRow
	Facts   []fact
}

// tile is a figure that stands large.
type tile struct{ Label, Value, Unit, Note string }

type fact struct{ Name, Value string }

type typeRow struct {
	*row
	Cells []string
}

// tuning is what a search of settings found.
type tuning struct{ File, Machine, Best, Gain string }

// Write writes the page of the records, oldest first as record.List gives them.
func Write(w io.Writer, records []record.Record, info Info) error {
	v := view{Info: info, CSS: template.CSS(pageCSS), Date: info.When.UTC().Format("2 January 2006, 15:04 UTC")} //nolint:gosec // our own file
	models, unmeasured := apart(gather(records))
	v.bare(unmeasured)
	for _, m := range models {
		s, err := m.section()
		if err != nil {
			return err
		}
		v.Models = append(v.Models, s)
	}
	for _, r := range records {
		if t := r.Tuned; t != nil {
			best := fmt.Sprintf("-t %d -fa %s -ctk %s -ub %d -b %d", t.Threads, t.FlashAttn, t.KV, t.MicroBatch, t.Batch)
			v.Tuned = append(v.Tuned, tuning{r.Model, r.Machine, best, fmt.Sprintf("%+.1f %%", 100*(t.Gain-1))})
		}
	}
	if v.Title == "" {
		v.Title = "quern report"
		if len(v.Models) == 1 {
			v.Title = v.Models[0].Name
		}
	}
	return page.Execute(w, v)
}

// bare lists the files that were made and never tried.
func (v *view) bare(models []*model) {
	for _, m := range models {
		for _, x := range m.Rows {
			if len(v.Bare) == maxBare {
				v.More++
				continue
			}
			v.Bare = append(v.Bare, bare{m.Name, x.Type, bytesText(x.Bytes), dayText(x.When)})
		}
	}
}

// Overview has a line for each model where there are several: the type that leads its section, and its figures.
func (v view) Overview() []overview {
	if len(v.Models) < 2 {
		return nil
	}
	var all []overview
	for _, s := range v.Models {
		x := s.Lead
		o := overview{Name: s.Name, Anchor: s.Anchor, Type: x.Type, Size: bytesText(x.Bytes), Machine: s.Machine, Agrees: none, Answers: none, When: dayText(x.When)}
		if x.Quality != nil {
			o.Agrees = percent(x.Quality.SameTop)
		}
		if t := x.speed(true, 0); t != nil {
			o.Answers = speedText(t.TokensPerSecond)
		}
		all = append(all, o)
	}
	return all
}

// overview is a line of the table of models.
type overview struct{ Name, Anchor, Type, Size, Agrees, Answers, Machine, When string }

func dayText(t time.Time) string { return t.UTC().Format("2 Jan 2006") }

func (m *model) section() (section, error) {
	s := section{model: m, Lead: m.first()}
	s.Verdict = s.Lead.verdict()
	s.Tiles = s.Lead.tiles()
	var err error
	if s.Figures, err = m.figures(); err != nil {
		return s, err
	}
	for _, x := range m.Rows {
		s.Types = append(s.Types, typeRow{x, x.cells()})
	}
	s.Facts = m.facts()
	return s, nil
}

// verdict is the one sentence that a person understands.
func (x *row) verdict() string {
	size := strings.ReplaceAll(bytesText(x.Bytes), " ", "\u00a0") // a number and its unit stay on one line
	s := x.Type + " is a file of " + size
	if x.Chosen {
		s = x.Type + " is what this machine should run: " + size
	}
	if x.Quality != nil {
		s += " that " + x.Quality.Agreement()
	}
	if t := x.speed(true, 0); t != nil {
		s += fmt.Sprintf(", at %s tokens a second", speedText(t.TokensPerSecond))
	}
	return s + "."
}

// tiles leave out what was not measured: an empty tile reads as nought.
func (x *row) tiles() []tile {
	ts := []tile{{"Size", bytesText(x.Bytes), "", number(x.BPW, 2) + " bits a weight"}}
	if q := x.Quality; q != nil {
		ts = append(ts, tile{"Agreement", fmt.Sprintf("%.1f", 100*q.SameTop), "%", fmt.Sprintf("divergence %.4f", float64(q.Mean))})
	}
	if t := x.speed(true, 0); t != nil {
		note := spread(t.Spread, len(t.Samples))
		if x.Expected > 0 {
			note = fmt.Sprintf("%s, %s predicted", note, speedText(x.Expected))
		}
		ts = append(ts, tile{"Answers", speedText(t.TokensPerSecond), "tokens/s", note})
	}
	if t := x.speed(false, 0); t != nil {
		ts = append(ts, tile{"Prompts", speedText(t.TokensPerSecond), "tokens/s", spread(t.Spread, len(t.Samples))})
	}
	if x.Bench != nil && x.Bench.PeakRSS > 0 {
		ts = append(ts, tile{"Peak memory", bytesText(x.Bench.PeakRSS), "", "of the measured process"})
	}
	return ts
}

// typeHead names the columns of cells.
var typeHead = []string{"type", "size", "bits", "agreement", "divergence", "99 %", "answers", "prompts", "memory", "checks"}

// Head gives the template the columns of a section's table.
func (section) Head() []string { return typeHead }

// cells keep their columns, so that rows can be compared: what was not measured is a dash.
func (x *row) cells() []string {
	c := []string{bytesText(x.Bytes), number(x.BPW, 2), none, none, none, none, none, none, none}
	if q := x.Quality; q != nil {
		c[2], c[3], c[4] = percent(q.SameTop), number(float64(q.Mean), 4), number(float64(q.P99), 3)
	}
	if t := x.speed(true, 0); t != nil {
		c[5] = speedText(t.TokensPerSecond)
	}
	if t := x.speed(false, 0); t != nil {
		c[6] = speedText(t.TokensPerSecond)
	}
	if x.Bench != nil {
		c[7] = bytesText(x.Bench.PeakRSS)
	}
	switch {
	case x.Failed > 0:
		c[8] = fmt.Sprintf("%d failed", x.Failed)
	case x.Checks > 0:
		c[8] = fmt.Sprintf("%d passed", x.Checks)
	}
	return c
}

// facts are the machine and where the model comes from.
func (m *model) facts() []fact {
	lead := m.first()
	machine := m.Machine
	if m.GPUCores > 0 {
		machine += fmt.Sprintf(", %d GPU cores", m.GPUCores)
	}
	all := []fact{{"Machine", machine}, {"Cores", fmt.Sprint(m.Cores)}, {"Memory", gib(m.Memory)}, {"Power", lead.Power}, {"llama.cpp", lead.LlamaCpp},
		{"Architecture", m.Arch}, {"Licence", m.License}, {"Commit", m.Commit}, {"Measured", lead.When.UTC().Format("2 January 2006, 15:04 UTC")}}
	if lead.Bench != nil && len(lead.Bench.Results) > 0 {
		all = append(all, fact{"Threads", fmt.Sprint(lead.Bench.Results[0].Threads)})
	}
	kept := all[:0]
	for _, f := range all {
		if f.Value != "" && f.Value != "0" {
			kept = append(kept, f)
		}
	}
	return kept
}

func gib(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}
