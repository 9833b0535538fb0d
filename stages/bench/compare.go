package bench

import (
	"slices"

	"golang.org/x/perf/benchmath"
)

// Delta is a test that was measured twice.
type Delta struct {
	Test string  `json:"test"`
	Old  float64 `json:"old"` // tokens a second, the median
	New  float64 `json:"new"`
	// Change is New over Old, less one.
	Change float64 `json:"change"`
	P      float64 `json:"p"`    // how likely such samples are if nothing has changed: Mann and Whitney's test
	Sure   bool    `json:"sure"` // P is below one in twenty
}

// Compare holds each test of a run against the same test of an earlier one. Tests that only one of them has are left out.
func Compare(before, after *Report) []Delta {
	var ds []Delta
	for _, n := range after.Results {
		i := slices.IndexFunc(before.Results, func(o Result) bool { return o.Name == n.Name })
		if i < 0 || before.Results[i].TokensPerSecond <= 0 {
			continue
		}
		o := before.Results[i]
		c := benchmath.AssumeNothing.Compare(sample(o), sample(n))
		ds = append(ds, Delta{Test: n.Name, Old: o.TokensPerSecond, New: n.TokensPerSecond, Change: n.TokensPerSecond/o.TokensPerSecond - 1, P: c.P, Sure: c.P < c.Alpha})
	}
	return ds
}

// sample copies: benchmath sorts in place, and the order of samples says whether a machine got slower.
func sample(r Result) *benchmath.Sample {
	return benchmath.NewSample(slices.Clone(r.Samples), &benchmath.DefaultThresholds)
}
