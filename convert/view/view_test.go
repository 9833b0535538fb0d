package view

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"quern/convert/safetensors"
)

// pair is one tensor twice: lazy and in memory.
type pair struct {
	lazy  Tensor
	naive naive
	log   []string
}

var testTypes = []safetensors.DType{safetensors.F32, safetensors.F16, safetensors.BF16, safetensors.U8, safetensors.I32, safetensors.I64}

func randomPair(r *rand.Rand, d safetensors.DType) pair {
	n := randomNaive(r, r.IntN(5))
	flat := r.IntN(2) == 0
	return pair{n.tensor("w", d, flat), n, []string{fmt.Sprintf("%s %v flat=%v", d, n.shape, flat)}}
}

// step applies one random operation to both.
func (p *pair) step(t *testing.T, r *rand.Rand) {
	dims := len(p.naive.shape)
	must := func(lazy Tensor, err error) Tensor {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		return lazy
	}
	op := operations[r.IntN(len(operations))]
	if dims == 0 && op.name != "unsqueeze" && op.name != "stack" {
		return
	}
	before := p.naive.shape
	op.do(p, r, must)
	p.log = append(p.log, fmt.Sprintf("%s of %v", op.name, before))
	if !slices.Equal(p.lazy.Shape, p.naive.shape) {
		t.Fatalf("%s: shape %v, want %v", p, p.lazy.Shape, p.naive.shape)
	}
}

func (p pair) String() string { return strings.Join(p.log, ", ") }

type operation struct {
	name string
	do   func(p *pair, r *rand.Rand, must func(Tensor, error) Tensor)
}

var operations = []operation{
	{"slice", func(p *pair, r *rand.Rand, must func(Tensor, error) Tensor) {
		a := r.IntN(len(p.naive.shape))
		lo := r.Int64N(p.naive.shape[a])
		hi := lo + 1 + r.Int64N(p.naive.shape[a]-lo)
		p.lazy, p.naive = must(Slice(p.lazy, a-r.IntN(2)*len(p.naive.shape), lo, hi)), p.naive.slice(a, lo, hi)
	}},
	{"gather", func(p *pair, r *rand.Rand, must func(Tensor, error) Tensor) {
		a := r.IntN(len(p.naive.shape))
		list := make([]int64, 1+r.IntN(6))
		for i := range list {
			list[i] = r.Int64N(p.naive.shape[a])
			if i > 0 && r.IntN(2) == 0 { // runs
				list[i] = (list[i-1] + 1) % p.naive.shape[a]
			}
		}
		p.lazy, p.naive = must(Gather(p.lazy, a, list)), p.naive.gather(a, list)
	}},
	{"permute", func(p *pair, r *rand.Rand, must func(Tensor, error) Tensor) {
		axes := r.Perm(len(p.naive.shape))
		p.lazy, p.naive = must(Permute(p.lazy, axes...)), p.naive.permute(axes)
	}},
	{"transpose", func(p *pair, r *rand.Rand, must func(Tensor, error) Tensor) {
		n := len(p.naive.shape)
		if n < 2 {
			return
		}
		axes := make([]int, n)
		for i := range axes {
			axes[i] = i
		}
		axes[n-1], axes[n-2] = n-2, n-1
		p.lazy, p.naive = must(Transpose(p.lazy)), p.naive.permute(axes)
	}},
	{"reshape", func(p *pair, r *rand.Rand, must func(Tensor, error) Tensor) {
		left, shape := elements(p.naive.shape), []int64{}
		for range r.IntN(4) {
			d := 1 + r.Int64N(left)
			for left%d != 0 {
				d--
			}
			shape, left = append(shape, d), left/d
		}
		shape = append(shape, left)
		asked := slices.Clone(shape)
		if r.IntN(2) == 0 {
			asked[r.IntN(len(asked))] = -1
		}
		p.lazy, p.naive = must(Reshape(p.lazy, asked...)), p.naive.reshape(shape...)
	}},
	{"concat", func(p *pair, r *rand.Rand, must func(Tensor, error) Tensor) {
		a := r.IntN(len(p.naive.shape))
		lazy, in := []Tensor{p.lazy}, []naive{p.naive}
		for range r.IntN(3) {
			other := randomNaive(r, 0)
			other.shape = slices.Clone(p.naive.shape)
			other.shape[a] = r.Int64N(4)
			other = build(other.shape, func([]int64) int64 { return r.Int64N(120) })
			lazy, in = append(lazy, other.tensor("v", p.lazy.DType, r.IntN(2) == 0)), append(in, other)
		}
		r.Shuffle(len(in), func(i, j int) { lazy[i], lazy[j], in[i], in[j] = lazy[j], lazy[i], in[j], in[i] })
		p.lazy, p.naive = must(Concat(a, lazy...)), concat(a, in...)
	}},
	{"stack", func(p *pair, r *rand.Rand, must func(Tensor, error) Tensor) {
		if len(p.naive.shape) > 4 {
			return
		}
		k := 1 + r.IntN(3)
		lazy, in := []Tensor{}, []naive{}
		for range k {
			n := naive{p.naive.shape, slices.Clone(p.naive.values)}
			r.Shuffle(len(n.values), func(i, j int) { n.values[i], n.values[j] = n.values[j], n.values[i] })
			lazy, in = append(lazy, n.tensor("e", p.lazy.DType, true)), append(in, n.reshape(append([]int64{1}, n.shape...)...))
		}
		p.lazy, p.naive = must(Stack(lazy...)), concat(0, in...)
	}},
	{"unsqueeze", func(p *pair, r *rand.Rand, must func(Tensor, error) Tensor) {
		a := r.IntN(len(p.naive.shape) + 1)
		p.lazy, p.naive = must(Unsqueeze(p.lazy, a)), p.naive.reshape(slices.Insert(slices.Clone(p.naive.shape), a, 1)...)
	}},
	{"squeeze", func(p *pair, r *rand.Rand, must func(Tensor, error) Tensor) {
		one := func(d int64) bool { return d == 1 }
		p.lazy, p.naive = must(SqueezeAll(p.lazy)), p.naive.reshape(slices.DeleteFunc(slices.Clone(p.naive.shape), one)...)
	}},
	{"index", func(p *pair, r *rand.Rand, must func(Tensor, error) Tensor) {
		a := r.IntN(len(p.naive.shape))
		i := r.Int64N(p.naive.shape[a])
		n := p.naive.slice(a, i, i+1)
		p.lazy, p.naive = must(Index(p.lazy, a, i)), n.reshape(slices.Delete(n.shape, a, a+1)...)
	}},
	{"rotary", func(p *pair, r *rand.Rand, must func(Tensor, error) Tensor) {
		heads := 1 + r.Int64N(3)
		if p.naive.shape[0]%(2*heads) != 0 {
			return
		}
		p.lazy, p.naive = must(Rotary(p.lazy, heads)), p.naive.rotary(heads)
	}},
	{"regroup", func(p *pair, r *rand.Rand, must func(Tensor, error) Tensor) {
		for groups := int64(3); groups > 0; groups-- {
			each := p.naive.shape[0] / groups
			if p.naive.shape[0]%groups != 0 || each < 2 {
				continue
			}
			parts, err := Regroup(p.lazy, groups, 1, each-1)
			i := r.IntN(2)
			var list []int64
			for g := range groups {
				for x := range each {
					if (x == 0) == (i == 0) {
						list = append(list, g*each+x)
					}
				}
			}
			p.lazy, p.naive = must(parts[i], err), p.naive.gather(0, list)
			return
		}
	}},
	{"pad", func(p *pair, r *rand.Rand, must func(Tensor, error) Tensor) {
		n := r.Int64N(3)
		shape := slices.Clone(p.naive.shape)
		shape[0] = n
		p.lazy, p.naive = must(PadRows(p.lazy, p.naive.shape[0]+n)), concat(0, p.naive, build(shape, func([]int64) int64 { return 0 }))
	}},
	{"cast", func(p *pair, r *rand.Rand, must func(Tensor, error) Tensor) {
		to := testTypes[r.IntN(len(testTypes))]
		if p.lazy.DType.IsFloat() && !to.IsFloat() {
			return
		}
		p.lazy = must(Cast(p.lazy, to))
	}},
	{"affine", func(p *pair, r *rand.Rand, must func(Tensor, error) Tensor) {
		fn := func(v int64) int64 { return v/2 + 1 }
		if p.lazy.DType.IsFloat() {
			p.lazy = must(Map(p.lazy, func(v []float32) {
				for i := range v {
					v[i] = float32(fn(int64(v[i])))
				}
			}))
		} else {
			p.lazy = must(MapInts(p.lazy, p.lazy.DType, func(_ int64, v []int64) {
				for i := range v {
					v[i] = fn(v[i])
				}
			}))
		}
		p.naive = p.naive.mapped(fn)
	}},
	{"deferred", func(p *pair, r *rand.Rand, must func(Tensor, error) Tensor) {
		was := p.lazy
		p.lazy = Deferred("d", was.DType, was.Shape, func(context.Context) (Tensor, error) { return was, nil })
	}},
}

// Every operation, in random chains over random shapes and types, yields what the naive one yields, for any range of
// rows and from several goroutines at once.
func TestOperationsEqualNaive(t *testing.T) {
	for seed := range uint64(1500) {
		r := rand.New(rand.NewPCG(seed, 1))
		p := randomPair(r, testTypes[r.IntN(len(testTypes))])
		for range 1 + r.IntN(5) {
			if elements(p.naive.shape) > 20000 || len(p.naive.shape) > 6 || slices.Contains(p.naive.shape, 0) {
				break
			}
			p.step(t, r)
		}
		p.compare(t, seed)
	}
}

func (p *pair) compare(t *testing.T, seed uint64) {
	t.Helper()
	want := p.naive.bytes(p.lazy.DType)
	rows, width := p.lazy.Rows(), p.lazy.RowBytes()
	var all sync.WaitGroup
	for g := range uint64(3) {
		all.Go(func() {
			r := rand.New(rand.NewPCG(seed, g))
			for range 3 {
				lo := r.Int64N(rows + 1)
				hi := lo + r.Int64N(rows-lo+1)
				if g == 0 {
					lo, hi = 0, rows
				}
				got := bytes.Repeat([]byte{0xEE}, int((hi-lo)*width))
				if err := p.lazy.ReadRows(context.Background(), got, lo, hi); err != nil {
					t.Errorf("seed %d: %s: %v", seed, p, err)
				} else if !bytes.Equal(got, want[lo*width:hi*width]) {
					t.Errorf("seed %d: %s: rows %d to %d of shape %v differ", seed, p, lo, hi, p.naive.shape)
				}
			}
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// What a read through a chain of views allocates depends on the rows asked for, not on the tensor.
func TestReadAllocationsAreBounded(t *testing.T) {
	chain := func(rows int64) Tensor {
		w := Zeros("w", safetensors.BF16, []int64{rows, 512})
		w.Reader = RowFunc(w.Reader.ReadRows)
		for _, op := range []func(Tensor) (Tensor, error){
			func(t Tensor) (Tensor, error) { return Rotary(t, 2) },
			func(t Tensor) (Tensor, error) { return Columns(t, 0, 256) },
			func(t Tensor) (Tensor, error) { return Reshape(t, -1, 128) },
			func(t Tensor) (Tensor, error) { return Scale(t, 2) },
		} {
			var err error
			if w, err = op(w); err != nil {
				t.Fatal(err)
			}
		}
		return w
	}
	small, large := allocated(t, chain(64)), allocated(t, chain(64000))
	if large > small+16<<10 {
		t.Errorf("%d bytes a read for 64 rows, %d for 64000", small, large)
	}
}

func allocated(t *testing.T, w Tensor) int64 {
	t.Helper()
	dst := make([]byte, 4*w.RowBytes())
	var before, after runtime.MemStats
	for i := range 21 {
		if i == 1 {
			runtime.ReadMemStats(&before)
		}
		if err := w.ReadRows(context.Background(), dst, 3, 7); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc-before.TotalAlloc) / 20
}
