package capi

import "unsafe"

// Context is a llama_context: what a model computes with; 0 is none.
type Context uintptr

// Memory is a llama_memory_t, the cache and states of a context; 0 where the model needs none.
type Memory uintptr

// ContextParams is struct llama_context_params. Start from DefaultContextParams.
type ContextParams struct {
	Tokens             uint32 // of all sequences; 0: what the model was trained with
	Batch              uint32 // logical
	MicroBatch         uint32 // physical
	Sequences          uint32
	StateSnapshots     uint32
	Outputs            uint32
	OutputsPerSequence uint32
	Threads            int32
	ThreadsBatch       int32
	Kind               int32
	RopeScaling        int32
	Pooling            Pooling
	Attention          int32
	Flash              Flash
	RopeBase           float32
	RopeScale          float32
	YarnExtrapolation  float32
	YarnAttention      float32
	YarnBetaFast       float32
	YarnBetaSlow       float32
	YarnContext        uint32
	Defragment         float32
	Observer           uintptr // bool (struct ggml_tensor *, bool ask, void *)
	ObserverData       uintptr
	TypeK, TypeV       int32 // enum ggml_type
	Abort              uintptr
	AbortData          uintptr
	Embeddings         bool
	OffloadKV          bool
	NoTimings          bool
	OffloadOps         bool
	FullWindow         bool // sliding windows get caches as long as the context
	UnifiedKV          bool
	_                  [2]bool
	Samplers           uintptr
	SamplerCount       uint64
	Other              Context
}

// Pooling is enum llama_pooling_type.
type Pooling int32

// Ways to make one vector of a text's.
const (
	PoolingUnspecified Pooling = iota - 1
	PoolingNone
	PoolingMean
	PoolingCLS
	PoolingLast
	PoolingRank
)

// Flash is enum llama_flash_attn_type.
type Flash int32

// When attention is computed without its matrix.
const (
	FlashAuto Flash = iota - 1
	FlashOff
	FlashOn
)

// contexts are the functions that evaluate.
type contexts struct {
	DefaultContextParams func() ContextParams                                     `c:"llama_context_default_params"`
	NewContext           func(Model, ContextParams) Context                       `c:"llama_init_from_model"`
	FreeContext          func(Context)                                            `c:"llama_free"`
	BatchSize            func(Context) uint32                                     `c:"llama_n_batch"`
	ThreadCount          func(Context) int32                                      `c:"llama_n_threads"`
	PoolingOf            func(Context) Pooling                                    `c:"llama_pooling_type"`
	Synchronize          func(Context)                                            `c:"llama_synchronize"`
	MemoryOf             func(Context) Memory                                     `c:"llama_get_memory"`
	ClearMemory          func(m Memory, data bool)                                `c:"llama_memory_clear"`
	CanShift             func(Memory) bool                                        `c:"llama_memory_can_shift"`
	decode               func(Context, cBatch) int32                              `c:"llama_decode"`
	encode               func(Context, cBatch) int32                              `c:"llama_encode"`
	logits               func(Context, int32) *float32                            `c:"llama_get_logits_ith"`
	embedding            func(Context, Sequence) *float32                         `c:"llama_get_embeddings_seq"`
	stateSize            func(Context, Sequence) uint64                           `c:"llama_state_seq_get_size"`
	saveState            func(c Context, to *byte, n uint64, s Sequence) uint64   `c:"llama_state_seq_get_data"`
	loadState            func(c Context, from *byte, n uint64, s Sequence) uint64 `c:"llama_state_seq_set_data"`
}

// Decode evaluates a batch: 0 success, 1 no room in the cache, 2 aborted, negative a failure (llama.h).
func (l *Library) Decode(c Context, b *Batch) int32 { return l.decode(c, b.c()) }

// Encode evaluates a batch by a model's encoder; negative: a failure.
func (l *Library) Encode(c Context, b *Batch) int32 { return l.encode(c, b.c()) }

// Logits are the n values of the batch's i-th token, in llama.cpp's memory until the next evaluation; nil where the
// token was no output. -1 is the last output.
func (l *Library) Logits(c Context, i int32, n int) []float32 { return floats(l.logits(c, i), n) }

// Embedding is the pooled vector of a sequence, n values in llama.cpp's memory; nil where there is none.
func (l *Library) Embedding(c Context, s Sequence, n int) []float32 {
	return floats(l.embedding(c, s), n)
}

func floats(p *float32, n int) []float32 {
	if p == nil {
		return nil
	}
	return unsafe.Slice(p, n)
}

// State copies what a context holds of a sequence.
func (l *Library) State(c Context, s Sequence) []byte {
	state := make([]byte, l.stateSize(c, s)+1) // never empty
	return state[:l.saveState(c, &state[0], uint64(len(state)), s)]
}

// Restore puts a state back; false where the context does not take it.
func (l *Library) Restore(c Context, s Sequence, state []byte) bool {
	return len(state) > 0 && l.loadState(c, &state[0], uint64(len(state)), s) > 0
}
