package conformance

import (
	"strings"

	"quern/convert/gguf"
)

// Importance is an entry of the importance matrix that answers on quantization were recorded with.
type Importance struct {
	Name   string
	Sums   []float32 // row length x matrices
	Counts []int64   // one a matrix
}

// What is said of every generated importance matrix.
const (
	ImportanceDataset   = "calibration.txt"
	ImportanceChunks    = 3
	ImportanceChunkSize = 512 // tokens
)

// unmeasured are weights that have no entry.
var unmeasured = map[string]bool{
	"token_embd.weight": true, "per_layer_token_embd.weight": true, "output.weight": true, "position_embd.weight": true, "token_types.weight": true,
}

// ImportanceByRule makes the entries for a model, in the model's order (quantize/README.md of the answers has the rule).
func ImportanceByRule(model *gguf.Plan) []Importance {
	var all []Importance
	for _, o := range model.Outputs {
		if len(o.Shape) < 2 || !strings.HasSuffix(o.Name, "weight") || strings.Contains(o.Name, "_norm") || unmeasured[o.Name] {
			continue
		}
		e := Importance{Name: o.Name, Counts: make([]int64, 1)}
		if len(o.Shape) > 2 {
			e.Counts = make([]int64, o.Shape[2])
		}
		counts, name := NewWords("imatrix.counts:"+o.Name), NewWords(o.Name)
		for j := range e.Counts {
			e.Counts[j] = int64(counts.At(int64(j))%1024) + 512
		}
		if n := len(e.Counts); n > 1 && name%2 == 0 {
			e.Counts[n-1] = 0
		}
		values := NewWords("imatrix:" + o.Name)
		for j := range o.Shape[0] * int64(len(e.Counts)) {
			e.Sums = append(e.Sums, values.importance(j)*float32(e.Counts[j/o.Shape[0]]))
		}
		all = append(all, e)
	}
	return all
}

// importance is the fourth power of a uniform value, and 0 once in 64 times.
func (w Words) importance(i int64) float32 {
	word := w.At(i)
	if word&63 == 0 {
		return 0
	}
	u := float32(word>>40) * 0x1p-24
	square := u * u
	return square * square
}
