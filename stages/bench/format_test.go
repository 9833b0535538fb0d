package bench_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"strings"
	"testing"
	"time"

	"quern/quantize/llamacpp"
	"quern/quantize/llamacpp/llamatest"
	"quern/stages/bench"
	"quern/stages/pockettest"

	"golang.org/x/perf/benchfmt"
)

var subject = bench.Subject{Model: "acme/tiny model", Type: "Q4_K_M", Machine: "AMD EPYC", Runtime: "v0.5.0"}

func report(pp, tg []float64) *bench.Report {
	return &bench.Report{Results: []bench.Result{
		{Test: bench.Test{Prompt: 512}, Name: "pp512", TokensPerSecond: pp[len(pp)/2], Samples: pp, Threads: 2},
		{Test: bench.Test{Generate: 128, Depth: 4096}, Name: "tg128@d4096", TokensPerSecond: tg[len(tg)/2], Samples: tg, Threads: 2},
	}}
}

// Every line of the Go benchmark format is one that benchstat's own reader takes, with the value that was measured.
func TestGoFormat(t *testing.T) {
	var b bytes.Buffer
	fmt.Fprintln(&b, bench.GoHead)
	if err := report([]float64{100, 102.5, 101}, []float64{20, 21, 22}).Go(&b, subject); err != nil {
		t.Fatal(err)
	}
	r := benchfmt.NewReader(&b, "test")
	var names []string
	var rates []float64
	for r.Scan() {
		switch rec := r.Result().(type) {
		case *benchfmt.SyntaxError:
			t.Errorf("%v", rec)
		case *benchfmt.Result:
			names = append(names, string(rec.Name.Full()))
			v, ok := rec.Value("tokens/s")
			if _, second := rec.Value("sec/op"); !ok || !second {
				t.Errorf("%s: units %v", rec.Name, rec.Values)
			}
			rates = append(rates, v)
			if got := rec.GetConfig("machine"); got != "AMD EPYC" {
				t.Errorf("machine %q", got)
			}
		}
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	if len(names) != 6 || names[0] != "Prefill/model=acme_tiny_model/type=Q4_K_M/test=pp512/depth=0" || names[5] != "Generation/model=acme_tiny_model/type=Q4_K_M/test=tg128@d4096/depth=4096" {
		t.Errorf("names %q", names)
	}
	if rates[1] != 102.5 || rates[5] != 22 {
		t.Errorf("rates %v", rates)
	}
}

// A table for spreadsheets has as many columns as its head.
func TestCSV(t *testing.T) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	if err := w.Write(bench.CSVHead); err != nil {
		t.Fatal(err)
	}
	if err := report([]float64{100, 101, 102}, []float64{20, 21, 22}).CSV(w, subject); err != nil {
		t.Fatal(err)
	}
	w.Flush()
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(rows) != 3 || rows[2][4] != "tg128@d4096" || rows[2][8] != "21" {
		t.Errorf("%v: %v", rows, err)
	}
}

// A difference counts when the samples say so, not by its size alone.
func TestCompare(t *testing.T) {
	before := report([]float64{100, 101, 102, 100.5, 101.5}, []float64{20, 30, 25, 22, 28})
	after := report([]float64{110, 111, 112, 110.5, 111.5}, []float64{21, 31, 27, 23, 29})
	ds := bench.Compare(before, after)
	if len(ds) != 2 || !ds[0].Sure || ds[1].Sure || ds[0].P > 0.01 || ds[0].Change < 0.08 {
		t.Errorf("%+v", ds)
	}
	if before.Results[0].Samples[3] != 100.5 {
		t.Error("the order of the samples is lost")
	}
}

// A budget that is spent leaves one figure for prompts and one for answers, and says of the rest why it is missing.
func TestBudget(t *testing.T) {
	path := pockettest.Files(t, "Q4_K_M")[0]
	r, err := bench.Measure(context.Background(), llamatest.Start(t), bench.Options{
		Model: llamacpp.ModelOptions{Path: path}, Context: llamacpp.ContextOptions{Threads: 1},
		Tests: []bench.Test{{Prompt: 64}, {Generate: 8}, {Prompt: 64, Depth: 256}}, Budget: time.Nanosecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Results) != 2 || len(r.Results[0].Samples) != 1 || len(r.Results[1].Samples) != 1 {
		t.Fatalf("%+v", r.Results)
	}
	if len(r.Skipped) != 1 || !strings.HasPrefix(r.Skipped[0], "pp64@d256: would take about ") {
		t.Errorf("skipped %q", r.Skipped)
	}
	if s := r.Results[0].Summary(); !strings.HasSuffix(s, "one run") {
		t.Errorf("summary %q", s)
	}
	if r.Quiet() != nil {
		t.Error("single runs are recorded")
	}
}
