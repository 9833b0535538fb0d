package recommend

import (
	_ "embed"
	"encoding/json"
	"math"
	"strings"
	"time"

	"quern/quantize/machine"
)

// Speed is a prediction in tokens a second, with the interval that nine in ten published measurements fall into.
type Speed struct {
	Prefill    float64 `json:"prefill"`
	Generation float64 `json:"generation"`
	Low        float64 `json:"generation_low"`
	High       float64 `json:"generation_high"`
	Confidence string  `json:"confidence"` // measured, same generation, assumed
}

//go:embed data/speed.json
var speedJSON []byte

// constants are the numbers of the speed model, fitted to published measurements by TestCalibrate. Each has a cause:
//
//	rho      share of the memory bandwidth that reading weights reaches, by generation; ultra: two dies do not add up
//	unpack   ms x GPU core to unpack and multiply 10^9 weights, by class of type; core: how much faster a generation does it
//	layer    ms of launching a layer's kernels, by generation, times kind (hybrid, moe), times old for builds before 2025
//	experts  how much dearer scattered experts are to read than one matrix
//	cache    how much dearer the cache is to read than weights
//	prefill  10^9 weights x tokens a second that a GPU core multiplies, by generation; and what lowers it
//	spread   nine in ten measurements are within this factor of the prediction, by kind
type constants map[string]float64

var fitted = mustConstants()

func mustConstants() constants {
	var t struct{ Constants constants }
	if err := json.Unmarshal(speedJSON, &t); err != nil {
		panic(err) // the table is part of the program; a test reads it
	}
	return t.Constants
}

// load is what one token costs, whatever the machine.
type load struct {
	kind        string  // dense, moe, hybrid, hybrid-moe
	type_       string  // of the file
	readGB      float64 // weights that a token reads
	activeB     float64 // 10^9 weights that a token uses
	layers      float64
	cacheGB     float64 // read of the cache
	old         bool    // an old build of llama.cpp
	depth       float64 // tokens before
	promptToken float64 // tokens of a prompt, for prefill
}

// gpu is what matters of a machine.
type gpu struct {
	generation string
	cores      float64
	bandwidth  float64 // 10^9 bytes a second
	ultra      bool
}

// unpackClass sorts types by how their blocks are unpacked.
func unpackClass(t string) string {
	switch t = strings.TrimPrefix(t, "UD-"); {
	case strings.Contains(t, "_K"):
		if strings.HasPrefix(t, "Q3") || strings.HasPrefix(t, "Q2") {
			return "K3"
		}
		return "K"
	case strings.HasPrefix(t, "IQ4"), t == "MXFP4":
		return "IQ4"
	case strings.HasPrefix(t, "IQ"), strings.HasPrefix(t, "TQ"):
		return "IQ"
	case t == "Q8_0":
		return "Q8"
	case t == "F16", t == "BF16", t == "F32":
		return "F16"
	}
	return "Q4"
}

// generation is milliseconds for one token: reading and unpacking overlap in part, launching and the cache come on top.
func (c constants) generation(g gpu, l load) float64 {
	rho := c["rho."+g.generation]
	if g.ultra {
		rho *= c["rho.ultra"]
	}
	read := l.readGB / (rho * g.bandwidth) * 1000
	if strings.Contains(l.kind, "moe") {
		read *= c["experts"]
	}
	core, known := c["core."+g.generation]
	if !known {
		core = c["core.M4"] // while M5 is fitted: too few types are measured on it to tell unpacking from reading
	}
	unpack := l.activeB * c["unpack."+unpackClass(l.type_)] / (core * g.cores)
	layer := c["layer."+g.generation]
	if strings.Contains(l.kind, "hybrid") {
		layer *= c["layer.hybrid"]
	}
	if strings.Contains(l.kind, "moe") {
		layer *= c["layer.moe"]
	}
	if l.old {
		layer *= c["layer.old"]
	}
	return l.layers*layer + math.Hypot(read, unpack) + c["cache"]*l.cacheGB/(rho*g.bandwidth)*1000
}

// prompt is tokens a second of a prompt.
func (c constants) prompt(g gpu, l load) float64 {
	v := c["prefill."+g.generation] * g.cores / l.activeB
	if strings.Contains(l.kind, "moe") {
		v *= c["prefill.moe"]
	}
	if strings.Contains(l.kind, "hybrid") {
		v *= c["prefill.hybrid"]
	}
	if cl := unpackClass(l.type_); cl == "F16" {
		v *= c["prefill.F16"]
	} else if cl == "K" || cl == "K3" || cl == "IQ" || cl == "IQ4" {
		v *= c["prefill.K"]
	}
	if l.old {
		v *= c["prefill.old"]
	}
	return v / (1 + (l.depth+l.promptToken/2)/c["prefill.depth"])
}

// cpuBandwidth is assumed of a machine that does not tell its memory bandwidth: two channels of DDR4-3200 at four fifths.
const cpuBandwidth = 40

// cpuSpread is the factor of the interval on machines without a fit.
const cpuSpread = 2.

func (s *Shape) kind() string {
	switch moe, hybrid := s.Experts > 0, s.Cache == Hybrid || s.Cache == Recurrent; {
	case moe && hybrid:
		return "hybrid-moe"
	case moe:
		return "moe"
	case hybrid:
		return "hybrid"
	}
	return "dense"
}

// Calibration is what a machine's own records say of the shipped constants. Zero: nothing was measured.
type Calibration struct {
	Factor  float64   // measured over predicted generation speed, the median
	Spread  float64   // nine in ten records are within this factor of it
	Records int       // how many there are
	Last    time.Time // when the last was made
}

// spread is the factor of a corrected prediction's interval: the records' own, but no less than a tenth, and a quarter while
// there are too few to tell.
func (c Calibration) spread() float64 {
	if c.Records < fewRecords {
		return max(c.Spread, 1.25)
	}
	return max(c.Spread, 1.10)
}

const fewRecords = 3

// Predict estimates speeds with an empty cache of the setting's type, as benchmarks state them; depth is for Setting's own use
// in ranking contexts.
func Predict(m *machine.Machine, s *Shape, weights int64, activeBytes int64, typeName string, o Setting, cal Calibration) Speed {
	l := load{kind: s.kind(), type_: typeName, readGB: float64(activeBytes) / 1e9, activeB: float64(s.ActiveParams) / 1e9, layers: float64(s.run()),
		depth: usualDepth, promptToken: 512}
	used := o
	used.Context, used.Slots = min(o.Context, usualDepth), 1
	l.cacheGB = float64(s.KVBytes(used)) / 1e9
	g := gpu{m.Generation(), float64(m.GPUCores), float64(m.Bandwidth), strings.HasSuffix(m.Chip, "Ultra")}
	sp := Speed{Confidence: "same generation"}
	spread := fitted["spread."+l.kind]
	switch _, known := fitted["rho."+g.generation]; {
	case known && g.cores > 0 && g.bandwidth > 0 && l.activeB > 0:
		sp.Generation, sp.Prefill = 1000/fitted.generation(g, l), fitted.prompt(g, l)
	default:
		sp, spread = onCPU(m, l), cpuSpread
	}
	if g.generation == "M6" || g.generation == "A18" {
		sp.Confidence, spread = "assumed", spread*1.2 // no measurement of these is published
	}
	if cal.Factor > 0 {
		sp.Generation *= cal.Factor
		sp.Confidence, spread = "measured", cal.spread()
	}
	sp.Low, sp.High = sp.Generation/spread, sp.Generation*spread
	return sp
}

// usualDepth is the number of tokens in the cache for which speeds are stated.
const usualDepth = 512

// onCPU is bound by memory bandwidth; prompts by arithmetic, 16 x 10^9 weights a second and core.
func onCPU(m *machine.Machine, l load) Speed {
	bw := float64(m.Bandwidth)
	if bw == 0 {
		bw = cpuBandwidth
	}
	ms := 1.2*l.readGB/(.6*bw)*1000 + l.cacheGB/(.3*bw)*1000
	sp := Speed{Confidence: "assumed"}
	if ms > 0 {
		sp.Generation = 1000 / ms
	}
	if l.activeB > 0 {
		sp.Prefill = 16 * float64(m.FastCores()) / l.activeB
	}
	return sp
}
