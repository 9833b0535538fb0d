package worker

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"github.com/ebitengine/purego"

	"quern/quantize/imatrix"
	"quern/quantize/llamacpp"
	"quern/quantize/llamacpp/capi"
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
)

// title is the weight's name in the file.
func (t *tensor) title() string {
	n := slices.Index(t.name[:], 0)
	if n < 0 {
		n = len(t.name)
	}
	return imatrix.TensorName(string(t.name[:n]))
}

// collector hands the inputs of matrix multiplications to an accumulator. ggml calls it from the thread that evaluates,
// between nodes.
type collector struct {
	lib     *capi.Library
	output  bool // also output.weight
	sums    *imatrix.Accumulator
	scratch []byte
	ids     []byte
	err     error // the first fault; nothing is collected after it
}

// observe is ggml_backend_sched_eval_callback: with ask it says whether the result of t is wanted, without it collects
// and says whether to go on.
func (c *collector) observe(t *tensor, ask bool) bool {
	if c.err != nil || t == nil {
		return !ask
	}
	if ask {
		return c.wants(t)
	}
	c.err = c.collect(t)
	return c.err == nil
}

// wants keeps the scheduler from splitting the graph after nodes that nobody looks at.
func (c *collector) wants(t *tensor) bool {
	if t.op != opMulMat && t.op != opMulMatID {
		return false
	}
	in := t.src[1]
	return imatrix.Wants(t.src[0].title(), t.op == opMulMatID, in.ne[1], in.kind == typeF32, c.output)
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
	if c.lib.BufferIsHost(t.buffer) {
		return t.data
	}
	return unsafe.Pointer(unsafe.SliceData(c.fetch(t, scratch)))
}

// fetch copies a tensor from wherever it lies into memory that is used again.
func (c *collector) fetch(t *tensor, scratch *[]byte) []byte {
	n := c.lib.TensorBytes(unsafe.Pointer(t))
	*scratch = slices.Grow((*scratch)[:0], int(n))[:n]
	c.lib.ReadTensor(unsafe.Pointer(t), unsafe.SliceData(*scratch), 0, n)
	return *scratch
}

// row is n values at an offset, in llama.cpp's memory.
func row(data unsafe.Pointer, offset uint64, n int64) []float32 {
	return unsafe.Slice((*float32)(unsafe.Add(data, offset)), n)
}

// collectDense adds the rows that an ordinary weight met. Activations with more matrices than the weight share its
// matrices in turn, as the multiplication itself does.
func (c *collector) collectDense(weight, in *tensor, data unsafe.Pointer) error {
	name, matrices := weight.title(), weight.ne[2]*weight.ne[3]
	for i3 := range in.ne[3] {
		for i2 := range in.ne[2] {
			id := (i3%weight.ne[3])*weight.ne[2] + i2%weight.ne[2]
			at := uint64(i2)*in.nb[2] + uint64(i3)*in.nb[3]
			if in.nb[1] == 4*uint64(in.ne[0]) { // rows follow one another
				if err := c.sums.Add(name, row(data, at, in.ne[0]*in.ne[1]), int(in.ne[0]), int(id), int(matrices)); err != nil {
					return err
				}
				continue
			}
			for r := range in.ne[1] {
				if err := c.sums.Add(name, row(data, at+uint64(r)*in.nb[1], in.ne[0]), int(in.ne[0]), int(id), int(matrices)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// collectExperts follows the routing: ids is [experts used, tokens], the input [width, experts used or 1, tokens].
func (c *collector) collectExperts(weight, in, ids *tensor, data unsafe.Pointer) error {
	name, experts := weight.title(), weight.ne[2]
	if ids.ne[1] != in.ne[2] || in.ne[3] != 1 {
		return fmt.Errorf("%s: %d routed tokens for an input of %v", name, ids.ne[1], in.ne)
	}
	chosen := c.fetch(ids, &c.ids) // always copied: it is small and its rows need not be adjacent
	for slot := range ids.ne[0] {
		for token := range in.ne[2] {
			at := uint64(token)*ids.nb[1] + uint64(slot)*ids.nb[0]
			ex := *(*int32)(unsafe.Pointer(&chosen[at]))
			x := row(data, uint64(slot%in.ne[1])*in.nb[1]+uint64(token)*in.nb[2], in.ne[0])
			if err := c.sums.AddExpert(name, x, int(in.ne[0]), int(ex), int(experts)); err != nil {
				return err
			}
		}
	}
	return nil
}

// theCollector is the one that observes now: C callbacks cannot be freed, so there is a single one.
var (
	theCollector *collector
	theCallback  uintptr
)

// observer is the C function that calls the collector at work.
func observer() uintptr {
	if theCallback == 0 {
		theCallback = purego.NewCallback(func(t *tensor, ask uintptr, _ uintptr) uintptr {
			if theCollector != nil && theCollector.observe(t, ask&0xff != 0) {
				return 1
			}
			return 0
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
	sums, err := imatrix.NewAccumulator(int64(t.length), nil)
	if err != nil {
		return nil, err
	}
	m.freeContext()
	theCollector = &collector{lib: s.lib, output: a.Output, sums: sums}
	defer func() { theCollector = nil }()
	ctx, err := s.context(m, contextKey{ContextOptions: t.options(a.ContextOptions), observer: observer()})
	if err != nil {
		return nil, err
	}
	defer m.freeContext() // nothing else may run with the observer
	return s.collectAll(m, ctx, t, theCollector)
}

// collectAll evaluates the text and sends the sums, weight by weight, so that no message holds them all.
func (s *session) collectAll(m *model, ctx capi.Context, t *text, c *collector) (any, error) {
	var l likelihood
	for first := 0; first < t.chunks; first += t.seqs {
		err := s.group(m, ctx, t, first, func(outs []output) error {
			l.addAll(t.predicted(outs))
			return nil
		})
		if err = errors.Join(c.err, err); err != nil {
			return nil, err
		}
		s.progress(min(first+t.seqs, t.chunks), t.chunks)
	}
	done := llamacpp.ImatrixDone{Perplexity: l.result()}
	done.Perplexity.Chunks = t.chunks
	for _, e := range c.sums.Matrix().Entries {
		if err := s.floats(e.Sums); err != nil {
			return nil, err
		}
		done.Entries = append(done.Entries, llamacpp.ImatrixEntry{Name: e.Name, Counts: e.Counts, Values: len(e.Sums)})
	}
	return done, nil
}
