package worker

import (
	"fmt"
	"runtime"
	"time"

	"github.com/hybridgroup/yzma/pkg/llama"

	"quern/convert/gguf"
	"quern/quantize/llamacpp"
)

// contextKey is everything that a context was made with; an equal request finds it again.
type contextKey struct {
	llamacpp.ContextOptions
	embeddings bool
	pooling    string
	observer   uintptr // evaluation callback
}

// maxThreads is ggml's own bound (GGML_MAX_N_THREADS).
const maxThreads = 512

// llama.cpp's own defaults (common/common.h), also where its library would choose otherwise.
const (
	defaultBatch  = 2048
	defaultUBatch = 512
)

// context gives the model's context for the options: the one at hand, cleared, or a new one with a thread pool of its
// own that lives as long as it.
func (s *session) context(m *model, key contextKey) (llama.Context, error) {
	if m.bound > 0 && key.Context > m.bound {
		return 0, fmt.Errorf("%d tokens: the model has positions for %d", key.Context, m.bound)
	}
	if m.ctx != 0 && m.made == key {
		return m.ctx, clearMemory(m.ctx)
	}
	m.freeContext()
	p, err := params(key)
	if err != nil {
		return 0, err
	}
	ctx, err := llama.InitFromModel(m.handle, p)
	if err != nil {
		return 0, &llamacpp.Error{Fault: s.log.faultOf(), Op: "context", Says: s.log.reason("llama.cpp does not make the context"), Next: s.log.advice()}
	}
	m.ctx, m.made = ctx, key
	if err := m.putOn(ctx); err != nil {
		m.freeContext()
		return 0, err
	}
	m.pool = s.lib.newThreadPool(int(p.NThreads))
	if m.pool.handle != 0 {
		llama.AttachThreadpool(ctx, m.pool.handle, 0)
	}
	return ctx, nil
}

// clearMemory empties the cache and, with data, the states of recurrent layers.
func clearMemory(ctx llama.Context) error {
	mem, err := llama.GetMemory(ctx)
	if err != nil || mem == 0 { // encoders have none
		return err
	}
	return llama.MemoryClear(mem, true)
}

// params fills the structure from its defaults, so that fields which quern does not know keep the library's values.
func params(key contextKey) (llama.ContextParams, error) {
	p := llama.ContextDefaultParams()
	seqs := max(1, key.Sequences)
	threads := key.Threads
	if threads <= 0 {
		threads = physicalCores()
	}
	if threads > maxThreads || key.Context < 0 || key.Batch < 0 || key.UBatch < 0 || int64(key.Context)*int64(seqs) > 1<<30 {
		return p, fmt.Errorf("context of %d tokens for %d sequences with batch %d/%d and %d threads is out of range", key.Context, seqs, key.Batch, key.UBatch, threads)
	}
	p.NCtx = uint32(key.Context * seqs)
	p.NSeqMax = uint32(seqs)
	p.NBatch, p.NUbatch = uint32(orDefault(key.Batch, defaultBatch)), uint32(orDefault(key.UBatch, defaultUBatch))
	p.NThreads, p.NThreadsBatch = int32(threads), int32(threads)
	p.Offload_kqv = flag(!key.KVOnCPU)
	p.NoPerf = 1
	p.SwaFull = 0
	flash, ok := flashes[key.Flash]
	if !ok {
		return p, fmt.Errorf("flash attention %q: auto, on or off", key.Flash)
	}
	p.FlashAttentionType = flash
	p.KVUnified = flag(key.Unified)
	p.TypeK, p.TypeV = cacheType(key.TypeK), cacheType(key.TypeV)
	if key.embeddings {
		p.Embeddings = 1
		p.PoolingType = llama.PoolingTypeUnspecified
		if key.pooling != "" {
			t, ok := poolings[key.pooling]
			if !ok {
				return p, fmt.Errorf("pooling %q: none, mean, cls, last or rank", key.pooling)
			}
			p.PoolingType = t
		}
	}
	p.CbEval = key.observer
	return p, nil
}

var flashes = map[string]llama.FlashAttentionType{
	"": llama.FlashAttentionTypeAuto, "auto": llama.FlashAttentionTypeAuto, "on": llama.FlashAttentionTypeEnabled, "off": llama.FlashAttentionTypeDisabled,
}

// cacheType maps the zero value to llama.cpp's default of F16.
func cacheType(t gguf.Type) llama.GGMLType {
	if t == gguf.F32 {
		t = gguf.F16
	}
	return llama.GGMLType(t)
}

// orDefault is n, or the other value where n is not set.
func orDefault(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}

// entry is one token of a batch.
type entry struct {
	token  int32
	pos    int
	seq    int
	output bool // its logits or embedding are wanted
}

// run evaluates entries as one logical batch.
// run evaluates entries as one logical batch. Positions and sequences are given: nothing is tracked behind the back.
func (s *session) run(m *model, ctx llama.Context, batch llama.Batch, entries []entry) error {
	if err := batch.Clear(); err != nil {
		return err
	}
	for _, e := range entries {
		if err := batch.Add(llama.Token(e.token), llama.Pos(e.pos), []llama.SeqId{llama.SeqId(e.seq)}, e.output); err != nil {
			return err
		}
	}
	return s.decode(m, ctx, batch)
}

// breath is how long the evaluating goroutine goes on without a word to Go's scheduler. After 10 ms its monitor thinks
// that the goroutine hogs a processor, takes that away during every call, and looks on fifty times a millisecond: on a
// machine whose cores all compute this costs a tenth of the speed of small models. Yielding in time costs nothing.
const breath = 4 * time.Millisecond

// decode evaluates a batch and explains what llama_decode returns (llama.h).
func (s *session) decode(m *model, ctx llama.Context, batch llama.Batch) error {
	if now := time.Now(); now.Sub(s.breathed) > breath {
		runtime.Gosched()
		s.breathed = now
	}
	eval := llama.Decode
	if m.encoder && !llama.ModelHasDecoder(m.handle) {
		eval = llama.Encode
	}
	code, err := eval(ctx, batch)
	switch {
	case err != nil:
		return err
	case code == 1:
		return fmt.Errorf("the cache has no room for %d more tokens", batch.NTokens)
	case code != 0:
		return &llamacpp.Error{Fault: s.log.faultOf(), Op: "evaluate", Says: s.log.reason(fmt.Sprintf("llama_decode failed with %d", code)), Next: s.log.advice()}
	}
	return nil
}
