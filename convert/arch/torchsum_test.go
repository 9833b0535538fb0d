package arch

import (
	"math"
	"testing"

	"quern/convert/view"
)

// TestTorchSum holds sums against what PyTorch 2.6 gives for the same values, with two threads on a processor with AVX2.
func TestTorchSum(t *testing.T) {
	for _, c := range []struct {
		n           int
		plain, bare uint32 // bits of the sum, and of that of absolute values
	}{
		{1, 0xbf000000, 0x3f000000},
		{7, 0xbf057307, 0x3ff0e442},
		{8, 0xbf31eeb3, 0x4003910d},
		{31, 0xbde9dfa8, 0x40f913ca},
		{33, 0xbe365408, 0x41066d5c},
		{1000, 0xbcb98a00, 0x437a038f},
		{4097, 0x3dc42c80, 0x4480086c},
		{32767, 0xbe9ad498, 0x45fffe03},
		{32768, 0xbf2ec514, 0x46000086},
		{32769, 0xbee3d0b8, 0x4600017a},
		{65536, 0x3c121e80, 0x46800078},
		{100001, 0xbd5d7710, 0x46c35084},
		{1000003, 0x3e796fe0, 0x48742438},
		{4194304, 0xbf81a1e4, 0x49800002},
	} {
		values := make([]float32, c.n)
		for i := range values {
			values[i] = float32(uint64(i)*0x9E3779B97F4A7C15>>40)*0x1p-24 - 0.5
		}
		for _, shape := range [][]int64{{int64(c.n)}, {int64(c.n), 1}} {
			v, err := view.Values("x", shape, values)
			if err != nil {
				t.Fatal(err)
			}
			plain, err := torchTotal(t.Context(), v, func(x float32) float32 { return x })
			if err != nil {
				t.Fatal(err)
			}
			bare, err := torchTotal(t.Context(), v, func(x float32) float32 { return float32(math.Abs(float64(x))) })
			if err != nil {
				t.Fatal(err)
			}
			if math.Float32bits(plain) != c.plain || math.Float32bits(bare) != c.bare {
				t.Errorf("%d values as %v: %08x and %08x, want %08x and %08x", c.n, shape, math.Float32bits(plain), math.Float32bits(bare), c.plain, c.bare)
			}
		}
	}
}
