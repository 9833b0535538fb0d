package tune

import (
	"context"
	"fmt"

	"quern/convert/gguf"
	"quern/quantize/llamacpp"
	"quern/quantize/recommend"
)

var cacheTypes = map[string]gguf.Type{"f16": gguf.F16, "q8_0": gguf.Q8_0}

// InChild measures with a file that the child has loaded: seconds of a prompt and an answer of the given lengths, as llama-bench
// runs them.
func InChild(child *llamacpp.Child, slot, prompt, generate int) Measure {
	return func(ctx context.Context, p Point, n int) ([]float64, error) {
		o := llamacpp.ContextOptions{Batch: p.Batch, UBatch: p.UBatch, Threads: p.Threads, Flash: p.Flash, TypeK: cacheTypes[p.KV], TypeV: cacheTypes[p.KV]}
		sum := make([]float64, n)
		for _, part := range []llamacpp.BenchArgs{{Prompt: prompt}, {Generate: generate}} {
			part.ContextOptions, part.Slot, part.Repetitions = o, slot, n
			b, err := child.Bench(ctx, part, nil)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", p, err)
			}
			for i, s := range b.Seconds {
				sum[i] += s
			}
		}
		return sum, nil
	}
}

// Knobs are the winner as records keep it. What the search left at the default is not set.
func (o *Outcome) Knobs() *recommend.Knobs {
	if o.Best.Point == o.Default.Point {
		return nil
	}
	p := o.Best.Point
	return &recommend.Knobs{Batch: int64(p.Batch), MicroBatch: int64(p.UBatch), Threads: p.Threads, FlashAttn: p.Flash, KV: p.KV, Gain: o.Gain}
}
