package build

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"

	"quern/convert/gguf"
	"quern/convert/safetensors"
	"quern/convert/view"
	"quern/quantize/kernel"
)

func allocs(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// BenchmarkRun tells source bytes a second from memory to nowhere, on all cores.
func BenchmarkRun(b *testing.B) {
	const rows, rowLen = 4096, 4096
	data := make([]byte, rows*rowLen*2)
	r := rand.New(rand.NewPCG(1, 1))
	for i := 0; i < len(data); i += 2 {
		v := view.BF16(float32(r.NormFloat64()))
		data[i], data[i+1] = byte(v), byte(v>>8)
	}
	source := view.FromReader("t", safetensors.BF16, []int64{rows, rowLen}, bytes.NewReader(data), 0)
	discard := []io.WriterAt{writerFunc(func(p []byte, _ int64) (int, error) { return len(p), nil })}
	for _, c := range []struct {
		name string
		to   []Target
	}{
		{"BF16-BF16", []Target{{Type: gguf.BF16}}},
		{"BF16-F16", []Target{{Type: gguf.F16}}},
		{"BF16-F32", []Target{{Type: gguf.F32}}},
		{"BF16-Q8_0", []Target{{Type: gguf.Q8_0}}},
		{"BF16-BF16+F16+Q8_0", []Target{{Type: gguf.BF16}, {Type: gguf.F16}, {Type: gguf.Q8_0}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if err := Run(context.Background(), []Job{{Name: "t", Source: source, To: c.to}}, kernel.Go(), discard, Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
