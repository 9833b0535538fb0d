package arch

import (
	"math"
	"testing"

	"quern/convert/view"
)

// TestBatchNorm compares with values of torch 2.6 on x86-64.
func TestBatchNorm(t *testing.T) {
	weight := []float32{0x1.522d8c0000000p-1, -0x1.7edcc80000000p-1, 0x1.a13fbc0000000p-1, 0x1.479af40000000p-1, 0x1.ae2f980000000p-1, -0x1.888e280000000p-1, -0x1.57a9c00000000p-1, 0x1.e742480000000p-2}
	bias := []float32{-0x1.ddefe00000000p-2, 0x1.fa0b900000000p-2, 0x1.b3ee700000000p-4, 0x1.087be00000000p-4, -0x1.b5d9940000000p-2, 0x1.4653800000000p-3, 0x1.b854f00000000p-3, 0x1.44ed000000000p-4}
	mean := []float32{0x1.ec781c0000000p-2, 0x1.3386600000000p-3, -0x1.c601c40000000p-2, 0x1.ae31c40000000p-2, 0x1.5bada80000000p-3, -0x1.e880c80000000p-3, -0x1.d64ec00000000p-2, 0x1.23e06c0000000p-2}
	variance := []float32{0x1.7676420000000p+1, 0x1.15899c0000000p-2, 0x1.94fc600000000p+0, 0x1.04e2620000000p+1, 0x1.95521a0000000p-1, 0x1.2bfa5a0000000p+0, 0x1.fe5df00000000p-2, 0x1.94ea040000000p-1}
	factor := []float32{0x1.8b6f7a0000000p-2, -0x1.6fb3400000000p+0, 0x1.4bbcae0000000p-1, 0x1.caf1fa0000000p-2, 0x1.e37dde0000000p-1, -0x1.6aa38a0000000p-1, -0x1.e6c8f80000000p-1, 0x1.11f4b20000000p-1}
	summand := []float32{-0x1.4e0e680000000p-1, 0x1.6b73060000000p-1, 0x1.9325100000000p-2, -0x1.fabfc80000000p-4, -0x1.2d013c0000000p-1, -0x1.3ab9600000000p-7, -0x1.c5f5c40000000p-3, -0x1.2bc5a00000000p-4}
	in := func(v []float32) view.Tensor {
		x, err := view.Values("v", []int64{int64(len(v))}, v)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	for _, c := range []struct {
		want []float32
		from []view.Tensor
	}{
		{factor, []view.Tensor{in(weight), in(variance)}},
		{summand, []view.Tensor{in(weight), in(variance), in(bias), in(mean)}},
	} {
		v, err := batchNorm(c.from...)
		if err != nil {
			t.Fatal(err)
		}
		got, err := view.Floats(t.Context(), v)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range c.want {
			if got[i] != want {
				t.Errorf("%d: %g, torch has %g", i, got[i], want)
			}
		}
	}
	v, err := batchNorm(in([]float32{1}), in([]float32{-1}))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := view.Floats(t.Context(), v); err != nil || math.Float32bits(got[0]) != 0x7fc00000 {
		t.Errorf("%v, %v: want torch's NaN", got, err)
	}
}
