package recommend

import (
	_ "embed"
	"encoding/json"
	"math"
)

//go:embed data/quality.json
var qualityJSON []byte

// Quality is what a type loses, measured on Llama-3-8B (sources in data/quality.json).
type Quality struct {
	Type       string   `json:"type"`
	KLD        *float64 `json:"kld"`         // mean KL divergence from the source precision, nats
	ImatrixKLD *float64 `json:"imatrix_kld"` // the same with an importance matrix
	DPPL       *float64 `json:"dppl"`        // change of perplexity
}

var qualities = mustQualities()

func mustQualities() map[string]Quality {
	var t struct{ Rows []Quality }
	if err := json.Unmarshal(qualityJSON, &t); err != nil {
		panic(err) // the table is part of the program; a test reads it
	}
	m := map[string]Quality{}
	for _, q := range t.Rows {
		m[q.Type] = q
	}
	return m
}

// KLD is the expected mean KL divergence of a type, and whether it is known.
func KLD(name string, imatrix bool) (float64, bool) {
	switch name {
	case "F32", "BF16", "F16":
		return 2.5e-5, true
	case "MXFP4_MOE": // experts as they were published, the rest in Q8_0
		return *qualities["Q8_0"].KLD, true
	}
	q, ok := qualities[name]
	if !ok {
		return 0, false
	}
	if imatrix && q.ImatrixKLD != nil {
		return *q.ImatrixKLD, true
	}
	if q.KLD != nil {
		return *q.KLD, true
	}
	if q.ImatrixKLD != nil { // measured with an imatrix only: without one it loses more, by as much as its neighbours do
		return *q.ImatrixKLD * 1.3, true
	}
	return 0, false
}

// lossByBits is the KL divergence that is assumed of a type that nobody measured: the line through the measured ones from Q2_K (3 bits,
// .45) to Q8_0, by bits a weight, on the side of caution.
func lossByBits(bpw float64) float64 {
	return .45 * math.Exp(-1.1*(bpw-3))
}
