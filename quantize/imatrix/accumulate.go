package imatrix

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
)

// Accumulator computes an importance matrix from the activations that meet weights while a model reads a text. It is safe for
// concurrent use; sums are float32 and added in the order of the calls, as in tools/imatrix/imatrix.cpp.
type Accumulator struct {
	mu sync.Mutex
	m  Matrix
}

// NewAccumulator starts from nothing, or from an earlier matrix of the same model and chunk size, to go on with it.
func NewAccumulator(chunkSize int64, earlier *Matrix) (*Accumulator, error) {
	if chunkSize < 1 {
		return nil, &Error{Says: fmt.Sprintf("chunks of %d tokens", chunkSize)}
	}
	a := &Accumulator{m: Matrix{ChunkSize: chunkSize}}
	if earlier != nil {
		merged, err := Merge(&Matrix{ChunkSize: chunkSize}, earlier)
		if err != nil {
			return nil, err
		}
		a.m = *merged
	}
	return a, nil
}

// Add takes the rows that a dense weight saw: values holds rows of row columns, for matrix index of matrices.
// Every matrix of the weight must be given its rows; they are counted once, with the first.
func (a *Accumulator) Add(name string, values []float32, row, index, matrices int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	e, err := a.entry(name, row, matrices, 1)
	if err != nil {
		return err
	}
	if index < 0 || index >= matrices || len(values)%row != 0 {
		return &Error{Entry: name, Says: fmt.Sprintf("%d values in rows of %d for matrix %d of %d", len(values), row, index, matrices)}
	}
	// a stacked weight outside the experts sees the same rows with each matrix
	if index == 0 {
		for i := range e.Counts {
			e.Counts[i] += int64(len(values) / row)
		}
	}
	return e.square(values, row, index)
}

// AddExpert takes the rows that were routed to one expert.
func (a *Accumulator) AddExpert(name string, values []float32, row, expert, experts int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	e, err := a.entry(name, row, experts, experts)
	if err != nil {
		return err
	}
	if expert < 0 || expert >= experts || len(values)%row != 0 {
		return &Error{Entry: name, Says: fmt.Sprintf("%d values in rows of %d for expert %d of %d", len(values), row, expert, experts)}
	}
	e.Counts[expert] += int64(len(values) / row)
	return e.square(values, row, expert)
}

// Matrix is a copy of what has been added so far.
func (a *Accumulator) Matrix(datasets ...string) *Matrix {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := &Matrix{ChunkSize: a.m.ChunkSize, Datasets: append(append([]string(nil), a.m.Datasets...), datasets...)}
	for _, e := range a.m.Entries {
		out.Entries = append(out.Entries, Entry{e.Name, slices.Clone(e.Sums), slices.Clone(e.Counts)})
	}
	out.Chunks = out.chunks()
	return out
}

func (a *Accumulator) entry(name string, row, matrices, counts int) (*Entry, error) {
	if row < 1 || matrices < 1 {
		return nil, &Error{Entry: name, Says: fmt.Sprintf("%d matrices with rows of %d", matrices, row)}
	}
	e := a.m.Find(name)
	if e == nil {
		if err := a.m.add(Entry{name, make([]float32, row*matrices), make([]int64, counts)}); err != nil {
			return nil, err
		}
		return a.m.Find(name), nil
	}
	if len(e.Counts) == 1 && counts > 1 { // gone on from a file without counts by expert
		e.Counts = spread(e.Counts[0], counts)
	}
	if len(e.Sums) != row*matrices || len(e.Counts) != counts && counts > 1 {
		return nil, &Error{Entry: name, Says: fmt.Sprintf("%d sums and %d counts so far, now %d matrices with rows of %d", len(e.Sums), len(e.Counts), matrices, row),
			Next: "the earlier imatrix is of another model"}
	}
	return e, nil
}

// square adds the squares of rows to one matrix's sums. Products are rounded before they are added, on every platform.
func (e *Entry) square(values []float32, row, index int) error {
	sums := e.Sums[index*row : (index+1)*row]
	for ; len(values) > 0; values = values[row:] {
		for j, x := range values[:row] {
			sums[j] += float32(x * x)
		}
	}
	for j, v := range sums {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return notFinite(e.Name, index, j, v)
		}
	}
	return nil
}

// TensorName is a weight's name without the backend's marks: "CUDA0#blk.0.attn_k.weight#0" is blk.0.attn_k.weight.
func TensorName(node string) string {
	_, marked, ok := strings.Cut(node, "#")
	if !ok {
		return node
	}
	name, _, _ := strings.Cut(marked, "#")
	return name
}

// minRows keeps single tokens out: batches of fewer rows are not counted by llama-imatrix.
const minRows = 16

// Wants tells whether llama-imatrix counts a matrix product: all products with experts, and those of at least minRows rows of
// F32 with a weight of a layer, or with the output if that is asked for.
func Wants(weight string, experts bool, rows int64, f32, withOutput bool) bool {
	if experts {
		return true
	}
	return rows >= minRows && f32 && (strings.HasPrefix(weight, "blk.") || withOutput && weight == "output.weight")
}
