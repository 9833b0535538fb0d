package llamacpp_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"testing"

	"quern/convert/gguf"
	"quern/quantize/kernel"
	"quern/quantize/llamacpp"
	"quern/quantize/llamacpp/llamatest"
)

var _ kernel.Quantizer = (*llamacpp.Kernels)(nil)

const rowLen = 256 // of testdata/rows.bf16: 96 rows of the pocket model's blk.0.ffn_up.weight

// types is every type of the table, whether it can be written or not.
func types() []gguf.Type {
	var ts []gguf.Type
	for t := gguf.Type(0); t < 64; t++ {
		if t.Valid() {
			ts = append(ts, t)
		}
	}
	return ts
}

func rows(tb testing.TB) []float32 {
	tb.Helper()
	b, err := os.ReadFile("testdata/rows.bf16")
	if err != nil {
		tb.Fatal(err)
	}
	v := make([]float32, len(b)/2)
	for i := range v {
		v[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(b[2*i:])) << 16)
	}
	return v
}

func importance(tb testing.TB) []float32 {
	tb.Helper()
	b, err := os.ReadFile("testdata/importance.f32")
	if err != nil {
		tb.Fatal(err)
	}
	v := make([]float32, len(b)/4)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return v
}

func quantized(tb testing.TB, k *llamacpp.Kernels, t gguf.Type, src, imp []float32) []byte {
	tb.Helper()
	dst := make([]byte, int64(len(src)/rowLen)*t.RowBytes(rowLen))
	if err := k.Quantize(dst, src, t, rowLen, imp); err != nil {
		tb.Fatalf("%s: %v", t, err)
	}
	return dst
}

// The blocks are the ones that llama-quantize of v0.5.0 wrote for the same rows (testdata/kernels.json, SHA-256 per
// type, plain and with an importance matrix). The bits are those of x86-64 builds.
func TestQuantizeAsReference(t *testing.T) {
	k := llamatest.Kernels(t)
	if runtime.GOARCH != "amd64" {
		t.Skip("the reference's blocks were written on x86-64; arm64 builds fuse multiply and add")
	}
	var want map[string]map[string]string
	b, err := os.ReadFile("testdata/kernels.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	src, imp := rows(t), importance(t)
	n := 0
	for _, ty := range types() {
		for kind, weights := range map[string][]float32{"plain": nil, "importance": imp} {
			digest := want[ty.String()][kind]
			if digest == "" {
				continue
			}
			n++
			sum := sha256.Sum256(quantized(t, k, ty, src, weights))
			if got := hex.EncodeToString(sum[:]); got != digest {
				t.Errorf("%s %s: blocks differ from llama-quantize's", ty, kind)
			}
		}
	}
	t.Logf("%d of %d answers of llama-quantize are equal", n, n)
	if n != 50 {
		t.Errorf("%d answers compared, 50 are recorded", n)
	}
}

// Slabs of any number of rows, written by any number of goroutines, give the same bytes as one call.
func TestSlabsDoNotMatter(t *testing.T) {
	k := llamatest.Kernels(t)
	src, imp := rows(t), importance(t)
	for _, ty := range types() {
		if !k.Supports(ty) {
			continue
		}
		whole := quantized(t, k, ty, src, imp)
		got := make([]byte, len(whole))
		var wg sync.WaitGroup
		for lo, step := 0, 1; lo < len(src)/rowLen; lo, step = lo+step, step+3 {
			hi := min(lo+step, len(src)/rowLen)
			wg.Add(1)
			go func() {
				defer wg.Done()
				rb := ty.RowBytes(rowLen)
				if err := k.Quantize(got[int64(lo)*rb:int64(hi)*rb], src[lo*rowLen:hi*rowLen], ty, rowLen, imp); err != nil {
					t.Error(err)
				}
			}()
		}
		wg.Wait()
		if !bytes.Equal(got, whole) {
			t.Errorf("%s: slabs give other bytes than one call", ty)
		}
	}
}

// Widening gives back the values within the step of the type, and exactly where the type holds them.
func TestDequantize(t *testing.T) {
	k := llamatest.Kernels(t)
	src := rows(t)
	worst := map[gguf.Type]float64{gguf.F32: 0, gguf.BF16: 0, gguf.F16: 1e-4, gguf.Q8_0: 0.02, gguf.Q6_K: 0.05, gguf.Q4_K: 0.15, gguf.IQ4XS: 0.15}
	for ty, limit := range worst {
		got := make([]float32, len(src))
		if err := k.Dequantize(got, quantized(t, k, ty, src, nil), ty); err != nil {
			t.Fatal(err)
		}
		var diff, norm float64
		for i := range src {
			d := float64(got[i] - src[i])
			diff, norm = diff+d*d, norm+float64(src[i])*float64(src[i])
		}
		if rel := math.Sqrt(diff / norm); rel > limit {
			t.Errorf("%s: relative error %.4f, at most %.4f is right", ty, rel, limit)
		}
	}
}

// What ggml would answer with an abort of the process is an error here.
func TestQuantizeRefuses(t *testing.T) {
	k := llamatest.Kernels(t)
	src := rows(t)[:4*rowLen]
	spoiled := func(at int, v float32) []float32 {
		s := append([]float32(nil), src...)
		s[at] = v
		return s
	}
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	q4k := 4 * int(gguf.Q4_K.RowBytes(rowLen))
	iq3 := 4 * int(gguf.IQ3S.RowBytes(rowLen))
	for name, c := range map[string]struct {
		dst    int
		src    []float32
		t      gguf.Type
		rowLen int
		imp    []float32
	}{
		"row not of whole blocks":        {q4k, src, gguf.Q4_K, 128, nil},
		"values not of whole rows":       {q4k, src[:1000], gguf.Q4_K, rowLen, nil},
		"row length zero":                {0, src, gguf.Q4_K, 0, nil},
		"row length negative":            {0, src, gguf.Q4_K, -256, nil},
		"destination too small":          {q4k - 1, src, gguf.Q4_K, rowLen, nil},
		"destination too large":          {q4k + 1, src, gguf.Q4_K, rowLen, nil},
		"importance of another length":   {q4k, src, gguf.Q4_K, rowLen, make([]float32, 255)},
		"importance missing":             {4 * int(gguf.IQ2XS.RowBytes(rowLen)), src, gguf.IQ2XS, rowLen, nil},
		"type that is not written":       {4 * int(gguf.Q8_K.RowBytes(rowLen)), src, gguf.Q8_K, rowLen, nil},
		"type that does not exist":       {q4k, src, 99, rowLen, nil},
		"infinity in a grid search":      {iq3, spoiled(77, inf), gguf.IQ3S, rowLen, nil},
		"not a number in a grid search":  {iq3, spoiled(300, nan), gguf.IQ3S, rowLen, nil},
		"huge value in a grid search":    {iq3, spoiled(5, 1e30), gguf.IQ3S, rowLen, nil},
		"negative importance in a grid":  {iq3, src, gguf.IQ3S, rowLen, spoiled(3, -1)[:rowLen]},
		"importance that is not finite":  {iq3, src, gguf.IQ3S, rowLen, spoiled(3, nan)[:rowLen]},
		"integer type":                   {4 * 4 * rowLen, src, gguf.I32, rowLen, nil},
		"destination of nothing at all":  {0, src, gguf.Q4_K, rowLen, nil},
		"importance for an empty source": {0, nil, gguf.Q4_K, rowLen, make([]float32, 1)},
	} {
		if err := k.Quantize(make([]byte, c.dst), c.src, c.t, c.rowLen, c.imp); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := k.Quantize(nil, nil, gguf.Q4_K, rowLen, nil); err != nil {
		t.Errorf("no rows: %v", err)
	}
}

// Values and weights over the whole accepted range, rows of zeros and lone spikes among them: no grid search aborts.
func TestSearchSurvives(t *testing.T) {
	k := llamatest.Kernels(t)
	rng := rand.New(rand.NewPCG(7, 11))
	accepted := 0
	for range 400 {
		src, imp := make([]float32, 2*rowLen), make([]float32, rowLen)
		scale, wscale := math.Pow(10, rng.Float64()*76-44), math.Pow(10, rng.Float64()*60-40)
		for i := range src {
			if rng.IntN(3) > 0 {
				src[i] = float32(rng.NormFloat64() * scale * math.Pow(10, -10*rng.Float64()*rng.Float64()))
			}
		}
		for i := range imp {
			if rng.IntN(4) > 0 {
				imp[i] = float32(rng.ExpFloat64() * wscale)
			}
		}
		if rng.IntN(8) == 0 {
			clear(src[:rowLen])
		}
		for _, ty := range types() {
			if !k.Supports(ty) || ty.Block() != rowLen {
				continue
			}
			for _, w := range [][]float32{imp, nil} {
				if w == nil && k.RequiresImportance(ty) {
					continue
				}
				if k.Quantize(make([]byte, 2*ty.RowBytes(rowLen)), src, ty, rowLen, w) == nil {
					accepted++
				}
			}
		}
	}
	if accepted < 400 {
		t.Errorf("only %d calls were accepted", accepted)
	}
}

func BenchmarkCallOverhead(b *testing.B) {
	k := llamatest.Kernels(b)
	src, dst := make([]float32, 32), make([]byte, gguf.Q8_0.RowBytes(32))
	for b.Loop() {
		if err := k.Quantize(dst, src, gguf.Q8_0, 32, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkQuantize(b *testing.B) {
	k := llamatest.Kernels(b)
	src := rows(b)
	for _, t := range []gguf.Type{gguf.Q8_0, gguf.Q4_0, gguf.Q4_K, gguf.Q6_K, gguf.IQ4XS} {
		b.Run(t.String(), func(b *testing.B) {
			dst := make([]byte, int64(len(src)/rowLen)*t.RowBytes(rowLen))
			b.SetBytes(int64(4 * len(src)))
			for b.Loop() {
				if err := k.Quantize(dst, src, t, rowLen, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
