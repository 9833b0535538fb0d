package recommend

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"quern/quantize/machine"
)

var update = flag.Bool("update", false, "write the fitted constants and the residuals")

// measurement is a published one; LeftOut says why the fit does not use it.
type measurement struct {
	Chip            string
	GPUCores        int     `json:"gpu_cores"`
	Model           string  `json:"model"`
	Kind            string  `json:"kind"`
	Type            string  `json:"type"`
	Test            string  `json:"test"`
	Depth           float64 `json:"depth"`
	TokensPerSecond float64 `json:"tokens_per_second"`
	ReadGB          float64 `json:"read_gb"`
	ActiveB         float64 `json:"active_b"`
	Layers          float64 `json:"layers"`
	KVBytes         float64 `json:"kv_bytes"`
	Old             bool    `json:"old"`
	Source          string  `json:"source"`
	LeftOut         string  `json:"left_out"`
}

func (m measurement) gpu(t *testing.T) gpu {
	for _, c := range machine.Chips {
		if c.Name == m.Chip && c.GPUCores == m.GPUCores {
			return gpu{c.Generation, float64(c.GPUCores), float64(c.Bandwidth), strings.HasSuffix(c.Name, "Ultra")}
		}
	}
	t.Fatalf("no chip %s with %d GPU cores", m.Chip, m.GPUCores)
	return gpu{}
}

func (m measurement) generates() bool { return strings.HasPrefix(m.Test, "tg") }

func (m measurement) load() load {
	n := 0.
	fmt.Sscanf(strings.TrimLeft(m.Test, "tgp~"), "%g", &n)
	return load{kind: m.Kind, type_: m.Type, readGB: m.ReadGB, activeB: m.ActiveB, layers: m.Layers, cacheGB: m.KVBytes * (m.Depth + n/2) / 1e9,
		old: m.Old, depth: m.Depth, promptToken: n}
}

func measurements(t *testing.T) []measurement {
	f, err := os.Open("testdata/speed.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []measurement
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		var m measurement
		if err := json.Unmarshal(sc.Bytes(), &m); err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

// priors are where the fit starts and what it is held to where there is little data; weight is how firmly.
var priors = constants{
	"rho.M1": .80, "rho.M2": .85, "rho.M3": .87, "rho.M4": .85, "rho.M5": .90, "rho.ultra": .85,
	"unpack.F16": 20, "unpack.Q8": 25, "unpack.Q4": 30, "unpack.K": 35, "unpack.K3": 60, "unpack.IQ4": 35, "unpack.IQ": 50,
	"core.M1": 1, "core.M2": 1.1, "core.M3": 1.15, "core.M4": 1.4,
	"layer.M1": .08, "layer.M2": .07, "layer.M3": .07, "layer.M4": .06, "layer.M5": .05, "layer.hybrid": 2, "layer.moe": 2, "layer.old": 1.5,
	"experts": 1.5, "cache": 3,
	"prefill.M1": 110, "prefill.M2": 120, "prefill.M3": 126, "prefill.M4": 165, "prefill.M5": 545,
	"prefill.moe": .5, "prefill.hybrid": .8, "prefill.F16": 1.1, "prefill.K": .95, "prefill.old": .95, "prefill.depth": 30000,
}

const priorWeight = .15

// logError is ln(predicted / measured) of tokens a second.
func (c constants) logError(t *testing.T, m measurement) float64 {
	if m.generates() {
		return math.Log(1000 / c.generation(m.gpu(t), m.load()) / m.TokensPerSecond)
	}
	return math.Log(c.prompt(m.gpu(t), m.load()) / m.TokensPerSecond)
}

// loss is robust: an error counts by its square when small and by itself when large. A source counts by the root of its rows, so
// that one long table does not decide everything.
func (c constants) loss(t *testing.T, ms []measurement, weight map[string]float64) float64 {
	sum := 0.
	for _, m := range ms {
		e := c.logError(t, m)
		sum += weight[m.Source] * .05 * .05 * (math.Sqrt(1+e*e/(.05*.05)) - 1)
	}
	for _, k := range slices.Sorted(maps.Keys(c)) {
		d := math.Log(c[k] / priors[k])
		w := priorWeight
		if strings.HasPrefix(k, "core.") {
			w *= 20 // too few types are measured on M4 and M5 to tell unpacking from reading; newer cores are not slower
		}
		sum += w * .0025 * d * d
	}
	return sum
}

// fit walks along one constant after the other, in steps that halve.
func fit(t *testing.T, ms []measurement) constants {
	weight := map[string]float64{}
	for _, m := range ms {
		weight[m.Source]++
	}
	for s, n := range weight {
		weight[s] = 1 / math.Sqrt(math.Sqrt(n))
	}
	c := maps.Clone(priors)
	keys := slices.Sorted(maps.Keys(c))
	best := c.loss(t, ms, weight)
	for step := .2; step > .004; step /= 2 {
		for moved, rounds := true, 0; moved && rounds < 40; rounds++ {
			moved = false
			for _, k := range keys {
				old := c[k]
				for _, f := range []float64{math.Exp(step), math.Exp(-step)} {
					if c[k] = old * f; c.loss(t, ms, weight) < best-1e-9 {
						best, moved = c.loss(t, ms, weight), true
						break
					}
					c[k] = old
				}
			}
		}
	}
	return c
}

// TestFitted holds the constants in the tree against the fit over the data in the tree.
func TestFitted(t *testing.T) {
	used := slices.DeleteFunc(measurements(t), func(m measurement) bool { return m.LeftOut != "" })
	for k, v := range fit(t, used) {
		if d := math.Abs(v-fitted[k]) / v; d > .01 {
			t.Errorf("%s is %g, the fit gives %g; run make calibrate", k, fitted[k], v)
		}
	}
	inside, n := 0, 0
	for _, m := range used {
		if m.generates() {
			n++
			if math.Abs(fitted.logError(t, m)) <= math.Log(fitted["spread."+m.Kind]) {
				inside++
			}
		}
	}
	if inside*10 < n*9 {
		t.Errorf("the interval covers %d of %d measurements", inside, n)
	}
	t.Logf("count: the interval of the speed model covers %d of %d published measurements", inside, n)
}

// TestCalibrate cross-validates the fit over sources: each row is predicted by a fit that has not seen its source. With -update
// (make calibrate) it writes the constants and the residuals; without it there is nothing to compare and it is skipped.
func TestCalibrate(t *testing.T) {
	if !*update {
		t.Skip("skipped: half a minute of fitting; make calibrate runs it")
	}
	used := slices.DeleteFunc(measurements(t), func(m measurement) bool { return m.LeftOut != "" })
	var sources []string
	for _, m := range used {
		if !slices.Contains(sources, m.Source) {
			sources = append(sources, m.Source)
		}
	}
	errs := map[string][]float64{} // by label
	var residuals strings.Builder
	fmt.Fprintln(&residuals, "# predicted over measured tokens a second, each row by a fit that has not seen its source")
	for _, src := range sources {
		rest := slices.DeleteFunc(slices.Clone(used), func(m measurement) bool { return m.Source == src })
		c := fit(t, rest)
		for _, m := range used {
			if m.Source != src {
				continue
			}
			e := c.logError(t, m)
			what := "prompt"
			if m.generates() {
				what = "generation"
			}
			fmt.Fprintf(&residuals, "%-13s %2d  %-20s %-10s %-10s %-8s %6.0f %8.2f  x%.2f  %s\n", m.Chip, m.GPUCores, m.Model, m.Kind, m.Type, m.Test, m.Depth, m.TokensPerSecond, math.Exp(e), m.Source)
			group := "dense"
			if m.Kind != "dense" {
				group = m.Kind
			}
			for _, label := range []string{what + " all", what + " kind " + group, what + " chip " + m.Chip} {
				errs[label] = append(errs[label], math.Abs(e))
			}
		}
	}
	c := fit(t, used)
	for _, k := range []string{"dense", "moe", "hybrid", "hybrid-moe"} {
		c["spread."+k] = math.Exp(quantile(errs["generation kind "+k], .9))
	}
	for _, label := range slices.Sorted(maps.Keys(errs)) {
		es := errs[label]
		t.Logf("%-34s %3d rows: median error %4.1f %%, nine in ten within %5.1f %%", label, len(es), 100*(math.Exp(quantile(es, .5))-1), 100*(math.Exp(quantile(es, .9))-1))
	}
	c["core.M5"] = c["core.M4"]
	c["rho.M6"], c["core.M6"], c["layer.M6"], c["prefill.M6"] = c["rho.M5"], c["core.M5"], c["layer.M5"], c["prefill.M5"]
	c["rho.A18"], c["core.A18"], c["layer.A18"], c["prefill.A18"] = c["rho.M4"], c["core.M4"], c["layer.M4"], c["prefill.M4"]
	for k := range c {
		c[k] = math.Round(c[k]*1e4) / 1e4
	}
	out, err := json.MarshalIndent(map[string]any{"source": "TestCalibrate of this package over testdata/speed.jsonl; M6 and A18 are taken from M5 and M4", "constants": c}, "", "")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"data/speed.json": string(out) + "\n", "testdata/residuals.txt": residuals.String()} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// quantile of the values.
func quantile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return s[min(len(s)-1, int(q*float64(len(s))))]
}
