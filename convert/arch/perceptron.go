package arch

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"quern/convert/fault"
	"quern/convert/safetensors"
	"quern/convert/view"
)

// Two linear layers with an activation between them, folded into the embedding that they were made for. The sums are taken as
// torch 2.6 takes them on x86-64 (MKL's sgemm): in float32 with fused multiply-adds, one after the other within a block of the
// width, the bias behind the first block, then the other blocks. Found from inputs and outputs of torch alone; even widths.

// layer is y = x W^T + b.
type layer struct {
	in, out int
	weights []float64 // row by row; float64 holds the product of two float32 exactly
	bias    []float32
}

// perceptron folds x into second(activation(first(x))), row by row. Widths are checked when it is made; the weights of both
// layers, some 16 million at most, are read once, when rows are first asked for.
func perceptron(x view.Tensor, activation string, weights, biases [2]view.Tensor) (view.Tensor, error) {
	act, ok := activations[activation]
	if !ok {
		return x, &fault.Unsupported{On: "config.json: hidden_act", Says: show(activation) + " cannot be folded into the embedding"}
	}
	width := x.RowLen()
	for i, w := range weights {
		if len(x.Shape) != 2 || len(w.Shape) != 2 || w.Shape[1] != width || w.Elements() > view.MaxWhole || w.Elements() == 0 ||
			!slices.Equal(biases[i].Shape, w.Shape[:1]) {
			return x, &fault.Invalid{On: w.Name, Says: fmt.Sprintf("shape %s with biases %s for rows of %d", dims(w.Shape), dims(biases[i].Shape), width)}
		}
		width = w.Shape[0]
	}
	shape := []int64{x.Shape[0], width}
	return view.Deferred(x.Name, safetensors.F32, shape, func(ctx context.Context) (view.Tensor, error) {
		var layers [2]layer
		for i := range layers {
			var err error
			if layers[i], err = readLayer(ctx, weights[i], biases[i]); err != nil {
				return x, err
			}
		}
		return view.Tensor{Name: x.Name, DType: safetensors.F32, Shape: shape, Reader: &folded{x, layers, act}}, nil
	}), nil
}

func readLayer(ctx context.Context, w, b view.Tensor) (layer, error) {
	weights, err := view.Floats(ctx, w)
	if err != nil {
		return layer{}, err
	}
	l := layer{in: int(w.Shape[1]), out: int(w.Shape[0]), weights: make([]float64, len(weights))}
	for i, v := range weights {
		l.weights[i] = float64(v)
	}
	l.bias, err = view.Floats(ctx, b)
	return l, err
}

// folded yields rows of the result.
type folded struct {
	x      view.Tensor
	layers [2]layer
	act    func(float32) float32
}

// batch is the number of rows that share one pass over the weights, and whose sums do not wait for each other.
const batch = 8

func (f *folded) ReadRows(ctx context.Context, dst []byte, lo, hi int64) error {
	first, second := &f.layers[0], &f.layers[1]
	raw := make([]byte, batch*f.x.RowBytes())
	in := make([]float32, batch*first.in)
	hidden := make([]float32, batch*first.out)
	out := make([]float32, batch*second.out)
	for lo < hi {
		n := min(batch, hi-lo)
		if err := f.x.ReadRows(ctx, raw[:n*f.x.RowBytes()], lo, lo+n); err != nil {
			return err
		}
		if err := view.Widen(in[:n*int64(first.in)], raw[:n*f.x.RowBytes()], f.x.DType); err != nil {
			return err
		}
		first.apply(hidden, in)
		for i, v := range hidden {
			hidden[i] = f.act(v)
		}
		second.apply(out, hidden)
		for i, v := range out[:n*int64(second.out)] {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
		}
		dst, lo = dst[4*n*int64(second.out):], lo+n
	}
	return nil
}

// apply computes a batch of rows.
func (l *layer) apply(dst, src []float32) {
	var x [batch][]float64
	for r := range x {
		x[r] = make([]float64, l.in)
		for k, v := range src[r*l.in : (r+1)*l.in] {
			x[r][k] = float64(v)
		}
	}
	block := sumBlock(l.in)
	for j := range l.out {
		w := l.weights[j*l.in : (j+1)*l.in]
		var y [batch]float32
		for at := 0; at < l.in; at += block {
			part := dots(&x, w, at, min(at+block, l.in))
			for r := range y {
				if at == 0 {
					y[r] = part[r] + l.bias[j]
				} else {
					y[r] += part[r]
				}
			}
		}
		for r, v := range y {
			dst[r*l.out+j] = v
		}
	}
}

// sumBlock is the width of the blocks in which MKL sums.
func sumBlock(width int) int {
	const most = 192
	switch {
	case width <= most:
		return max(width, 1)
	case width < 2*most:
		return (width + 1) / 2
	}
	return most
}

// dots are the products of a batch of rows with one row of weights, from column lo to hi.
func dots(x *[batch][]float64, w []float64, lo, hi int) (y [batch]float32) {
	x0, x1, x2, x3, x4, x5, x6, x7 := x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]
	var a, b, c, d, e, f, g, h float32
	for k := lo; k < hi; k++ {
		v := w[k]
		a = float32(x0[k]*v + float64(a))
		b = float32(x1[k]*v + float64(b))
		c = float32(x2[k]*v + float64(c))
		d = float32(x3[k]*v + float64(d))
		e = float32(x4[k]*v + float64(e))
		f = float32(x5[k]*v + float64(f))
		g = float32(x6[k]*v + float64(g))
		h = float32(x7[k]*v + float64(h))
	}
	return [batch]float32{a, b, c, d, e, f, g, h}
}

// activations by their names in configurations. gelu is torch's to a few units in the last place.
var activations = map[string]func(float32) float32{
	"silu": func(x float32) float32 { return x / (1 + sleefExp(-x)) },
	"relu": func(x float32) float32 { return max(x, 0) },
	"gelu": func(x float32) float32 {
		erf := float32(math.Erf(float64(float32(x * (math.Sqrt2 / 2)))))
		return float32(x*0.5) * (1 + erf)
	},
}

// sleefExp is e to the power of x as torch's vectorized activations compute it: SLEEF's expf, which is within one unit in the
// last place. All steps are fused multiply-adds. TestActivations holds it.
func sleefExp(x float32) float32 {
	if !(x > -87 && x < 88) {
		return float32(math.Exp(float64(x)))
	}
	fma := func(a, b, c float32) float32 { return float32(float64(a)*float64(b) + float64(c)) }
	q := float32(math.RoundToEven(float64(float32(x * math.Log2E))))
	s := fma(q, -0.693145751953125, x) // ln(2) in two parts
	s = fma(q, -1.428606765330187045e-06, s)
	u := float32(0.000198527617612853646278381)
	for _, c := range [...]float32{0.00139304355252534151077271, 0.00833336077630519866943359, 0.0416664853692054748535156, 0.166666671633720397949219, 0.5} {
		u = fma(u, s, c)
	}
	return float32(math.Ldexp(float64(fma(float32(s*s), u, s)+1), int(q)))
}
