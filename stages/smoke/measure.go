package smoke

import (
	"fmt"
	"math"
	"slices"

	"quern/quantize/llamacpp"
)

// chunk is the length of the pieces in which the judged text is read: long enough to need positions and attention, and
// within every model's context.
const chunk = 256

// checkPerplexity holds the model's surprise at a plain text against that of one that knows nothing but how often each
// token of this very text occurs. The measure scales with the vocabulary, and a working model of any size and language
// mix beats it; scrambled weights do not.
func (t *run) checkPerplexity() error {
	tokens, err := t.judged()
	if err != nil {
		return err
	}
	length := min(chunk, len(tokens), max(2, t.model.TrainContext))
	switch {
	case len(tokens) < 32:
		t.skip(namePerplexity, fmt.Sprintf("the text has only %d tokens", len(tokens)))
		return nil
	case t.readsBoth():
		t.skip(namePerplexity, noChain)
		return nil
	}
	o := t.o.Context
	o.Context = length
	p, err := t.child.Perplexity(t.ctx, llamacpp.PerplexityArgs{ContextOptions: o, Slot: t.model.Slot, Tokens: tokens}, nil)
	if err != nil {
		return err
	}
	baseline := unigram(tokens)
	value := float64(p.Value)
	t.r.Perplexity = value
	ok := p.NonFinite == 0 && value > 1 && value < baseline
	t.guesses = !ok && value > float64(t.model.Vocab.Tokens)/2
	t.judge(ok, Check{Name: namePerplexity, Value: fmt.Sprintf("%.1f", value), Limit: fmt.Sprintf("under %.1f, which knowing the text's words without their order gives", baseline), Score: value,
		Next: "the model does not follow the text: a wrong rope base or scaling, a swapped permutation, a wrong norm, or a type too small for this model"})
	return nil
}

// untrained is what a failure means first where the model knows nothing of language.
const untrained = "random or untrained weights? then `quern smoke FILE --checks " + Untrained + "` makes the checks that those can pass; else "

// admit says of failures that a model which only guesses cannot help that it may never have been trained.
func (t *run) admit() {
	for i, c := range t.r.Checks {
		if t.guesses && c.State == Failed && slices.ContainsFunc(kinds, func(k Kind) bool { return k.Name == c.Name && k.Trained }) {
			t.r.Checks[i].Next = untrained + c.Next
		}
	}
}

// noChain is why encoder-decoders and diffusion models are not measured over a text.
const noChain = "the model does not predict a text token by token"

func (t *run) readsBoth() bool { return t.model.Encoder && t.model.Decoder || t.model.Diffusion }

// unigram is the perplexity of tokens under their own frequencies.
func unigram(tokens []int32) float64 {
	count := make(map[int32]int)
	for _, id := range tokens {
		count[id]++
	}
	h := 0.0
	for _, n := range count {
		p := float64(n) / float64(len(tokens))
		h -= p * math.Log(p)
	}
	return math.Exp(h)
}

// checkSource compares the file's next-token distributions with those of the source precision.
func (t *run) checkSource() error {
	switch {
	case t.o.Source == "":
		t.skip(nameSource, "no file of the source precision at hand")
		return nil
	case t.readsBoth():
		t.skip(nameSource, noChain)
		return nil
	}
	tokens, err := t.judged()
	if err != nil {
		return err
	}
	length := min(chunk, len(tokens), max(2, t.model.TrainContext))
	load := t.o.Model
	load.Path = t.o.Source
	src, err := t.child.Load(t.ctx, load)
	if err != nil {
		return err
	}
	o := t.o.Context
	o.Context = length
	d, err := t.child.Divergence(t.ctx, llamacpp.DivergenceArgs{ContextOptions: o, Source: src.Slot, Candidates: []int{t.model.Slot}, Tokens: tokens}, nil)
	if uerr := t.child.Unload(t.ctx, src.Slot); err == nil {
		err = uerr
	}
	if err != nil {
		return err
	}
	c := d.Candidates[0]
	t.r.SameTop = c.SameTop
	t.judge(float64(c.Mean) <= t.o.MaxDivergence, Check{Name: nameSource, Value: fmt.Sprintf("agrees on %.1f %% of next tokens, divergence %.4f", 100*c.SameTop, c.Mean),
		Limit: fmt.Sprintf("divergence at most %.2f", t.o.MaxDivergence), Next: "the type is too small for this model, or the file was made from another checkpoint", Score: float64(c.Mean)})
	return nil
}
