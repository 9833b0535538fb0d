package worker

import (
	"fmt"

	"quern/quantize/llamacpp"
	"quern/quantize/llamacpp/capi"
)

// embed computes one vector for each text: the pooled embedding, a reranker's score, or the mean over the tokens where
// the file has no pooling of its own.
func (s *session) embed(a llamacpp.EmbedArgs) (any, error) {
	m, err := s.slot(a.Slot)
	if err != nil {
		return nil, err
	}
	longest := 1
	for i, ids := range a.Texts {
		if len(ids) == 0 {
			return nil, fmt.Errorf("text %d has no tokens", i)
		}
		if err := m.check(ids); err != nil {
			return nil, err
		}
		longest = max(longest, len(ids))
	}
	o := a.ContextOptions
	// A pooled embedding needs the whole text in one physical batch.
	o.Context, o.Batch, o.UBatch = max(o.Context, longest), max(o.Batch, longest), max(o.UBatch, longest)
	pooling := a.Pooling
	ctx, err := s.context(m, contextKey{ContextOptions: o, embeddings: true, pooling: pooling})
	if err != nil {
		return nil, err
	}
	if s.lib.PoolingOf(ctx) == capi.PoolingNone && pooling == "" {
		pooling = "mean"
		if ctx, err = s.context(m, contextKey{ContextOptions: o, embeddings: true, pooling: pooling}); err != nil {
			return nil, err
		}
	}
	used := s.lib.PoolingOf(ctx)
	width := int(s.lib.OutputWidth(m.handle))
	if used == capi.PoolingRank {
		width = max(1, int(s.lib.Classes(m.handle)))
	}
	batch := capi.NewBatch(longest)
	for i, ids := range a.Texts {
		v, err := s.embedOne(m, ctx, batch, ids, width)
		if err != nil {
			return nil, fmt.Errorf("text %d: %w", i, err)
		}
		if err := llamacpp.WriteFrame(s.out, llamacpp.FrameFloats, llamacpp.FloatBytes(v)); err != nil {
			return nil, err
		}
	}
	for name, t := range poolings {
		if t == used {
			pooling = name
		}
	}
	return llamacpp.Embedded{Pooling: pooling, Width: width}, nil
}

// embedOne evaluates one text alone: the cache is empty, and its vector does not depend on its neighbours.
func (s *session) embedOne(m *model, ctx capi.Context, batch *capi.Batch, ids []int32, width int) ([]float32, error) {
	m.clearMemory(ctx)
	entries := make([]entry, len(ids))
	for i, id := range ids {
		entries[i] = entry{token: id, pos: i, output: true}
	}
	if err := s.run(m, ctx, batch, entries); err != nil {
		return nil, err
	}
	v := s.lib.Embedding(ctx, 0, width)
	if v == nil {
		return nil, fmt.Errorf("llama.cpp has no pooled embedding for it")
	}
	return v, nil
}
