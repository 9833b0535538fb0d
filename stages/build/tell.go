package build

import (
	"cmp"
	"fmt"
	"runtime"
	"time"

	"quern/pipeline"
	"quern/quantize/build"
	"quern/stages/job"
	"quern/stages/plan"
)

// Made is the "build" event of --json: how long the files took, and what the workers did meanwhile. The seconds of work are
// those of all workers together.
type Made struct {
	Bytes   int64   `json:"bytes"`
	Seconds float64 `json:"seconds"`
	Workers int     `json:"workers"`
	Read    float64 `json:"read_seconds"`
	Widen   float64 `json:"widen_seconds"`
	Kernel  float64 `json:"kernel_seconds"`
	Write   float64 `json:"write_seconds"`
	Finish  float64 `json:"finish_seconds"` // from the last block until the digests are taken and the disk has everything
}

// long is when a build is worth a word about where its time went.
const long = 5 * time.Second

// tell says how long the files took; passed is the time until the last block was written.
func tell(s *job.State, ev pipeline.Events, passed, all time.Duration, spent build.Spent) {
	m := Made{Seconds: all.Seconds(), Workers: cmp.Or(s.Workers, runtime.GOMAXPROCS(0)), Finish: (all - passed).Seconds(),
		Read: spent.Read.Seconds(), Widen: spent.Widen.Seconds(), Kernel: spent.Kernel.Seconds(), Write: spent.Write.Seconds()}
	for _, a := range s.Files {
		a.Seconds = m.Seconds
		m.Bytes += a.Bytes
	}
	text := fmt.Sprintf("%s in %s, %s/s", plan.Size(m.Bytes), all.Round(10*time.Millisecond), plan.Size(int64(float64(m.Bytes)/m.Seconds)))
	if all > long {
		share := func(seconds float64) float64 { return 100 * seconds / (passed.Seconds() * float64(m.Workers)) }
		text += fmt.Sprintf("; %d workers: kernels %.0f %%, writing %.0f %%, reading %.0f %%, widening %.0f %%; then %.1f s for digests and disk",
			m.Workers, share(m.Kernel), share(m.Write), share(m.Read), share(m.Widen), m.Finish)
	}
	ev.Emit(pipeline.Result{Type: "build", Data: m})
	ev.Emit(pipeline.Line{Stage: "build", Label: "build", Text: text})
}
