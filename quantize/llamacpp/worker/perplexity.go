package worker

import (
	"math"
	"time"

	"quern/quantize/llamacpp"
)

// likelihood sums the negative log-likelihoods of predicted tokens.
type likelihood struct {
	sum, squares float64
	n            int
	nonFinite    int64
}

// add takes one predicted token.
func (l *likelihood) add(nll float64) {
	l.sum += nll
	l.squares += nll * nll
	l.n++
}

// result is the perplexity with its standard error, as llama-perplexity prints them.
func (l *likelihood) result() llamacpp.Perplexity {
	if l.n == 0 {
		return llamacpp.Perplexity{Value: llamacpp.Number(math.NaN()), NonFinite: l.nonFinite}
	}
	mean := l.sum / float64(l.n)
	value := math.Exp(mean)
	spread := 0.0
	if v := l.squares/float64(l.n) - mean*mean; v > 0 && l.n > 1 {
		spread = value * math.Sqrt(v/float64(l.n-1))
	}
	return llamacpp.Perplexity{Value: llamacpp.Number(value), Error: llamacpp.Number(spread), Predicted: l.n, NonFinite: l.nonFinite}
}

// logSum is the greatest logit and ln of the sum of exp(logit - greatest); bad counts what is not finite (a mask of
// -Inf is no fault).
func logSum(row []float32) (greatest float32, logsum float64, bad int64) {
	greatest = float32(math.Inf(-1))
	for _, l := range row {
		if l > greatest {
			greatest = l
		}
		if l != l || l > math.MaxFloat32 {
			bad++
		}
	}
	sum := 0.0
	for _, l := range row {
		sum += math.Exp(float64(l - greatest))
	}
	return greatest, math.Log(sum), bad
}

// addAll judges the outputs of one batch.
func (l *likelihood) addAll(outs []output) {
	nlls, bads := make([]float64, len(outs)), make([]int64, len(outs))
	parallel(len(outs), func(i int) {
		o := outs[i]
		greatest, ls, bad := logSum(o.row)
		nlls[i], bads[i] = float64(greatest)+ls-float64(o.row[o.next]), bad
	})
	for i := range outs {
		l.add(nlls[i])
		l.nonFinite += bads[i]
	}
}

// perplexity measures a text. Only the second half of each chunk is predicted, so that every token has a past.
func (s *session) perplexity(a llamacpp.PerplexityArgs) (any, error) {
	m, err := s.slot(a.Slot)
	if err != nil {
		return nil, err
	}
	t, err := newText(m, a.Tokens, a.ContextOptions, a.Chunks, a.Context/2)
	if err != nil {
		return nil, err
	}
	ctx, err := s.context(m, contextKey{ContextOptions: t.options(a.ContextOptions)})
	if err != nil {
		return nil, err
	}
	start := time.Now()
	var l likelihood
	for first := 0; first < t.chunks; first += t.seqs {
		err := s.group(m, ctx, t, first, func(outs []output) error {
			l.addAll(t.predicted(outs))
			return nil
		})
		if err != nil {
			return nil, err
		}
		s.progress(min(first+t.seqs, t.chunks), t.chunks)
	}
	res := l.result()
	res.Chunks, res.Seconds = t.chunks, time.Since(start).Seconds()
	return res, nil
}
