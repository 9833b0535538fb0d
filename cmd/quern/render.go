package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"quern/pipeline"
	"quern/stages/set"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// errorEvent is the last line of a --json run that failed.
type errorEvent struct {
	Code int      `json:"code"`
	Says string   `json:"says"`
	Hint string   `json:"hint,omitempty"`
	Log  []string `json:"log,omitempty"` // the last lines of a program that was run
}

// textLine is a result that is one text: rules, a formula, a file's content.
type textLine struct {
	Text string `json:"text"`
}

// writeJSON writes v as one line with "type" first.
func writeJSON(w io.Writer, kind string, v any) { writeEntry(w, kind, "", v) }

// writeEntry is writeJSON with the entry of a batch that v is about.
func writeEntry(w io.Writer, kind, entry string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		b = []byte(`{}`)
	}
	head := fmt.Sprintf(`{"type":%q`, kind)
	if entry != "" {
		head += fmt.Sprintf(`,"entry":%q`, entry)
	}
	if len(b) > 2 && b[0] == '{' {
		head += ","
		b = b[1:]
	} else if b[0] != '{' {
		head += `,"value":`
		b = append(b, '}')
	} else {
		b = b[1:]
	}
	fmt.Fprintf(w, "%s%s\n", head, b)
}

// output is what a command writes with: results on out, progress and the rest on err.
type output struct {
	mu   sync.Mutex
	out  io.Writer
	err  io.Writer
	json bool
	bars progress
	// steps makes Started and Finished lines of a batch, whose stages overlap.
	steps bool
	last  map[string]time.Time // when progress of a stage was last written as JSON
}

// progress shows how far stages are. Its methods are called under the output's lock.
type progress interface {
	started(pipeline.Started)
	moved(pipeline.Progress)
	finished(pipeline.Finished)
	clear() // takes a bar off the screen before a line is written
}

// newOutput reads --json and --progress.
func newOutput(c *cli.Context) (*output, error) {
	o := &output{out: os.Stdout, err: os.Stderr, json: c.Bool("json"), last: map[string]time.Time{}}
	mode := c.String("progress")
	if mode == "auto" {
		mode = "plain"
		if term.IsTerminal(int(os.Stderr.Fd())) && os.Getenv("TERM") != "dumb" {
			mode = "tty"
		}
		if o.json || yes(os.Getenv("HF_HUB_DISABLE_PROGRESS_BARS")) {
			mode = "quiet"
		}
	}
	switch mode {
	case "tty":
		o.bars = &barProgress{w: o.err}
	case "plain":
		o.bars = &plainProgress{w: o.err}
	case "json":
		o.bars = &jsonProgress{w: o.err}
	case "quiet":
		o.bars = quietProgress{}
	default:
		return nil, usagef("use one of auto, tty, plain, json, quiet", "--progress %q is not known", mode)
	}
	return o, nil
}

// yes reads a boolean as Python's Hub client does.
func yes(s string) bool {
	switch s {
	case "1", "ON", "on", "YES", "yes", "TRUE", "true", "True", "Yes", "On":
		return true
	}
	return false
}

// Emit renders an event.
func (o *output) Emit(e pipeline.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch e := e.(type) {
	case pipeline.Started:
		o.bars.started(e)
	case pipeline.Progress:
		if o.json && time.Since(o.last[e.Entry+e.Stage]) < 200*time.Millisecond {
			return
		}
		o.last[e.Entry+e.Stage] = time.Now()
		o.bars.moved(e)
	case pipeline.Finished:
		o.bars.finished(e)
	case pipeline.Result:
		if t, ok := e.Data.(set.Totals); ok {
			o.total(t)
		}
	}
	if o.json {
		if r, ok := e.(pipeline.Result); ok {
			writeEntry(o.out, r.Type, r.Entry, r.Data)
		} else {
			writeJSON(o.out, e.Kind(), e)
		}
		return
	}
	switch e := e.(type) {
	case pipeline.Line:
		o.bars.clear()
		fmt.Fprintf(o.out, "%-8s %s\n", e.Label, e.Text)
	case pipeline.Warning:
		o.bars.clear()
		fmt.Fprintf(o.err, "quern: warning: %s: %s\n", strings.TrimSpace(e.Entry+" "+e.Stage), e.Says)
		if e.Next != "" {
			fmt.Fprintf(o.err, "quern: hint: %s\n", e.Next)
		}
	case pipeline.Finished:
		if o.steps {
			o.bars.clear()
			fmt.Fprintf(o.out, "%-9s %-20s %s%s\n", e.State, e.Entry, e.Stage, dash(e.Says))
			return
		}
		if e.State == pipeline.Skipped || e.State == pipeline.Proven || e.State == pipeline.Planned {
			o.bars.clear()
			fmt.Fprintf(o.out, "%-8s %s%s\n", e.Stage, e.State, dash(e.Says))
		}
	}
}

// forSet shows progress as that of many stages at once, and a line of result for each that ends.
func (o *output) forSet() {
	o.steps = true
	switch o.bars.(type) {
	case *barProgress:
		o.bars = newSetProgress(o.err, true)
	case *plainProgress:
		o.bars = newSetProgress(o.err, false)
	}
}

// total passes the state of a whole set on to the kinds of progress that show it.
func (o *output) total(t set.Totals) {
	if p, ok := o.bars.(*setProgress); ok {
		p.total(t)
	}
}

// dash stands where a column has nothing to say, so that columns stay columns.
func dash(s string) string {
	if s == "" {
		return ""
	}
	return ": " + s
}

// printf writes a result that is text; a --json run has its results as events.
func (o *output) printf(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.json {
		fmt.Fprintf(o.out, format, args...)
	}
}

// clear takes the progress off the screen.
func (o *output) clear() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.bars.clear()
}

// raw writes a document of its own, not an event.
func (o *output) raw(b []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.out.Write(b) //nolint:errcheck // who reads it is gone
}

// note writes a line for those who watch, not a result.
func (o *output) note(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.bars.clear()
	fmt.Fprintf(o.err, format, args...)
}
