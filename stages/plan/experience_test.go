package plan_test

import (
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"quern/pipeline"
	"quern/quantize/machine"
	"quern/quantize/recommend"
	"quern/stages/bench"
	"quern/stages/job"
	"quern/stages/plan"
	"quern/stages/record"
)

// here is a machine with a history of its own, in a home of its own.
func here(t *testing.T) *machine.Machine {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	m, err := machine.For("M2 Pro 32GB")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// measured keeps a record of a bench that was factor times as fast as predicted.
func measured(t *testing.T, m *machine.Machine, bytes int64, factor float64, when time.Time) {
	t.Helper()
	r := record.New(m)
	r.Command, r.Model, r.Type, r.Bytes, r.Expected, r.When = "bench", "m", "Q4_K_M", bytes, 20, when
	r.Bench = &bench.Report{Results: []bench.Result{{Name: "tg128", TokensPerSecond: 20 * factor}}}
	if err := record.Append(r); err != nil {
		t.Fatal(err)
	}
}

// planned plans an 8B on the machine as if it were the one in front of us.
func planned(t *testing.T, m *machine.Machine) *job.State {
	t.Helper()
	s := &job.State{}
	s.Model, s.Make, s.Machine, s.DryRun, s.Out = "testdata/shapes/Qwen3-8B", job.Recommended, m, true, t.TempDir()
	if err := pipeline.Run(t.Context(), []pipeline.Stage[job.State]{plan.Stage{Only: true}}, s, silent{}, pipeline.Options{}); err != nil {
		t.Fatal(err)
	}
	return s
}

// Records of this machine correct predictions for models of a like size, with an interval of their own and the date of the
// last; other machines' and other sizes' do not, and the shipped constants stay.
func TestCalibrationByRecords(t *testing.T) {
	m := here(t)
	shipped := planned(t, m).Advice
	if shipped.Speed.Confidence != "same generation" {
		t.Fatalf("without records: %+v", shipped.Speed)
	}
	day := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	other := *m
	other.GPUCores++
	measured(t, &other, 5e9, 3, day)
	measured(t, m, 5e6, 3, day) // a pocket model
	if got := planned(t, m).Advice; got.Speed != shipped.Speed {
		t.Errorf("records of other machines and sizes count: %+v after %+v", got.Speed, shipped.Speed)
	}
	for i, f := range []float64{1.18, 1.2, 1.25} {
		measured(t, m, 5e9, f, day.AddDate(0, 0, i))
	}
	a := planned(t, m).Advice
	var like recommend.Row
	for _, r := range shipped.Rows {
		if r.Type == a.Type {
			like = r
		}
	}
	if got := a.Speed.Generation / like.Speed.Generation; math.Abs(got-1.2) > .001 || a.Speed.Confidence != "measured" {
		t.Errorf("corrected by %.3f, %s", got, a.Speed.Confidence)
	}
	if math.Abs(a.Shipped-like.Speed.Generation) > 1e-9 {
		t.Errorf("the shipped prediction became %g, was %g", a.Shipped, like.Speed.Generation)
	}
	if a.Speed.High/a.Speed.Generation >= like.Speed.High/like.Speed.Generation {
		t.Errorf("the interval is no narrower: %+v after %+v", a.Speed, like.Speed)
	}
	if says := strings.Join(reasons(a), "\n"); !strings.Contains(says, "records: 3 of this machine, the last of 2026-11-22: 1.20 times") {
		t.Errorf("nothing is said of the records:\n%s", says)
	}
}

func reasons(a *recommend.Choice) []string {
	var all []string
	for _, r := range a.Reasons {
		all = append(all, r.String())
	}
	return all
}

// What tune found is in the plan, and in the line that runs the file; a later tuning that found the default best ends it.
func TestTunedKnobs(t *testing.T) {
	m := here(t)
	r := record.New(m)
	r.Command, r.Model, r.Type = "tune", "m.gguf", "tune"
	r.Tuned = &recommend.Knobs{Batch: 1024, MicroBatch: 256, Threads: 5, FlashAttn: "on", KV: "q8_0", Gain: 1.31}
	if err := record.Append(r); err != nil {
		t.Fatal(err)
	}
	s := planned(t, m)
	want := "-t 5 -ub 256 -b 1024 -ctk q8_0 -ctv q8_0 -fa on"
	if got := record.HowToRun(s, s.Files[0]); !strings.HasSuffix(got, want) {
		t.Errorf("%s, want %s", got, want)
	}
	if says := strings.Join(reasons(s.Advice), "\n"); !strings.Contains(says, "measured here by quern tune, 31 % faster") || strings.Contains(says, "quern tune` measures it") {
		t.Errorf("reasons:\n%s", says)
	}
	r.Tuned = nil
	if err := record.Append(r); err != nil {
		t.Fatal(err)
	}
	if s := planned(t, m); s.Advice.Setting.Threads == 5 {
		t.Error("an older tuning outlives a newer one")
	}
	if _, err := os.Stat(record.Path()); err != nil {
		t.Error(err)
	}
}
