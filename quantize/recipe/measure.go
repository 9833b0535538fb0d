package recipe

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"

	"golang.org/x/sync/errgroup"

	"quern/convert/gguf"
	"quern/convert/safetensors"
	"quern/convert/view"
	"quern/quantize/kernel"
)

// Subject is a tensor whose error is to be measured.
type Subject struct {
	Name       string
	Source     view.Tensor
	Via        gguf.Type   // BF16 or F16: the precision to round to first; F32: none
	Importance []float32   // a weight per column, or per column of each matrix of the outermost dimension; nil: none
	Types      []gguf.Type // to measure; those whose blocks do not divide the rows are left out
}

// Measured is what Measure found out about a subject.
type Measured struct {
	Name   string
	Rows   int64 // sampled
	Types  []gguf.Type
	Errors []float64 // of each type: the weighted squared error over the weighted square of the weights; 0 is lossless
}

// MeasureOptions are the limits of a measurement; the zero value is the default.
type MeasureOptions struct {
	Sample  int64             // weights looked at in each tensor, at least minRows rows; 0: DefaultSample
	Workers int               // 0: GOMAXPROCS
	Done    func(name string) // called after each subject, never twice at a time
}

// DefaultSample keeps the noise of the estimate below one per cent while an 8-billion-weight model takes a minute of kernels.
const DefaultSample = 1 << 17 // weights of a tensor

// Bounds of a measurement.
const (
	minRows = 8
	maxRow  = 1 << 24 // elements of a row: a worker holds one in four forms
)

// Measure quantizes sampled rows of every subject to every type and back. Rows are spread evenly over the tensor; nothing is
// drawn at random. A worker holds one row. Errors are *Error, or those of the source and of the context.
func Measure(ctx context.Context, subjects []Subject, k kernel.Quantizer, o MeasureOptions) ([]Measured, error) {
	if o.Sample <= 0 {
		o.Sample = DefaultSample
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	out := make([]Measured, len(subjects))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(o.Workers)
	// names pass through a channel so that Done is never called twice at a time; it has room for all, so no worker waits for it
	done := make(chan string, len(subjects))
	for i, s := range subjects {
		g.Go(func() error {
			var err error
			if out[i], err = measure(ctx, s, k, o.Sample); err == nil {
				done <- s.Name
			}
			return err
		})
	}
	go func() {
		g.Wait() // the error is taken below
		close(done)
	}()
	for name := range done {
		if o.Done != nil {
			o.Done(name)
		}
	}
	return out, g.Wait()
}

func measure(ctx context.Context, s Subject, k kernel.Quantizer, sample int64) (Measured, error) {
	row, rows := s.Source.RowLen(), s.Source.Rows()
	if row < 1 || rows < 1 || row > maxRow || !view.Widens(s.Source.DType) {
		return Measured{}, &Error{On: s.Name, Says: fmt.Sprintf("%d rows of %d in %s cannot be measured", rows, row, s.Source.DType)}
	}
	m := Measured{Name: s.Name, Rows: min(max(sample/row, minRows), rows)}
	for _, t := range s.Types {
		if row%t.Block() == 0 {
			m.Types = append(m.Types, t)
		}
	}
	m.Errors = make([]float64, len(m.Types))
	w := &sampler{subject: s, kernel: k, raw: make([]byte, s.Source.RowBytes()), values: make([]float32, row), back: make([]float32, row)}
	// sums are in float64 and in the order of the rows: one subject is one goroutine's, so equal runs are equal
	total := 0.0
	for i := range m.Rows {
		at := (2*i + 1) * rows / (2 * m.Rows) // the middle of the i-th part
		if err := w.read(ctx, at); err != nil {
			return m, err
		}
		total += weighted(w.values, nil, w.importance)
		for j, t := range m.Types {
			if err := w.roundTrip(t); err != nil {
				return m, err
			}
			m.Errors[j] += weighted(w.values, w.back, w.importance)
		}
	}
	for j := range m.Errors {
		if total > 0 {
			m.Errors[j] /= total
		}
	}
	return m, nil
}

// sampler holds one row of a subject.
type sampler struct {
	subject    Subject
	kernel     kernel.Quantizer
	raw        []byte
	values     []float32 // the row, in the intermediate precision
	back       []float32 // the row after quantization
	blocks     []byte
	importance []float32 // of the row's matrix
}

func (w *sampler) read(ctx context.Context, at int64) error {
	src := w.subject.Source
	err := src.ReadRows(ctx, w.raw, at, at+1)
	if err == nil {
		err = view.Widen(w.values, w.raw, src.DType)
	}
	if err != nil {
		return &Error{On: w.subject.Name, Says: fmt.Sprintf("row %d", at), Err: err}
	}
	switch w.subject.Via {
	case gguf.BF16:
		view.Round(w.values, safetensors.BF16)
	case gguf.F16:
		view.Round(w.values, safetensors.F16)
	}
	for i, v := range w.values {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return &Error{On: w.subject.Name, Says: fmt.Sprintf("row %d, column %d: %v is not a finite number", at, i, v), Next: "the checkpoint is damaged, or overflows in its precision"}
		}
	}
	w.importance = nil
	if all, n := w.subject.Importance, src.RowLen(); all != nil {
		matrices := int64(len(all)) / n
		if int64(len(all))%n != 0 || src.Rows()%matrices != 0 {
			return &Error{On: w.subject.Name, Says: fmt.Sprintf("importance of %d values for rows of %d", len(all), n)}
		}
		matrix := at / (src.Rows() / matrices)
		w.importance = all[matrix*n : (matrix+1)*n]
	}
	return nil
}

// roundTrip leaves in back what type t makes of the row.
func (w *sampler) roundTrip(t gguf.Type) error {
	switch t { // plain types need no kernel
	case gguf.F32:
		copy(w.back, w.values)
		return nil
	case gguf.F16, gguf.BF16:
		copy(w.back, w.values)
		to := safetensors.BF16
		if t == gguf.F16 {
			to = safetensors.F16
		}
		view.Round(w.back, to)
		return nil
	}
	n := t.RowBytes(int64(len(w.values)))
	if int64(cap(w.blocks)) < n {
		w.blocks = make([]byte, n)
	}
	w.blocks = w.blocks[:n]
	err := w.kernel.Quantize(w.blocks, w.values, t, len(w.values), w.importance)
	if err == nil {
		err = w.kernel.Dequantize(w.back, w.blocks, t)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		err = &Error{On: w.subject.Name, Says: "in " + t.String(), Err: err}
	}
	return err
}

// weighted is the sum of importance times the squared difference; without importance all columns weigh 1, without b it is the
// square of a.
func weighted(a, b, importance []float32) float64 {
	sum := 0.0
	for i, x := range a {
		d := float64(x)
		if b != nil {
			d -= float64(b[i])
		}
		weight := 1.0
		if importance != nil {
			weight = float64(importance[i])
		}
		sum += float64(float64(d*d) * weight)
	}
	return sum
}
