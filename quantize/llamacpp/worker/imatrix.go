package worker

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"
	"github.com/hybridgroup/yzma/pkg/llama"

	"quern/quantize/llamacpp"
)

// tensor is struct ggml_tensor of the pinned release (ggml.h).
type tensor struct {
	kind   int32
	_      int32
	buffer uintptr
	ne     [4]int64
	nb     [4]uint64
	op     int32
	params [16]int32
	flags  int32
	src    [10]*tensor
	view   *tensor
	offset uint64
	data   unsafe.Pointer
	name   [64]byte
}

// Values of enum ggml_op and ggml_type in the pinned release.
const (
	opMulMat   = 29
	opMulMatID = 30
	typeF32    = 0
	// minRows is the smallest batch whose activations count; the reference ignores shorter ones.
	minRows = 16
)

func (t *tensor) title() string {
	n := slices.Index(t.name[:], 0)
	if n < 0 {
		n = len(t.name)
	}
	return weightName(string(t.name[:n]))
}

// weightName takes the scheduler's marks off a copy's name: "CUDA0#blk.0.attn_k.weight#0" is blk.0.attn_k.weight.
func weightName(name string) string {
	if _, rest, ok := strings.Cut(name, "#"); ok {
		name, _, _ = strings.Cut(rest, "#")
	}
	return name
}

// collector sums squared inputs of matrix multiplications. ggml calls it from the thread that evaluates, between nodes.
type collector struct {
	b       *binding
	output  bool
	entries map[string]*llamacpp.Activations
	scratch []byte
	ids     []byte
	err     error // the first fault; nothing is collected after it
}

// observe is ggml_backend_sched_eval_callback: with ask it says whether the result of t is wanted, without it collects.
func (c *collector) observe(t *tensor, ask bool) bool {
	if c.err != nil || t == nil {
		return !ask
	}
	if ask {
		return c.wants(t)
	}
	if c.err = c.collect(t); c.err != nil {
		return false
	}
	return true
}

func (c *collector) wants(t *tensor) bool {
	switch t.op {
	case opMulMatID:
		return true
	case opMulMat:
		in := t.src[1]
		name := t.src[0].title()
		return in.ne[1] >= minRows && in.kind == typeF32 && (strings.HasPrefix(name, "blk.") || c.output && name == "output.weight")
	}
	return false
}

func (c *collector) collect(t *tensor) error {
	weight, in := t.src[0], t.src[1]
	if in.kind != typeF32 || in.nb[0] != 4 {
		return fmt.Errorf("%s: its input is not float32", weight.title())
	}
	data := c.hostData(in, &c.scratch)
	if t.op == opMulMatID {
		return c.collectExperts(weight, in, t.src[2], data)
	}
	return c.collectDense(weight, in, data)
}

// hostData is the tensor's memory, or a copy of it where it lies on a device.
func (c *collector) hostData(t *tensor, scratch *[]byte) unsafe.Pointer {
	host, _, _ := purego.SyscallN(c.b.bufferIsHost, t.buffer)
	if host&0xff != 0 {
		return t.data
	}
	return unsafe.Pointer(unsafe.SliceData(c.fetch(t, scratch)))
}

func (c *collector) fetch(t *tensor, scratch *[]byte) []byte {
	n, _, _ := purego.SyscallN(c.b.tensorBytes, uintptr(unsafe.Pointer(t)))
	*scratch = slices.Grow((*scratch)[:0], int(n))[:n]
	purego.SyscallN(c.b.tensorGet, uintptr(unsafe.Pointer(t)), uintptr(unsafe.Pointer(unsafe.SliceData(*scratch))), 0, n)
	return *scratch
}

func (c *collector) entry(name string, width int64, matrices, counts int64) (*llamacpp.Activations, error) {
	e := c.entries[name]
	if e == nil {
		e = &llamacpp.Activations{Name: name, Width: int(width), Counts: make([]int64, counts), Sums: make([]float32, width*matrices)}
		c.entries[name] = e
	}
	if int64(len(e.Sums)) != width*matrices || int64(len(e.Counts)) != counts {
		return nil, fmt.Errorf("%s: inputs of %d x %d after inputs of %d sums and %d counts", name, width, matrices, len(e.Sums), len(e.Counts))
	}
	return e, nil
}

func row(data unsafe.Pointer, offset uint64, n int64) []float32 {
	return unsafe.Slice((*float32)(unsafe.Add(data, offset)), n)
}

func addSquares(sums, x []float32) {
	for j, v := range x {
		sums[j] = float32(v*v) + sums[j] // two roundings, as the reference's build without fused operations
	}
}

func (c *collector) collectDense(weight, in *tensor, data unsafe.Pointer) error {
	matrices := weight.ne[2] * weight.ne[3]
	e, err := c.entry(weight.title(), in.ne[0], matrices, 1)
	if err != nil {
		return err
	}
	for i3 := range in.ne[3] {
		for i2 := range in.ne[2] {
			id := (i3%weight.ne[3])*weight.ne[2] + i2%weight.ne[2]
			sums := e.Sums[id*in.ne[0]:][:in.ne[0]]
			for r := range in.ne[1] {
				addSquares(sums, row(data, uint64(r)*in.nb[1]+uint64(i2)*in.nb[2]+uint64(i3)*in.nb[3], in.ne[0]))
			}
		}
	}
	e.Counts[0] += in.ne[1] * in.ne[2] * in.ne[3] / matrices
	return finite(e)
}

// collectExperts follows the routing: ids is [experts used, tokens], the input [width, experts used or 1, tokens].
func (c *collector) collectExperts(weight, in, ids *tensor, data unsafe.Pointer) error {
	experts := weight.ne[2]
	e, err := c.entry(weight.title(), in.ne[0], experts, experts)
	if err != nil {
		return err
	}
	if ids.ne[1] != in.ne[2] || in.ne[3] != 1 {
		return fmt.Errorf("%s: %d routed tokens for an input of %v", weight.title(), ids.ne[1], in.ne)
	}
	chosen := c.fetch(ids, &c.ids) // always copied: it is small and its rows need not be adjacent
	for slot := range ids.ne[0] {
		for token := range in.ne[2] {
			at := uint64(token)*ids.nb[1] + uint64(slot)*ids.nb[0]
			ex := int64(*(*int32)(unsafe.Pointer(&chosen[at])))
			if ex < 0 || ex >= experts {
				return fmt.Errorf("%s: routed to expert %d of %d", weight.title(), ex, experts)
			}
			e.Counts[ex]++
			addSquares(e.Sums[ex*in.ne[0]:][:in.ne[0]], row(data, uint64(slot%in.ne[1])*in.nb[1]+uint64(token)*in.nb[2], in.ne[0]))
		}
	}
	return finite(e)
}

func finite(e *llamacpp.Activations) error {
	for i, v := range e.Sums {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return fmt.Errorf("%s: the sum of input %d is %v", e.Name, i, v)
		}
	}
	return nil
}

// theCollector is the one that observes now: C callbacks cannot be freed, so there is a single one.
var (
	theCollector *collector
	theCallback  uintptr
)

func observer() uintptr {
	if theCallback == 0 {
		theCallback = purego.NewCallback(func(t *tensor, ask uintptr, _ uintptr) uintptr {
			return boolArg(theCollector != nil && theCollector.observe(t, ask&0xff != 0))
		})
	}
	return theCallback
}

// imatrix evaluates a text and sends the sums of every weight that was multiplied with.
func (s *session) imatrix(a llamacpp.ImatrixArgs) (any, error) {
	m, err := s.slot(a.Slot)
	if err != nil {
		return nil, err
	}
	// Every position is an output, so that the last layer sees all of them.
	t, err := newText(m, a.Tokens, a.ContextOptions, a.Chunks, 0)
	if err != nil {
		return nil, err
	}
	theCollector = &collector{b: s.lib, output: a.Output, entries: make(map[string]*llamacpp.Activations)}
	defer func() { theCollector = nil }()
	m.freeContext()
	ctx, err := s.context(m, contextKey{ContextOptions: t.options(a.ContextOptions), observer: observer()})
	if err != nil {
		return nil, err
	}
	defer m.freeContext() // nothing else may run with the observer
	return s.collectAll(m, ctx, t)
}

func (s *session) collectAll(m *model, ctx llama.Context, t *text) (any, error) {
	var l likelihood
	for first := 0; first < t.chunks; first += t.seqs {
		err := s.group(m, ctx, t, first, func(outs []output) error {
			l.addAll(t.predicted(outs))
			return nil
		})
		if err = errors.Join(theCollector.err, err); err != nil {
			return nil, err
		}
		s.progress(min(first+t.seqs, t.chunks), t.chunks)
	}
	done := llamacpp.ImatrixDone{Chunks: t.chunks, Perplexity: l.result()}
	done.Perplexity.Chunks = t.chunks
	names := make([]string, 0, len(theCollector.entries))
	for n := range theCollector.entries {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		e := theCollector.entries[n]
		if err := s.floats(e.Sums); err != nil {
			return nil, err
		}
		done.Entries = append(done.Entries, llamacpp.ActivationEntry{Activations: *e, Values: len(e.Sums)})
	}
	return done, nil
}
