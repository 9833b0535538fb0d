package plan

import (
	"fmt"
	"strings"

	"quern/pipeline"
	"quern/stages/job"
)

// policyWarnings are what the policy noticed about all files, each once: options without effect, an imatrix that does not
// cover the model, and on a dry run the first reason of each kind not to write a file.
func policyWarnings(s *job.State) []pipeline.Warning {
	var ws []pipeline.Warning
	seen := map[string]bool{}
	add := func(says, next string) {
		if !seen[says] {
			seen[says] = true
			ws = append(ws, pipeline.Warning{Stage: "plan", Says: says, Next: next})
		}
	}
	for _, a := range s.Files {
		if a.Policy == nil {
			continue
		}
		for _, w := range a.Policy.Warnings {
			add(w.On+": "+w.Says, "")
		}
		if !s.DryRun {
			continue
		}
		known := map[string]bool{}
		for _, r := range a.Policy.Refusals() {
			if !known[string(r.Why)] {
				known[string(r.Why)] = true
				add(fmt.Sprintf("%s cannot be made so: %v", a.Type, r), r.Hint())
			}
		}
	}
	return ws
}

// typeText is what a quantized file will be: its size, which the type's name does not tell, and every shape that did not fit.
func typeText(a *job.Artifact) string {
	t := fmt.Sprintf("%s, %.2f bits a weight", Size(a.Bytes), a.BitsPerWeight())
	if a.Policy == nil {
		return t
	}
	type change struct{ from, to string }
	count, rows := map[change]int{}, map[change]string{}
	var order []change
	for _, d := range a.Policy.Fallbacks() {
		c := change{d.Wanted.String(), d.To.String()}
		if count[c]++; count[c] == 1 {
			order, rows[c] = append(order, c), d.Name
		}
	}
	var parts []string
	for _, c := range order {
		parts = append(parts, fmt.Sprintf("%d in %s for %s, such as %s", count[c], c.to, c.from, rows[c]))
	}
	if len(parts) > 0 {
		t += "; rows that do not divide: " + strings.Join(parts, ", ")
	}
	return t
}
