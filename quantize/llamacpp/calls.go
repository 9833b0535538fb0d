package llamacpp

import (
	"context"
	"fmt"

	"quern/quantize/imatrix"
)

// Load loads a file in the child.
func (c *Child) Load(ctx context.Context, o ModelOptions) (*Model, error) {
	return request[Model](ctx, c, "load", o, nil, nil)
}

// Unload frees a loaded file and its context.
func (c *Child) Unload(ctx context.Context, slot int) error {
	_, err := request[struct{}](ctx, c, "unload", slot, nil, nil)
	return err
}

// Tokenize turns a text into ids with llama.cpp's tokenizer.
func (c *Child) Tokenize(ctx context.Context, a TokenizeArgs) ([]int32, error) {
	ids, err := request[[]int32](ctx, c, "tokenize", a, nil, nil)
	if err != nil {
		return nil, err
	}
	return *ids, nil
}

// Detokenize turns ids into the bytes of their text.
func (c *Child) Detokenize(ctx context.Context, a DetokenizeArgs) ([]byte, error) {
	text, err := request[[]byte](ctx, c, "detokenize", a, nil, nil)
	if err != nil {
		return nil, err
	}
	return *text, nil
}

// Prompt renders one user message with the model's chat template, where llama.cpp recognises the template; "" else.
func (c *Child) Prompt(ctx context.Context, a PromptArgs) (string, error) {
	s, err := request[string](ctx, c, "prompt", a, nil, nil)
	if err != nil {
		return "", err
	}
	return *s, nil
}

// Generate continues tokens greedily.
func (c *Child) Generate(ctx context.Context, a GenerateArgs) (*Generation, error) {
	return request[Generation](ctx, c, "generate", a, nil, nil)
}

// Logits evaluates tokens and hands over the logits of each position from a.From on, one row of vocabulary size at a
// time. The slice is the receiver's.
func (c *Child) Logits(ctx context.Context, a LogitsArgs, row func(position int, logits []float32) error) error {
	at := a.From
	_, err := request[struct{}](ctx, c, "logits", a, func(v []float32) error {
		at++
		return row(at-1, v)
	}, nil)
	return err
}

// Perplexity measures a text, computed inside the child.
func (c *Child) Perplexity(ctx context.Context, a PerplexityArgs, progress func(Progress)) (*Perplexity, error) {
	return request[Perplexity](ctx, c, "perplexity", a, nil, progress)
}

// Divergence compares candidates with their source, computed inside the child.
func (c *Child) Divergence(ctx context.Context, a DivergenceArgs, progress func(Progress)) (*Divergences, error) {
	return request[Divergences](ctx, c, "divergence", a, nil, progress)
}

// Bench runs one test.
func (c *Child) Bench(ctx context.Context, a BenchArgs, progress func(Progress)) (*Bench, error) {
	return request[Bench](ctx, c, "bench", a, nil, progress)
}

// Embed computes one vector for each text.
func (c *Child) Embed(ctx context.Context, a EmbedArgs) (string, [][]float32, error) {
	var vectors [][]float32
	e, err := request[Embedded](ctx, c, "embed", a, func(v []float32) error {
		vectors = append(vectors, v)
		return nil
	}, nil)
	if err != nil {
		return "", nil, err
	}
	if len(vectors) != len(a.Texts) {
		return "", nil, &Error{Fault: Protocol, Op: "embed", Says: fmt.Sprintf("%d vectors for %d texts", len(vectors), len(a.Texts))}
	}
	return e.Pooling, vectors, nil
}

// Imatrix computes an importance matrix: the squared activations of every weight over a text, as llama-imatrix does.
// dataset is the name that the matrix keeps of the text.
func (c *Child) Imatrix(ctx context.Context, a ImatrixArgs, dataset string, progress func(Progress)) (*imatrix.Matrix, *Perplexity, error) {
	var sums []float32
	done, err := request[ImatrixDone](ctx, c, "imatrix", a, func(v []float32) error {
		sums = append(sums, v...)
		return nil
	}, progress)
	if err != nil {
		return nil, nil, err
	}
	m := &imatrix.Matrix{Datasets: []string{dataset}, ChunkSize: int64(a.Context), Chunks: int64(done.Perplexity.Chunks)}
	for _, e := range done.Entries {
		if e.Values < 0 || e.Values > len(sums) {
			return nil, nil, &Error{Fault: Protocol, Op: "imatrix", On: e.Name, Says: fmt.Sprintf("%d sums announced, %d are left", e.Values, len(sums))}
		}
		m.Entries = append(m.Entries, imatrix.Entry{Name: e.Name, Counts: e.Counts, Sums: sums[:e.Values:e.Values]})
		sums = sums[e.Values:]
	}
	return m, &done.Perplexity, nil
}

// Usage asks the child what it holds.
func (c *Child) Usage(ctx context.Context) (*Usage, error) {
	u, err := request[Usage](ctx, c, "usage", struct{}{}, nil, nil)
	if err == nil {
		c.mu.Lock()
		c.peak = u.PeakRSS
		c.mu.Unlock()
	}
	return u, err
}
