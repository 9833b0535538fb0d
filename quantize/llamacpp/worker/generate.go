package worker

import (
	"fmt"
	"math"
	"time"

	"quern/quantize/llamacpp"
	"quern/quantize/llamacpp/capi"
)

// generate continues the tokens greedily and looks at every logit on the way.
func (s *session) generate(a llamacpp.GenerateArgs) (any, error) {
	m, err := s.slot(a.Slot)
	if err != nil {
		return nil, err
	}
	if len(a.Tokens) == 0 || a.N < 1 || a.N > 1<<20 {
		return nil, fmt.Errorf("%d tokens to continue with %d", len(a.Tokens), a.N)
	}
	if err := m.check(a.Tokens); err != nil {
		return nil, err
	}
	if a.Context == 0 {
		a.Context = len(a.Tokens) + a.N + 1
	}
	ctx, err := s.context(m, contextKey{ContextOptions: a.ContextOptions})
	if err != nil {
		return nil, err
	}
	size := int(s.lib.BatchSize(ctx)) // never more than the context holds
	batch := capi.NewBatch(size)
	start := time.Now()
	tokens := a.Tokens
	if m.encoder {
		if tokens, err = s.encodePrompt(m, ctx, batch, a.Tokens); err != nil {
			return nil, err
		}
	}
	g := llamacpp.Generation{Lowest: llamacpp.Number(math.Inf(1)), Highest: llamacpp.Number(math.Inf(-1))}
	pos, err := s.prefill(m, ctx, batch, tokens, size)
	for err == nil && len(g.Tokens) < a.N {
		logits := s.lib.Logits(ctx, -1, m.nVocab)
		if logits == nil {
			return nil, fmt.Errorf("llama.cpp has no logits after %d tokens", pos)
		}
		id := look(&g, logits)
		g.Tokens = append(g.Tokens, id)
		if s.lib.Ends(m.vocab, id) {
			g.Ended = true
			if !a.Continue {
				break
			}
		}
		if len(g.Tokens) < a.N {
			err = s.run(m, ctx, batch, []entry{{token: id, pos: pos, output: true}})
			pos++
			s.progress(len(g.Tokens), a.N)
		}
	}
	if err != nil {
		return nil, err
	}
	g.Seconds, g.Shifts = time.Since(start).Seconds(), s.shifts(ctx)
	g.Text, err = s.lib.Detokenize(m.vocab, g.Tokens, true)
	return g, err
}

// shifts tells whether positions of the cache can be moved.
func (s *session) shifts(ctx capi.Context) bool {
	mem := s.lib.MemoryOf(ctx)
	return mem != 0 && s.lib.CanShift(mem)
}

// encodePrompt runs an encoder-decoder's encoder; what is decoded then begins with the start token.
func (s *session) encodePrompt(m *model, ctx capi.Context, batch *capi.Batch, tokens []int32) ([]int32, error) {
	if len(tokens) > defaultUBatch {
		return nil, fmt.Errorf("an encoder's prompt of %d tokens does not fit one batch of %d", len(tokens), defaultUBatch)
	}
	batch.Clear()
	for i, id := range tokens {
		if !batch.Add(id, capi.Position(i), 0, true) {
			return nil, fmt.Errorf("an encoder's prompt of %d tokens does not fit one batch", len(tokens))
		}
	}
	if code := s.lib.Encode(ctx, batch); code != 0 {
		return nil, fmt.Errorf("llama_encode failed with %d", code)
	}
	first := s.lib.StartToken(m.handle)
	if first < 0 {
		first = s.lib.BOS(m.vocab)
	}
	if first < 0 {
		return nil, fmt.Errorf("the encoder-decoder names no start token")
	}
	return []int32{first}, nil
}

// prefill evaluates a prompt in batches; only its last token has logits. It returns the next position.
func (s *session) prefill(m *model, ctx capi.Context, batch *capi.Batch, tokens []int32, size int) (int, error) {
	entries := make([]entry, 0, min(size, len(tokens)))
	for lo := 0; lo < len(tokens); lo += size {
		hi := min(lo+size, len(tokens))
		entries = entries[:0]
		for i := lo; i < hi; i++ {
			entries = append(entries, entry{token: tokens[i], pos: i, output: i == len(tokens)-1})
		}
		if err := s.run(m, ctx, batch, entries); err != nil {
			return 0, err
		}
		s.progress(hi, len(tokens))
	}
	return len(tokens), nil
}

// look notes what a step's logits show and returns the most likely token, the first of equals.
func look(g *llamacpp.Generation, logits []float32) int32 {
	best, at := math.Inf(-1), 0
	low, high := math.Inf(1), math.Inf(-1)
	for i, l := range logits {
		v := float64(l)
		if math.IsNaN(v) || math.IsInf(v, 0) {
			// Some models mask tokens with -Inf; only what is no mask is a fault.
			if !math.IsInf(v, -1) {
				g.NonFinite++
			}
			continue
		}
		if v > best {
			best, at = v, i
		}
		low, high = min(low, v), max(high, v)
	}
	if low >= high {
		g.Flat++
	}
	g.Lowest, g.Highest = llamacpp.Number(min(float64(g.Lowest), low)), llamacpp.Number(max(float64(g.Highest), high))
	return int32(at)
}

// logits streams rows of logits, one float frame (or more for a very large vocabulary) for each position.
func (s *session) logits(a llamacpp.LogitsArgs) (any, error) {
	m, err := s.slot(a.Slot)
	if err != nil {
		return nil, err
	}
	if len(a.Tokens) == 0 || a.From < 0 || a.From >= len(a.Tokens) || m.nVocab > llamacpp.MaxFrame/4 {
		return nil, fmt.Errorf("logits of %d tokens from %d with a vocabulary of %d", len(a.Tokens), a.From, m.nVocab)
	}
	if err := m.check(a.Tokens); err != nil {
		return nil, err
	}
	if a.Context == 0 {
		a.Context = len(a.Tokens)
	}
	ctx, err := s.context(m, contextKey{ContextOptions: a.ContextOptions})
	if err != nil {
		return nil, err
	}
	if m.encoder && s.lib.HasDecoder(m.handle) {
		return nil, s.firstLogits(m, ctx, a.Tokens)
	}
	const step = 64 // positions whose logits are held at once
	batch := capi.NewBatch(int(step))
	for lo := 0; lo < len(a.Tokens); lo += step {
		hi := min(lo+step, len(a.Tokens))
		var entries []entry
		for i := lo; i < hi; i++ {
			entries = append(entries, entry{token: a.Tokens[i], pos: i, output: i >= a.From})
		}
		if err := s.run(m, ctx, batch, entries); err != nil {
			return nil, err
		}
		for i := max(lo, a.From); i < hi; i++ {
			row := s.lib.Logits(ctx, int32(i-lo), m.nVocab)
			if row == nil {
				return nil, fmt.Errorf("llama.cpp has no logits at position %d", i)
			}
			if err := llamacpp.WriteFrame(s.out, llamacpp.FrameFloats, llamacpp.FloatBytes(row)); err != nil {
				return nil, err
			}
		}
	}
	return nil, nil
}

// firstLogits lets an encoder read the tokens and sends what its decoder expects first.
func (s *session) firstLogits(m *model, ctx capi.Context, tokens []int32) error {
	batch := capi.NewBatch(defaultUBatch)
	start, err := s.encodePrompt(m, ctx, batch, tokens)
	if err != nil {
		return err
	}
	if _, err := s.prefill(m, ctx, batch, start, defaultUBatch); err != nil {
		return err
	}
	row := s.lib.Logits(ctx, -1, m.nVocab)
	if row == nil {
		return fmt.Errorf("llama.cpp has no logits after the start token")
	}
	return llamacpp.WriteFrame(s.out, llamacpp.FrameFloats, llamacpp.FloatBytes(row))
}
