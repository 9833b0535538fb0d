package view

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"quern/convert/fault"
	"quern/convert/safetensors"
)

// randomProduct is a product twice: as factors and multiplied out.
func randomProduct(t *testing.T, r *rand.Rand, d safetensors.DType) pair {
	rows, rank, cols := 1+r.Int64N(9), 1+r.Int64N(3), 1+r.Int64N(7)
	var stack []int64
	for range r.IntN(3) {
		stack = append(stack, 1+r.Int64N(3))
	}
	value := func([]int64) int64 { return r.Int64N(5) }
	a := build(append(slices.Clone(stack), rank, cols), value)
	b := build(append(slices.Clone(stack), rows, rank), value)
	lazy, err := Product("w", a.tensor("a", d, false), b.tensor("b", d, true))
	if err != nil {
		t.Fatal(err)
	}
	return pair{lazy, multiplied(a, b), []string{"product"}}
}

// multiplied is b a by definition; a's dimensions before the last two are those of b or 1.
func multiplied(a, b naive) naive {
	n := len(b.shape)
	return build(append(slices.Clone(b.shape[:n-1]), a.shape[n-1]), func(at []int64) int64 {
		sum := int64(0)
		for k := range b.shape[n-1] {
			ia, ib := slices.Clone(at), slices.Clone(at)
			ib[n-1], ia[n-2] = k, k
			for d := range n - 2 {
				ia[d] = min(ia[d], a.shape[d]-1)
			}
			sum += a.at(ia) * b.at(ib)
		}
		return sum
	})
}

// What any chain of operations makes of a product has the right values, and its factors, where it still has them, multiply
// to those values.
func TestProductsEqualNaive(t *testing.T) {
	kept := 0
	const chains = 1500
	for seed := range uint64(chains) {
		r := rand.New(rand.NewPCG(seed, 2))
		p := randomProduct(t, r, safetensors.F32)
		for range r.IntN(4) {
			if elements(p.naive.shape) > 5000 || len(p.naive.shape) > 6 || slices.Contains(p.naive.shape, 0) {
				break
			}
			p.step(t, r)
		}
		p.compare(t, seed)
		a, b, ok := Factors(p.lazy)
		if !ok {
			continue
		}
		kept++
		got := multiplied(whole(t, a), whole(t, b))
		if !slices.Equal(got.shape, p.naive.shape) || !slices.Equal(got.values, p.naive.values) {
			t.Fatalf("seed %d: %s: factors %v and %v do not make %v", seed, p, a.Shape, b.Shape, p.naive.shape)
		}
	}
	t.Logf("count: %d of %d chains keep their factors", kept, chains)
	if kept < chains/3 {
		t.Errorf("%d of %d chains keep their factors", kept, chains)
	}
}

func whole(t *testing.T, v Tensor) naive {
	t.Helper()
	values, err := Floats(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	n := naive{shape: v.Shape}
	for _, x := range values {
		n.values = append(n.values, int64(x))
	}
	return n
}

// The operations that rules use on matrices keep the factors, those that cannot do not.
func TestFactorsFollow(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	matrix := func(rows, cols int64) Tensor {
		value := func([]int64) int64 { return r.Int64N(5) }
		v, err := Product("w", build([]int64{2, cols}, value).tensor("a", safetensors.F32, true), build([]int64{rows, 2}, value).tensor("b", safetensors.F32, true))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	w := matrix(12, 6)
	for _, c := range []struct {
		name string
		do   func() (Tensor, error)
		kept bool
	}{
		{"rotary", func() (Tensor, error) { return Rotary(w, 2) }, true},
		{"rows", func() (Tensor, error) { return Rows(w, 3, 7) }, true},
		{"columns", func() (Tensor, error) { return Columns(w, 1, 4) }, true},
		{"transpose", func() (Tensor, error) { return Transpose(w) }, true},
		{"scale", func() (Tensor, error) { return Scale(w, 0.5) }, true},
		{"pad", func() (Tensor, error) { return PadRows(w, 20) }, true},
		{"stack", func() (Tensor, error) { return Stack(w, matrix(12, 6)) }, true},
		{"regroup and join", func() (Tensor, error) {
			parts, err := Regroup(w, 3, 1, 2, 1)
			if err != nil {
				return w, err
			}
			return Concat(0, parts...)
		}, true},
		{"cast", func() (Tensor, error) { return Cast(w, safetensors.F16) }, true},
		{"rows of another product below", func() (Tensor, error) { return Concat(0, w, matrix(3, 6)) }, false},
		{"add", func() (Tensor, error) { return AddScalar(w, 1) }, false},
		{"vector", func() (Tensor, error) { return Reshape(w, -1) }, false},
		{"other rows", func() (Tensor, error) { return Reshape(w, 24, 3) }, false},
		{"matrices in another shape", func() (Tensor, error) { return Reshape(w, 6, 12) }, false},
	} {
		v, err := c.do()
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if _, _, ok := Factors(v); ok != c.kept {
			t.Errorf("%s: factors kept: %v", c.name, ok)
		}
	}
	_, err := Product("w", Zeros("a", safetensors.F32, []int64{2, 3}), Zeros("b", safetensors.F32, []int64{3, 4}))
	if invalid := (*fault.Invalid)(nil); !errors.As(err, &invalid) {
		t.Errorf("factors of another rank: %v", err)
	}
}
