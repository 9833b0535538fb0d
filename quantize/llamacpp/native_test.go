package llamacpp_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"

	"quern/convert/gguf"
	"quern/quantize/kernel"
	"quern/quantize/llamacpp/llamatest"
)

// nativeRow is a row of five super-blocks: importance wraps inside a batch, and the last batch of a row is not full.
const nativeRow = 5 * 256

type values struct {
	name string
	x    []float32
}

// inputs are 22 kinds of values, among them every border that the searches have, and weights of a trained model.
func inputs(tb testing.TB, n int, seed uint64) (all []values) {
	r := rand.New(rand.NewPCG(seed, 9))
	add := func(name string, f func(i int) float32) {
		x := make([]float32, n)
		for i := range x {
			x[i] = f(i)
		}
		all = append(all, values{name, x})
	}
	scaled := func(name string, s float64) {
		add(name, func(int) float32 { return float32(r.NormFloat64() * s) })
	}
	scaled("normal", 0.02)
	add("uniform", func(int) float32 { return float32(r.Float64()*2 - 1) })
	add("positive", func(int) float32 { return float32(r.Float64() + 0.5) })
	add("negative", func(int) float32 { return float32(-r.Float64() - 0.5) })
	add("heavy tails", func(int) float32 { return float32(0.01 * math.Tan(math.Pi*(r.Float64()-0.5))) })
	add("zeros of both signs", func(i int) float32 { return float32(math.Copysign(0, float64(i%3)-1)) })
	add("constant by block", func(i int) float32 { return float32(math.Sin(float64(i / 256))) })
	add("constant by 16", func(i int) float32 { return float32(math.Sin(float64(i / 16))) })
	add("constant but for an ulp", func(i int) float32 {
		return math.Float32frombits(math.Float32bits(float32(math.Sin(float64(i/256)))) + uint32(r.IntN(3)))
	})
	add("subnormal", func(int) float32 { return math.Float32frombits(r.Uint32()&0x80000000 | r.Uint32()&0x7fffff) })
	scaled("around 1e-15", 1e-15)
	scaled("1e-20", 1e-20)
	scaled("subnormal halves", 3e-6)
	var s float64
	add("another scale every 16", func(i int) float32 {
		if i%16 == 0 {
			s = math.Pow(10, r.Float64()*12-8)
		}
		return float32(r.NormFloat64() * s)
	})
	add("another scale every weight", func(int) float32 { return float32(r.NormFloat64() * math.Pow(10, r.Float64()*30-20)) })
	add("huge", func(int) float32 { return float32(r.NormFloat64() * math.Pow(10, r.Float64()*20+15)) })
	add("sparse", func(int) float32 { return float32(r.NormFloat64()) * float32(max(0, r.IntN(20)-18)) })
	add("ties of 9", func(int) float32 { return float32(r.IntN(9)-4) * 0.25 })
	add("ties of 63", func(int) float32 { return float32(r.IntN(63)-31) * 0.5 })
	add("ternary", func(int) float32 { return float32(r.IntN(3)-1) * 0.037 })
	add("any finite bits", func(int) float32 {
		for {
			if f := math.Float32frombits(r.Uint32()); f-f == 0 {
				return f
			}
		}
	})
	weights, err := os.ReadFile("testdata/rows.bf16")
	if err != nil {
		tb.Fatal(err)
	}
	add("trained", func(i int) float32 {
		return math.Float32frombits(uint32(binary.LittleEndian.Uint16(weights[2*i%len(weights):])) << 16)
	})
	return all
}

// importances are none, ordinary, many zeros, and forty decades.
func importances(seed uint64) []values {
	r := rand.New(rand.NewPCG(seed, 4))
	row := func(f func() float64) []float32 {
		w := make([]float32, nativeRow)
		for i := range w {
			w[i] = float32(f())
		}
		return w
	}
	return []values{
		{"none", nil},
		{"ordinary", row(func() float64 { return math.Exp(r.NormFloat64()) })},
		{"of 0, 1, 2", row(func() float64 { return float64(r.IntN(3)) })},
		{"1e-25 to 1e15", row(func() float64 { return math.Pow(10, r.Float64()*40-25) })},
	}
}

// Every kernel that this machine runs writes the bytes of libggml-base. QUERN_KERNEL_ROWS is the number of rows of each kind.
func TestNativeEqual(t *testing.T) {
	theirs := llamatest.Kernels(t)
	rows := 8
	if n, err := strconv.Atoi(os.Getenv("QUERN_KERNEL_ROWS")); err == nil {
		rows = n
	}
	data := inputs(t, rows*nativeRow, 7)
	for _, typ := range kernel.Types() {
		for _, w := range importances(3) {
			for _, x := range data {
				want := make([]byte, typ.RowBytes(int64(len(x.x))))
				if err := theirs.Quantize(want, x.x, typ, nativeRow, w.x); err != nil {
					t.Fatal(err)
				}
				for _, name := range kernel.Names() {
					compare(t, name, typ, x, w, want)
				}
			}
		}
	}
	for key, n := range compared {
		t.Logf("count: %s %s, importance %s: %d blocks equal", key.kernel, key.typ, key.importance, n)
	}
}

type comparison struct {
	kernel     string
	typ        gguf.Type
	importance string
}

var compared = map[comparison]int{}

// natives are the kernels of this machine; each has proven itself once.
var natives = sync.OnceValue(func() map[string]*kernel.Native {
	all := map[string]*kernel.Native{}
	for _, name := range kernel.Names() {
		k, err := kernel.New(name)
		if err != nil {
			panic(err)
		}
		all[name] = k
	}
	return all
})

func compare(t *testing.T, name string, typ gguf.Type, x, w values, want []byte) {
	t.Helper()
	k := natives()[name]
	got := make([]byte, len(want))
	if err := k.Quantize(got, x.x, typ, nativeRow, w.x); err != nil {
		t.Fatal(err)
	}
	size := int(typ.BlockBytes())
	different := 0
	for i := 0; i < len(want); i += size {
		if !bytes.Equal(got[i:i+size], want[i:i+size]) {
			if different == 0 {
				t.Errorf("%s %s, %s, importance %s: block %d\n got %x\nwant %x", name, typ, x.name, w.name, i/size, got[i:i+size], want[i:i+size])
			}
			different++
		}
	}
	if different > 0 {
		t.Errorf("%s %s, %s, importance %s: %d of %d blocks differ", name, typ, x.name, w.name, different, len(want)/size)
	}
	compared[comparison{name, typ, w.name}] += len(want)/size - different
}

// Any bytes widen to the values of libggml-base, NaN and infinity included.
func TestNativeWidens(t *testing.T) {
	theirs := llamatest.Kernels(t)
	ours, err := kernel.New("go")
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(5, 6))
	for _, typ := range kernel.Types() {
		src := make([]byte, typ.RowBytes(1<<16))
		for i := range src {
			src[i] = byte(r.Uint32())
		}
		got, want := make([]float32, 1<<16), make([]float32, 1<<16)
		if err := theirs.Dequantize(want, src, typ); err != nil {
			t.Fatal(err)
		}
		if err := ours.Dequantize(got, src, typ); err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if math.Float32bits(got[i]) != math.Float32bits(want[i]) && (got[i] == got[i] || want[i] == want[i]) {
				t.Fatalf("%s: value %d is %v, want %v", typ, i, got[i], want[i])
			}
		}
		t.Logf("count: %s: %d values widened alike", typ, len(want))
	}
}

// FuzzNative gives the kernels bits of any kind as weights and importance. What is not finite is taken out: quern refuses it.
func FuzzNative(f *testing.F) {
	theirs := llamatest.Kernels(f)
	r := rand.New(rand.NewPCG(11, 12))
	for i := range kernel.Types() {
		b := make([]byte, 4*2*nativeRow)
		for j := range b {
			b[j] = byte(r.Uint32())
		}
		f.Add(b, uint8(i), i%2 == 0)
	}
	largest := make([]byte, 4*nativeRow)
	for i := range nativeRow {
		binary.LittleEndian.PutUint32(largest[4*i:], 0x7f7fffff-uint32(i)<<12)
	}
	f.Add(largest, uint8(slices.Index(kernel.Types(), gguf.MXFP4)), false) // levels beyond the largest float
	f.Fuzz(func(t *testing.T, data []byte, typ uint8, weighted bool) {
		ty := kernel.Types()[int(typ)%len(kernel.Types())]
		floats := make([]float32, len(data)/4)
		for i := range floats {
			v := math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
			if v-v != 0 {
				v = 0
			}
			floats[i] = v
		}
		x := floats[:len(floats)/nativeRow*nativeRow]
		if len(x) == 0 {
			return
		}
		var w []float32
		if weighted {
			w = make([]float32, nativeRow)
			for i := range w {
				w[i] = float32(math.Abs(float64(floats[i])))
			}
		}
		want := make([]byte, ty.RowBytes(int64(len(x))))
		if err := theirs.Quantize(want, x, ty, nativeRow, w); err != nil {
			t.Fatal(err)
		}
		for _, name := range kernel.Names() {
			compare(t, name, ty, values{"fuzzed", x}, values{"fuzzed", w}, want)
		}
	})
}
