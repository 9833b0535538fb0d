package smoke

import (
	"fmt"
	"math"

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
	t.judge(bad == 0 && n > 0, Check{Name: nameEmbedding, Value: fmt.Sprintf("%d values, %s pooling, norm %.3g, %d not finite", len(v[0]), pooling, n, bad), Limit: "finite and not zero", Next: next, Score: n})
	near, far := cosine(v[0], v[1]), cosine(v[0], v[2])
	t.guesses = !(near > far)
	t.judge(near > far, Check{Name: nameSimilarity, Value: fmt.Sprintf("%.3f for the same meaning, %.3f for another", near, far), Limit: "the first is greater", Next: next, Score: near - far})
	return nil
}

// checkReranker looks at scores: finite, and higher for the passage that answers. Of a classifier with labels of its own
// nothing is known but that its scores are finite.
func (t *run) checkReranker() error {
	const query = "How do plants make sugar?"
	pairs := []string{
		"Green plants use the energy of sunlight to turn water and carbon dioxide into sugar; this is called photosynthesis.",
		"The committee met on Thursday to talk about the repair of the northern bridge.",
	}
	head, err := t.encode(query, true)
	if err != nil {
		return err
	}
	var texts [][]int32
	for _, p := range pairs {
		ids, err := t.encode(p, true)
		if err != nil {
			return err
		}
		texts = append(texts, t.fit(append(append([]int32(nil), head...), ids...), 0))
	}
	_, v, err := t.child.Embed(t.ctx, llamacpp.EmbedArgs{ContextOptions: t.o.Context, Slot: t.model.Slot, Texts: texts, Pooling: "rank"})
	if err != nil {
		return err
	}
	if t.model.Pooling != "rank" && t.model.Classes > 1 {
		bad := notFinite(v[0]) + notFinite(v[1])
		t.judge(bad == 0, Check{Name: nameClasses, Value: fmt.Sprintf("%d scores, %d not finite", len(v[0]), bad), Limit: "all finite", Next: "the classifier head is not the checkpoint's"})
		return nil
	}
	yes, no := float64(v[0][0]), float64(v[1][0])
	t.guesses = !(yes > no)
	t.judge(notFinite(v[0])+notFinite(v[1]) == 0 && yes > no, Check{Name: nameRanking, Value: fmt.Sprintf("%.3f for the answer, %.3f for another text", yes, no), Limit: "the first is greater",
		Next: "the classifier head or the pooling type is not the checkpoint's", Score: yes - no})
	return nil
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
