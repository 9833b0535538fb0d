package view

// A second implementation of every operation, on whole arrays and index by index, to hold the lazy one against.

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"

	"quern/convert/safetensors"
)

// naive is a tensor in memory: its values are integers that every element type of the tests can hold apart.
type naive struct {
	shape  []int64
	values []int64
}

func (n naive) at(index []int64) int64 {
	i := int64(0)
	for d, x := range index {
		i = i*n.shape[d] + x
	}
	return n.values[i]
}

// build makes a tensor of this shape by asking for every element.
func build(shape []int64, value func(index []int64) int64) naive {
	n := naive{shape: shape}
	index := make([]int64, len(shape))
	for {
		if slices.Contains(shape, 0) {
			return n
		}
		n.values = append(n.values, value(index))
		d := len(shape) - 1
		for ; d >= 0; d-- {
			if index[d]++; index[d] < shape[d] {
				break
			}
			index[d] = 0
		}
		if d < 0 {
			return n
		}
	}
}

func (n naive) slice(axis int, lo, hi int64) naive {
	shape := slices.Clone(n.shape)
	shape[axis] = hi - lo
	return build(shape, func(index []int64) int64 {
		from := slices.Clone(index)
		from[axis] += lo
		return n.at(from)
	})
}

func (n naive) gather(axis int, list []int64) naive {
	shape := slices.Clone(n.shape)
	shape[axis] = int64(len(list))
	return build(shape, func(index []int64) int64 {
		from := slices.Clone(index)
		from[axis] = list[index[axis]]
		return n.at(from)
	})
}

func (n naive) permute(axes []int) naive {
	shape := make([]int64, len(axes))
	for i, a := range axes {
		shape[i] = n.shape[a]
	}
	return build(shape, func(index []int64) int64 {
		from := make([]int64, len(axes))
		for i, a := range axes {
			from[a] = index[i]
		}
		return n.at(from)
	})
}

func (n naive) reshape(shape ...int64) naive { return naive{shape, n.values} }

func concat(axis int, ns ...naive) naive {
	shape := slices.Clone(ns[0].shape)
	for _, n := range ns[1:] {
		shape[axis] += n.shape[axis]
	}
	return build(shape, func(index []int64) int64 {
		from := slices.Clone(index)
		for _, n := range ns {
			if from[axis] < n.shape[axis] {
				return n.at(from)
			}
			from[axis] -= n.shape[axis]
		}
		return -1
	})
}

// rotary is the formula of the reference on one head's rows: row 2i is the old row i, row 2i+1 the old row half+i.
func (n naive) rotary(heads int64) naive {
	each := n.shape[0] / heads
	return build(n.shape, func(index []int64) int64 {
		from := slices.Clone(index)
		h, r := index[0]/each, index[0]%each
		from[0] = h*each + r%2*(each/2) + r/2
		return n.at(from)
	})
}

func (n naive) mapped(fn func(int64) int64) naive {
	out := naive{shape: n.shape}
	for _, v := range n.values {
		out.values = append(out.values, fn(v))
	}
	return out
}

// bytes are the values as elements of type d.
func (n naive) bytes(d safetensors.DType) []byte {
	var b []byte
	for _, v := range n.values {
		switch d {
		case safetensors.F32:
			f := make([]byte, 4)
			_ = Narrow(f, []float32{float32(v)}, d)
			b = append(b, f...)
		case safetensors.BF16, safetensors.F16:
			f := make([]byte, 2)
			_ = Narrow(f, []float32{float32(v)}, d)
			b = append(b, f...)
		default:
			b = binary.LittleEndian.AppendUint64(b, uint64(v))[:len(b)+int(d.Size())]
		}
	}
	return b
}

// tensor is the lazy tensor that reads these values from a file, or without the ability to start inside a row.
func (n naive) tensor(name string, d safetensors.DType, flat bool) Tensor {
	data := n.bytes(d)
	t := FromFile(safetensors.Entry{Name: name, DType: d, Shape: n.shape, Offset: 3, Size: int64(len(data))}, bytes.NewReader(append([]byte("???"), data...)))
	if !flat {
		t.Reader = RowFunc(t.Reader.ReadRows)
	}
	return t
}

func randomNaive(r *rand.Rand, dims int) naive {
	shape := make([]int64, dims)
	for i := range shape {
		shape[i] = 1 + r.Int64N(6)
	}
	if dims > 1 && r.IntN(8) == 0 {
		shape[dims-1] = 1 + r.Int64N(3000) // long rows, to cross the thresholds of columns and chunks
	}
	n := naive{shape: shape}
	for range elements(shape) {
		n.values = append(n.values, r.Int64N(120))
	}
	return n
}

func elements(shape []int64) int64 { return Tensor{Shape: shape}.Elements() }

func (n naive) String() string { return fmt.Sprintf("shape %v", n.shape) }
