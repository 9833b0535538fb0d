// Package recommend chooses type, context, batch and threads for a machine, and says why.
//
// Everything is computed from the metadata and the tensor list of a GGUF plan, so a remote checkpoint's headers are enough.
// Memory is exact for weights and key-value cache; compute buffers and speeds are models, with their source beside each formula.
package recommend

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"quern/convert/gguf"
)

// Shape is what a model needs at run time, whatever its architecture.
type Shape struct {
	Arch          string
	ContextLimit  int64 // the model's own limit, in tokens
	Embedding     int64 // width of the hidden state
	FeedForward   int64 // width of the widest dense feed-forward layer
	ExpertFF      int64 // width of one expert, 0 for dense models
	Experts       int64
	ExpertsUsed   int64
	Trunk         int   // layers before those that predict further tokens
	SharedFF      int64 // width of the expert that every token uses, 0: none
	PerLayer      int64 // width of the input that each layer gets of its own (Gemma 3n, 4), 0: none
	Vocab         int64
	Inner, State  int64 // of state-space layers: channels, and elements of state for each
	IndexHeads    int64 // of a sparse-attention index
	IndexTop      int64 // tokens that it chooses
	ConvTail      int64 // tokens that a convolution of state-space layers looks back
	DecoderLayers int64 // of an encoder and decoder, 0: as many as layers
	Deepstack     int64 // layers that add features of pictures
	WKV           bool  // layers are RWKV's
	Causal        bool  // a token does not see what follows
	Latent        Latent
	Cache         CacheKind
	Rotary        bool // positions turn queries and keys
	PositionTable bool // positions are looked up
	EmbeddingNorm bool // embeddings are normed before the first layer
	LayerNorm     bool // norms subtract the mean
	Logits        bool // there is an output over the vocabulary
	Layers        []Layer

	Projector int64 // bytes of a vision or audio projector that is loaded beside the model, 0: none

	Params       int64 // all weights
	ActiveParams int64 // weights that one token touches
}

// Latent is multi-head latent attention: heads share one compressed row per token (DeepSeek V2 and later). Zero: none.
type Latent struct {
	Rank  int64 // elements of the compressed row, beside those that are turned by position
	Key   int64 // elements per head of queries and keys when expanded
	Value int64 // and of values
}

// Layer is one block's share in caches and attention.
type Layer struct {
	Heads     int64
	KVHeads   int64 // 0: no attention here
	KeyLen    int64 // elements per head in the key cache
	ValueLen  int64 // elements per head in the value cache; 0 where keys hold all (MLA)
	Window    int64 // sliding window in tokens, 0: full attention
	FF        int64 // width of the dense feed-forward network here
	Recurrent int64 // F32 elements of recurrent state per sequence
	Index     int64 // elements per token in the cache of a sparse-attention index, beside keys and values
	Shared    bool  // reads the cache of an earlier layer and has none of its own
	Ratio     int64 // tokens that one cell of a compressed cache stands for (DeepSeek V4), 0: none
	Parallel  bool  // attention and feed-forward network read the same

	skips bool                // adds something of the embeddings at its end
	parts map[string][2]int64 // the block's matrices by name: rows' length and number
}

func (l *Layer) has(part string) bool { return l.parts[part] != [2]int64{} }

// depth is the length of a part's rows, width their number.
func (l *Layer) depth(part string) int64 { return l.parts[part][0] }
func (l *Layer) width(part string) int64 { return l.parts[part][1] }

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
	s.PerLayer = r.number("embedding_length_per_layer_input", 0)
	if arch == "gemma3n" {
		s.PerLayer = 256 // whatever the file states (models/gemma3n.cpp)
	}
	s.Experts = r.number("expert_count", 0)
	s.ExpertsUsed = r.number("expert_used_count", 0)
	s.ExpertFF = r.number("expert_feed_forward_length", 0)
	s.SharedFF = max(r.number("expert_shared_feed_forward_length", 0), r.number("expert_shared_count", 0)*s.ExpertFF)
	s.Vocab = r.vocab()
	s.Inner, s.State = r.number("ssm.inner_size", 0), r.number("ssm.state_size", 0)
	s.IndexHeads = r.number("attention.indexer.head_count", 0)
	s.ConvTail = r.number("ssm.conv_kernel", 4) - 1
	s.WKV = r.has("wkv.head_size")
	s.DecoderLayers = min(r.number("decoder_block_count", 0), maxLayers)
	s.Deepstack = min(r.number("n_deepstack_layers", 0), n)
	s.Causal = true
	if v, ok := r.kv[arch+".attention.causal"].(bool); ok {
		s.Causal = v
	}
	s.IndexTop = r.number("attention.indexer.top_k", 0)
	if r.has("attention.key_length_mla") {
		s.Latent = Latent{r.number("attention.kv_lora_rank", 0), r.number("attention.key_length_mla", 0), r.number("attention.value_length_mla", 0)}
	}
	s.Cache = r.cacheKind()
	r.trunk = int(max(n-r.number("nextn_predict_layers", 0), 0))
	s.Trunk = r.trunk
	for i := range int(n) {
		s.Layers = append(s.Layers, r.layer(s, i))
	}
	r.parts(s, p)
	r.repeat(s)
	if s.Experts > 0 {
		s.ExpertsUsed = min(max(s.ExpertsUsed, 1), s.Experts, maxExperts)
	}
	if err := s.bounded(); err != nil {
		return nil, err
	}
	if s.Experts > 0 && s.ExpertFF == 0 {
		s.ExpertFF = s.FeedForward
	}
	s.count(p)
	return s, nil
}

// maxWidth is far above any row of a published model, maxExperts is llama.cpp's own bound (LLAMA_MAX_EXPERTS): with them no
// product of sizes overflows.
const (
	maxWidth   = 1 << 22
	maxExperts = 1024
)

func (s *Shape) bounded() error {
	widths := []int64{s.Embedding, s.FeedForward, s.ExpertFF, s.SharedFF, s.Vocab, s.Inner, s.State, s.Latent.Rank, s.Latent.Key, s.Latent.Value, s.IndexHeads, s.IndexTop, s.Experts}
	for i := range s.Layers {
		l := &s.Layers[i]
		widths = append(widths, l.Heads, l.KVHeads, l.KeyLen, l.ValueLen, l.Index, l.Ratio, l.FF)
		widths = append(widths, min(l.Heads, maxWidth)*min(l.KeyLen, maxWidth), min(l.KVHeads, maxWidth)*min(l.ValueLen, maxWidth))
		for _, d := range l.parts {
			widths = append(widths, d[0], d[1])
		}
	}
	for _, w := range widths {
		if w < 0 || w > maxWidth {
			return fmt.Errorf("%s: a width of %d, at most %d is planned for", s.Arch, w, maxWidth)
		}
	}
	return nil
}

// maxLayers is far above any published model; it bounds what a hostile file can ask for.
const maxLayers = 4096

type reader struct {
	arch  string
	kv    map[string]any
	trunk int // layers before those that predict further tokens
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

// skipped are the architectures whose prediction layers, behind the trunk, llama.cpp loads for drafting only (src/models/*.cpp,
// TENSOR_SKIP).
var skipped = map[string]bool{"bailingmoe2": true, "bailingmoe3": true, "cohere2moe": true, "deepseek2": true, "deepseek32": true, "deepseek4": true,
	"dots3note": true, "exaone-moe": true, "exaone4": true, "glm-dsa": true, "glm4moe": true, "glm4": true, "hy_v3": true, "mimo2": true,
	"nemotron_h": true, "nemotron_h_moe": true, "qwen35": true, "qwen35moe": true, "qwen3next": true, "step35": true}

// loads tells whether a tensor is read when the model runs without drafting.
func (s *Shape) loads(name string) bool {
	rest, ok := strings.CutPrefix(name, "blk.")
	if !ok || s.Trunk >= len(s.Layers) || !skipped[s.Arch] {
		return true
	}
	number, _, _ := strings.Cut(rest, ".")
	i, err := strconv.Atoi(number)
	return err != nil || i < s.Trunk
}

// run is the number of layers that are run.
func (s *Shape) run() int {
	if skipped[s.Arch] {
		return min(s.Trunk, len(s.Layers))
	}
	return len(s.Layers)
}

// Loaded is what a file takes in memory when the model runs: the stretch from the first tensor that is read to the last, which
// llama.cpp maps as one. Layers that predict further tokens are not read, but what lies behind them may be.
func (s *Shape) Loaded(outs []gguf.Output) int64 {
	first, last := int64(math.MaxInt64), int64(0)
	for _, o := range outs {
		if s.loads(o.Name) {
			first, last = min(first, o.Offset), max(last, o.Offset+o.Size)
		}
	}
	return max(last-first, 0)
}

// count sums the weights, and those that a token touches: of experts only the used share.
func (s *Shape) count(p *gguf.Plan) {
	for _, o := range p.Outputs {
		n := o.Elements()
		s.Params += n
		if !s.loads(o.Name) {
			continue
		}
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
		case o.Name == "token_embd.weight" && !tied, !s.loads(o.Name):
		case s.Experts > 0 && strings.Contains(o.Name, "_exps."):
			n += o.Size * s.ExpertsUsed / s.Experts
		default:
			n += o.Size
		}
	}
	return n
}
