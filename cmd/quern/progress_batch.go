package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"quern/pipeline"
	"quern/stages/set"

	"golang.org/x/term"
)

// setProgress shows a batch, whose stages overlap: on a terminal a line for each running stage under the results, and a last line
// with totals; elsewhere a line when a long stage starts, and the same lines once a minute.
type setProgress struct {
	w      io.Writer
	tty    bool
	size   func() (width, height int)
	now    func() time.Time
	live   []*liveStage
	totals set.Totals
	drawn  int // lines on the screen
	next   time.Time
}

type liveStage struct {
	entry, stage string
	from         time.Time
	last         pipeline.Progress
}

// newSetProgress asks the terminal for its size each time it draws, since windows change theirs.
func newSetProgress(w io.Writer, tty bool) *setProgress {
	p := &setProgress{w: w, tty: tty, now: time.Now, size: func() (int, int) { return 80, 24 }}
	if f, ok := w.(*os.File); ok && tty {
		p.size = func() (int, int) {
			width, height, err := term.GetSize(int(f.Fd()))
			if err != nil || width <= 0 || height <= 0 {
				return 80, 24
			}
			return width, height
		}
	}
	p.next = p.now().Add(time.Minute)
	return p
}

// started tells the beginning of what takes long where nothing is redrawn; on a terminal the line appears with the next drawing.
func (p *setProgress) started(e pipeline.Started) {
	p.live = append(p.live, &liveStage{entry: e.Entry, stage: e.Stage, from: p.now()})
	switch name, _, _ := strings.Cut(e.Stage, " "); {
	case p.tty:
		p.draw(true)
	case name == "pull" || name == "fit" || name == "build" || name == "quality" || name == "speed":
		fmt.Fprintf(p.w, "%s %s: started\n", e.Entry, e.Stage)
	}
}

// moved finds the stage by its first word: stages of one model that report progress do not overlap.
func (p *setProgress) moved(e pipeline.Progress) {
	for _, l := range p.live {
		if name, _, _ := strings.Cut(l.stage, " "); l.entry == e.Entry && (name == e.Stage || name == "speed" && e.Stage == "bench") {
			l.last = e
		}
	}
	p.draw(false)
}

// finished takes the line of a stage away; its result is written by the caller, above the lines that remain.
func (p *setProgress) finished(e pipeline.Finished) {
	for i, l := range p.live {
		if l.entry == e.Entry && l.stage == e.Stage {
			p.live = append(p.live[:i:i], p.live[i+1:]...)
			break
		}
	}
	p.draw(true)
}

// total keeps the sums for the last line.
func (p *setProgress) total(t set.Totals) {
	p.totals = t
	p.draw(false)
}

// clear takes the lines off the screen before a result is written where they stand.
func (p *setProgress) clear() {
	if p.drawn > 0 {
		fmt.Fprintf(p.w, "\x1b[%dA\x1b[J", p.drawn)
		p.drawn = 0
	}
}

// draw writes the lines anew: on a terminal ten times a second at most unless something started or ended.
func (p *setProgress) draw(force bool) {
	if !force && p.now().Before(p.next) || !p.tty && p.now().Before(p.next) {
		return
	}
	p.next = p.now().Add(time.Minute)
	if p.tty {
		p.next = p.now().Add(100 * time.Millisecond)
	}
	p.clear()
	width, height := p.size()
	lines := p.lines(max(height-3, 1))
	for _, l := range lines {
		if r := []rune(l); p.tty && len(r) >= width {
			l = string(r[:max(width-1, 0)])
		}
		fmt.Fprintln(p.w, l)
	}
	if p.tty {
		p.drawn = len(lines)
	}
}

// lines are the running stages, as many as fit, and the totals.
func (p *setProgress) lines(room int) []string {
	var out []string
	for i, l := range p.live {
		if i == room-1 && len(p.live) > room {
			out = append(out, fmt.Sprintf("  and %d more", len(p.live)-i))
			break
		}
		out = append(out, fmt.Sprintf("  %-20s %-18s %s", l.entry, l.stage, l.text(p.now())))
	}
	t := p.totals
	sum := fmt.Sprintf("  %d of %d steps", t.Done, t.Known)
	if t.Failed > 0 {
		sum += fmt.Sprintf(", %d failed", t.Failed)
	}
	sum += fmt.Sprintf(", %s", round(t.Seconds))
	if t.Left > 0 {
		sum += fmt.Sprintf(", about %s left", round(t.Left))
	}
	return append(out, sum)
}

// round leaves whole seconds: nobody waits for less.
func round(seconds float64) time.Duration {
	return time.Duration(seconds * float64(time.Second)).Round(time.Second)
}

// text is how far a stage is, and how long it will take where it knows its rate.
func (l *liveStage) text(now time.Time) string {
	e := l.last
	if e.Total <= 0 {
		return round(now.Sub(l.from).Seconds()).String()
	}
	s := fmt.Sprintf("%3d %%  %d of %d %s", e.Done*100/e.Total, e.Done, e.Total, e.Unit)
	if e.Unit == "bytes" {
		s = fmt.Sprintf("%3d %%  %s of %s", e.Done*100/e.Total, bytesText(e.Done), bytesText(e.Total))
	}
	if e.Rate > 0 {
		if e.Unit == "bytes" {
			s += fmt.Sprintf(", %s/s", bytesText(int64(e.Rate)))
		}
		s += fmt.Sprintf(", %s left", round(float64(e.Total-e.Done)/e.Rate))
	}
	return s
}
