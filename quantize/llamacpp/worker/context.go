package worker

import (
	"fmt"
	"runtime"
	"time"

	"quern/convert/gguf"
	"quern/quantize/llamacpp"
	"quern/quantize/llamacpp/capi"
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
func (s *session) context(m *model, key contextKey) (capi.Context, error) {
	if m.bound > 0 && key.Context > m.bound {
		return 0, fmt.Errorf("%d tokens: the model has positions for %d", key.Context, m.bound)
	}
	if m.ctx != 0 && m.made == key {
		m.clearMemory(m.ctx)
		return m.ctx, nil
	}
	m.freeContext()
	p, err := s.params(key)
	if err != nil {
		return 0, err
	}
	ctx := s.lib.NewContext(m.handle, p)
	if ctx == 0 {
		return 0, &llamacpp.Error{Fault: s.log.faultOf(), Op: "context", Says: s.log.reason("llama.cpp does not make the context"), Next: s.log.advice()}
	}
	m.ctx, m.made = ctx, key
	if err := m.putOn(ctx); err != nil {
		m.freeContext()
		return 0, err
	}
	m.pool = s.lib.NewThreadPool(int(p.Threads))
	s.lib.AttachThreads(ctx, m.pool)
	return ctx, nil
}

// clearMemory empties the cache and, with data, the states of recurrent layers.
func (m *model) clearMemory(ctx capi.Context) {
	if mem := m.lib.MemoryOf(ctx); mem != 0 { // encoders have none
		m.lib.ClearMemory(mem, true)
	}
}

// params fills the structure from its defaults, so that fields which quern does not know keep the library's values.
func (s *session) params(key contextKey) (capi.ContextParams, error) {
	p := s.lib.DefaultContextParams()
	seqs := max(1, key.Sequences)
	threads := key.Threads
	if threads <= 0 {
		threads = physicalCores()
	}
	if threads > maxThreads || key.Context < 0 || key.Batch < 0 || key.UBatch < 0 || int64(key.Context)*int64(seqs) > 1<<30 {
		return p, fmt.Errorf("context of %d tokens for %d sequences with batch %d/%d and %d threads is out of range", key.Context, seqs, key.Batch, key.UBatch, threads)
	}
	p.Tokens = uint32(key.Context * seqs)
	p.Sequences = uint32(seqs)
	p.Batch, p.MicroBatch = uint32(orDefault(key.Batch, defaultBatch)), uint32(orDefault(key.UBatch, defaultUBatch))
	p.Threads, p.ThreadsBatch = int32(threads), int32(threads)
	p.OffloadKV, p.NoTimings, p.FullWindow = !key.KVOnCPU, true, false
	flash, ok := flashes[key.Flash]
	if !ok {
		return p, fmt.Errorf("flash attention %q: auto, on or off", key.Flash)
	}
	p.Flash, p.UnifiedKV = flash, key.Unified
	p.TypeK, p.TypeV = cacheType(key.TypeK), cacheType(key.TypeV)
	if key.embeddings {
		p.Embeddings, p.Pooling = true, capi.PoolingUnspecified
		if key.pooling != "" {
			t, ok := poolings[key.pooling]
			if !ok {
				return p, fmt.Errorf("pooling %q: none, mean, cls, last or rank", key.pooling)
			}
			p.Pooling = t
		}
	}
	p.Observer = key.observer
	return p, nil
}

var flashes = map[string]capi.Flash{
	"": capi.FlashAuto, "auto": capi.FlashAuto, "on": capi.FlashOn, "off": capi.FlashOff,
}

// cacheType maps the zero value to llama.cpp's default of F16.
func cacheType(t gguf.Type) int32 {
	if t == gguf.F32 {
		t = gguf.F16
	}
	return int32(t)
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

// run evaluates entries as one logical batch. Positions and sequences are given: nothing is tracked behind the back.
func (s *session) run(m *model, ctx capi.Context, batch *capi.Batch, entries []entry) error {
	batch.Clear()
	for _, e := range entries {
		if !batch.Add(e.token, capi.Position(e.pos), capi.Sequence(e.seq), e.output) {
			return fmt.Errorf("%d tokens do not fit the batch", len(entries))
		}
	}
	return s.decode(m, ctx, batch)
}

// breath is how long the evaluating goroutine goes on without a word to Go's scheduler. After 10 ms its monitor thinks
// that the goroutine hogs a processor, takes that away during every call, and looks on fifty times a millisecond: on a
// machine whose cores all compute this costs a tenth of the speed of small models. Yielding in time costs nothing.
const breath = 4 * time.Millisecond

// decode evaluates a batch and explains what llama_decode returns (llama.h).
func (s *session) decode(m *model, ctx capi.Context, batch *capi.Batch) error {
	if now := time.Now(); now.Sub(s.breathed) > breath {
		runtime.Gosched()
		s.breathed = now
	}
	eval := s.lib.Decode
	if m.encoder && !s.lib.HasDecoder(m.handle) {
		eval = s.lib.Encode
	}
	switch code := eval(ctx, batch); {
	case code == 1:
		return fmt.Errorf("the cache has no room for %d more tokens", batch.Len())
	case code != 0:
		return &llamacpp.Error{Fault: s.log.faultOf(), Op: "evaluate", Says: s.log.reason(fmt.Sprintf("llama_decode failed with %d", code)), Next: s.log.advice()}
	}
	return nil
}
