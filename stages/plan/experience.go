package plan

import (
	"slices"

	"quern/quantize/machine"
	"quern/quantize/recommend"
	"quern/stages/bench"
	"quern/stages/record"
)

// maxFactor bounds a calibration: a machine that is further off was busy or throttled when it measured.
const maxFactor = 4.

// Experience is what this machine's own records teach: the median of measured over expected generation speed (0: nothing was
// measured), and the knobs of the last tuning. Shipped constants stay as they are.
func Experience(m *machine.Machine) (factor float64, knobs *recommend.Knobs) {
	records, _, err := record.List()
	if err != nil {
		return 0, nil // a machine without records plans as shipped
	}
	var ratios []float64
	for _, r := range records {
		if r.Machine != m.Chip || r.Cores != m.Cores || r.GPUCores != m.GPUCores {
			continue
		}
		if r.Tuned != nil {
			knobs = r.Tuned
		}
		if got := generation(r.Bench); got > 0 && r.Expected > 0 {
			ratios = append(ratios, got/r.Expected)
		}
	}
	if len(ratios) == 0 {
		return 0, knobs
	}
	slices.Sort(ratios)
	return min(max(ratios[len(ratios)/2], 1/maxFactor), maxFactor), knobs
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
