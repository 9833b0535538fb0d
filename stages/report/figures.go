package report

import (
	"cmp"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strconv"

	draw "github.com/go-analyze/charts/chartdraw"

	"quern/quantize/recommend"
)

// figure is a plot in both widths and the table behind it.
type figure struct {
	Title, Says string
	Plots       []template.HTML // empty where too little is known to draw
	Missing     string          // what would have to be measured
	Lacks       []string        // types that the plot does not show, for want of a measurement
	Keys        []key
	Head        []string
	Rows        []tableRow
}

// key explains a colour.
type key struct{ Class, Text string }

// tableRow is a line of the table behind a plot, its first cell the type.
type tableRow struct {
	Chosen bool
	Cells  []string
}

// render draws a plot for each width.
func (f *figure) render(make func(s size) plot) error {
	for _, s := range sizes {
		p := make(s)
		p.title = f.Title + ": " + f.Says
		svg, err := p.svg(s)
		if err != nil {
			return err
		}
		f.Plots = append(f.Plots, svg)
	}
	return nil
}

func (f *figure) row(x *row, cells ...string) {
	f.Rows = append(f.Rows, tableRow{x.Chosen, append([]string{x.Type}, cells...)})
}

// figures are the plots of a model, in the order in which a reader asks.
func (m *model) figures() ([]*figure, error) {
	var fs []*figure
	for _, make := range []func(*model) (*figure, error){qualityBySize, qualityBySpeed, speedOfAnswers, speedOfPrompts, memoryByContext} {
		f, err := make(m)
		if err != nil {
			return nil, err
		}
		fs = append(fs, f)
	}
	return fs, nil
}

const noQuality = "No quality has been measured: quern quality FILE compares a file with its source."

// qualityBySize answers what more bits buy. Agreement is the axis, not divergence: it is a share that a person understands, and it falls
// where divergence rises.
func qualityBySize(m *model) (*figure, error) {
	f := &figure{Title: "Quality by size", Head: []string{"type", "size", "bits a weight", "agreement", "divergence", "perplexity"}}
	var ps []point
	for _, x := range m.Rows {
		if x.Quality == nil {
			f.Lacks = append(f.Lacks, x.Type)
			continue
		}
		q := x.Quality
		ps = append(ps, point{float64(x.Bytes) / 1e6, 100 * q.SameTop, x.Type, x.Chosen})
		f.row(x, bytesText(x.Bytes), number(x.BPW, 2), percent(q.SameTop), number(float64(q.Mean), 4), number(float64(q.Perplexity.Value), 3))
	}
	f.Says = "share of next tokens on which a file agrees with the original"
	unit, scale := "MB", 1.
	if len(ps) > 0 && slices.MaxFunc(ps, func(a, b point) int { return cmp.Compare(a.x, b.x) }).x >= 1500 {
		unit, scale = "GB", 1000
	}
	for i := range ps {
		ps[i].x /= scale
	}
	return f, f.scatter(ps, unit, noQuality)
}

// qualityBySpeed is the same choice seen by who waits for answers: generation with an empty cache, since prompts differ little by type.
func qualityBySpeed(m *model) (*figure, error) {
	f := &figure{Title: "Quality by speed", Says: "agreement with the original against tokens a second of an answer", Head: []string{"type", "tokens/s", "spread", "agreement"}}
	var ps []point
	for _, x := range m.Rows {
		t := x.speed(true, 0)
		if x.Quality == nil || t == nil {
			f.Lacks = append(f.Lacks, x.Type)
			continue
		}
		ps = append(ps, point{t.TokensPerSecond, 100 * x.Quality.SameTop, x.Type, x.Chosen})
		f.row(x, speedText(t.TokensPerSecond), spread(t.Spread, len(t.Samples)), percent(x.Quality.SameTop))
	}
	missing := noQuality
	if m.first().Quality != nil {
		missing = "No speed has been measured on a quiet machine: quern bench FILE does."
	}
	return f, f.scatter(ps, "tokens/s", missing)
}

// scatter draws points over a scale that begins at nought, so that twice as far right is twice as large.
func (f *figure) scatter(ps []point, unit, missing string) error {
	switch len(ps) {
	case 0:
		f.Missing = missing
		return nil
	case 1: // a point alone shows nothing that its figures do not say better
		f.Missing = ps[0].label + " is the only type that was measured: a second one beside it shows what more bits buy."
		return nil
	}
	slices.SortFunc(ps, func(a, b point) int { // the chosen one is drawn last
		if a.chosen != b.chosen {
			return map[bool]int{true: 1, false: -1}[a.chosen]
		}
		return cmp.Compare(a.x, b.x)
	})
	most, least := 0., 100.
	for _, p := range ps {
		most, least = max(most, p.x), min(least, p.y)
	}
	f.Keys = keysOf(slices.ContainsFunc(ps, func(p point) bool { return p.chosen }))
	return f.render(func(s size) plot {
		n := 5
		if s.name == "narrow" {
			n = 4
		}
		y := niceAxis(max(0, least-0.15*(100-least)-0.2), 100, 4, func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) + " %" })
		for i := range y.ticks { // sums of steps such as 0.2 end in digits that nobody wants
			y.ticks[i] = math.Round(y.ticks[i]*1e6) / 1e6
		}
		x := niceAxis(0, most, n, withUnit(unit))
		return plot{x: x, y: &y, height: 300, right: 34, marks: []draw.Series{points{mark: leftAxis, list: ps}}}
	})
}

// withUnit names the unit at the scale's beginning alone.
func withUnit(unit string) func(float64) string {
	return func(v float64) string {
		if v == 0 {
			return "0 " + unit
		}
		return grouped(v)
	}
}

// keysOf explains the colours where there are two of them.
func keysOf(chosen bool) []key {
	if !chosen {
		return nil
	}
	return []key{{"chosen", "recommended for this machine"}, {"other", "others"}}
}

func speedOfAnswers(m *model) (*figure, error) {
	return speedByDepth(m, true, "Speed of answers", "generated tokens a second, by tokens that are in the cache before")
}

func speedOfPrompts(m *model) (*figure, error) {
	return speedByDepth(m, false, "Speed of prompts", "prompt tokens read a second, by tokens that are in the cache before")
}

// speedByDepth has a bar for each depth of cache: attention over a long cache costs what no figure with an empty one shows.
func speedByDepth(m *model, generation bool, title, says string) (*figure, error) {
	f := &figure{Title: title, Says: says, Head: []string{"type", "depth", "test", "tokens/s", "spread", "runs"}}
	depths := m.depths()
	var list []bar
	most := 0.
	for _, x := range m.Rows {
		label := x.Type
		if x.speed(generation, 0) == nil {
			f.Lacks = append(f.Lacks, x.Type)
		}
		for _, d := range depths {
			t := x.speed(generation, d)
			if t == nil {
				continue
			}
			most = max(most, t.TokensPerSecond)
			b := bar{parts: []part{{t.TokensPerSecond, barClass(slices.Index(depths, d), x.Chosen)}}, label: label, value: speedText(t.TokensPerSecond), chosen: x.Chosen, gap: label != "" && len(list) > 0}
			list, label = append(list, b), ""
			f.row(x, strconv.Itoa(d), t.Name, speedText(t.TokensPerSecond), spread(t.Spread, len(t.Samples)), strconv.Itoa(len(t.Samples)))
		}
	}
	if len(list) == 0 {
		f.Missing = "No speed has been measured on a quiet machine: quern bench FILE does."
		return f, nil
	}
	if len(depths) > 1 {
		for i, d := range depths {
			f.Keys = append(f.Keys, key{"depth" + strconv.Itoa(min(i, 3)), depthText(d)})
		}
	}
	return f, f.bars(list, 0, most, withUnit("tokens/s"), 58)
}

// bars draws bars over a scale that begins at nought. right is the room for the values behind the longest.
func (f *figure) bars(list []bar, least, most float64, format func(float64) string, right int) error {
	b := bars{mark: leftAxis, list: list}
	return f.render(func(s size) plot {
		n := 4
		if s.name == "narrow" {
			n = 2
		}
		return plot{x: niceAxis(least, most, n, format), left: 74, right: right, height: b.height() + 52, marks: []draw.Series{b}}
	})
}

// barClass shades bars by depth; the chosen type has a colour of its own.
func barClass(depth int, chosen bool) string {
	c := "bar depth" + strconv.Itoa(min(depth, 3))
	if chosen {
		c += " chosen"
	}
	return c
}

func depthText(d int) string {
	if d == 0 {
		return "empty cache"
	}
	return grouped(float64(d)) + " tokens before"
}

// memoryByContext is planned, not measured: a benchmark fills one context, and the question is which one fits.
func memoryByContext(m *model) (*figure, error) {
	f := &figure{Title: "Memory by context", Head: []string{"type", "context", "weights", "cache", "states", "computing", "total"}}
	lead := m.first()
	if len(lead.Needs) == 0 {
		if i := slices.IndexFunc(m.Rows, func(x *row) bool { return len(x.Needs) > 0 }); i >= 0 {
			lead = m.Rows[i]
		}
	}
	f.Says = "planned for " + lead.Type + ", with the cache type that was chosen"
	for _, x := range m.Rows {
		for _, n := range x.Needs {
			f.row(x, grouped(float64(n.Context)), bytesText(n.Weights), bytesText(n.KV), bytesText(n.Recurrent), bytesText(n.Compute), bytesText(n.Total()))
		}
	}
	if len(lead.Needs) == 0 {
		f.Missing = "Nothing is planned for this kind of model."
		return f, nil
	}
	unit, scale := "MB", 1e6
	most := lead.Needs[len(lead.Needs)-1].Total()
	if most >= 2e9 {
		unit, scale = "GB", 1e9
	}
	f.Keys = []key{{"weights", "weights"}, {"cache", "cache"}, {"computing", "computing"}}
	var list []bar
	for _, n := range lead.Needs {
		list = append(list, bar{parts: memoryParts(n.Memory, scale), label: contextText(n.Context), value: bytesText(n.Total()), gap: len(list) > 0})
	}
	return f, f.bars(list, 0, float64(most)/scale, withUnit(unit), 66)
}

// memoryParts has states of recurrent layers with the cache: both grow with sequences, and a colour of their own would be empty mostly.
func memoryParts(m recommend.Memory, scale float64) []part {
	return []part{{float64(m.Weights) / scale, "bar weights"}, {float64(m.KV+m.Recurrent) / scale, "bar cache"}, {float64(m.Compute) / scale, "bar computing"}}
}

// contextText is a context as it is spoken of: 8K.
func contextText(n int64) string {
	if n >= 1024 && n%1024 == 0 {
		return fmt.Sprintf("%dK", n/1024)
	}
	return strconv.FormatInt(n, 10)
}
