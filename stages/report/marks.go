package report

import (
	draw "github.com/go-analyze/charts/chartdraw"
)

// mark is what all marks share with the library's series: name, style, and that they belong to the left axis. It hides the
// series' values, from which the library would stretch the ranges.
type mark struct{ draw.Series }

var leftAxis = mark{draw.ContinuousSeries{YAxis: draw.YAxisSecondary}}

// Validate finds nothing wrong: a mark without values draws nothing.
func (mark) Validate() error { return nil }

// grid are the lines behind the marks: the library's own cannot have a class.
type grid struct {
	mark
	x axis
	y *axis
}

// Render draws a line at each tick but those that are the edge.
func (g grid) Render(r draw.Renderer, box draw.Box, xr, yr draw.Range, _ draw.Style) {
	line := func(x1, y1, x2, y2 int) {
		classed("grid").WriteDrawingOptionsToRenderer(r)
		r.MoveTo(x1, y1)
		r.LineTo(x2, y2)
		r.Stroke()
	}
	for _, v := range g.x.ticks[1:] {
		x := box.Left + xr.Translate(v)
		line(x, box.Bottom, x, box.Top)
	}
	if g.y == nil {
		return
	}
	for _, v := range g.y.ticks[1:] {
		y := box.Bottom - yr.Translate(v)
		line(box.Left, y, box.Right, y)
	}
}

func text(r draw.Renderer, class, body string, x, y int) {
	classed(class).WriteTextOptionsToRenderer(r)
	r.SetClassName(class)
	r.Text(body, x, y)
}

// width of a text as the library's font has it; the page's is hardly wider.
func width(r draw.Renderer, body string) int {
	classed("tick").WriteTextOptionsToRenderer(r)
	return r.MeasureText(body).Width() + 4
}

// point is a labelled dot.
type point struct {
	x, y   float64
	label  string
	chosen bool
}

// points are dots whose labels keep off one another and off the dots.
type points struct {
	mark
	list []point
}

// Render draws the dots, the chosen one last and on top, with each label at the first free place around its dot.
func (p points) Render(r draw.Renderer, box draw.Box, xr, yr draw.Range, _ draw.Style) {
	const near = 10
	var taken []draw.Box
	at := func(q point) (int, int) { return box.Left + xr.Translate(q.x), box.Bottom - yr.Translate(q.y) }
	for _, q := range p.list {
		x, y := at(q)
		taken = append(taken, rect(x-6, y-6, 12, 12))
	}
	for _, q := range p.list {
		x, y := at(q)
		class, radius := "dot", 5.
		if q.chosen {
			r.SetClassName("ring")
			r.Circle(10, x, y)
			r.Fill()
			class, radius = "dot chosen", 6
		}
		r.SetClassName(class)
		r.Circle(radius, x, y)
		r.Fill()
		w := width(r, q.label)
		spots := []draw.Box{rect(x+near, y-8, w, 16), rect(x-near-w, y-8, w, 16), rect(x-w/2, y-near-16, w, 16), rect(x-w/2, y+near, w, 16), rect(x+near, y-near-16, w, 16), rect(x+near, y+near, w, 16)}
		spot := spots[0]
		for _, s := range spots {
			if s.Left >= box.Left-4 && s.Right <= box.Right+30 && s.Top >= box.Top-14 && s.Bottom <= box.Bottom && free(s, taken) {
				spot = s
				break
			}
		}
		taken = append(taken, spot)
		label := "lab"
		if q.chosen {
			label = "lab chosen"
		}
		text(r, label, q.label, spot.Left, spot.Bottom-4)
	}
}

func rect(x, y, w, h int) draw.Box {
	return draw.Box{Left: x, Top: y, Right: x + w, Bottom: y + h, IsSet: true}
}

// free tells whether a box meets none of the others, but for the dot that it belongs to.
func free(b draw.Box, others []draw.Box) bool {
	for _, o := range others {
		if b.Left < o.Right && o.Left < b.Right && b.Top < o.Bottom && o.Top < b.Bottom {
			return false
		}
	}
	return true
}

// part is a stretch of a bar.
type part struct {
	value float64
	class string
}

// bar is a horizontal bar of parts that add up, with what stands before and behind it.
type bar struct {
	parts  []part
	label  string // at the left; "" where the bar belongs to the one above
	value  string
	chosen bool
	gap    bool // more room above: a group begins
}

// bars are horizontal bars from the top down.
type bars struct {
	mark
	list []bar
}

const (
	barHeight = 16
	barGap    = 4
	groupGap  = 14
)

// height is the room that the bars take.
func (b bars) height() int {
	h := 0
	for _, x := range b.list {
		h += barHeight + barGap
		if x.gap {
			h += groupGap
		}
	}
	return h
}

// Render draws the bars.
func (b bars) Render(r draw.Renderer, box draw.Box, xr, _ draw.Range, _ draw.Style) {
	y := box.Top
	for _, x := range b.list {
		if x.gap {
			y += groupGap
		}
		from, sum := box.Left, 0.
		for _, p := range x.parts {
			sum += p.value
			to := box.Left + xr.Translate(sum)
			if to > from {
				block(r, p.class, from, y, to, y+barHeight)
			}
			from = to
		}
		class := "lab"
		if x.chosen {
			class = "lab chosen"
		}
		if x.label != "" {
			text(r, class, x.label, box.Left-8-width(r, x.label)+4, y+12)
		}
		text(r, "val", x.value, from+6, y+12)
		y += barHeight + barGap
	}
}

func block(r draw.Renderer, class string, left, top, right, bottom int) {
	r.SetClassName(class)
	r.MoveTo(left, top)
	r.LineTo(right, top)
	r.LineTo(right, bottom)
	r.LineTo(left, bottom)
	r.Close()
	r.Fill()
}
