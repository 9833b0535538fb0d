package report

import (
	"bytes"
	"fmt"
	"html/template"
	"math"
	"strings"

	draw "github.com/go-analyze/charts/chartdraw"
)

// The library draws axes, grids and ranges; what stands inside is drawn by the marks of marks.go, which are series of its own
// kind. Every element gets a class and no colour.

// size is the shape of a drawing: wide for a desktop, narrow for a phone.
type size struct{ name, class string }

var sizes = []size{{"wide", "wide"}, {"narrow", "narrow"}}

const (
	textSize  = 13 // pixels, of labels and ticks in both drawings
	wideWidth = 560
	slimWidth = 340
)

func (s size) width() int {
	if s.name == "wide" {
		return wideWidth
	}
	return slimWidth
}

// axis is a range with its ticks.
type axis struct {
	low, high float64
	ticks     []float64
	format    func(float64) string
}

// niceAxis covers values with about n steps of 1, 2 or 5 times a power of ten.
func niceAxis(low, high float64, n int, format func(float64) string) axis {
	if high <= low {
		high = low + math.Max(math.Abs(low)*0.1, 1e-9)
	}
	raw := (high - low) / float64(n)
	power := math.Pow(10, math.Floor(math.Log10(raw)))
	step := power
	for _, f := range []float64{1, 2, 5, 10} {
		if step = f * power; step >= raw*0.999 {
			break
		}
	}
	a := axis{low: math.Floor(low/step+1e-9) * step, format: format}
	for i := 0; ; i++ {
		v := a.low + float64(i)*step
		a.ticks = append(a.ticks, v)
		if a.high = v; v >= high-step*1e-6 {
			return a
		}
	}
}

func (a axis) labels() []draw.Tick {
	var ts []draw.Tick
	for _, v := range a.ticks {
		ts = append(ts, draw.Tick{Value: v, Label: a.format(v)})
	}
	return ts
}

// plot is one drawing: a horizontal axis, a vertical one or none, marks between them.
type plot struct {
	title  string // what a screen reader says
	x      axis
	y      *axis
	left   int // room at the left, where marks have labels of their own
	right  int
	height int
	marks  []draw.Series
}

func classed(name string) draw.Style {
	return draw.Style{ClassName: name, StrokeWidth: 1, StrokeColor: draw.ColorBlack, FontStyle: draw.FontStyle{FontSize: textSize, FontColor: draw.ColorBlack, Font: draw.GetDefaultFont()}}
}

// svg draws the plot.
func (p plot) svg(s size) (template.HTML, error) {
	c := draw.Chart{
		Width: s.width(), Height: p.height, DPI: 72,
		Background: draw.Style{ClassName: "none", Padding: draw.Box{Top: 14, Left: p.left, Right: p.right, Bottom: 6, IsSet: true}},
		Canvas:     draw.Style{ClassName: "none"},
		XAxis: draw.XAxis{Style: classed("axis"), TickStyle: classed("tick"), Ticks: p.x.labels(), Range: &draw.ContinuousRange{Min: p.x.low, Max: p.x.high},
			GridMajorStyle: draw.Hidden(), GridMinorStyle: draw.Hidden()},
		YAxis:  draw.YAxis{Style: draw.Hidden(), Range: &draw.ContinuousRange{Min: 0, Max: 1}},
		Series: append([]draw.Series{grid{mark: leftAxis, x: p.x, y: p.y}}, p.marks...),
	}
	if p.y != nil {
		c.YAxisSecondary = draw.YAxis{Style: classed("axis y"), TickStyle: classed("tick y"), Ticks: p.y.labels(), Range: &draw.ContinuousRange{Min: p.y.low, Max: p.y.high},
			GridMajorStyle: draw.Hidden(), GridMinorStyle: draw.Hidden()}
	} else {
		c.YAxisSecondary = draw.YAxis{Style: draw.Hidden(), Range: &draw.ContinuousRange{Min: 0, Max: 1}}
	}
	var b bytes.Buffer
	if err := c.Render(draw.SVG, &b); err != nil {
		return "", fmt.Errorf("plot %q: %w", p.title, err)
	}
	return dressed(b.String(), p.title, s), nil
}

// dressed makes the library's SVG an image with a text, and takes off what HTML does not need.
func dressed(svg, title string, s size) template.HTML {
	svg = strings.Replace(svg, `xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" `, `class="plot `+s.class+`" role="img" aria-label="`+template.HTMLEscapeString(title)+`" `, 1)
	return template.HTML(strings.ReplaceAll(svg, `text-rendering="optimizeLegibility"`, "")) //nolint:gosec // the library escapes texts
}
