package recommend

import (
	"strconv"
	"strings"

	"quern/convert/gguf"
)

// CacheKind is what a model keeps of the tokens it has seen.
type CacheKind string

// The kinds (llama.cpp v0.5.0, llama_model::create_memory).
const (
	KVCache   CacheKind = "kv"        // keys and values of every token
	Recurrent CacheKind = "recurrent" // a state of fixed size
	Hybrid    CacheKind = "hybrid"    // some layers the one, some the other, or both
	NoCache   CacheKind = "none"      // encoders and diffusion models see a text whole
)

// cacheKinds are the architectures that are not KVCache (llama.cpp v0.5.0, llama-model.cpp, llama-arch.cpp).
var cacheKinds = map[string]CacheKind{
	"bert": NoCache, "jina-bert-v2": NoCache, "jina-bert-v3": NoCache, "nomic-bert": NoCache, "nomic-bert-moe": NoCache, "neo-bert": NoCache,
	"eurobert": NoCache, "wavtokenizer-dec": NoCache, "modern-bert": NoCache, "gemma-embedding": NoCache, "dream": NoCache, "llada": NoCache,
	"llada-moe": NoCache, "rnd1": NoCache,
	"mamba": Recurrent, "mamba2": Recurrent, "rwkv6": Recurrent, "rwkv6qwen2": Recurrent, "rwkv7": Recurrent, "arwkv7": Recurrent,
	"jamba": Hybrid, "falcon-h1": Hybrid, "plamo2": Hybrid, "granitehybrid": Hybrid, "lfm2": Hybrid, "lfm2moe": Hybrid, "nemotron_h": Hybrid,
	"nemotron_h_moe": Hybrid, "qwen3next": Hybrid, "kimi-linear": Hybrid, "bailingmoe3": Hybrid, "kimi-k3": Hybrid, "qwen35": Hybrid,
	"qwen35moe": Hybrid, "qwen4exp": Hybrid, "minimax-01": Hybrid,
}

// windows are the architectures with sliding windows: every period-th layer attends to everything, the last of the period
// unless denseFirst; file means that the file has to tell which, period 1 that all layers are windowed. size, where not 0, is the window
// of a file that states none; fixed is the window whatever the file states (llama.cpp v0.5.0, src/models/*.cpp). The windows of
// architectures that are not here are ignored: they are run with full attention.
var windows = map[string]struct {
	period      int
	denseFirst  bool
	file        bool
	size, fixed int64
}{
	"afmoe": {period: 4}, "cohere2": {period: 4}, "cohere2moe": {period: 4, denseFirst: true}, "exaone-moe": {period: 4, size: 128},
	"exaone4": {period: 4, size: 4096}, "gemma-embedding": {period: 6}, "gemma2": {period: 2, size: 4096}, "gemma3": {period: 6},
	"gemma3n": {period: 5}, "laguna": {period: 4, denseFirst: true}, "llama4": {period: 4, fixed: 8192}, "mellum": {period: 4},
	"modern-bert": {period: 3, denseFirst: true}, "muse-glimmer": {period: 4}, "olmo2": {period: 4}, "gpt-oss": {period: 2}, "plamo3": {period: 8},
	"smallthinker": {period: 4, denseFirst: true, fixed: 4096}, "deepseek4": {period: 1}, "lfm2": {period: 1},
	"dots3note": {file: true}, "gemma4": {file: true}, "granite_swa": {file: true}, "maple": {file: true}, "mimo2": {file: true},
	"spark2_5": {file: true}, "step35": {file: true}, "dflash": {file: true},
}

func (r *reader) cacheKind() CacheKind {
	if k, ok := cacheKinds[r.arch]; ok {
		return k
	}
	return KVCache
}

// window is layer i's sliding window in tokens, 0 for full attention.
func (r *reader) window(i int) int64 {
	w, known := windows[r.arch]
	size, stated := r.kv[r.arch+".attention.sliding_window"]
	n, _ := integer(size, 0)
	switch {
	case !known || stated && n == 0 || !stated && r.arch == "smallthinker" || r.arch == "exaone4" && r.number("block_count", 0) != 64:
		return 0
	case w.fixed > 0:
		n = w.fixed
	case n == 0:
		n = w.size
	}
	if n == 0 || !r.windowed(i, w.period, w.denseFirst) {
		return 0
	}
	return n
}

func (r *reader) windowed(i, period int, denseFirst bool) bool {
	const key = "attention.sliding_window_pattern"
	if per, ok := array(r.kv[r.arch+"."+key]); ok {
		return i < len(per) && per[i] != 0
	}
	if n := r.number(key, 0); n > 0 {
		period = int(n)
	}
	switch {
	case period == 0 || i >= r.trunk && r.arch != "deepseek4":
		return false
	case period == 1:
		return true
	case denseFirst:
		return i%period != 0
	}
	return i%period < period-1
}

// array is a per-layer list of numbers or flags.
func array(v any) ([]int64, bool) {
	var out []int64
	switch v.(type) {
	case []bool, []int32, []uint32, []int64, []uint64:
		for i := 0; ; i++ {
			n, ok := integer(v, i)
			if !ok {
				return out, true
			}
			out = append(out, n)
		}
	}
	return nil, false
}

func (r *reader) layer(s *Shape, i int) Layer {
	l := Layer{Heads: r.at("attention.head_count", i, 0), FF: r.at("feed_forward_length", i, 0)}
	s.FeedForward = max(s.FeedForward, l.FF)
	l.KVHeads = r.at("attention.head_count_kv", i, l.Heads)
	perHead := int64(0)
	if h := r.number("attention.head_count", 0); h > 0 {
		perHead = s.Embedding / h
	}
	l.KeyLen = r.at("attention.key_length", i, perHead)
	l.ValueLen = r.at("attention.value_length", i, perHead)
	if l.Window = r.window(i); l.Window > 0 {
		l.KeyLen = r.at("attention.key_length_swa", i, l.KeyLen)
		l.ValueLen = r.at("attention.value_length_swa", i, l.ValueLen)
	}
	if r.has("attention.key_length_mla") || r.arch == "deepseek4" {
		l.ValueLen = 0 // multi-head latent attention keeps one compressed row per token and no values
	}
	r.index(&l, i)
	if r.recurrentAt(i, l.FF) {
		l.Recurrent = r.state(s, i)
		if r.arch != "falcon-h1" { // which has both in every layer
			l.KVHeads = 0
		}
	}
	l.Shared = r.shared(i)
	return l
}

// shared tells which layers read another one's cache or, behind the trunk, are not run without a draft context.
func (r *reader) shared(i int) bool {
	switch r.arch {
	case "gemma3n":
		return i >= 20 // llama.cpp v0.5.0, models/gemma3n.cpp
	case "gemma4":
		return int64(i) >= r.number("block_count", 0)-r.number("attention.shared_kv_layers", 0)
	case "nemotron_h", "nemotron_h_moe":
		return r.at("feed_forward_length", i, 0) != 0
	case "kimi-linear", "kimi-k3", "bailingmoe3", "jamba", "granitehybrid", "plamo2", "lfm2", "lfm2moe", "falcon-h1", "hy_v4", "deepseek4":
		return false // their filters look at the layer's kind alone
	}
	return r.trunk > 0 && i >= r.trunk
}

// index gives the layers of sparse attention the cache of their index (llama-kv-cache-dsa.cpp, -msa.cpp, -dsv4.cpp,
// llama-memory-hybrid-idx.cpp): one head of keys, and values too where the model has no latent attention.
func (r *reader) index(l *Layer, i int) {
	size := r.number("attention.indexer.key_length", 0)
	if size == 0 {
		return
	}
	switch r.arch {
	case "minimax-m3":
		if int64(i) >= r.number("leading_dense_block_count", 0) {
			l.Index = size + l.ValueLen
		}
	case "deepseek32":
		l.Index = size
	case "glm-dsa", "hy_v4", "dots3note":
		if r.fullIndexer(i) {
			l.Index = size
		}
	case "qwen4exp":
		if !r.recurrentAt(i, 0) {
			l.Index = size
		}
	case "deepseek4":
		l.Ratio, l.Index = r.at("attention.compress_ratios", i, 0), size
	}
	if i >= r.trunk && r.arch != "deepseek4" {
		l.Index = 0
	}
}

// longContext is the limit from which GLM 5.2 shares indexers, four layers to one, where the file does not say (models/glm-dsa.cpp).
const longContext = 1 << 20

func (r *reader) fullIndexer(i int) bool {
	if r.has("attention.indexer.types") {
		return r.at("attention.indexer.types", i, 0) != 0
	}
	if r.arch != "glm-dsa" {
		return false
	}
	return r.number("context_length", 0) < longContext || i < 3 || (i-2)%4 == 0
}

// recurrentAt tells which layers keep a state instead of keys and values.
func (r *reader) recurrentAt(i int, ff int64) bool {
	switch r.cacheKind() {
	case Recurrent:
		return true
	case Hybrid:
	default:
		return false
	}
	switch r.arch {
	case "falcon-h1":
		return true
	case "nemotron_h", "nemotron_h_moe":
		return i < r.trunk && r.at("attention.head_count_kv", i, 0) == 0 && ff == 0
	case "qwen3next", "qwen35", "qwen35moe", "qwen4exp", "minimax-01":
		if r.has("attention.recurrent_layers") {
			return i < r.trunk && r.at("attention.recurrent_layers", i, 0) != 0
		}
		every := r.number("full_attention_interval", map[bool]int64{true: 8, false: 4}[r.arch == "minimax-01"])
		return i < r.trunk && every > 0 && (int64(i)+1)%every != 0
	}
	return r.at("attention.head_count_kv", i, 0) == 0
}

// state is the number of F32 elements that a recurrent layer keeps of a sequence: the tail of the convolution and the
// state itself (llama-hparams.cpp, n_embd_r and n_embd_s).
func (r *reader) state(s *Shape, i int) int64 {
	heads := r.number("attention.head_count", 0)
	conv := r.number("ssm.conv_kernel", 0)
	if head := r.number("wkv.head_size", 0); head > 0 {
		return r.number("token_shift_count", 2)*s.Embedding + s.Embedding*head
	}
	if n := r.number("shortconv.l_cache", 0); n > 0 {
		return s.Embedding * (n - 1)
	}
	if head := r.number("kda.head_dim", 0); head > 0 {
		if conv == 0 {
			conv = 4
		}
		return 3*(conv-1)*heads*head + head*head*heads
	}
	inner, state := r.number("ssm.inner_size", 0), r.number("ssm.state_size", 0)
	n := max(conv-1, 0)*(inner+2*r.number("ssm.group_count", 0)*state) + state*inner
	if r.arch == "minimax-01" {
		n = r.number("attention.key_length", s.Embedding/max(heads, 1))
		return n * n * heads
	}
	return n + r.history(s, i)
}

// history is what the layers with an input of n-grams keep beside their state (qwen4exp: ple_conv_state).
func (r *reader) history(s *Shape, i int) int64 {
	list, ok := array(r.kv[r.arch+".ple.layers"])
	if !ok {
		return 0
	}
	for _, at := range list {
		if at == int64(i) {
			return max(r.number("ple.conv_kernel", 0)-1, 0) * r.number("ple.ngram_size", 0) * r.number("hyper_connection.count", 0) * s.Embedding
		}
	}
	return 0
}

// repeat adds the layers that llama.cpp runs and the file does not count: Nanbeige's loops over the same blocks, and the
// router of Granite's switch.
func (r *reader) repeat(s *Shape) {
	switch r.arch {
	case "nanbeige":
		once := s.Layers
		for range min(r.number("num_loops", 1), maxLayers/int64(len(once))) - 1 {
			s.Layers = append(s.Layers, once...)
		}
	case "graniteswitch":
		first := s.Layers[0]
		s.Layers = append(s.Layers, Layer{Heads: 1, KVHeads: 1, KeyLen: first.KeyLen, ValueLen: first.ValueLen})
	}
}

func (r *reader) has(key string) bool { return r.kv[r.arch+"."+key] != nil }

// unturned are the architectures that do not turn queries and keys: they look positions up, or bias the scores.
var unturned = map[string]bool{"bloom": true, "mpt": true, "gpt2": true, "starcoder": true, "refact": true, "jina-bert-v2": true, "bert": true,
	"t5": true, "t5encoder": true, "jais": true, "wavtokenizer-dec": true}

// sideBySide are the architectures whose feed-forward network reads what attention reads (src/models/*.cpp).
var sideBySide = map[string]bool{"phi2": true, "falcon": true, "gptj": true, "command-r": true, "cohere2": true, "cohere2moe": true, "plamo": true}

// parts reads which matrices each block has.
func (r *reader) parts(s *Shape, p *gguf.Plan) {
	s.Rotary = !unturned[s.Arch]
	s.LayerNorm = r.has("attention.layer_norm_epsilon") && (!r.has("attention.layer_norm_rms_epsilon") || s.Arch == "modern-bert")
	for i := range s.Layers {
		s.Layers[i].parts = map[string][2]int64{}
	}
	encoder := false
	for _, o := range p.Outputs {
		switch o.Name {
		case "position_embd.weight":
			s.PositionTable = true
		case "output.weight":
			s.Logits = true
		case "token_embd_norm.weight":
			s.EmbeddingNorm = true
		}
		encoder = encoder || strings.HasPrefix(o.Name, "cls.") || strings.HasPrefix(o.Name, "enc.")
		var i int
		var rest string
		name, ok := strings.CutPrefix(strings.TrimPrefix(strings.TrimPrefix(o.Name, "enc."), "dec."), "blk.")
		if !ok {
			continue
		}
		if number, after, cut := strings.Cut(name, "."); cut {
			n, err := strconv.Atoi(number)
			if err != nil || n < 0 || n >= len(s.Layers) {
				continue
			}
			i, rest = n, after
		}
		rest = strings.TrimSuffix(strings.TrimSuffix(rest, ".weight"), ".bias")
		if len(o.Shape) == 0 || s.Layers[i].parts[rest][1] > 1 {
			continue
		}
		dims := [2]int64{o.Shape[0], 1}
		if len(o.Shape) > 1 {
			dims[1] = o.Shape[1]
		}
		s.Layers[i].parts[rest] = dims
	}
	s.Logits = s.Logits || s.Cache != NoCache && !encoder // a tied embedding is the output as well
	par, stated := r.kv[s.Arch+".use_parallel_residual"].(bool)
	for i := range s.Layers {
		l := &s.Layers[i]
		l.Parallel = par || !stated && sideBySide[s.Arch] || s.Arch == "stablelm" && !l.has("ffn_norm")
	}
}
