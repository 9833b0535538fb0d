package kernel

import (
	"math"
	"testing"

	"github.com/x448/float16"
)

// Every half widens, and every float near a border rounds, as a well-known library does it; NaN is the reference's own.
func TestHalf(t *testing.T) {
	count := 0
	check := func(f float32) {
		count++
		if got, want := half(f), uint16(float16.Fromfloat32(f)); got != want && f == f {
			t.Fatalf("%v becomes %04x, want %04x", f, got, want)
		}
	}
	for h := range 1 << 16 {
		f := wide(uint16(h))
		if want := float16.Frombits(uint16(h)).Float32(); math.Float32bits(f) != math.Float32bits(want) && f == f {
			t.Fatalf("%04x is %v, want %v", h, f, want)
		}
		b := math.Float32bits(f)
		for _, d := range []uint32{0, 1, 0xfff, 0x1000, 0x1001, 0x1fff} { // around the half and the middle to the next one
			check(math.Float32frombits(b + d))
			check(math.Float32frombits(b - d))
		}
	}
	for b := uint32(0); b < 1<<31; b += 4099 {
		check(math.Float32frombits(b))
		check(math.Float32frombits(b | 1<<31))
	}
	if half(float32(math.NaN())) != 0x7e00 {
		t.Errorf("NaN becomes %04x", half(float32(math.NaN())))
	}
	t.Logf("count: %d floats rounded to halves", count)
}
