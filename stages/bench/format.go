package bench

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Subject is what was measured, for forms that carry it on every line.
type Subject struct {
	Model   string // such as "Qwen3-8B"
	Type    string // such as "Q4_K_M"
	Machine string
	Runtime string // llama.cpp's version
}

// GoHead opens a file in the Go benchmark format (golang.org/design/14313-benchmark-format): its units, of which benchstat does
// not know that more is better.
const GoHead = "Unit tokens/s better=higher"

// Go writes every repetition as a line that benchstat reads: BenchmarkPrefill or BenchmarkGeneration with the model, its type,
// the tokens and the depth as parts of the name by which benchstat groups (-col /type).
func (r *Report) Go(w io.Writer, s Subject) error {
	if _, err := fmt.Fprintf(w, "machine: %s\nllama-cpp: %s\n", s.Machine, s.Runtime); err != nil {
		return err
	}
	for _, t := range r.Results {
		kind := "Generation"
		switch {
		case t.Generate == 0:
			kind = "Prefill"
		case t.Prompt > 0:
			kind = "Both"
		}
		name := fmt.Sprintf("Benchmark%s/model=%s/type=%s/test=%s/depth=%d", kind, word(s.Model), word(s.Type), word(t.Name), t.Depth)
		tokens := t.Prompt + t.Generate
		for _, v := range t.Samples {
			if v <= 0 {
				continue
			}
			if _, err := fmt.Fprintf(w, "%s %d %.1f ns/op %.3f tokens/s\n", name, tokens, 1e9/v, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// word makes a text one part of a benchmark's name: blanks end names there, slashes their parts.
func word(s string) string {
	s = strings.NewReplacer("/", "_", " ", "_", "=", "_", "\t", "_", "\n", "_").Replace(s)
	if s == "" {
		return "unknown"
	}
	return s
}

// CSVHead names the columns of CSV.
var CSVHead = []string{"model", "type", "machine", "llama_cpp", "test", "prompt", "generate", "depth", "tokens_per_second", "mean", "spread", "best", "runs", "threads", "busy"}

// CSV writes one row for each test, after CSVHead.
func (r *Report) CSV(w *csv.Writer, s Subject) error {
	for _, t := range r.Results {
		row := []string{s.Model, s.Type, s.Machine, s.Runtime, t.Name, strconv.Itoa(t.Prompt), strconv.Itoa(t.Generate), strconv.Itoa(t.Depth),
			float(t.TokensPerSecond), float(t.Mean), float(t.Spread), float(t.Best), strconv.Itoa(len(t.Samples)), strconv.Itoa(t.Threads), strconv.FormatBool(t.Busy)}
		if err := w.Write(row); err != nil {
			return err
		}
	}
	return nil
}

func float(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }
