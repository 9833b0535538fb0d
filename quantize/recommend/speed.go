package recommend

import (
	"strings"

	"quern/quantize/machine"
)

// Speed is a prediction in tokens a second.
type Speed struct {
	Prefill    float64 `json:"prefill"`
	Generation float64 `json:"generation"`
	Confidence string  `json:"confidence"` // measured, same generation, assumed
}

// chipConstants of design/07: rho is the share of the memory bandwidth that generation reaches, kappa how much dearer
// K-quants are to read, prefill the tokens a second x billions of active parameters per GPU core.
type chipConstants struct{ rho, kappa, prefill float64 }

var generations = map[string]chipConstants{
	"M1": {.80, 1.25, 110}, "M2": {.82, 1.20, 120}, "M3": {.83, 1.15, 126}, "M4": {.85, 1.03, 149}, "M5": {.88, 1.0, 545}, "M6": {.88, 1.0, 545},
}

// layerTime is the fixed cost of a layer per token on a Metal build of 2026, in milliseconds.
const layerTime = .06

// cpuBandwidth is assumed of a machine that does not tell its memory bandwidth: two channels of DDR4-3200 at four fifths.
const cpuBandwidth = 40

// Predict estimates speeds at the given depth of context. factor is the calibration of this machine: measured over
// predicted generation speed of earlier runs, 1 where there are none.
func Predict(m *machine.Machine, s *Shape, weights int64, activeBytes int64, typeName string, o Setting, factor float64) Speed {
	c, known := generations[m.Generation()]
	bw := float64(m.Bandwidth)
	sp := Speed{Confidence: "same generation"}
	if !known {
		c, sp.Confidence = chipConstants{.6, 1.2, 0}, "assumed"
	}
	if bw == 0 {
		bw, sp.Confidence = cpuBandwidth, "assumed"
	}
	kappa := 1.0
	if strings.Contains(typeName, "_K") || strings.HasPrefix(typeName, "IQ") {
		kappa = c.kappa
	}
	kv := float64(s.KVBytes(o)) / 1e9
	ms := kappa*float64(activeBytes)/1e9/(c.rho*bw)*1000 + kv/(.5*c.rho*bw)*1000
	if known {
		ms += float64(len(s.Layers)) * layerTime
	}
	sp.Generation = 1000 / ms
	billions := float64(s.ActiveParams) / 1e9
	if known && billions > 0 {
		sp.Prefill = c.prefill * float64(m.GPUCores) / billions
	} else if billions > 0 {
		sp.Prefill = 16 * float64(m.FastCores()) / billions
	}
	if factor > 0 && factor != 1 {
		sp.Generation *= factor
		sp.Confidence = "measured"
	}
	return sp
}
