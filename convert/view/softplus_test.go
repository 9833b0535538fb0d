package view

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"testing"
)

// The digests are of torch.nn.functional.softplus (torch 2.6.0, x86-64) over the grids of TestExpEqualsTorch.
func TestSoftplusEqualsTorch(t *testing.T) {
	for name, c := range map[string]struct {
		value func(i int) float32
		want  string
	}{
		"fine":   {func(i int) float32 { return (float32(i*61)*0x1p-24 - 0.5) * 0.25 }, "d595cd2726b01d3873773b0c65dc5dd771a698025672c6f7fccf153f00f84f02"},
		"coarse": {func(i int) float32 { return float32(i-1<<17) * 0x1p-17 * 86 }, "e42a55909f7a5f406bf486ea31b51a0c082272a59474d428b6054b7a57858549"},
	} {
		values := make([]float32, 1<<18)
		for i := range values {
			values[i] = c.value(i)
		}
		v, err := Values("v", []int64{int64(len(values))}, values)
		if err != nil {
			t.Fatal(err)
		}
		if v, err = Softplus(v); err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		if err := Each(t.Context(), v, func(_ int64, row []float32) error {
			return binary.Write(h, binary.LittleEndian, row)
		}); err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != c.want {
			t.Errorf("%s: digest %s, want %s", name, got, c.want)
		}
	}
}

func TestSoftplusLimits(t *testing.T) {
	inf := float32(math.Inf(1))
	v, err := Values("v", []int64{5}, []float32{inf, -inf, 21, -110, float32(math.NaN())})
	if err != nil {
		t.Fatal(err)
	}
	if v, err = Softplus(v); err != nil {
		t.Fatal(err)
	}
	got, err := Floats(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []float32{inf, 0, 21, 0} {
		if got[i] != want {
			t.Errorf("value %d: %v, want %v", i, got[i], want)
		}
	}
	if got[4] == got[4] {
		t.Errorf("softplus of NaN is %v", got[4])
	}
}
