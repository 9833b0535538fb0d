package plan

import (
	"slices"
	"strings"
	"time"

	"quern/quantize/policy"
	"quern/quantize/recommend"
	"quern/stages/job"
	"quern/stages/source/calibration"
)

// MatrixFile is the name under which metadata knows a computed matrix: the same on every machine.
func MatrixFile(s *job.State) string { return baseName(s) + ".imatrix.gguf" }

// WantsMatrix tells whether a matrix is to be computed: it was asked for, and a file of few bits is made.
func WantsMatrix(s *job.State) bool {
	return s.Auto != nil && slices.ContainsFunc(s.Files, func(a *job.Artifact) bool {
		ft, err := policy.ParseFileType(a.Type)
		return err == nil && a.Policy != nil && ft.BelowQ4()
	})
}

// expected is what a computed matrix will be as far as types and sizes go: an entry for every matrix of a layer.
func expected(s *job.State) *policy.Imatrix {
	im := &policy.Imatrix{File: MatrixFile(s), Dataset: calibration.Name, Chunks: 1, Entries: map[string]int{}}
	for _, o := range Base(s).Outputs {
		if len(o.Shape) < 2 || !strings.HasSuffix(o.Name, "weight") {
			continue
		}
		n := o.Shape[0]
		if len(o.Shape) > 2 {
			n *= o.Shape[2]
		}
		im.Entries[o.Name] = int(n)
	}
	return im
}

// MatrixTime is how long reading the calibration text will take, 0 where nothing is known of the machine.
func MatrixTime(s *job.State) time.Duration {
	shape := s.Shape
	if shape == nil {
		var err error
		if shape, err = recommend.ShapeOf(Base(s)); err != nil {
			return 0
		}
	}
	bytes := int64(float64(shape.Params) * matrixBits / 8)
	sp := recommend.Predict(s.Machine, shape, bytes, bytes, "Q8_0", recommend.Setting{Context: matrixChunk, Slots: 1, KV: "f16", MicroBatch: matrixChunk, Batch: matrixChunk}, recommend.Calibration{})
	if sp.Prefill <= 0 {
		return 0
	}
	return time.Duration(float64(calibration.Tokens()) / sp.Prefill * float64(time.Second))
}

const (
	matrixBits  = 8.5 // of Q8_0, in which a checkpoint reads the text
	matrixChunk = 512
)
