package kernel

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"quern/convert/gguf"
	"quern/quantize/kernel/lanes"
)

// A vector set that computes wrong is found out by the self-test of the types that use it, and plain Go writes them.
func TestBrokenSetIsReplaced(t *testing.T) {
	sets := lanes.Sets()
	if len(sets) == 0 {
		t.Skip("this machine has no vector set")
	}
	broken := *sets[0]
	right := broken.Fit32
	broken.Fit32 = func(x, w, levels, state, par *float32, free, clamped int) {
		right(x, w, levels, state, par, free, clamped)
		*state *= 1.5 // the scale of the first lane
	}
	for _, f := range superFormats {
		for _, weighted := range []bool{false, true} {
			parameterSets[parameterKey{&broken, f.typ, weighted}] = f.parameters(broken.Width, weighted)
		}
	}
	k := native(&broken)
	x := make([]float32, 4*super)
	for i := range x {
		x[i] = float32(i%37) - 18.5
	}
	for _, typ := range []gguf.Type{gguf.Q4_K, gguf.Q5_K, gguf.Q6_K, gguf.Q2_K} {
		got, want := make([]byte, typ.RowBytes(int64(len(x)))), make([]byte, typ.RowBytes(int64(len(x))))
		if err := k.Quantize(got, x, typ, super, nil); err != nil {
			t.Fatal(err)
		}
		if err := Go().Quantize(want, x, typ, super, nil); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: the blocks are not those of plain Go", typ)
		}
	}
	if got, want := k.Unsound(), []gguf.Type{gguf.Q4_K, gguf.Q5_K}; !slices.Equal(got, want) {
		t.Errorf("types that failed: %v, want %v", got, want)
	}
	p := NewPair(k, nil)
	p.byNative.Store(true)
	if got, want := p.Name(), broken.Name+" (Q4_K: go) (Q5_K: go)"; got != want {
		t.Errorf("name %q, want %q", got, want)
	}
}

// The middle between two levels of IQ4_NL is where the reference's comparison of distances turns, to the last bit.
func TestIQ4Bounds(t *testing.T) {
	up := func(x, low, high float32) bool { return !(x-low < high-x) }
	for i := range iq4Values[:15] {
		low, high := iq4Values[i], iq4Values[i+1]
		middle := (low + high) / 2
		for step := range 2000 {
			for _, x := range []float32{nudge(middle, step), nudge(middle, -step)} {
				want := byte(i)
				if up(x, low, high) {
					want++
				}
				if got := nearestIQ4(x); got != want {
					t.Fatalf("%v between %v and %v: level %d, want %d", x, low, high, got, want)
				}
			}
		}
	}
}

// nudge moves x by some representable steps.
func nudge(x float32, steps int) float32 {
	b := int64(math.Float32bits(x))
	if x < 0 {
		steps = -steps
	}
	return math.Float32frombits(uint32(b + int64(steps)))
}
