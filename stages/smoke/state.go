package smoke

import (
	"fmt"
	"math"

	"quern/quantize/llamacpp"
)

// remembered is how many tokens are read twice to compare what is left of them in the cache.
const remembered = 32

// maxForgotten is the largest divergence between a text read at once and token by token, in nats. Kernels for one row and
// for many add in another order, which costs a hundredth of this; a trained model whose state is not carried over is off by whole nats.
const maxForgotten = 0.05

// checkState reads a text at once and token by token. Attention and its cache, the states of recurrent layers and their
// convolutions take different ways through the graph then, and must lead to the same place.
func (t *run) checkState() error {
	ids, err := t.beginningOf(remembered)
	if err != nil {
		return err
	}
	rows := make([][][]float32, 2)
	for i, ubatch := range []int{0, 1} {
		o := t.o.Context
		o.Context, o.UBatch = len(ids), ubatch
		if rows[i], err = t.rows(ids, o); err != nil {
			return err
		}
	}
	sum := 0.0
	for i, row := range rows[0] {
		sum += divergence(row, rows[1][i])
	}
	mean := sum / float64(max(1, len(rows[0])))
	t.judge(mean <= maxForgotten, Check{Name: nameState, Value: fmt.Sprintf("%s: divergence %.2g between %d tokens at once and one by one", t.memory(), mean, len(ids)), Limit: fmt.Sprintf("at most %g", maxForgotten), Score: mean,
		Next: "states are not carried from token to token: wrong sizes of a state or a convolution in the metadata, or a fault of this llama.cpp on this processor (try --cpu, --flash-attn off)"})
	return nil
}

// memory is what the model remembers a text by.
func (t *run) memory() string {
	switch {
	case t.model.Hybrid:
		return "cache and recurrent states, no shift"
	case t.model.Recurrent:
		return "recurrent states, no shift"
	case t.r.Text != "" && !t.shifts:
		return "cache without shift"
	}
	return "cache"
}

// beginningOf is the judged text's first tokens, within what the model has positions for.
func (t *run) beginningOf(n int) ([]int32, error) {
	ids, err := t.judged()
	if err != nil {
		return nil, err
	}
	ids = t.fit(ids[:min(n, len(ids))], 0)
	if len(ids) == 0 {
		ids = []int32{max(0, t.model.Vocab.BOS)}
	}
	return ids, nil
}

// rows are the logits of the second half of the tokens, or the one row of an encoder-decoder.
func (t *run) rows(ids []int32, o llamacpp.ContextOptions) ([][]float32, error) {
	var rows [][]float32
	err := t.child.Logits(t.ctx, llamacpp.LogitsArgs{ContextOptions: o, Slot: t.model.Slot, Tokens: ids, From: len(ids) / 2}, func(_ int, row []float32) error {
		rows = append(rows, row)
		return nil
	})
	return rows, err
}

// divergence is Kullback and Leibler's of the distributions that two rows of logits give; masked tokens count in neither.
func divergence(p, q []float32) float64 {
	zp, zq := logSum(p), logSum(q)
	sum := 0.0
	for i := range p {
		lp, lq := float64(p[i])-zp, float64(q[i])-zq
		if !math.IsInf(lp, -1) && !math.IsInf(lq, -1) {
			sum += math.Exp(lp) * (lp - lq)
		}
	}
	return sum
}

// logSum is the logarithm of the sum of the exponentials.
func logSum(row []float32) float64 {
	most := math.Inf(-1)
	for _, v := range row {
		most = max(most, float64(v))
	}
	sum := 0.0
	for _, v := range row {
		sum += math.Exp(float64(v) - most)
	}
	return most + math.Log(sum)
}

// checkEncoder lets an encoder-decoder read two texts. Where its decoder expects the same after both, the cross attention
// does not reach it.
func (t *run) checkEncoder() error {
	ids, err := t.beginningOf(2 * remembered)
	if err != nil {
		return err
	}
	var first [2][]float32
	for i, half := range [][]int32{ids[:(len(ids)+1)/2], ids[len(ids)/2:]} {
		o := t.o.Context
		o.Context = len(half) + 1
		rows, err := t.rows(half, o)
		if err != nil {
			return err
		}
		if len(rows) == 0 || notFinite(rows[0]) > 0 {
			t.fail(nameEncoder, "what the decoder expects first is not finite", "finite", "a tensor of the encoder or of the cross attention is not the checkpoint's")
			return nil
		}
		first[i] = rows[0]
	}
	most := 0.0
	for i, v := range first[0] {
		most = max(most, math.Abs(float64(v)-float64(first[1][i])))
	}
	t.judge(most > 0, Check{Name: nameEncoder, Value: fmt.Sprintf("another text moves the decoder's first logits by up to %.3g", most), Limit: "more than 0", Score: most,
		Next: "the encoder does not reach the decoder: a tensor of the encoder or of the cross attention is not the checkpoint's"})
	return nil
}

// checkMasked looks at the logits of a model that fills in masked tokens of a whole text and does not continue one.
func (t *run) checkMasked() error {
	ids, err := t.beginningOf(remembered)
	if err != nil {
		return err
	}
	o := t.o.Context
	o.Context = len(ids)
	rows, err := t.rows(ids, o)
	if err != nil {
		return err
	}
	g := &llamacpp.Generation{Lowest: llamacpp.Number(math.Inf(1)), Highest: llamacpp.Number(math.Inf(-1))}
	for _, row := range rows {
		low, high := float64(row[0]), float64(row[0])
		for _, v := range row {
			low, high = min(low, float64(v)), max(high, float64(v))
		}
		if low == high {
			g.Flat++
		}
		g.NonFinite += int64(notFinite(row))
		g.Lowest, g.Highest = min(g.Lowest, llamacpp.Number(low)), max(g.Highest, llamacpp.Number(high))
	}
	t.judgeLogits([]*llamacpp.Generation{g})
	return nil
}
