package policy

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"quern/convert/gguf"
)

// Bounds of the reference (llama-hparams.h).
const (
	maxLayers  = 512
	maxExperts = 1024
)

// model is what the mixtures look at beside names and shapes.
type model struct {
	arch    string
	layers  int // all of them, with those for the prediction of further tokens
	gqa     int // query heads for each key head in layer 0
	experts int
	is70B   bool // llama.cpp's size class "70B"
}

func (m model) falcon() bool { return m.arch == "falcon" }

// reader looks keys up as the reference's loader does: the first override of a key whose type fits hides the file's value.
type reader struct {
	plan      *gguf.Plan
	overrides []Override
}

func (r reader) override(key string, k overrideKind) (Override, bool) {
	for _, o := range r.overrides {
		if o.Key == key {
			return o, o.kind == k
		}
	}
	return Override{}, false
}

func (r reader) int(key string) (int64, bool) {
	if o, ok := r.override(key, intOverride); ok {
		return int64(uint32(o.i)), true
	}
	v, ok := r.plan.Int(key)
	return v, ok
}

// first is the value of layer 0 of a key that holds one number or one a layer; an array cannot be overridden.
func (r reader) first(key string, layers int64) (int64, bool, error) {
	v, ok := r.plan.Lookup(key)
	if !ok {
		return 0, false, nil
	}
	if _, _, _, known := gguf.Kind(v); !known {
		return 0, false, badKey(key, "holds no number")
	}
	if list, ok := r.plan.Ints(key); ok {
		if int64(len(list)) != layers {
			return 0, false, badKey(key, "holds %d numbers for %d layers", len(list), layers)
		}
		return list[0], true, nil
	}
	n, ok := r.int(key)
	if !ok {
		return 0, false, badKey(key, "is not an integer")
	}
	return n, true, nil
}

func badKey(key, format string, args ...any) error {
	return &Refusal{Why: BadModel, Tensor: key, Says: fmt.Sprintf(format, args...), Next: "`quern inspect` shows the file's metadata"}
}

// architectures with their size class 70B: the number of layers (src/models/*.cpp). Llama's has fewer key heads than query heads.
var layersOf70B = map[string]int64{"llama": 80, "llama-embed": 80, "qwen2": 80, "deci": 80, "olmo": 80, "jais2": 68}

// facts reads what the mixtures look at. Source: llama-model.cpp, load_hparams.
func facts(p *gguf.Plan, overrides []Override) (model, error) {
	r := reader{p, overrides}
	m := model{arch: p.Architecture()}
	if o, ok := r.override("general.architecture", stringOverride); ok {
		m.arch = o.s
	}
	if !architectures[m.arch] {
		return m, &Refusal{Why: BadModel, Tensor: "general.architecture", Says: fmt.Sprintf("%q is no architecture of llama.cpp v0.5.0", m.arch),
			Next: "`quern archs` lists them"}
	}
	if m.arch == "clip" { // projectors have no such keys
		return m, nil
	}
	for _, key := range []string{"context_length", "embedding_length", "block_count"} {
		if _, ok := r.int(m.arch + "." + key); !ok {
			return m, badKey(m.arch+"."+key, "the key is missing")
		}
	}
	blocks, _ := r.int(m.arch + ".block_count")
	next, _ := r.int(m.arch + ".nextn_predict_layers")
	if blocks < 1 || blocks > maxLayers || next > blocks {
		return m, badKey(m.arch+".block_count", "is %d with %d layers for further tokens, llama.cpp takes 1 to %d", blocks, next, maxLayers)
	}
	if err := m.readExperts(r, blocks); err != nil {
		return m, err
	}
	// some architectures have other heads in later layers; the reference looks at layer 0 for all
	heads, found, err := r.first(m.arch+".attention.head_count", blocks)
	if err != nil {
		return m, err
	}
	keys := heads
	if k, ok, err := r.first(m.arch+".attention.head_count_kv", blocks); err != nil {
		return m, err
	} else if ok {
		keys = k
	}
	if found && keys > 0 {
		m.gqa = int(heads / keys)
	}
	// the class is the loader's guess from the number of layers, so a small model with 80 of them is "70B" too
	m.is70B = layersOf70B[m.arch] != 0 && blocks-next == layersOf70B[m.arch]
	if strings.HasPrefix(m.arch, "llama") {
		m.is70B = m.is70B && heads != keys && m.experts != 8
	}
	m.layers = allLayers(r, m.arch, blocks, next)
	return m, nil
}

// splitting refuses overrides of the keys by which llama.cpp's loader finds the parts of a source: with another count it would look
// for other files, or quantize the first part alone and leave the rest of the model out.
func splitting(parts []*gguf.Plan, overrides []Override) error {
	r, tensors := reader{nil, overrides}, 0
	for _, p := range parts {
		tensors += len(p.Outputs)
	}
	for _, k := range []struct {
		key   string
		there int
		short bool // the loader keeps 16 bits of it
		alone bool // it is looked at where the source has one part too
	}{
		{"split.count", len(parts), true, true}, {"split.no", 0, true, false}, {"split.tensors.count", tensors, false, false},
	} {
		o, ok := r.override(k.key, intOverride)
		if !ok || !k.alone && len(parts) == 1 {
			continue
		}
		n := int(int32(o.i))
		if k.short {
			n = int(uint16(o.i))
		}
		if n != k.there && (len(parts) > 1 || n > 1) {
			return badKey(k.key, "the override says %d, the source has %d", n, k.there)
		}
	}
	return nil
}

// allLayers is the loader's count after the architecture has had its say.
func allLayers(r reader, arch string, blocks, next int64) int {
	switch arch {
	case "nanbeige": // the same layers run several times
		if loops, ok := r.int(arch + ".num_loops"); ok && loops > 1 && loops <= maxLayers {
			return int((blocks - next) * loops)
		}
	case "graniteswitch": // one more for the router
		return int(blocks - next + 1)
	}
	return int(blocks)
}

func (m *model) readExperts(r reader, layers int64) error {
	key := m.arch + ".expert_count"
	experts, _ := r.int(key)
	used, _, err := r.first(m.arch+".expert_used_count", layers)
	if list, ok := r.plan.Ints(m.arch + ".expert_used_count"); ok {
		for _, n := range list {
			used = max(used, n)
		}
	}
	if err != nil {
		return err
	}
	if strings.HasPrefix(m.arch, "hunyuan") && m.arch != "hunyuan-moe" && experts <= 1 {
		experts, used = 0, 0
	}
	// the reference stops the whole process at these
	if experts > maxExperts || used > experts || experts > 0 && used == 0 {
		return badKey(key, "is %d with %d of them used at once", experts, used)
	}
	m.experts = int(experts)
	return nil
}

// layerNumber is what C's sscanf reads with "blk.%d.": white space and a sign may stand before the digits, anything behind them.
var layerNumber = regexp.MustCompile(`^blk\.[ \t\n\v\f\r]*([+-]?[0-9]+)`)

// layerOf is the number after "blk.", and whether there is one.
func layerOf(name string) (int, bool) {
	m := layerNumber.FindStringSubmatch(name)
	if m == nil {
		return 0, false
	}
	n, err := strconv.Atoi(m[1])
	return n, err == nil
}
