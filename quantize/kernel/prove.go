package kernel

import (
	"bytes"
	"math"
	"slices"
	"sync"

	"quern/convert/gguf"
)

// proof is the state of one type's self-test.
type proof struct {
	once   sync.Once
	failed bool
}

// sound runs the type's self-test on first use, a millisecond or two: with and without importance, one full batch of the vector
// code against the scalar code. On a machine where they differ (a processor's fault, a broken emulator), the scalar code does
// the type from then on.
func (k *Native) sound(t gguf.Type) bool {
	p := &k.proofs[t]
	p.once.Do(func() {
		n := k.set.Width * super
		x, importance := make([]float32, n), make([]float32, n)
		seed := uint32(1)
		next := func() float32 { // uniform in (-1, 1)
			seed = seed*1664525 + 1013904223
			return float32(float32(int32(seed)) / (1 << 31))
		}
		for i := range x {
			x[i] = (next() + next() + next()) * next() * float32(math.Exp2(float64(i/super%8)))
			importance[i] = next() * next()
			importance[i] *= importance[i]
		}
		ours, plain := make([]byte, t.RowBytes(int64(n))), make([]byte, t.RowBytes(int64(n)))
		for _, w := range [][]float32{nil, importance} {
			k.run(ours, x, t, n, w, true)
			k.run(plain, x, t, n, w, false)
			p.failed = p.failed || !bytes.Equal(ours, plain)
		}
	})
	return !p.failed
}

// Unsound are the types whose self-test failed, in order: the scalar code wrote them.
func (k *Native) Unsound() (types []gguf.Type) {
	for t := range k.proofs {
		if k.proofs[t].failed {
			types = append(types, gguf.Type(t))
		}
	}
	slices.Sort(types)
	return types
}
