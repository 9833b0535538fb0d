// Package recommend chooses type, context, batch and threads for a machine, and says why.
//
// Everything is computed from the metadata and the tensor list of a GGUF plan, so a remote checkpoint's headers are enough.
// Memory is exact for weights and key-value cache; compute buffers and speeds are models, with their source beside each formula.
package recommend

import (
	"fmt"
	"strings"

	"quern/convert/gguf"
)

// Shape is what a model needs at run time, whatever its architecture.
type Shape struct {
	Arch         string
	ContextLimit int64 // the model's own limit, in tokens
	Embedding    int64 // width of the hidden state
	FeedForward  int64 // width of the widest dense feed-forward layer
	ExpertFF     int64 // width of one expert, 0 for dense models
	Experts      int64
	ExpertsUsed  int64
	Vocab        int64
	Layers       []Layer

	Params       int64 // all weights
	ActiveParams int64 // weights that one token touches
}

// Layer is one block's share in caches and attention.
type Layer struct {
	Heads     int64
	KVHeads   int64 // 0: no attention here
	KeyLen    int64 // elements per head in the key cache
	ValueLen  int64 // elements per head in the value cache; 0 where keys hold all (MLA)
	Window    int64 // sliding window in tokens, 0: full attention
	Recurrent int64 // F32 elements of recurrent state per sequence
}

// windowPeriods are the architectures whose sliding-window pattern llama.cpp knows by itself when the file has none: every
// n-th layer attends to everything, the last of n unless denseFirst (llama.cpp v0.5.0, src/models/*.cpp).
var windowPeriods = map[string]struct {
	n          int
	denseFirst bool
}{
	"afmoe": {n: 4}, "cohere2": {n: 4}, "cohere2moe": {4, true}, "exaone-moe": {n: 4}, "exaone4": {n: 4}, "gemma-embedding": {n: 6},
	"gemma2": {n: 2}, "gemma3": {n: 6}, "gemma3n": {n: 5}, "laguna": {4, true}, "llama4": {n: 4}, "mellum": {n: 4},
	"modern-bert": {3, true}, "muse-glimmer": {n: 4}, "olmo2": {n: 4}, "gpt-oss": {n: 2}, "plamo3": {n: 8}, "smallthinker": {4, true},
}

// ShapeOf reads a shape from a file's metadata and tensors. An error names the key that is missing.
func ShapeOf(p *gguf.Plan) (*Shape, error) {
	r := reader{kv: map[string]any{}}
	for _, kv := range p.Metadata {
		r.kv[kv.Key] = kv.Value
	}
	arch, _ := r.kv["general.architecture"].(string)
	if arch == "" {
		return nil, fmt.Errorf("metadata has no general.architecture")
	}
	r.arch = arch
	s := &Shape{Arch: arch}
	n := r.number("block_count", 0)
	if n <= 0 || n > maxLayers {
		return nil, fmt.Errorf("%s.block_count is %d, between 1 and %d are read", arch, n, maxLayers)
	}
	s.ContextLimit = r.number("context_length", 0)
	s.Embedding = r.number("embedding_length", 0)
	s.Experts = r.number("expert_count", 0)
	s.ExpertsUsed = r.number("expert_used_count", 0)
	s.ExpertFF = r.number("expert_feed_forward_length", 0)
	s.Vocab = r.vocab()
	for i := range int(n) {
		s.FeedForward = max(s.FeedForward, r.at("feed_forward_length", i, 0))
		s.Layers = append(s.Layers, r.layer(s, i))
	}
	if s.Experts > 0 && s.ExpertFF == 0 {
		s.ExpertFF = s.FeedForward
	}
	s.count(p)
	return s, nil
}

// maxLayers is far above any published model; it bounds what a hostile file can ask for.
const maxLayers = 4096

type reader struct {
	arch string
	kv   map[string]any
}

func (r *reader) number(key string, otherwise int64) int64 { return r.at(key, 0, otherwise) }

// at is the value of a key for layer i: keys may hold one number for all layers or an array.
func (r *reader) at(key string, i int, otherwise int64) int64 {
	v, ok := r.kv[r.arch+"."+key]
	if !ok {
		return otherwise
	}
	if n, ok := integer(v, i); ok {
		return n
	}
	return otherwise
}

func integer(v any, i int) (int64, bool) {
	switch v := v.(type) {
	case uint32:
		return int64(v), true
	case int32:
		return int64(v), true
	case uint64:
		return int64(v), true
	case int64:
		return v, true
	case uint16:
		return int64(v), true
	case uint8:
		return int64(v), true
	case []uint32:
		return element(v, i)
	case []int32:
		return element(v, i)
	case []int64:
		return element(v, i)
	case []uint64:
		return element(v, i)
	case []bool:
		if i < len(v) && v[i] {
			return 1, true
		}
		return 0, i < len(v)
	}
	return 0, false
}

func element[T int32 | uint32 | int64 | uint64](v []T, i int) (int64, bool) {
	if i >= len(v) {
		return 0, false
	}
	return int64(v[i]), true
}

func (r *reader) vocab() int64 {
	if t, ok := r.kv["tokenizer.ggml.tokens"].([]string); ok {
		return int64(len(t))
	}
	return r.number("vocab_size", 0)
}

func (r *reader) layer(s *Shape, i int) Layer {
	l := Layer{Heads: r.at("attention.head_count", i, 0)}
	l.KVHeads = r.at("attention.head_count_kv", i, l.Heads)
	perHead := int64(0)
	if h := r.number("attention.head_count", 0); h > 0 {
		perHead = s.Embedding / h
	}
	l.KeyLen = r.at("attention.key_length", i, perHead)
	l.ValueLen = r.at("attention.value_length", i, perHead)
	if r.windowed(i) {
		l.Window = r.number("attention.sliding_window", 0)
		l.KeyLen = r.at("attention.key_length_swa", i, l.KeyLen)
		l.ValueLen = r.at("attention.value_length_swa", i, l.ValueLen)
	}
	if rank := r.number("attention.kv_lora_rank", 0); rank > 0 && r.kv[r.arch+".attention.key_length_mla"] != nil {
		// multi-head latent attention keeps one compressed row per token and no values
		l.KVHeads, l.KeyLen, l.ValueLen = 1, rank+r.number("rope.dimension_count", 0), 0
	}
	r.recurrent(&l, i, s)
	return l
}

// recurrent gives state-space layers their state: llama.cpp keeps conv and scan states in F32 for each sequence
// (llama-hparams.cpp, n_embd_r and n_embd_s).
func (r *reader) recurrent(l *Layer, i int, s *Shape) {
	if head := r.number("wkv.head_size", 0); head > 0 {
		l.KVHeads = 0
		l.Recurrent = r.number("token_shift_count", 2)*s.Embedding + s.Embedding*head
		return
	}
	inner, state := r.number("ssm.inner_size", 0), r.number("ssm.state_size", 0)
	if inner == 0 || r.kv[r.arch+".attention.head_count_kv"] != nil && l.KVHeads > 0 && !r.recurrentAt(i) {
		return
	}
	if !r.parallelHybrid() {
		l.KVHeads = 0
	}
	conv := max(r.number("ssm.conv_kernel", 0)-1, 0)
	l.Recurrent = conv*(inner+2*r.number("ssm.group_count", 0)*state) + state*inner
}

// recurrentAt tells which layers of a hybrid are recurrent where the file says it by interval.
func (r *reader) recurrentAt(i int) bool {
	if r.parallelHybrid() {
		return true
	}
	n := r.number("full_attention_interval", 0)
	return n > 0 && (int64(i)+1)%n != 0
}

// parallelHybrid: both attention and a state-space mixer in every layer.
func (r *reader) parallelHybrid() bool { return r.arch == "falcon-h1" }

func (r *reader) windowed(i int) bool {
	if r.number("attention.sliding_window", 0) == 0 {
		return false
	}
	if flags, ok := r.kv[r.arch+".attention.sliding_window_pattern"].([]bool); ok {
		return i < len(flags) && flags[i]
	}
	p, known := windowPeriods[r.arch]
	if n := r.number("attention.sliding_window_pattern", 0); n > 0 {
		p.n, known = int(n), true
	}
	if !known {
		return false // the architecture is run with full attention, whatever its window
	}
	if p.denseFirst {
		return i%p.n != 0
	}
	return i%p.n < p.n-1
}

// count sums the weights, and those that a token touches: of experts only the used share.
func (s *Shape) count(p *gguf.Plan) {
	for _, o := range p.Outputs {
		n := o.Elements()
		s.Params += n
		if s.Experts > 0 && strings.Contains(o.Name, "_exps.") {
			n = n * s.ExpertsUsed / s.Experts
		}
		s.ActiveParams += n
	}
}

// ActiveBytes is what one generated token reads of weights: everything but the embedding table (one row) and idle experts.
func (s *Shape) ActiveBytes(outs []gguf.Output) int64 {
	tied := true
	for _, o := range outs {
		tied = tied && o.Name != "output.weight"
	}
	n := int64(0)
	for _, o := range outs {
		switch {
		case o.Name == "token_embd.weight" && !tied:
		case s.Experts > 0 && strings.Contains(o.Name, "_exps."):
			n += o.Size * s.ExpertsUsed / s.Experts
		default:
			n += o.Size
		}
	}
	return n
}
