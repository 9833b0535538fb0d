package view

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"testing"
)

// The digests are of torch.exp (torch 2.6.0, x86-64) over two grids of float32: fine around zero, as tests of the
// reference fill A_log, and coarse over the range of normal results.
func TestExpEqualsTorch(t *testing.T) {
	table := powers()
	for name, c := range map[string]struct {
		n     int
		value func(i int) float32
		want  string
	}{
		"fine":   {275037, func(i int) float32 { return (float32(i*61)*0x1p-24 - 0.5) * 0.25 }, "e99ef359113c77d2953fa29f3476a892169f2a8b7153c75d5600b06d55ce448b"},
		"coarse": {1 << 18, func(i int) float32 { return float32(i-1<<17) * 0x1p-17 * 86 }, "0cadcfb09447e4e3eecff8c6ae54db47b54d729eadced2043cbad421179e5758"},
	} {
		h := sha256.New()
		var b [4]byte
		for i := range c.n {
			binary.LittleEndian.PutUint32(b[:], math.Float32bits(table.exp(c.value(i))))
			h.Write(b[:])
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != c.want {
			t.Errorf("%s: digest %s, want %s", name, got, c.want)
		}
	}
}

func TestExpLimits(t *testing.T) {
	inf := float32(math.Inf(1))
	v, err := Values("v", []int64{7}, []float32{0, float32(math.Copysign(0, -1)), inf, -inf, 89, -110, float32(math.NaN())})
	if err != nil {
		t.Fatal(err)
	}
	e, err := Exp(v)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Floats(context.Background(), e)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []float32{1, 1, inf, 0, inf, 0} {
		if got[i] != want {
			t.Errorf("value %d: %v, want %v", i, got[i], want)
		}
	}
	if got[6] == got[6] {
		t.Errorf("exp of NaN is %v", got[6])
	}
}
