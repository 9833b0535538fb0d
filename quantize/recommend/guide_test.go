package recommend

import (
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"quern/quantize/machine"
)

// verdict is what became of a row of the guide.
type verdict string

const (
	agrees    verdict = "agrees"
	corrected verdict = "corrected" // docs/apple-silicon.md says what is true today and why
)

// guideRow is one row or rule of the guide. check gives what is calculated today and whether the verdict holds; rules about flags and
// tools have no calculation, their correction is the document's.
type guideRow struct {
	section int
	guide   string
	verdict verdict
	reason  string
	check   func(t *testing.T) (string, bool)
}

func at(t *testing.T, text string) *machine.Machine {
	m, err := machine.For(text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// sizes are the models that the guide speaks of.
func sizes(t *testing.T, name string) *Shape {
	switch name {
	case "7B":
		return llama(t, 32, 4096, 11008, 32, 32)
	case "13B":
		return llama(t, 40, 5120, 13824, 40, 40)
	case "33B":
		return llama(t, 60, 6656, 17920, 52, 52)
	}
	return llama(t, 80, 8192, 28672, 64, 8)
}

// best is the type chosen for a model on a machine at 2048 tokens.
func best(t *testing.T, mac, model string) *Choice {
	s := sizes(t, model)
	c, err := Choose(at(t, mac), s, byBits(s), Wish{Context: 2048, MinSpeed: 3, Prefer: "quality"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// takes checks that the choice is want.
func takes(mac, model, want string) func(t *testing.T) (string, bool) {
	return func(t *testing.T) (string, bool) {
		c := best(t, mac, model)
		return fmt.Sprintf("%s, %s, %.1f of %.1f GiB", c.Type, c.Fit, float64(c.Memory.Total())/(1<<30), float64(c.Budget)/(1<<30)), c.Type == want && c.Runs
	}
}

// saves compares a type's real size with the guide's reduction against 16 bits.
func saves(typeName string, percent, within float64) func(t *testing.T) (string, bool) {
	return func(t *testing.T) (string, bool) {
		for _, c := range byBits(sizes(t, "7B")) {
			if c.Type == typeName {
				got := 100 * (1 - c.BPW/16)
				return fmt.Sprintf("%.1f %% smaller", got), math.Abs(got-percent) <= within
			}
		}
		return "unknown type", false
	}
}

// threads checks the fast cores of a chip against the guide's range.
func threadsOf(mac string, lo, hi int) func(t *testing.T) (string, bool) {
	return func(t *testing.T) (string, bool) {
		n := at(t, mac).FastCores()
		return fmt.Sprintf("%d fast cores", n), n >= lo && n <= hi
	}
}

// grows is what doubling the context from 4096 adds, in per cent.
func grows(model string, lo, hi float64) func(t *testing.T) (string, bool) {
	return func(t *testing.T) (string, bool) {
		s := sizes(t, model)
		w := int64(float64(s.Params) * 4.89 / 8)
		set := Setting{Context: 4096, Slots: 1, KV: "f16", MicroBatch: 512, FlashAttn: true, Metal: true}
		one := s.Needs(w, set).Total()
		set.Context = 8192
		got := 100 * (float64(s.Needs(w, set).Total())/float64(one) - 1)
		return fmt.Sprintf("%+.0f %%", got), got >= lo && got <= hi
	}
}

// batchCosts shows that memory follows the micro-batch, and generation does not.
func batchCosts(mac string, batch int64) func(t *testing.T) (string, bool) {
	return func(t *testing.T) (string, bool) {
		s, m := sizes(t, "7B"), at(t, mac)
		set := firstSetting(m, s, Wish{Context: 2048})
		big := set
		big.Batch, big.MicroBatch = 2048, batch
		a, b := s.ComputeBytes(set), s.ComputeBytes(big)
		w := byBits(s)[0]
		same := Predict(m, s, w.Weights, w.ActiveBytes, w.Type, set, Calibration{}).Generation == Predict(m, s, w.Weights, w.ActiveBytes, w.Type, big, Calibration{}).Generation
		return fmt.Sprintf("compute %+.0f MB, generation unchanged", float64(b-a)/1e6), same && (batch <= 512) == (b <= a)
	}
}

func trains(model, technique string, ram float64, want bool) func(t *testing.T) (string, bool) {
	return func(t *testing.T) (string, bool) {
		for _, tu := range sizes(t, model).Finetune(16, 512) {
			if tu.Technique == technique {
				gb := float64(tu.Total) / (1 << 30)
				return fmt.Sprintf("%.1f GiB", gb), (gb <= ram) == want
			}
		}
		return "unknown technique", false
	}
}

func fitsAt(mac, model string, context int64, want bool) func(t *testing.T) (string, bool) {
	return func(t *testing.T) (string, bool) {
		s, m := sizes(t, model), at(t, mac)
		s.ContextLimit = 131072
		c, err := Choose(m, s, byBits(s), Wish{Context: context, MinSpeed: 2})
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%s at %d, cache %s, runs %v", c.Type, context, c.Setting.KV, c.Runs), c.Runs == want
	}
}

func metalOn(mac string) func(t *testing.T) (string, bool) {
	return func(t *testing.T) (string, bool) {
		m := at(t, mac)
		line := firstSetting(m, sizes(t, "7B"), Wish{Context: 2048}).Server("m.gguf")
		return line, m.Metal && !strings.Contains(line, "--metal")
	}
}

// option checks whether llama-server of today knows a name.
func option(name string, want bool) func(t *testing.T) (string, bool) {
	return func(t *testing.T) (string, bool) {
		known := serverOptions(t)[name]
		return fmt.Sprintf("llama-server knows %s: %v", name, known), known == want
	}
}

func options(names ...string) func(t *testing.T) (string, bool) {
	return func(t *testing.T) (string, bool) {
		for _, n := range names {
			if !serverOptions(t)[n] {
				return n + " is gone", false
			}
		}
		return strings.Join(names, " "), true
	}
}

// faster compares generation on two machines: what a user gains is bandwidth.
func faster(slow, fast string) func(t *testing.T) (string, bool) {
	return func(t *testing.T) (string, bool) {
		s := sizes(t, "7B")
		w := byBits(s)[0]
		one := func(mac string) float64 {
			m := at(t, mac)
			return Predict(m, s, w.Weights, w.ActiveBytes, w.Type, firstSetting(m, s, Wish{Context: 2048}), Calibration{}).Generation
		}
		a, b := one(slow), one(fast)
		return fmt.Sprintf("%.0f and %.0f tokens/s", a, b), b > 3*a
	}
}

func loses(name string, lo, hi float64) func(t *testing.T) (string, bool) {
	return func(*testing.T) (string, bool) {
		d, known := KLD(name, false)
		return fmt.Sprintf("KL divergence %.4f", d), known && d >= lo && d <= hi
	}
}

func cacheAt(mac, model, kv string) func(t *testing.T) (string, bool) {
	return func(t *testing.T) (string, bool) {
		c := best(t, mac, model)
		return "cache " + c.Setting.KV, c.Setting.KV == kv
	}
}

func slowsWithDepth(mac, model string) func(t *testing.T) (string, bool) {
	return func(t *testing.T) (string, bool) {
		s, m := sizes(t, model), at(t, mac)
		g := gpu{m.Generation(), float64(m.GPUCores), float64(m.Bandwidth), false}
		at := func(depth int64) float64 {
			l := load{kind: "dense", type_: "Q4_K_M", readGB: 4, activeB: float64(s.ActiveParams) / 1e9, layers: float64(s.run())}
			l.cacheGB = float64(s.KVBytes(Setting{Context: depth, Slots: 1, KV: "f16", MicroBatch: 512, FlashAttn: true})) / 1e9
			return 1000 / fitted.generation(g, l)
		}
		return fmt.Sprintf("%.1f tokens/s at 512, %.1f at 8192", at(512), at(8192)), at(8192) < at(512)
	}
}

func coresOf(mac string, n int, other string, m int) func(t *testing.T) (string, bool) {
	return func(t *testing.T) (string, bool) {
		a, b := at(t, mac).Cores, at(t, other).Cores
		return fmt.Sprintf("%d and %d", a, b), a == n && b == m
	}
}

func saysTight(mac, model string) func(t *testing.T) (string, bool) {
	return func(t *testing.T) (string, bool) {
		for _, r := range best(t, mac, model).Reasons {
			if r.About == "memory" {
				return r.Says, strings.Contains(r.Says, "close other programs")
			}
		}
		return "nothing is said", false
	}
}

func parallelAt(mac, model string, slots int64) func(t *testing.T) (string, bool) {
	return func(t *testing.T) (string, bool) {
		s, m := sizes(t, model), at(t, mac)
		c, err := Choose(m, s, byBits(s), Wish{Context: 4096, Slots: slots})
		if err != nil {
			t.Fatal(err)
		}
		line := c.Setting.Server("m.gguf")
		return line, c.Runs && strings.Contains(line, fmt.Sprintf("-np %d -t", slots))
	}
}

func trainingGrows(model string) func(t *testing.T) (string, bool) {
	return func(t *testing.T) (string, bool) {
		s := sizes(t, model)
		a, b := s.Finetune(16, 512)[0].Working, s.Finetune(16, 2048)[0].Working
		return fmt.Sprintf("%s and %s", Size(a), Size(b)), b > 2*a
	}
}

// guide holds every table and rule of the seed, section by section.
var guide = []guideRow{
	{1, "always use --metal", corrected, "`--metal`", option("--metal", false)},
	{1, "--metal-mmq for more speed", corrected, "`--metal-mmq`", option("--metal-mmq", false)},
	{1, "2-3 times faster than the CPU, up to 5 by chip", corrected, "2 to 5 times faster than the CPU", faster("M1 8GB", "M3 Max 64GB")},
	{1, "-m FILE -c 2048 -b 512 -t 4", agrees, "still the options", options("-m", "-c", "-b", "-t")},
	{1, "M1: --metal", corrected, "`--metal`", metalOn("M1 8GB")},
	{1, "M1 Pro/Max: --metal --metal-mmq", corrected, "`--metal-mmq`", metalOn("M1 Pro 16GB")},
	{1, "M2: --metal --metal-mmq", corrected, "`--metal-mmq`", metalOn("M2 16GB")},
	{1, "M2 Pro/Max/Ultra", corrected, "`--metal-mmq`", metalOn("M2 Max 32GB")},
	{1, "M3", corrected, "`--metal-mmq`", metalOn("M3 16GB")},
	{1, "M3 Pro/Max/Ultra", corrected, "`--metal-mmq`", metalOn("M3 Ultra 96GB")},
	{1, "./main", corrected, "`./main`", nil},
	{1, "Metal: Not supported: is it Apple Silicon", agrees, "the chip says it", metalOn("M1 8GB")},
	{1, "slow: rebuild with Metal", corrected, "`GGML_METAL`", nil},
	{1, "errors: is the Metal framework found by the build", corrected, "quern machine", nil},
	{2, "7B at Q4_K takes about 4 GB and the context", agrees, "4.89 bits a weight", func(t *testing.T) (string, bool) {
		n := float64(sizes(t, "7B").Params) * 4.89 / 8e9
		return fmt.Sprintf("%.2f GB", n), n > 3.8 && n < 4.3
	}},
	{2, "lower -b to save memory", corrected, "memory follows `-ub`", batchCosts("M2 16GB", 256)},
	{2, "limit -c", agrees, "the cache grows with it", grows("7B", 1, 100)},
	{2, "--mlock 0 --no-mmap offloads to disk", corrected, "`--no-mmap`", option("--no-mmap", false)},
	{2, "clean the cache between runs", corrected, "between runs", nil},
	{2, "8 GB: 7B at Q4_K", corrected, "8 GB", takes("M1 8GB", "7B", "Q3_K_M")},
	{2, "16 GB: 13B at Q4_K", agrees, "tight", takes("M1 16GB", "13B", "Q4_K_M")},
	{2, "16 GB: 7B at Q8_0", agrees, "fits", takes("M2 16GB", "7B", "Q8_0")},
	{2, "32 GB: 33B at Q4_K", corrected, "33B on 32 GB", takes("M1 Max 32GB", "33B", "Q4_K_M")},
	{2, "32 GB: 33B at Q4_K needs an 8-bit cache", corrected, "8-bit cache", cacheAt("M1 Max 32GB", "33B", "q8_0")},
	{2, "32 GB: 13B at Q8_0", agrees, "fits", takes("M1 Max 32GB", "13B", "Q8_0")},
	{2, "64 GB: 70B at Q4_K", agrees, "Q5_K_M has room too", takes("M1 Max 64GB", "70B", "Q5_K_M")},
	{2, "64 GB: 33B at Q8_0", agrees, "fits", takes("M1 Max 64GB", "33B", "Q8_0")},
	{3, "F16: the baseline", agrees, "16 bits", loses("F16", 0, .001)},
	{3, "Q8_0 ~50 % smaller", agrees, "8.5 bits", saves("Q8_0", 50, 4)},
	{3, "Q6_K ~62.5 %", agrees, "6.56 bits", saves("Q6_K", 62.5, 4)},
	{3, "Q5_K ~68.75 %", agrees, "5.70 bits", saves("Q5_K_M", 68.75, 5)},
	{3, "Q4_K ~75 %", corrected, "Q4_K_M", saves("Q4_K_M", 69.4, 1)},
	{3, "Q3_K ~81.25 %", corrected, "Q3_K_M", saves("Q3_K_M", 75, 1)},
	{3, "Q2_K ~87.5 %", corrected, "Q2_K", saves("Q2_K", 80.2, 1)},
	{3, "Q8_0: minimal loss", agrees, "KL divergence", loses("Q8_0", 0, .003)},
	{3, "Q6_K: very low", agrees, "KL divergence", loses("Q6_K", .003, .008)},
	{3, "Q5_K: low", agrees, "KL divergence", loses("Q5_K_M", .008, .02)},
	{3, "Q4_K: moderate, the default", agrees, "what is chosen below is chosen for want of room", loses("Q4_K_M", .02, usualFloor)},
	{3, "Q3_K: high", agrees, "KL divergence", loses("Q3_K_M", .08, maxKLD)},
	{3, "Q2_K: very high", agrees, "never chosen unasked", loses("Q2_K", maxKLD, 1)},
	{3, "MacBook Air 8 GB: Q4_K/Q3_K", agrees, "for 7B", takes("M2 8GB", "7B", "Q3_K_M")},
	{3, "MacBook Pro 16 GB: Q5_K/Q4_K", corrected, "by model, not by machine", takes("M1 Pro 16GB", "7B", "Q8_0")},
	{3, "MacBook Pro 32 GB: Q6_K/Q5_K", corrected, "by model, not by machine", takes("M2 Pro 32GB", "13B", "Q8_0")},
	{3, "Mac Studio 64 GB: Q8_0/Q6_K", corrected, "by model, not by machine", takes("M1 Ultra 64GB", "70B", "Q5_K_M")},
	{3, "convert.py --outtype q4_k", corrected, "`convert.py`", nil},
	{3, "quantize.py", corrected, "`quantize.py`", nil},
	{4, "longer contexts take more memory", agrees, "the cache grows with it", grows("13B", 1, 100)},
	{4, "longer contexts generate slower", agrees, "the cache is read for every token", slowsWithDepth("M2 16GB", "7B")},
	{4, "-c 4096", agrees, "still the option", options("-c")},
	{4, "Q&A 1024-2048", agrees, "fits", fitsAt("M1 16GB", "7B", 2048, true)},
	{4, "chat 2048-4096", agrees, "fits", fitsAt("M1 16GB", "7B", 4096, true)},
	{4, "documents 4096-8192", agrees, "fits", fitsAt("M1 16GB", "7B", 8192, true)},
	{4, "complex tasks 8192+", agrees, "fits", fitsAt("M2 Max 32GB", "7B", 16384, true)},
	{4, "doubling adds 20-30 % at 7B", corrected, "doubling the context", grows("7B", 30, 45)},
	{4, "30-40 % at 13B", agrees, "all heads have keys of their own", grows("13B", 28, 42)},
	{4, "40-50 % at 33B+", corrected, "doubling the context", grows("33B", 20, 38)},
	{4, "40-50 % at 70B", corrected, "doubling the context", grows("70B", 2, 6)},
	{5, "-b: tokens in parallel while generating", corrected, "prompt batches", batchCosts("M1 16GB", 2048)},
	{5, "M1 256-512", agrees, "the default, 512", batchCosts("M1 8GB", 512)},
	{5, "M1 Pro 512-768", agrees, "the default, 512", batchCosts("M1 Pro 16GB", 512)},
	{5, "M1 Max 512-1024", agrees, "the default, 512", batchCosts("M1 Max 32GB", 512)},
	{5, "M2 512-768", agrees, "the default, 512", batchCosts("M2 8GB", 512)},
	{5, "M2 Pro 768-1024", corrected, "`-ub`", batchCosts("M2 Pro 16GB", 1024)},
	{5, "M2 Max 1024-1536", corrected, "`-ub`", batchCosts("M2 Max 32GB", 1536)},
	{5, "M3 768-1024", corrected, "`-ub`", batchCosts("M3 16GB", 1024)},
	{5, "M3 Pro+ 1024-2048", corrected, "`-ub`", batchCosts("M3 Pro 18GB", 2048)},
	{5, "metal_optimizer.py", corrected, "quern tune", nil},
	{6, "too few threads waste the CPU", agrees, "all fast cores are used", threadsOf("M2 Max 32GB", 8, 8)},
	{6, "too many threads cost", agrees, "performance cores", threadsOf("M4 Max 36GB", 10, 12)},
	{6, "-t 6", agrees, "still the option", options("-t")},
	{6, "cores of M1 Ultra: 20, M2 Ultra: 24", agrees, "the chips' table", coresOf("M1 Ultra 64GB", 20, "M2 Ultra 64GB", 24)},
	{6, "M1 4 threads", agrees, "performance cores", threadsOf("M1 8GB", 4, 4)},
	{6, "M1 Pro 4-6", agrees, "performance cores", threadsOf("M1 Pro 14-core 16GB", 4, 6)},
	{6, "M1 Max 6", corrected, "performance cores", threadsOf("M1 Max 32GB", 8, 8)},
	{6, "M1 Ultra 10-12", corrected, "performance cores", threadsOf("M1 Ultra 64GB", 16, 16)},
	{6, "M2 4", agrees, "performance cores", threadsOf("M2 8GB", 4, 4)},
	{6, "M2 Pro 6-8", agrees, "performance cores", threadsOf("M2 Pro 16GB", 6, 8)},
	{6, "M2 Max 8", agrees, "performance cores", threadsOf("M2 Max 32GB", 8, 8)},
	{6, "M2 Ultra 12-16", agrees, "performance cores", threadsOf("M2 Ultra 64GB", 12, 16)},
	{6, "M3 4", agrees, "performance cores", threadsOf("M3 8GB", 4, 4)},
	{6, "M3 Pro+ 8-12", corrected, "performance cores", threadsOf("M3 Pro 18GB", 5, 6)},
	{7, "entry: --metal -t 4 -b 512 -c 2048", corrected, "`--metal`", threadsOf("M3 8GB", 4, 4)},
	{7, "entry: close other programs", agrees, "said where a choice is tight", saysTight("M1 8GB", "7B")},
	{7, "mid: --metal --metal-mmq -t 6 -b 768 -c 4096", corrected, "`-ub`", batchCosts("M1 Pro 16GB", 768)},
	{7, "mid: runs beside other programs", agrees, "fits: below 85 % of the budget", takes("M2 Pro 32GB", "13B", "Q8_0")},
	{7, "high: --metal --metal-mmq -t 8 -b 1024 -c 8192", corrected, "`-ub`", batchCosts("M2 Max 32GB", 1024)},
	{7, "high: several at once", agrees, "--parallel", parallelAt("M2 Max 64GB", "13B", 4)},
	{7, "--temp 0.7 --repeat_penalty 1.1", agrees, "underscores are read as dashes", options("--temp", "--repeat-penalty")},
	{7, "entry: 7B at Q4_K/Q3_K, 4096 tokens", agrees, "8 GB", fitsAt("M1 8GB", "7B", 2048, true)},
	{7, "mid: 7B at Q6_K/Q5_K or 13B at Q4_K", agrees, "16 GB", takes("M2 Pro 16GB", "13B", "Q4_K_M")},
	{7, "mid: up to 8192 tokens", agrees, "16 GB", fitsAt("M2 Pro 16GB", "7B", 8192, true)},
	{7, "high: 13B at Q6_K", agrees, "Q8_0 has room", takes("M2 Max 32GB", "13B", "Q8_0")},
	{7, "high: 33B+ at Q4_K", agrees, "32 GB and up", takes("M2 Max 64GB", "33B", "Q8_0")},
	{7, "high: up to 32K tokens", agrees, "fits", fitsAt("M2 Max 64GB", "13B", 32768, true)},
	{7, "Air M2 8GB: 7B -c 2048", agrees, "in three bits", fitsAt("M2 8GB", "7B", 2048, true)},
	{7, "M2 Pro 16GB: 13B -c 4096", corrected, "8-bit cache", fitsAt("M2 Pro 16GB", "13B", 4096, true)},
	{7, "M1 Ultra 64GB: 70B -c 8192", agrees, "fits", fitsAt("M1 Ultra 64GB", "70B", 8192, true)},
	{8, "git clone ggerganov/llama.cpp", corrected, "ggml-org", nil},
	{8, "cmake .. && cmake --build . --config Release", agrees, "still right", nil},
	{8, "Metal not detected: command line tools", agrees, "quern machine says when they are missing", nil},
	{8, "build failures: take the latest", corrected, "the version that quern was verified with", nil},
	{8, "-DLLAMA_METAL=ON", corrected, "`GGML_METAL`", nil},
	{8, "-DLLAMA_CUBLAS=OFF -DLLAMA_OPENBLAS=OFF", corrected, "`LLAMA_CUBLAS`", nil},
	{8, "-DLLAMA_BLAS=ON", corrected, "`GGML_BLAS`", nil},
	{8, "-DLLAMA_AVX=ON for Rosetta", corrected, "`LLAMA_AVX`", nil},
	{8, "-DCMAKE_BUILD_TYPE=Release", agrees, "still right", nil},
	{8, "./main -h | grep Metal", corrected, "quern machine", nil},
	{9, "7B LoRA r=16 16 GB", agrees, "frozen base in 16 bits", trains("7B", "LoRA", 16, true)},
	{9, "7B QLoRA 8 GB", agrees, "frozen base in 4 bits", trains("7B", "QLoRA", 8, true)},
	{9, "13B LoRA 28 GB", agrees, "frozen base in 16 bits", trains("13B", "LoRA", 28, true)},
	{9, "13B QLoRA 12 GB", agrees, "frozen base in 4 bits", trains("13B", "QLoRA", 12, true)},
	{9, "from 13B on QLoRA", agrees, "on machines of 16 GB", trains("13B", "LoRA", 16, false)},
	{9, "smaller batches to fit", agrees, "activations grow with tokens", trainingGrows("7B")},
	{9, "gradient checkpoints", agrees, "the calculation has them on", nil},
	{9, "llama-finetune --lora-rank", corrected, "`llama-finetune`", option("--lora-rank", false)},
	{9, "--lora-layers, --data-train, --data-val, --lora-out", corrected, "`llama-finetune`", option("--lora-out", false)},
	{9, "--thread-count", corrected, "`--thread-count`", nil},
	{10, "tokens a second", agrees, "quern bench records it", nil},
	{10, "memory in Activity Monitor", agrees, "quern bench records the peak", nil},
	{10, "temperature", agrees, "quern bench notes the system's speed limit", nil},
	{10, "load time: disk and type", agrees, "quern bench records it", nil},
	{10, "powermetrics, with sudo", agrees, "no root is needed for what quern reads", nil},
	{10, "metal_optimizer.py", corrected, "`metal_optimizer.py`", nil},
	{10, "low performance: is Metal on", corrected, "quern machine", nil},
	{10, "out of memory: a higher quantization", corrected, "fewer bits", nil},
	{10, "slow first run: shader compilation", agrees, "warm-up is not counted", nil},
	{10, "throttling: fewer threads", corrected, "thermal", nil},
	{10, "memory_analyzer.py, benchmark.py", corrected, "quern plan", nil},
}

// TestGuide holds the guide row by row: what it says is calculated again, and where it is not so any more the document says what is.
func TestGuide(t *testing.T) {
	doc, err := os.ReadFile("../../docs/apple-silicon.md")
	if err != nil {
		t.Fatal(err)
	}
	n := map[verdict]int{}
	for _, r := range guide {
		n[r.verdict]++
		got := ""
		if r.check != nil {
			var ok bool
			if got, ok = r.check(t); !ok {
				t.Errorf("section %d, %q: %s, the verdict is %q", r.section, r.guide, got, r.verdict)
			}
		}
		if r.verdict == corrected && !strings.Contains(string(doc), r.reason) {
			t.Errorf("section %d, %q: docs/apple-silicon.md says nothing of %q", r.section, r.guide, r.reason)
		}
		t.Logf("%2d  %-9s %-50s %s; %s", r.section, r.verdict, r.guide, r.reason, got)
	}
	t.Logf("count: %d rows of the guide agree, %d are corrected", n[agrees], n[corrected])
}
