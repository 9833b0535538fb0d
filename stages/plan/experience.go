package plan

import (
	"fmt"
	"math"
	"slices"

	"quern/quantize/machine"
	"quern/quantize/recommend"
	"quern/stages/bench"
	"quern/stages/job"
	"quern/stages/record"
)

// maxFactor bounds a calibration: a machine that is further off was busy or throttled when it measured.
const maxFactor = 4.

// alike is how far a measured file's size may be from a planned one's: what a step costs beside reading weights weighs more in small models,
// so that they teach nothing about large ones.
const alike = 10.

// Lesson is what this machine's own records teach. Shipped constants stay as they are.
type Lesson struct {
	Calibration recommend.Calibration
	Knobs       *recommend.Knobs // of the last tuning, nil where none was done or the default was best
}

// Experience reads the records of machine m for a file of so many bytes. A machine without records plans as shipped.
func Experience(m *machine.Machine, bytes int64) Lesson {
	var l Lesson
	records, _, err := record.List()
	if err != nil {
		return l
	}
	var logs []float64
	for _, r := range records {
		if r.Machine != m.Chip || r.Cores != m.Cores || r.GPUCores != m.GPUCores {
			continue
		}
		if r.Command == "tune" {
			l.Knobs = r.Tuned
		}
		got, size := generation(r.Bench), float64(r.Bytes)/float64(max(bytes, 1))
		if got > 0 && r.Expected > 0 && size < alike && size > 1/alike {
			logs = append(logs, math.Log(got/r.Expected))
			l.Calibration.Last = r.When
		}
	}
	if len(logs) == 0 {
		return l
	}
	slices.Sort(logs)
	middle := logs[len(logs)/2]
	l.Calibration.Records = len(logs)
	l.Calibration.Factor = min(max(math.Exp(middle), 1/maxFactor), maxFactor)
	for i := range logs {
		logs[i] = math.Abs(logs[i] - middle)
	}
	slices.Sort(logs)
	l.Calibration.Spread = math.Exp(logs[min(len(logs)*9/10, len(logs)-1)])
	return l
}

// learn takes the lessons for the machine in front of us into the wish, and returns the knobs to apply to the choice.
func learn(s *job.State, w *recommend.Wish, cands []recommend.Candidate) {
	if s.For != "" || w.Calibration.Factor != 0 || len(cands) == 0 {
		return
	}
	l := Experience(s.Machine, cands[len(cands)/2].Weights)
	w.Calibration, s.Knobs = l.Calibration, l.Knobs
}

// taught applies measured knobs to the choice, and says what was measured.
func taught(s *job.State, c recommend.Calibration) {
	if c.Records > 0 {
		s.Advice.Reasons = append(s.Advice.Reasons, recommend.Reason{About: "records", Says: fmt.Sprintf("%d of this machine, the last of %s: %.2f times the speed that quern ships with", c.Records, c.Last.Format("2006-01-02"), c.Factor)})
	}
	if s.Knobs != nil && s.Advice.Runs {
		s.Advice.Apply(s.Shape, *s.Knobs)
	}
}

// generation is the measured tg128 of a bench report, 0 where there is none.
func generation(r *bench.Report) float64 {
	if r == nil {
		return 0
	}
	for _, t := range r.Results {
		if t.Name == "tg128" && !t.Busy {
			return t.TokensPerSecond
		}
	}
	return 0
}
