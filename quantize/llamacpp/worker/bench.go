package worker

import (
	"fmt"
	"math/rand/v2"
	"time"

	"quern/quantize/llamacpp"
	"quern/quantize/llamacpp/capi"
)

// maxRepetitions bounds one request; a caller that wants more asks again.
const maxRepetitions = 1000

// bench runs one test as llama-bench does (tools/llama-bench): random tokens, no sampling, a warm-up that is not
// counted, a context of exactly the tokens of the test, and the cache filled to the depth before each repetition.
func (s *session) bench(a llamacpp.BenchArgs) (any, error) {
	m, err := s.slot(a.Slot)
	if err != nil {
		return nil, err
	}
	if a.Prompt < 0 || a.Generate < 0 || a.Depth < 0 || a.Prompt+a.Generate < 1 || a.Repetitions < 0 || a.Repetitions == 0 && !a.NoWarmup || a.Repetitions > maxRepetitions {
		return nil, fmt.Errorf("bench of %d+%d tokens at depth %d, %d times", a.Prompt, a.Generate, a.Depth, a.Repetitions)
	}
	if m.nVocab < 1 {
		return nil, fmt.Errorf("the file has no vocabulary to draw tokens from")
	}
	if a.Context == 0 {
		a.Context = a.Prompt + a.Generate + a.Depth
	}
	m.freeContext() // the buffers below are this test's own
	s.log.takeBuffers()
	ctx, err := s.context(m, contextKey{ContextOptions: a.ContextOptions})
	if err != nil {
		return nil, err
	}
	b := &bencher{s: s, m: m, ctx: ctx, size: int(s.lib.BatchSize(ctx)), rng: rand.New(rand.NewPCG(1, 2))}
	out := llamacpp.Bench{Tokens: a.Prompt + a.Generate, Threads: int(s.lib.ThreadCount(ctx)), Buffers: s.log.takeBuffers()}
	begun := time.Now()
	if !a.NoWarmup {
		if err := b.warmUp(a); err != nil {
			return nil, err
		}
	}
	for i := range a.Repetitions {
		took, err := b.repetition(a)
		if err != nil {
			return nil, err
		}
		out.Seconds = append(out.Seconds, took.Seconds())
		s.progress(i+1, a.Repetitions)
		if a.MaxSeconds > 0 && time.Since(begun).Seconds()+took.Seconds() > a.MaxSeconds {
			break
		}
	}
	return out, nil
}

// bencher holds what the repetitions of a test share.
type bencher struct {
	s     *session
	m     *model
	ctx   capi.Context
	size  int // of a logical batch
	rng   *rand.Rand
	state []byte // the sequence at the test's depth, so that it is computed once
}

// warmUp runs the prompt once and one step of generation: pages are mapped, kernels compiled, buffers reserved.
func (b *bencher) warmUp(a llamacpp.BenchArgs) error {
	if a.Prompt > 0 {
		if err := b.prompt(a.Prompt); err != nil {
			return err
		}
	}
	if a.Generate > 0 {
		if err := b.generate(1); err != nil {
			return err
		}
	}
	b.s.progress(0, a.Repetitions)
	return nil
}

// repetition times one run. The cache is cleared and filled to the depth before the clock starts.
func (b *bencher) repetition(a llamacpp.BenchArgs) (time.Duration, error) {
	b.m.clearMemory(b.ctx)
	if err := b.descend(a.Depth); err != nil {
		return 0, err
	}
	start := time.Now()
	if a.Prompt > 0 {
		if err := b.prompt(a.Prompt); err != nil {
			return 0, err
		}
	}
	if a.Generate > 0 {
		if err := b.generate(a.Generate); err != nil {
			return 0, err
		}
	}
	return time.Since(start), nil
}

// descend fills the cache to the depth: by evaluation the first time, from the saved sequence after that.
func (b *bencher) descend(depth int) error {
	if depth == 0 {
		return nil
	}
	if b.s.lib.Restore(b.ctx, 0, b.state) {
		return nil
	}
	if err := b.prompt(depth); err != nil {
		return err
	}
	b.state = b.s.lib.State(b.ctx, 0)
	return nil
}

// token draws from the whole vocabulary: what is computed does not depend on which tokens are read.
func (b *bencher) token() capi.Token { return capi.Token(b.rng.IntN(b.m.nVocab)) }

// first is the token that starts a text.
func (b *bencher) first() capi.Token {
	if b.s.lib.AddsBOS(b.m.vocab) {
		return b.s.lib.BOS(b.m.vocab)
	}
	return b.token()
}

// prompt evaluates n tokens in logical batches and waits for the device.
func (b *bencher) prompt(n int) error {
	tokens := make([]capi.Token, min(n, b.size))
	for done := 0; done < n; {
		step := min(n-done, b.size)
		for i := range step {
			tokens[i] = b.token()
		}
		if done == 0 {
			tokens[0] = b.first()
		}
		if err := b.s.decode(b.m, b.ctx, capi.Following(tokens[:step])); err != nil {
			return err
		}
		done += step
	}
	b.s.lib.Synchronize(b.ctx)
	return nil
}

// generate evaluates n tokens one by one. The next token is drawn, not sampled: sampling is not what is measured.
func (b *bencher) generate(n int) error {
	if !b.s.lib.HasDecoder(b.m.handle) {
		return fmt.Errorf("the model has no decoder: it does not generate")
	}
	token := []capi.Token{b.first()}
	for range n {
		if err := b.s.decode(b.m, b.ctx, capi.Following(token)); err != nil {
			return err
		}
		b.s.lib.Synchronize(b.ctx)
		token[0] = b.token()
	}
	return nil
}
