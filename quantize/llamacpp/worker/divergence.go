package worker

import (
	"fmt"
	"math"
	"slices"
	"time"

	"quern/quantize/llamacpp"
	"quern/quantize/llamacpp/capi"
)

// rival is a candidate under comparison: its own and its source's likelihoods and everything between them.
type rival struct {
	model   *model
	ctx     capi.Context
	own     likelihood
	source  likelihood
	product float64 // sum of nll * nll of the source, for their covariance
	kld     []float32
	delta   []float32 // change of the right token's probability
	sameTop int
}

// verdict is what one position says.
type verdict struct {
	nll       float32
	rounded   float32 // the source's negative log-likelihood from its code, from which the reference takes changes
	kld       float64
	same      bool
	nonFinite int64
}

// minLogProb is where the reference stops: tokens that the source gives less than exp(-16) do not count.
const minLogProb = -16

// judge compares one row of logits with the source's rounded row. Both must be over the same vocabulary.
func judge(row []float32, src *rounded, next int32) verdict {
	greatest, ls, bad := logSum(row)
	logsum := float32(ls)
	v := verdict{nll: greatest + logsum - row[next], rounded: -src.at(int(next)), nonFinite: bad}
	norm := greatest + logsum
	top, topSource := 0, 0
	for i := range row {
		if row[i] > row[top] {
			top = i
		}
		if src.code[i] > src.code[topSource] {
			topSource = i
		}
		if lp := src.at(i); lp > minLogProb {
			p := float32(math.Exp(float64(lp)))
			v.kld += float64(p * (lp - row[i] + norm))
		}
	}
	v.same = top == topSource
	return v
}

// add takes the verdict on one position; source is the source's exact negative log-likelihood there.
func (r *rival) add(v verdict, source float32) {
	r.own.add(float64(v.nll))
	r.own.nonFinite += v.nonFinite
	r.source.add(float64(source))
	r.product += float64(v.nll) * float64(source)
	r.kld = append(r.kld, float32(v.kld))
	r.delta = append(r.delta, float32(math.Exp(-float64(v.nll)))-float32(math.Exp(-float64(v.rounded))))
	if v.same {
		r.sameTop++
	}
}

// mean is the mean of n values with its standard error, from their sum and sum of squares.
func mean(sum, squares float64, n int) (float64, float64) {
	if n < 1 {
		return 0, 0
	}
	m := sum / float64(n)
	if v := squares/float64(n) - m*m; v > 0 && n > 10 {
		return m, math.Sqrt(v / float64(n-1))
	}
	return m, 0
}

// percentile interpolates between the sorted values.
func percentile(sorted []float32, fraction float64) llamacpp.Number {
	p := fraction * float64(len(sorted)-1)
	i := int(p)
	rest := float32(p - float64(i))
	return llamacpp.Number((1-rest)*sorted[i] + rest*sorted[min(i+1, len(sorted)-1)])
}

// result turns the sums into means, errors and percentiles, as llama-perplexity prints them.
func (r *rival) result() llamacpp.Divergence {
	n := r.own.n
	d := llamacpp.Divergence{Perplexity: r.own.result(), Source: r.source.result(), Positions: n}
	if n == 0 {
		return d
	}
	own, ownErr := mean(r.own.sum, r.own.squares, n)
	src, srcErr := mean(r.source.sum, r.source.squares, n)
	d.LogRatio = llamacpp.Number(own - src)
	if n >= 10 {
		cov := (r.product/float64(n) - own*src) / float64(n-1)
		d.RatioError = llamacpp.Number(math.Sqrt(max(0, ownErr*ownErr+srcErr*srcErr-2*cov)))
	}
	var sum, squares, dsum, dsquares float64
	for i, k := range r.kld {
		sum += float64(k)
		squares += float64(k) * float64(k)
		dsum += float64(r.delta[i])
		dsquares += float64(r.delta[i]) * float64(r.delta[i])
	}
	m, e := mean(sum, squares, n)
	d.Mean, d.MeanError = llamacpp.Number(m), llamacpp.Number(e)
	sorted := slices.Sorted(slices.Values(r.kld))
	d.Median, d.Max = percentile(sorted, 0.5), llamacpp.Number(sorted[n-1])
	d.P90, d.P95, d.P99, d.P999 = percentile(sorted, 0.9), percentile(sorted, 0.95), percentile(sorted, 0.99), percentile(sorted, 0.999)
	d.SameTop = float64(r.sameTop) / float64(n)
	if n > 1 {
		d.TopError = math.Sqrt(d.SameTop * (1 - d.SameTop) / float64(n-1))
	}
	d.MeanDelta, d.RMSDelta = llamacpp.Number(dsum/float64(n)), llamacpp.Number(math.Sqrt(dsquares/float64(n)))
	return d
}

// comparison is one divergence request: the source is a model or a file, and may become a file.
type comparison struct {
	s      *session
	text   *text
	source *model
	ctx    capi.Context
	reader *rowReader
	writer *rowWriter
	rivals []*rival
	own    likelihood // of the source
	rows   []rounded  // of one batch
}

// divergence compares candidates with their source over the same chunks.
func (s *session) divergence(a llamacpp.DivergenceArgs) (any, error) {
	start := time.Now()
	c, err := s.newComparison(a)
	if err != nil {
		return nil, err
	}
	defer c.closeReader()
	for first := 0; first < c.text.chunks && err == nil; first += c.text.seqs {
		begun := time.Now()
		err = c.group(first)
		done := min(first+c.text.seqs, c.text.chunks)
		s.progress(done, c.text.chunks)
		if a.MaxSeconds > 0 && (time.Since(start)+time.Since(begun)).Seconds() > a.MaxSeconds {
			c.text.chunks = done
		}
	}
	out := llamacpp.Divergences{Source: c.own.result()}
	if c.writer != nil {
		cerr := c.writer.close(headerOf(c.source, c.text))
		out.FileBytes = c.writer.written
		if err == nil {
			err = cerr
		}
	}
	if err != nil {
		return nil, err
	}
	for _, r := range c.rivals {
		d := r.result()
		d.Perplexity.Chunks, d.Source.Chunks = c.text.chunks, c.text.chunks
		out.Candidates = append(out.Candidates, d)
	}
	out.Source.Chunks = c.text.chunks
	out.Seconds = time.Since(start).Seconds()
	return out, nil
}

// newComparison finds the models and refuses what cannot be compared before anything is evaluated.
func (s *session) newComparison(a llamacpp.DivergenceArgs) (*comparison, error) {
	c := &comparison{s: s}
	var all []*model
	if a.Source >= 0 {
		m, err := s.slot(a.Source)
		if err != nil {
			return nil, err
		}
		c.source = m
		all = append(all, m)
	}
	for _, slot := range a.Candidates {
		m, err := s.slot(slot)
		if err != nil {
			return nil, err
		}
		c.rivals = append(c.rivals, &rival{model: m})
		all = append(all, m)
	}
	if len(all) == 0 || c.source == nil && a.File == "" || len(c.rivals) == 0 && a.File == "" {
		return nil, fmt.Errorf("divergence needs a source and a candidate, or a file for the logits of one of them")
	}
	for _, m := range all[1:] {
		if m.nVocab != all[0].nVocab {
			return nil, &llamacpp.Error{Fault: llamacpp.Refused, Op: "divergence", Says: fmt.Sprintf("vocabularies of %d and %d tokens cannot be compared", all[0].nVocab, m.nVocab)}
		}
	}
	var err error
	if c.text, err = newText(all[0], a.Tokens, a.ContextOptions, a.Chunks, a.Context/2); err != nil {
		return nil, err
	}
	return c, c.prepare(a, all[0])
}

// prepare makes the contexts and opens the file for writing (source at hand) or reading (source in the file).
func (c *comparison) prepare(a llamacpp.DivergenceArgs, any *model) error {
	key := contextKey{ContextOptions: c.text.options(a.ContextOptions)}
	var err error
	if c.source != nil {
		if c.ctx, err = c.s.context(c.source, key); err != nil {
			return err
		}
	}
	for _, r := range c.rivals {
		if r.model == c.source {
			return fmt.Errorf("the source is its own candidate: load the file twice to compare it with itself")
		}
		if r.ctx, err = c.s.context(r.model, key); err != nil {
			return err
		}
	}
	switch {
	case a.File == "":
	case c.source != nil:
		c.writer, err = newRowWriter(a.File, headerOf(any, c.text), a.MaxBytes)
	default:
		c.reader, err = newRowReader(a.File, headerOf(any, c.text))
	}
	return err
}

func (c *comparison) closeReader() {
	if c.reader != nil {
		c.reader.close()
	}
}

// group runs the source and every candidate over the chunks of one context. The source's rows of the whole group are
// kept rounded, 2 bytes a token of the vocabulary, while the candidates run.
func (c *comparison) group(first int) error {
	t := c.text
	count := 0
	grow := func(n int) []rounded {
		for len(c.rows) < count+n {
			c.rows = append(c.rows, rounded{})
		}
		count += n
		return c.rows[count-n : count]
	}
	if c.source != nil {
		err := c.s.group(c.source, c.ctx, t, first, func(outs []output) error {
			outs = t.predicted(outs)
			rows := grow(len(outs))
			bads := make([]int64, len(outs))
			parallel(len(outs), func(i int) { bads[i] = rows[i].set(outs[i].row, outs[i].next) })
			for i := range rows {
				c.own.add(float64(rows[i].nll))
				c.own.nonFinite += bads[i]
			}
			return c.write(rows)
		})
		if err != nil {
			return err
		}
	} else {
		seqs := min(t.seqs, t.chunks-first)
		rows := grow(seqs * (t.length - 1 - t.length/2))
		for i := range rows {
			if err := c.reader.next(&rows[i]); err != nil {
				return err
			}
			c.own.add(float64(rows[i].nll))
		}
	}
	for _, r := range c.rivals {
		at := 0
		err := c.s.group(r.model, r.ctx, t, first, func(outs []output) error {
			outs = t.predicted(outs)
			rows := c.rows[at : at+len(outs)]
			at += len(outs)
			verdicts := make([]verdict, len(outs))
			parallel(len(outs), func(i int) { verdicts[i] = judge(outs[i].row, &rows[i], outs[i].next) })
			for i, v := range verdicts {
				r.add(v, rows[i].nll)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// write keeps the source's rows for later candidates, where a file was asked for.
func (c *comparison) write(rows []rounded) error {
	if c.writer == nil {
		return nil
	}
	for i := range rows {
		if err := c.writer.put(&rows[i]); err != nil {
			return err
		}
	}
	return nil
}
