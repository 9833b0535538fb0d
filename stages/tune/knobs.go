package tune

import "cmp"

// knob is a setting that is turned, with the values that are tried.
type knob struct {
	name         string
	coarse, fine func(o Options, p Point) []Point
}

// knobs in the order of their usual effect.
var knobs = []knob{
	{"threads", threads, moreThreads},
	{"flash attention", func(_ Options, p Point) []Point {
		return each(p, []string{"on", "off"}, func(p *Point, v string) { p.Flash = v })
	}, nil},
	{"cache", caches, nil},
	{"micro-batch", microBatches, moreMicroBatches},
	{"batch", batches, nil},
}

// order is that of the curves.
var order = []string{"default", "threads", "flash attention", "cache", "micro-batch", "batch"}

func each[T any](p Point, values []T, set func(*Point, T)) []Point {
	var ps []Point
	for _, v := range values {
		q := p
		set(&q, v)
		ps = append(ps, q)
	}
	return ps
}

// threads halve from all cores down.
func threads(o Options, p Point) []Point {
	var vs []int
	for n := o.Cores; n >= 1; n /= 2 {
		vs = append(vs, n)
	}
	return each(p, vs, setThreads)
}

func setThreads(p *Point, n int) { p.Threads = n }

// moreThreads are the neighbours of the best.
func moreThreads(o Options, p Point) []Point {
	var vs []int
	for _, n := range []int{p.Threads - 1, p.Threads + 1, p.Threads * 3 / 4, p.Threads * 3 / 2} {
		if n >= 1 && n <= o.Cores {
			vs = append(vs, n)
		}
	}
	return each(p, vs, setThreads)
}

// caches of 8 bits need flash attention.
func caches(_ Options, p Point) []Point {
	if p.Flash != "on" {
		return nil
	}
	return each(p, []string{"f16", "q8_0"}, func(p *Point, v string) { p.KV = v })
}

// setMicroBatch keeps the batch at least as large.
func setMicroBatch(p *Point, n int) { p.UBatch, p.Batch = n, max(p.Batch, n) }

func microBatches(o Options, p Point) []Point {
	var vs []int
	for n := 64; n <= 2048 && n < 2*o.Prompt; n *= 4 {
		vs = append(vs, n)
	}
	return each(p, vs, setMicroBatch)
}

func moreMicroBatches(o Options, p Point) []Point {
	var vs []int
	for _, n := range []int{p.UBatch / 2, p.UBatch * 2} {
		if n >= 32 && n <= 4096 && n < 2*o.Prompt {
			vs = append(vs, n)
		}
	}
	return each(p, vs, setMicroBatch)
}

// batches below the prompt's length cut it; larger ones are all the same.
func batches(o Options, p Point) []Point {
	var vs []int
	for _, n := range []int{512, 1024, 2048} {
		if n >= p.UBatch && n < o.Prompt {
			vs = append(vs, n)
		}
	}
	return each(p, vs, func(p *Point, n int) { p.Batch = n })
}

// Grid is every combination of the coarse and fine values: what the search is to be compared with.
func Grid(o Options) []Point {
	ps := []Point{o.Start}
	for _, k := range knobs {
		seen := map[Point]bool{}
		var next []Point
		for _, p := range ps {
			vs := append(k.coarse(o, p), p)
			if k.fine != nil {
				for _, q := range k.coarse(o, p) {
					vs = append(vs, k.fine(o, q)...)
				}
			}
			for _, q := range vs {
				if !seen[q] {
					seen[q] = true
					next = append(next, q)
				}
			}
		}
		ps = next
	}
	return ps
}

func compare(a, b Point) int {
	return cmp.Or(cmp.Compare(a.Threads, b.Threads), cmp.Compare(a.Flash, b.Flash), cmp.Compare(a.KV, b.KV), cmp.Compare(a.UBatch, b.UBatch), cmp.Compare(a.Batch, b.Batch))
}
