package kernel_test

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"math"
	"os"
	"testing"

	"quern/quantize/kernel"
)

// testRow is a row of five super-blocks: importance wraps inside a batch, and the last batch is not full.
const testRow = 5 * 256

var update = flag.Bool("update", false, "write testdata/digests.txt; TestNativeEqual of package llamacpp must hold on the machine")

// exactInputs are rows of values that integer arithmetic alone decides, the same on every platform: bits of any exponent, bits
// near one, and grids with ties.
func exactInputs() (all [][]float32) {
	seed := uint64(1)
	next := func() uint32 {
		seed = seed*6364136223846793005 + 1442695040888963407
		return uint32(seed >> 32)
	}
	fill := func(f func() float32) {
		x := make([]float32, 9*testRow) // the last batch is not full
		for i := range x {
			x[i] = f()
		}
		all = append(all, x)
	}
	fill(func() float32 { // magnitudes around one
		return math.Float32frombits(next()&0x81ffffff | 0x3e000000)
	})
	fill(func() float32 { return float32(int32(next())) / (1 << 31) * float32(int32(next())) / (1 << 31) })
	fill(func() float32 { return float32(int32(next()%63)-31) * 0.5 })
	fill(func() float32 { return math.Float32frombits(next() &^ (1 << 30)) }) // below two, down to subnormals
	fill(func() float32 {                                                     // any exponent up to 2^30: beyond, sums overflow, and the sign of a NaN is the machine's own
		if b := next(); b>>23&0xff <= 127+30 {
			return math.Float32frombits(b)
		}
		return 0
	})
	return all
}

// Every kernel gives the recorded digests on every platform: those of libggml-base on x86-64, against which TestNativeEqual of package llamacpp holds them.
func TestDigests(t *testing.T) {
	importance := make([]float32, testRow)
	for i := range importance {
		importance[i] = float32(i*7919%257+1) / 64
	}
	for _, name := range kernel.Names() {
		k, err := kernel.New(name)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		for _, typ := range kernel.Types() {
			for _, w := range [][]float32{nil, importance} {
				h := sha256.New()
				for _, x := range exactInputs() {
					dst := make([]byte, typ.RowBytes(int64(len(x))))
					if err := k.Quantize(dst, x, typ, testRow, w); err != nil {
						t.Fatal(err)
					}
					h.Write(dst)
				}
				fmt.Fprintf(&got, "%s %t %x\n", typ, w != nil, h.Sum(nil)[:16])
			}
		}
		if len(k.Unsound()) > 0 {
			t.Errorf("%s fails its self-test for %v", name, k.Unsound())
		}
		if *update {
			if err := os.WriteFile("testdata/digests.txt", got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile("testdata/digests.txt")
		if err != nil {
			t.Fatal(err)
		}
		wants := bytes.Split(want, []byte("\n"))
		for i, line := range bytes.Split(got.Bytes(), []byte("\n")) {
			if i >= len(wants) || !bytes.Equal(line, wants[i]) {
				t.Errorf("%s: %s, want %s", name, line, wants[min(i, len(wants)-1)])
			}
		}
		t.Logf("count: kernel %s: %d digests of types with and without importance", name, len(wants)-1)
	}
}
