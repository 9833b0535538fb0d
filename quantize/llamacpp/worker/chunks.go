package worker

import (
	"fmt"
	"runtime"
	"sync"

	"quern/quantize/llamacpp"
	"quern/quantize/llamacpp/capi"
)

// text is a token stream cut into chunks that are evaluated apart, as llama-perplexity and llama-imatrix do: each chunk
// starts with an empty cache, and with the BOS token in place of its first one where the model adds one.
type text struct {
	tokens []int32
	length int // tokens of a chunk
	chunks int
	seqs   int // chunks evaluated together
	batch  int // tokens of a logical batch
	from   int // first position of a chunk whose output is wanted
}

// maxOutputs bounds the logits that llama.cpp holds for one batch, in values (1 GiB as floats would be too much for a
// machine that just fits the model).
const maxOutputs = 64 << 20

// newText plans the evaluation. As the reference, it puts batch/length chunks into one batch, but no more than
// maxOutputs allows.
func newText(m *model, tokens []int32, o llamacpp.ContextOptions, chunks, from int) (*text, error) {
	if err := m.check(tokens); err != nil {
		return nil, err
	}
	t := &text{tokens: tokens, length: o.Context, from: from, batch: orDefault(o.Batch, defaultBatch)}
	if t.length < 2 {
		return nil, fmt.Errorf("chunks of %d tokens: at least 2 are needed", t.length)
	}
	t.chunks = len(tokens) / t.length
	if chunks > 0 {
		t.chunks = min(t.chunks, chunks)
	}
	if t.chunks < 1 {
		return nil, fmt.Errorf("the text has %d tokens, one chunk needs %d", len(tokens), t.length)
	}
	t.batch = min(t.batch, max(t.length, t.batch/t.length*t.length))
	fit := max(1, maxOutputs/max(1, (t.length-from)*m.nVocab))
	t.seqs = max(1, min(t.batch/t.length, t.chunks, fit))
	t.batch = min(t.batch, t.seqs*t.length)
	return t, nil
}

// options are the context options under which the text is evaluated.
func (t *text) options(o llamacpp.ContextOptions) llamacpp.ContextOptions {
	o.Context, o.Batch, o.Sequences = t.length, t.batch, t.seqs
	return o
}

// output is one position whose logits were asked for; row is llama.cpp's memory until the next evaluation.
type output struct {
	next int32 // the token that follows in the text, -1 at the end of a chunk
	pos  int
	row  []float32
}

// group evaluates the chunks from first on (as many as one context holds) and hands over the outputs of each batch.
func (s *session) group(m *model, ctx capi.Context, t *text, first int, visit func([]output) error) error {
	m.clearMemory(ctx)
	seqs := min(t.seqs, t.chunks-first)
	step := min(t.length, t.batch)
	batch := capi.NewBatch(step * seqs)
	for lo := 0; lo < t.length; lo += step {
		entries, outs := t.entries(m, first, seqs, lo, min(lo+step, t.length))
		if err := s.run(m, ctx, batch, entries); err != nil {
			return err
		}
		n := 0
		for i, e := range entries {
			if !e.output {
				continue
			}
			row := s.lib.Logits(ctx, int32(i), m.nVocab)
			if row == nil {
				return fmt.Errorf("llama.cpp has no logits at position %d", e.pos)
			}
			outs[n].row = row
			n++
		}
		if err := visit(outs); err != nil {
			return err
		}
	}
	return nil
}

// entries lays positions [lo, hi) of the group's chunks out, each chunk in a sequence of its own.
func (t *text) entries(m *model, first, seqs, lo, hi int) ([]entry, []output) {
	var entries []entry
	var outs []output
	bos := m.lib.AddsBOS(m.vocab)
	for seq := range seqs {
		chunk := t.tokens[(first+seq)*t.length:][:t.length]
		for pos := lo; pos < hi; pos++ {
			e := entry{token: chunk[pos], pos: pos, seq: seq, output: pos >= t.from}
			if pos == 0 && bos {
				e.token = m.lib.BOS(m.vocab)
			}
			if e.output {
				o := output{next: -1, pos: pos}
				if pos+1 < t.length {
					o.next = chunk[pos+1]
				}
				outs = append(outs, o)
			}
			entries = append(entries, e)
		}
	}
	return entries, outs
}

// predicted keeps the outputs of a chunk's second half that have a following token: the reference judges these.
func (t *text) predicted(outs []output) []output {
	kept := outs[:0:0]
	for _, o := range outs {
		if o.pos >= t.length/2 && o.next >= 0 {
			kept = append(kept, o)
		}
	}
	return kept
}

// parallel runs f for every index on all cores. Results go into slots of their own, so that sums are taken in order.
func parallel(n int, f func(i int)) {
	var wg sync.WaitGroup
	workers := min(n, runtime.NumCPU())
	for w := range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := w; i < n; i += workers {
				f(i)
			}
		}()
	}
	wg.Wait()
}
