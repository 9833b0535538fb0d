package record

import (
	"encoding/json"
	"fmt"
	"strings"
)

// BenchLines writes a record's measurements in the Go benchmark format, which benchstat reads: one line a test, time a token.
func BenchLines(r Record) []string {
	b, err := json.Marshal(r.Bench)
	if err != nil {
		return nil
	}
	var report struct {
		Tests []struct {
			Test    string    `json:"test"`
			Samples []float64 `json:"samples"` // tokens a second
		} `json:"tests"`
	}
	if json.Unmarshal(b, &report) != nil {
		return nil
	}
	var lines []string
	name := strings.NewReplacer("/", "_", " ", "_").Replace(r.Model) + "/" + r.Type
	for _, t := range report.Tests {
		for _, s := range t.Samples {
			if s > 0 {
				lines = append(lines, fmt.Sprintf("Benchmark%s/%s \t1\t%.0f ns/token\t%.2f tokens/s", name, t.Test, 1e9/s, s))
			}
		}
	}
	return lines
}
