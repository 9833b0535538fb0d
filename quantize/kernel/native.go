package kernel

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"quern/convert/gguf"
	"quern/quantize/kernel/lanes"
)

// Native quantizes with the bits of llama.cpp's plain x86-64 build on every platform: with vector code where the machine has a
// set for it, in scalar Go elsewhere. It needs no library. The zero value is not usable; see New.
type Native struct {
	set    *lanes.Set // nil: scalar
	vector scratch
	scalar scratch
	proofs [64]proof // by type; all of them are below 64
}

// scratch has the memory that goroutines work in.
type scratch struct {
	supers, smalls sync.Pool // *batch, *smallBatch
}

func (s *scratch) prepare(set *lanes.Set) {
	s.supers.New = func() any { return newBatch(set) }
	s.smalls.New = func() any { return &smallBatch{set: set} }
}

// New makes the kernel of a name: "avx512", "avx2", "neon", "go", or "auto" for the widest that the machine runs.
func New(name string) (*Native, error) {
	sets := lanes.Sets()
	var set *lanes.Set
	switch i := slices.IndexFunc(sets, func(s *lanes.Set) bool { return s.Name == name }); {
	case i >= 0:
		set = sets[i]
	case name == "auto" && len(sets) > 0:
		set = sets[0]
	case name != "auto" && name != "go":
		return nil, fmt.Errorf("kernel %q: this machine has %s", name, strings.Join(Names(), ", "))
	}
	return native(set), nil
}

// Go is the kernel without vector code.
func Go() *Native { return native(nil) }

func native(set *lanes.Set) *Native {
	k := &Native{set: set}
	k.vector.prepare(set)
	k.scalar.prepare(nil)
	return k
}

// Names are the kernels that this machine can run, the fastest first; the last one is "go".
func Names() (names []string) {
	for _, s := range lanes.Sets() {
		names = append(names, s.Name)
	}
	return append(names, "go")
}

// Name is the name of the instruction set, or "go".
func (k *Native) Name() string {
	if k.set == nil {
		return "go"
	}
	return k.set.Name
}

// Supports is true for the types of Types.
func (k *Native) Supports(t gguf.Type) bool { return widen[t] != nil }

// Types are the types that Native writes and widens, in order: all of llama.cpp's but those that search a grid, and a few rare
// ones.
func Types() []gguf.Type { return slices.Sorted(maps.Keys(widen)) }

// Quantize writes rows of rowLen values as blocks.
func (k *Native) Quantize(dst []byte, src []float32, t gguf.Type, rowLen int, importance []float32) error {
	switch {
	case !k.Supports(t):
		return fmt.Errorf("quantize: kernel %s does not write type %s", k.Name(), t)
	case rowLen <= 0 || int64(rowLen)%t.Block() != 0 || len(src)%rowLen != 0:
		return fmt.Errorf("quantize %s: %d values are no rows of %d values in blocks of %d", t, len(src), rowLen, t.Block())
	case int64(len(dst)) != t.RowBytes(int64(len(src))):
		return fmt.Errorf("quantize %s: the destination has %d bytes, %d values need %d", t, len(dst), len(src), t.RowBytes(int64(len(src))))
	case importance != nil && len(importance) != rowLen:
		return fmt.Errorf("quantize %s: %d importance weights for rows of %d", t, len(importance), rowLen)
	}
	k.run(dst, src, t, rowLen, importance, k.set != nil && k.sound(t))
	return nil
}

// run quantizes what Quantize has checked.
func (k *Native) run(dst []byte, src []float32, t gguf.Type, rowLen int, importance []float32, vector bool) {
	// these have nothing to search, and importance does not matter to them
	switch t {
	case gguf.Q8_0:
		quantizeQ8_0(dst, src)
		return
	case gguf.TQ1_0:
		quantizeTQ1_0(dst, src)
		return
	case gguf.TQ2_0:
		quantizeTQ2_0(dst, src)
		return
	case gguf.MXFP4:
		quantizeMXFP4(dst, src)
		return
	}
	// memory is borrowed, not allocated: a slab has thousands of rows, and each worker calls for its own
	memory := &k.scalar
	if vector {
		memory = &k.vector
	}
	if f := superFormats[t]; f != nil {
		b := memory.supers.Get().(*batch)
		b.quantize(f, dst, src, rowLen, importance)
		memory.supers.Put(b)
		return
	}
	b := memory.smalls.Get().(*smallBatch)
	switch t {
	case gguf.IQ4NL:
		b.quantizeIQ4NL(dst, src, rowLen, importance)
	case gguf.IQ4XS:
		b.quantizeIQ4XS(dst, src, rowLen, importance)
	default:
		b.quantizeSmall(smallFormats[t], dst, src, rowLen, importance)
	}
	memory.smalls.Put(b)
}

// Dequantize widens whole blocks of a type that Native writes.
func (k *Native) Dequantize(dst []float32, src []byte, t gguf.Type) error {
	block := widen[t]
	if block == nil {
		return fmt.Errorf("dequantize: kernel %s does not widen type %s", k.Name(), t)
	}
	if int64(len(dst))%t.Block() != 0 || t.RowBytes(int64(len(dst))) != int64(len(src)) {
		return fmt.Errorf("dequantize %s: %d bytes do not hold %d values", t, len(src), len(dst))
	}
	values, bytes := int(t.Block()), int(t.BlockBytes())
	for len(dst) > 0 {
		block(dst[:values], src[:bytes])
		dst, src = dst[values:], src[bytes:]
	}
	return nil
}
