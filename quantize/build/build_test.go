package build

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"quern/convert/gguf"
	"quern/convert/safetensors"
	"quern/convert/view"
	"quern/quantize/kernel"
)

// buffer is a file in memory; holes stay 0xEE, so that a byte nobody wrote shows.
type buffer struct {
	mu   sync.Mutex
	data []byte
}

func newBuffer(n int64) *buffer { return &buffer{data: bytes.Repeat([]byte{0xEE}, int(n))} }

func (b *buffer) WriteAt(p []byte, off int64) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if off < 0 || off+int64(len(p)) > int64(len(b.data)) {
		return 0, fmt.Errorf("write of %d at %d beyond %d", len(p), off, len(b.data))
	}
	return copy(b.data[off:], p), nil
}

// weighted is a kernel whose bytes depend on the importance, so that a wrong slice of it shows.
type weighted struct{ *kernel.Native }

func (w weighted) Quantize(dst []byte, src []float32, t gguf.Type, rowLen int, importance []float32) error {
	if err := w.Native.Quantize(dst, src, t, rowLen, nil); err != nil || importance == nil {
		return err
	}
	row := int(t.RowBytes(int64(rowLen)))
	for i := 0; i < len(dst); i += row {
		dst[i] = byte(importance[0])
		dst[i+row-1] = byte(importance[rowLen-1])
	}
	return nil
}

var sourceTypes = []safetensors.DType{safetensors.F32, safetensors.F16, safetensors.BF16, safetensors.F64, safetensors.I8, safetensors.F8E4M3}

// plan is a random set of jobs and how large their files are.
func plan(r *rand.Rand) (jobs []Job, sizes []int64) {
	sizes = make([]int64, 1+r.IntN(3))
	for j := range 1 + r.IntN(4) {
		d := sourceTypes[r.IntN(len(sourceTypes))]
		experts, rows, rowLen := 1+r.Int64N(4), 1+r.Int64N(40), 256*(1+r.Int64N(3))
		if r.IntN(4) == 0 {
			rowLen = 1 + r.Int64N(100)
		}
		data := make([]byte, experts*rows*rowLen*d.Size())
		for i := range data {
			data[i] = byte(r.Uint32()) & 0xBF // no NaN and no infinity in any of the types
		}
		job := Job{Name: fmt.Sprintf("t%d", j), Via: []gguf.Type{gguf.F32, gguf.F16, gguf.BF16}[r.IntN(3)]}
		if d == safetensors.F64 || d == safetensors.F32 {
			job.Via = []gguf.Type{gguf.F32, gguf.BF16}[r.IntN(2)] // random bits do not fit F16
		}
		job.Source = view.FromReader(job.Name, d, []int64{experts, rows, rowLen}, bytes.NewReader(data), 0)
		types := []gguf.Type{gguf.F32, gguf.BF16, gguf.F16}
		if rowLen%256 == 0 {
			types = append(types, gguf.Q8_0, gguf.TQ1_0, gguf.TQ2_0)
		}
		for range 1 + r.IntN(3) {
			f := r.IntN(len(sizes))
			t := Target{File: f, Type: types[r.IntN(len(types))], Offset: sizes[f], Copy: r.IntN(6) == 0}
			size := t.Type.RowBytes(rowLen) * rows * experts
			if t.Copy {
				size = int64(len(data))
			}
			if t.Type.Quantized() && r.IntN(2) == 0 {
				t.Importance = make([]float32, rowLen*experts)
				for i := range t.Importance {
					t.Importance[i] = float32(r.IntN(200))
				}
			}
			sizes[f] += gguf.Pad(size, 32)
			job.To = append(job.To, t)
		}
		jobs = append(jobs, job)
	}
	return jobs, sizes
}

// oneCall makes every target of a job from the whole tensor at once.
func oneCall(t *testing.T, j Job, files []*buffer) {
	t.Helper()
	raw := make([]byte, j.Source.Rows()*j.Source.RowBytes())
	if err := j.Source.ReadRows(context.Background(), raw, 0, j.Source.Rows()); err != nil {
		t.Fatal(err)
	}
	v := make([]float32, j.Source.Elements())
	if err := view.Widen(v, raw, j.Source.DType); err != nil {
		t.Fatal(err)
	}
	view.Round(v, dtypes[j.Via])
	for _, to := range j.To {
		var out []byte
		switch {
		case to.Copy:
			out = raw
		case to.Type.Quantized():
			n, rows := int(j.Source.RowLen()), int(j.Source.Rows())
			matrices := max(1, len(to.Importance)/n)
			for m := range matrices {
				b := make([]byte, int(to.Type.RowBytes(int64(n)))*rows/matrices)
				var importance []float32
				if to.Importance != nil {
					importance = to.Importance[m*n : (m+1)*n]
				}
				if err := (weighted{kernel.Go()}).Quantize(b, v[m*rows/matrices*n:(m+1)*rows/matrices*n], to.Type, n, importance); err != nil {
					t.Fatal(err)
				}
				out = append(out, b...)
			}
		default:
			out = make([]byte, int64(len(v))*to.Type.BlockBytes())
			if err := view.Narrow(out, v, dtypes[to.Type]); err != nil {
				t.Fatal(err)
			}
		}
		out = append(out, make([]byte, gguf.Pad(int64(len(out)), 32)-int64(len(out)))...)
		if _, err := files[to.File].WriteAt(out, to.Offset); err != nil {
			t.Fatal(err)
		}
	}
}

// Slabs, workers and order do not change a byte: random jobs give what one call on each whole tensor gives.
func TestSlabsEqualOneCall(t *testing.T) {
	for seed := range uint64(80) {
		r := rand.New(rand.NewPCG(seed, 5))
		jobs, sizes := plan(r)
		want := make([]*buffer, len(sizes))
		for i, n := range sizes {
			want[i] = newBuffer(n)
		}
		for _, j := range jobs {
			oneCall(t, j, want)
		}
		total := int64(0)
		for _, j := range jobs {
			total += j.Source.Rows() * j.Source.RowBytes()
		}
		for range 3 {
			got, w := make([]*buffer, len(sizes)), make([]io.WriterAt, len(sizes))
			for i, n := range sizes {
				got[i] = newBuffer(n)
				w[i] = got[i]
			}
			var seen int64
			o := Options{Workers: 1 + r.IntN(5), Slab: 1 + r.Int64N(1<<r.IntN(18)), Progress: func(n int64) { seen += n }}
			r.Shuffle(len(jobs), func(i, j int) { jobs[i], jobs[j] = jobs[j], jobs[i] })
			if err := Run(context.Background(), jobs, weighted{kernel.Go()}, w, o); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			for i := range got {
				if !bytes.Equal(got[i].data, want[i].data) {
					t.Fatalf("seed %d: file %d differs with %d workers and slabs of %d", seed, i, o.Workers, o.Slab)
				}
			}
			if seen != total {
				t.Fatalf("seed %d: progress of %d bytes, the sources have %d", seed, seen, total)
			}
		}
	}
}

func floats(v ...float32) []byte {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

func f32(name string, shape []int64, v ...float32) view.Tensor {
	return view.FromReader(name, safetensors.F32, shape, bytes.NewReader(floats(v...)), 0)
}

// NaN and infinity are named with tensor, row and column where a block cannot hold them, after rounding to the
// intermediate precision; a plain copy keeps them unless asked otherwise.
func TestNotFinite(t *testing.T) {
	values := make([]float32, 3*32)
	w := []io.WriterAt{newBuffer(1 << 10)}
	run := func(v float32, via, to gguf.Type, finite bool) error {
		values[2*32+5] = v
		job := Job{Name: "blk.0.ffn_down.weight", Source: f32("x", []int64{3, 32}, values...), Via: via, To: []Target{{Type: to}}}
		return Run(context.Background(), []Job{job}, kernel.Go(), w, Options{Finite: finite})
	}
	for name, c := range map[string]struct {
		v       float32
		via, to gguf.Type
		finite  bool
		fails   bool
	}{
		"NaN to Q8_0":              {float32(math.NaN()), gguf.F32, gguf.Q8_0, false, true},
		"Inf to Q8_0":              {float32(math.Inf(-1)), gguf.F32, gguf.Q8_0, false, true},
		"too large for F16":        {70000, gguf.F16, gguf.Q8_0, false, true},
		"too large, but F32":       {70000, gguf.F32, gguf.Q8_0, false, false},
		"NaN to F32":               {float32(math.NaN()), gguf.F32, gguf.F32, false, false},
		"NaN to F32, refused":      {float32(math.NaN()), gguf.F32, gguf.F32, true, true},
		"NaN to BF16, refused":     {float32(math.NaN()), gguf.F32, gguf.BF16, true, true},
		"largest number is finite": {math.MaxFloat32, gguf.F32, gguf.F32, true, false},
	} {
		err := run(c.v, c.via, c.to, c.finite)
		var bad *NotFiniteError
		if errors.As(err, &bad) != c.fails || (err != nil) != c.fails {
			t.Errorf("%s: %v", name, err)
		}
		if bad != nil && (bad.Tensor != "blk.0.ffn_down.weight" || bad.Row != 2 || bad.Column != 5 || bad.Hint() == "") {
			t.Errorf("%s: %v", name, bad)
		}
	}
}

// A finite weight that a type's scale cannot hold is named with tensor, row and column, in every type, where a file is made as
// llama-quantize makes it; the converter's own files keep what comes out. Blocks that pass unchanged are looked at too.
func TestUnsound(t *testing.T) {
	w := []io.WriterAt{newBuffer(1 << 14)}
	run := func(v float32, to gguf.Type, finite bool) error {
		values := make([]float32, 3*256)
		for i := range values {
			values[i] = float32(i%7) - 3
		}
		values[2*256+5] = v
		job := Job{Name: "t", Source: f32("x", []int64{3, 256}, values...), To: []Target{{Type: to}}}
		return Run(context.Background(), []Job{job}, kernel.Go(), w, Options{Finite: finite})
	}
	n := 0
	for to := range halves {
		if to != gguf.F16 && !kernel.Go().Supports(to) {
			continue
		}
		n++
		var bad *UnsoundError
		if err := run(1e9, to, true); !errors.As(err, &bad) || bad.Tensor != "t" || bad.Row != 2 || bad.Column != 5 || bad.Value != 1e9 || bad.Hint() == "" {
			t.Errorf("1e9 as %s: %v", to, err)
		}
		if err := run(1e9, to, false); err != nil {
			t.Errorf("1e9 as %s where nothing is demanded: %v", to, err)
		}
		if err := run(60000, to, true); err != nil {
			t.Errorf("60000 as %s: %v", to, err)
		}
	}
	blocks := make([]byte, 3*34)
	blocks[2*34+1] = 0x7C // an infinite scale in the last row
	job := Job{Name: "t", Source: view.FromReader("t", safetensors.U8, []int64{3, 34}, bytes.NewReader(blocks), 0), To: []Target{{Type: gguf.Q8_0, Copy: true}}}
	var bad *UnsoundError
	if err := Run(context.Background(), []Job{job}, nil, w, Options{Finite: true}); !errors.As(err, &bad) || bad.Row != 2 {
		t.Errorf("an infinite scale was copied: %v", err)
	}
	if n < 5 {
		t.Fatalf("only %d types were tried", n)
	}
	t.Logf("count: a weight beyond the scale is refused by row and column in %d types", n)
}

// BF16 that stays BF16 passes as it is, but for NaNs, which become quiet as they would through float32.
func TestQuietNaNs(t *testing.T) {
	src := []byte{0x81, 0x7F, 0x81, 0xFF, 0x80, 0x7F, 0x34, 0x12}
	out := newBuffer(32)
	job := Job{Name: "t", Source: view.FromReader("t", safetensors.BF16, []int64{4}, bytes.NewReader(src), 0), To: []Target{{Type: gguf.BF16}}}
	if err := Run(context.Background(), []Job{job}, nil, []io.WriterAt{out}, Options{}); err != nil {
		t.Fatal(err)
	}
	if want := []byte{0xC1, 0x7F, 0xC1, 0xFF, 0x80, 0x7F, 0x34, 0x12}; !bytes.Equal(out.data[:8], want) {
		t.Errorf("%x, want %x", out.data[:8], want)
	}
}

// Every BF16 value in every kind of place of a word is told from a NaN.
func TestHasNaN(t *testing.T) {
	b := make([]byte, 70)
	for _, at := range []int{0, 2, 4, 6, 24, 30, 32, 62, 64, 66, 68} { // words, the places in them, and the rest
		for v := range 1 << 16 {
			binary.LittleEndian.PutUint16(b[at:], uint16(v))
			if want := v&0x7FFF > 0x7F80; hasNaN(b) != want {
				t.Fatalf("%#x at %d: %v", v, at, !want)
			}
		}
		clear(b)
	}
}

func TestFirstNotFinite(t *testing.T) {
	v := make([]float32, 37)
	for i := range v {
		v[i] = math.MaxFloat32
	}
	for i := range v {
		for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), math.Float32frombits(0xFF800001)} {
			old := v[i]
			v[i] = bad
			if got := notFinite(v); got != i {
				t.Errorf("%v at %d is found at %d", bad, i, got)
			}
			v[i] = old
		}
	}
	if got := notFinite(v); got != -1 {
		t.Errorf("found at %d where all are finite", got)
	}
}

func TestImpossibleJobs(t *testing.T) {
	source := f32("t", []int64{2, 32}, make([]float32, 64)...)
	ids := view.Zeros("t", safetensors.I64, []int64{4})
	complex := view.Zeros("t", safetensors.C64, []int64{4})
	for name, c := range map[string]struct {
		job  Job
		k    kernel.Quantizer
		want string
	}{
		"file":                  {Job{Source: source, To: []Target{{File: 1}}}, nil, "file 1 of 1"},
		"via":                   {Job{Source: source, Via: gguf.Q8_0, To: []Target{{}}}, nil, "intermediate precision"},
		"block":                 {Job{Source: source, To: []Target{{Type: gguf.Q4_K}}}, kernel.Go(), "multiple of 256"},
		"no kernel":             {Job{Source: source, To: []Target{{Type: gguf.Q8_0}}}, nil, "no kernel"},
		"kernel":                {Job{Source: source, To: []Target{{Type: gguf.Q8_1}}}, kernel.Go(), `kernel "go" cannot quantize to Q8_1`},
		"importance":            {Job{Source: source, To: []Target{{Type: gguf.Q8_0, Importance: make([]float32, 33)}}}, kernel.Go(), "importance of 33 values"},
		"importance of experts": {Job{Source: source, To: []Target{{Type: gguf.Q8_0, Importance: make([]float32, 96)}}}, kernel.Go(), "importance of 96 values"},
		"type":                  {Job{Source: source, To: []Target{{Type: 4}}}, nil, "unknown tensor type 4"},
		"integer":               {Job{Source: source, To: []Target{{Type: gguf.I32}}}, nil, "cannot be converted"},
		"complex":               {Job{Source: complex, To: []Target{{Type: gguf.F32}}}, nil, "cannot be read as numbers"},
		"row":                   {Job{Source: view.Zeros("t", safetensors.F32, []int64{MaxRow + 1}), To: []Target{{}}}, nil, "the limit is"},
	} {
		c.job.Name = "the.tensor"
		err := Run(context.Background(), []Job{c.job}, c.k, []io.WriterAt{newBuffer(256)}, Options{})
		var bad *JobError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "the.tensor") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if err := Run(context.Background(), []Job{{Name: "ids", Source: ids, To: []Target{{Type: gguf.I64}}}}, nil, []io.WriterAt{newBuffer(64)}, Options{}); err != nil {
		t.Errorf("I64 as I64: %v", err)
	}
}

// A failing writer, a failing source and a cancelled context each end the run with their own error.
func TestRunEnds(t *testing.T) {
	rows := int64(10000)
	source := func(read func(lo int64) error) view.Tensor {
		z := view.Zeros("t", safetensors.F32, []int64{rows, 1024})
		z.Reader = view.RowFunc(func(ctx context.Context, dst []byte, lo, hi int64) error { return read(lo) })
		return z
	}
	boom := errors.New("boom")
	ok := func(int64) error { return nil }
	job := func(t view.Tensor) []Job { return []Job{{Name: "t", Source: t, To: []Target{{Type: gguf.F32}}}} }

	err := Run(context.Background(), job(source(ok)), nil, []io.WriterAt{writerFunc(func([]byte, int64) (int, error) { return 0, boom })}, Options{Slab: 1024})
	if !errors.Is(err, boom) || !strings.Contains(err.Error(), "t: write rows") {
		t.Errorf("writer: %v", err)
	}
	discard := []io.WriterAt{writerFunc(func(b []byte, _ int64) (int, error) { return len(b), nil })}
	err = Run(context.Background(), job(source(func(lo int64) error {
		if lo > 100 {
			return boom
		}
		return nil
	})), nil, discard, Options{Slab: 1024})
	if !errors.Is(err, boom) || !strings.Contains(err.Error(), "t: rows") {
		t.Errorf("source: %v", err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	var reads atomic.Int64
	err = Run(ctx, job(source(func(lo int64) error {
		switch n := reads.Add(1); {
		case n == 50:
			cancel(boom)
		case n > 50: // a busy machine may take its time over telling the others
			time.Sleep(10 * time.Millisecond)
		}
		return nil
	})), nil, discard, Options{Slab: 1024, Workers: 4})
	if !errors.Is(err, boom) || reads.Load() > 60 {
		t.Errorf("cancelled: %v after %d reads", err, reads.Load())
	}
}

type writerFunc func(b []byte, off int64) (int, error)

func (f writerFunc) WriteAt(b []byte, off int64) (int, error) { return f(b, off) }

// The number of buffers does not grow with the tensor: a worker reuses its own.
func TestMemoryIsBounded(t *testing.T) {
	allocated := func(rows int64) uint64 {
		source := view.Zeros("t", safetensors.BF16, []int64{rows, 1024})
		discard := []io.WriterAt{writerFunc(func(b []byte, _ int64) (int, error) { return len(b), nil })}
		return allocs(func() {
			job := Job{Name: "t", Source: source, To: []Target{{Type: gguf.F16}, {Type: gguf.Q8_0}}}
			if err := Run(context.Background(), []Job{job}, kernel.Go(), discard, Options{Workers: 2, Slab: 1 << 16}); err != nil {
				t.Fatal(err)
			}
		})
	}
	if small, large := allocated(1000), allocated(10000); large > small+small/2 {
		t.Errorf("%d bytes allocated for 1000 rows, %d for 10000", small, large)
	}
}

// Slabs cover every row once, hold whole rows within the limit, and shrink towards the end, so that the last ones keep
// no worker waiting for long.
func TestSlabsShrink(t *testing.T) {
	r := &run{Options: Options{Workers: 4}, files: []io.WriterAt{newBuffer(0)}}
	r.defaults()
	for _, shape := range [][]int64{{5000, 4096}, {3, 4 << 20}, {100000, 7}, {0, 5}} {
		job := Job{Name: "t", Source: view.Zeros("t", safetensors.BF16, shape), To: []Target{{Type: gguf.F16}}}
		if err := r.add(&job); err != nil {
			t.Fatal(err)
		}
	}
	covered, left := map[*task]int64{}, r.left
	for {
		s, ok := r.next()
		if !ok {
			break
		}
		n := (s.hi - s.lo) * s.rowLen
		if s.lo != covered[s.task] || s.hi <= s.lo || s.hi > s.rows {
			t.Fatalf("rows %d to %d after %d of %d", s.lo, s.hi, covered[s.task], s.rows)
		}
		if limit := max(s.rowLen, min(DefaultSlab, max(minSlab, left/12))); n > limit {
			t.Errorf("a slab of %d elements with %d left, the limit is %d", n, left, limit)
		}
		covered[s.task], left = s.hi, left-n
	}
	if left != 0 || r.left != 0 {
		t.Errorf("%d elements left", left)
	}
}
