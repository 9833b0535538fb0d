package smoke

import (
	"fmt"
	"math"
	"strings"

	"quern/quantize/llamacpp"
)

// Two sentences that mean the same, and one that does not.
var sentences = []string{
	"A woman is playing the violin in a concert hall.",
	"A lady plays a violin on the stage of a concert hall.",
	"The price of copper fell for the third month in a row.",
}

// checkEmbedding looks at vectors: finite, not zero, and closer for sentences that mean the same.
func (t *run) checkEmbedding() error {
	pooling, v, err := t.vectors(sentences)
	if err != nil {
		return err
	}
	const next = "the pooling type, the norms or the tokenizer's special tokens are not the checkpoint's"
	bad := 0
	for _, x := range v {
		bad += notFinite(x)
	}
	n := norm(v[0])
	if t.model.Pooling == "" {
		pooling = "the file names no pooling, taken as " + pooling
	} else {
		pooling += " pooling"
	}
	t.judge(bad == 0 && n > 0, Check{Name: nameEmbedding, Value: fmt.Sprintf("%d values, %s, norm %.3g, %d not finite", len(v[0]), pooling, n, bad), Limit: "finite and not zero", Next: next, Score: n})
	near, far := cosine(v[0], v[1]), cosine(v[0], v[2])
	t.guesses = !(near > far)
	t.judge(near > far, Check{Name: nameSimilarity, Value: fmt.Sprintf("%.3f for the same meaning, %.3f for another", near, far), Limit: "the first is greater", Next: next, Score: near - far})
	return nil
}

// A question, the passage that answers it, and one that does not.
const (
	query   = "How do plants make sugar?"
	answer  = "Green plants use the energy of sunlight to turn water and carbon dioxide into sugar; this is called photosynthesis."
	another = "The committee met on Thursday to talk about the repair of the northern bridge."
)

// checkReranker looks at scores: finite, and higher for the passage that answers. Of a classifier with labels of its own
// nothing is known but that its scores are finite.
func (t *run) checkReranker() error {
	var texts [][]int32
	for _, passage := range []string{answer, another} {
		ids, err := t.pair(query, passage)
		if err != nil {
			return err
		}
		texts = append(texts, t.fit(ids, 0))
	}
	_, v, err := t.child.Embed(t.ctx, llamacpp.EmbedArgs{ContextOptions: t.o.Context, Slot: t.model.Slot, Texts: texts, Pooling: "rank"})
	if err != nil {
		return err
	}
	bad := notFinite(v[0]) + notFinite(v[1])
	t.judge(bad == 0, Check{Name: nameClasses, Value: fmt.Sprintf("%d scores, %d not finite", len(v[0]), bad), Limit: "all finite", Next: "the classifier head is not the checkpoint's"})
	if t.model.Pooling != "rank" && t.model.Classes > 1 {
		t.skip(nameRanking, "a classifier with labels of its own")
		return nil
	}
	yes, no := float64(v[0][0]), float64(v[1][0])
	t.guesses = !(yes > no)
	t.judge(yes > no, Check{Name: nameRanking, Value: fmt.Sprintf("%.3f for the answer, %.3f for another text", yes, no), Limit: "the first is greater",
		Next: "the classifier head or the pooling type is not the checkpoint's", Score: yes - no})
	return nil
}

// pair puts a question and a passage together as llama-server does: into the file's own prompt for it, or one after the other
// with the tokens that the vocabulary wants around them.
func (t *run) pair(query, passage string) ([]int32, error) {
	if t.model.Rerank != "" {
		text := strings.NewReplacer("{query}", query, "{document}", passage).Replace(t.model.Rerank)
		return t.child.Tokenize(t.ctx, llamacpp.TokenizeArgs{Slot: t.model.Slot, Text: []byte(text), Parse: true})
	}
	head, err := t.encode(query, false)
	if err != nil {
		return nil, err
	}
	tail, err := t.encode(passage, false)
	if err != nil {
		return nil, err
	}
	v := t.model.Vocab
	end := v.EOS
	if end < 0 {
		end = v.SEP
	}
	var ids []int32
	add := func(wanted bool, more ...int32) {
		if wanted && more[0] >= 0 {
			ids = append(ids, more...)
		}
	}
	add(v.AddBOS, v.BOS)
	add(len(head) > 0, head...)
	add(v.AddEOS, end)
	add(v.AddSEP, v.SEP)
	add(len(tail) > 0, tail...)
	add(v.AddEOS, end)
	return ids, nil
}

func (t *run) vectors(texts []string) (string, [][]float32, error) {
	var ids [][]int32
	for _, s := range texts {
		e, err := t.encode(s, true)
		if err != nil {
			return "", nil, err
		}
		ids = append(ids, t.fit(e, 0))
	}
	return t.child.Embed(t.ctx, llamacpp.EmbedArgs{ContextOptions: t.o.Context, Slot: t.model.Slot, Texts: ids})
}

func notFinite(v []float32) int {
	n := 0
	for _, x := range v {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			n++
		}
	}
	return n
}

func norm(v []float32) float64 { return math.Sqrt(dot(v, v)) }

func dot(a, b []float32) float64 {
	s := 0.0
	for i := range a {
		s += float64(a[i]) * float64(b[i])
	}
	return s
}

func cosine(a, b []float32) float64 { return dot(a, b) / (norm(a) * norm(b)) }
