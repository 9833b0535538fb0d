package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"quern/pipeline"

	"github.com/schollz/progressbar/v3"
)

// barProgress draws one bar for the stage at work.
type barProgress struct {
	w     io.Writer
	bar   *progressbar.ProgressBar
	stage string
	total int64
}

func (p *barProgress) started(e pipeline.Started) { p.stage = e.Stage }

// moved draws a new bar when the stage or its total changes: a bar cannot change what it counts.
func (p *barProgress) moved(e pipeline.Progress) {
	if p.bar == nil || p.stage != e.Stage || p.total != e.Total {
		p.clear()
		p.stage, p.total, p.bar = e.Stage, e.Total, newBar(p.w, e)
	}
	p.bar.Set64(e.Done) //nolint:errcheck // a bar that cannot be drawn must not stop the work
}

// newBar writes to standard error: standard output belongs to results.
func newBar(w io.Writer, e pipeline.Progress) *progressbar.ProgressBar {
	total := e.Total
	if total <= 0 {
		total = -1 // a spinner
	}
	opts := []progressbar.Option{
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription(fmt.Sprintf("%-8s", e.Stage)),
		progressbar.OptionThrottle(100 * time.Millisecond),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionSetWidth(24),
		progressbar.OptionEnableColorCodes(os.Getenv("NO_COLOR") == ""),
		progressbar.OptionSetTheme(progressbar.Theme{Saucer: "=", SaucerHead: ">", SaucerPadding: " ", BarStart: "[", BarEnd: "]"}),
	}
	if e.Unit == "bytes" {
		opts = append(opts, progressbar.OptionShowBytes(true), progressbar.OptionUseIECUnits(true))
	} else {
		opts = append(opts, progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString(e.Unit))
	}
	return progressbar.NewOptions64(total, opts...)
}

func (p *barProgress) finished(pipeline.Finished) { p.clear() }

// clear takes the bar off its line before something else is written there.
func (p *barProgress) clear() {
	if p.bar != nil {
		p.bar.Clear() //nolint:errcheck // as above
		p.bar = nil
	}
}

// plainProgress writes one line when a stage starts, one a minute, and one when it ends.
type plainProgress struct {
	w    io.Writer
	next time.Time
}

// started and the others suit a log: no line is ever written over.
func (p *plainProgress) started(e pipeline.Started) {
	p.next = time.Now().Add(time.Minute)
	fmt.Fprintf(p.w, "%s: %s\n", e.Stage, orElse(e.Says, "started"))
}

func (p *plainProgress) moved(e pipeline.Progress) {
	if time.Now().Before(p.next) {
		return
	}
	p.next = time.Now().Add(time.Minute)
	s := fmt.Sprintf("%d %s", e.Done, e.Unit)
	if e.Unit == "bytes" {
		s = bytesText(e.Done)
	}
	if e.Total > 0 {
		s = fmt.Sprintf("%d %% (%s)", e.Done*100/e.Total, s)
		if e.Rate > 0 {
			s += fmt.Sprintf(", %s left", time.Duration(float64(e.Total-e.Done)/e.Rate*float64(time.Second)).Round(time.Second))
		}
	}
	fmt.Fprintf(p.w, "%s: %s\n", e.Stage, s)
}

func (p *plainProgress) finished(e pipeline.Finished) {
	if e.State == pipeline.OK {
		fmt.Fprintf(p.w, "%s: done in %s\n", e.Stage, e.Elapsed.Round(10*time.Millisecond))
	}
}

func (p *plainProgress) clear() {}

// jsonProgress writes stage and progress events to standard error, for a program that reads results from standard output.
type jsonProgress struct {
	w    io.Writer
	next time.Time
}

func (p *jsonProgress) started(e pipeline.Started) { writeJSON(p.w, e.Kind(), e) }
func (p *jsonProgress) moved(e pipeline.Progress) {
	if time.Now().After(p.next) {
		p.next = time.Now().Add(200 * time.Millisecond)
		writeJSON(p.w, e.Kind(), e)
	}
}
func (p *jsonProgress) finished(e pipeline.Finished) { writeJSON(p.w, e.Kind(), e) }
func (p *jsonProgress) clear()                       {}

// quietProgress shows nothing.
type quietProgress struct{}

func (quietProgress) started(pipeline.Started)   {}
func (quietProgress) moved(pipeline.Progress)    {}
func (quietProgress) finished(pipeline.Finished) {}
func (quietProgress) clear()                     {}

// orElse is s, or other where s says nothing.
func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// bytesText is a size as people read it: 5.3 MB, 4.37 GiB. Files are told in decimal units below a gigabyte, as shops and
// Finder do, and memory-sized things in GiB.
func bytesText(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1000*1000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	case n < 1000*1000*1000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
}
