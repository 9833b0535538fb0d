package smoke

import (
	"errors"
	"fmt"
	"math"

	"quern/quantize/llamacpp"
)

// looked is how many tokens the model reads before its next-token logits are compared with and without the adapter.
const looked = 32

// adapted are the checks of an adapter on its base: it goes on, it changes what the base says, and the base still follows a
// text with it. What it says then is not judged: an adapter may have learned to answer with one word.
func (t *run) adapted(tokens step) []step {
	if t.embeds() || t.readsBoth() || t.model.Pooling == "rank" {
		return []step{{[]string{nameAdapter}, t.putOn}}
	}
	return []step{tokens, {[]string{nameAdapter, nameChange}, t.checkChange}, {[]string{namePerplexity}, t.checkPerplexity}}
}

// putOn loads the adapter onto the base. errUnfit ends the test where llama.cpp refuses it.
func (t *run) putOn() error {
	a, err := t.child.Adapt(t.ctx, llamacpp.AdapterArgs{Slot: t.model.Slot, Path: t.o.Adapter, Scale: 1})
	var e *llamacpp.Error
	if errors.As(err, &e) && e.Fault == llamacpp.Refused {
		t.fail(nameAdapter, e.Says, "", "its tensors or their shapes are not those of this base: is it the model that the adapter was trained on?")
		return errUnfit
	}
	if err != nil {
		return err
	}
	says := "llama.cpp puts it on the " + a.Architecture + " base"
	if a.Invocation > 0 {
		says += fmt.Sprintf(", to be switched on after %d tokens", a.Invocation)
	}
	t.pass(nameAdapter, says, "", 1)
	return nil
}

// errUnfit ends the checks after a failure that the report tells of.
var errUnfit = errors.New("the adapter does not fit")

func (t *run) checkChange() error {
	ids, err := t.judged()
	if err != nil {
		return err
	}
	ids = ids[:min(looked, len(ids))]
	if len(ids) == 0 {
		ids = []int32{max(0, t.model.Vocab.BOS)}
	}
	before, err := t.next(ids)
	if err != nil {
		return err
	}
	if err := t.putOn(); err != nil {
		return err
	}
	after, err := t.next(ids)
	if err != nil {
		return err
	}
	most := 0.0
	for i, v := range after {
		d := math.Abs(float64(v) - float64(before[i]))
		if math.IsNaN(d) {
			t.fail(nameChange, fmt.Sprintf("logit %d is %v with the adapter and %v without", i, v, before[i]), "finite", "the adapter holds values that are no numbers, or its alpha is far too large")
			return errUnfit
		}
		most = max(most, d)
	}
	t.judge(most > 0, Check{Name: nameChange, Value: fmt.Sprintf("next-token logits move by up to %.3g", most), Limit: "more than 0", Score: most,
		Next: "the adapter changes nothing: was it trained? a new one has second factors of zeros"})
	return nil
}

// next is the logits after the tokens.
func (t *run) next(ids []int32) ([]float32, error) {
	var last []float32
	o := t.o.Context
	o.Context = len(ids)
	err := t.child.Logits(t.ctx, llamacpp.LogitsArgs{ContextOptions: o, Slot: t.model.Slot, Tokens: ids, From: len(ids) - 1}, func(_ int, row []float32) error {
		last = row
		return nil
	})
	return last, err
}
