package main

import (
	"fmt"
	"strings"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/gotypes"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// x86 writes AVX2 (8 lanes, masks are vectors) or AVX-512 (16 lanes, masks are opmask registers) through avo, which
// assigns the registers.
type x86 struct {
	*build.Context
	wide   bool
	suffix string
	vecs   []reg.VecVirtual
	masks  []reg.Register
	gps    []reg.GPVirtual
	consts map[string]operand.Mem
	tables map[string]operand.Mem
}

func newX86(wide bool) *x86 {
	m := &x86{Context: build.NewContext(), wide: wide, suffix: "AVX2", consts: map[string]operand.Mem{}}
	if wide {
		m.suffix = "AVX512"
	}
	m.ConstraintExpr("!purego")
	return m
}

func (m *x86) lanes() int {
	if m.wide {
		return 16
	}
	return 8
}

// begin opens a kernel. NOSPLIT: it calls nothing and has no frame, so there is no stack to grow.
func (m *x86) begin(name, doc string, params ...param) {
	var list []string
	for _, p := range params {
		list = append(list, p.name+" "+p.kind)
	}
	m.Function(name + m.suffix)
	m.Attributes(attr.NOSPLIT)
	m.Doc(name + m.suffix + " " + doc)
	sig, err := gotypes.ParseSignature("func(" + strings.Join(list, ", ") + ")")
	if err != nil {
		panic(err)
	}
	m.Signature(sig)
	m.tables = nil // registers that hold tables end with their kernel
}

func (m *x86) end() {
	m.VZEROUPPER() // SSE code after dirty upper halves runs several times slower
	m.RET()
}

func (m *x86) arg(name string) gp {
	r := m.GP64()
	m.Load(m.Param(name), r)
	return m.addGP(r.(reg.GPVirtual))
}

func (m *x86) addGP(r reg.GPVirtual) gp { m.gps = append(m.gps, r); return gp(len(m.gps) - 1) }

func (m *x86) newVec() (vec, reg.VecVirtual) {
	var r reg.VecVirtual
	if m.wide {
		r = m.ZMM()
	} else {
		r = m.YMM()
	}
	m.vecs = append(m.vecs, r)
	return vec(len(m.vecs) - 1), r
}

func (m *x86) newMask() (mask, reg.Register) {
	var r reg.Register
	if m.wide {
		r = m.K()
	} else {
		r = m.YMM()
	}
	m.masks = append(m.masks, r)
	return mask(len(m.masks) - 1), r
}

// The description speaks of numbered values, avo of registers that it will assign: these find one by the other.

func (m *x86) mem(a mem) operand.Mem {
	r := operand.Mem{Base: m.gps[a.base], Disp: a.off}
	if a.index != nil {
		r.Index, r.Scale = m.gps[*a.index], 1
	}
	return r
}

func (m *x86) op(o any) operand.Op {
	switch v := o.(type) {
	case mem:
		return m.mem(v)
	case vec:
		return m.vecs[v]
	case operand.Mem:
		return v
	}
	panic(fmt.Sprintf("operand %T", o))
}

// emit is one operation. avo names operands in the order of Go's assembler, the second source first: sub and div depend on it.
// There is no fused form: each product is rounded before it meets a sum, as in the reference.
func (m *x86) emit(o op, b, a, d operand.Op) {
	switch o {
	case add:
		m.VADDPS(b, a, d)
	case sub:
		m.VSUBPS(b, a, d)
	case mul:
		m.VMULPS(b, a, d)
	case div:
		m.VDIVPS(b, a, d)
	case atMost:
		m.VMINPS(b, a, d)
	case atLeast:
		m.VMAXPS(b, a, d)
	case and:
		m.VANDPS(b, a, d)
	case or:
		m.VORPS(b, a, d)
	}
}

func (m *x86) binary(o op, a vec, b any) vec {
	d, r := m.newVec()
	m.emit(o, m.op(b), m.vecs[a], r)
	return d
}

func (m *x86) update(o op, d vec, b any) { m.emit(o, m.op(b), m.vecs[d], m.vecs[d]) }

func (m *x86) load(a mem) vec {
	d, r := m.newVec()
	m.VMOVUPS(m.mem(a), r)
	return d
}

func (m *x86) store(v vec, a mem) { m.VMOVUPS(m.vecs[v], m.mem(a)) }

func (m *x86) broadcast(a mem) vec {
	d, r := m.newVec()
	m.VBROADCASTSS(m.mem(a), r)
	return d
}

// constant is an operand in memory: all lanes of it, since AVX2 has no broadcast as part of an operation.
func (m *x86) constant(bits uint32) any {
	words := make([]uint32, m.lanes())
	for i := range words {
		words[i] = bits
	}
	return m.data(fmt.Sprintf("c%08x%s", bits, m.suffix), words)
}

// data is read-only memory with these words, once in a file.
func (m *x86) data(name string, words []uint32) operand.Mem {
	if g, ok := m.consts[name]; ok {
		return g
	}
	g := m.StaticGlobal(name)
	m.DataAttributes(attr.RODATA | attr.NOPTR)
	for i, w := range words {
		m.AddDatum(4*i, operand.U32(w))
	}
	m.consts[name] = g
	return g
}

func (m *x86) value(v any) vec {
	if r, ok := v.(vec); ok {
		return r
	}
	d, r := m.newVec()
	m.VMOVUPS(m.op(v), r)
	return d
}

// zero is a new register, since sums start from it and change it.
func (m *x86) zero() vec {
	d, r := m.newVec()
	m.VXORPS(r, r, r)
	return d
}

func (m *x86) copyOf(v vec) vec {
	d, r := m.newVec()
	m.VMOVAPS(m.vecs[v], r)
	return d
}

// round goes to even, the immediate 0: where the scalar code adds 1.5*2^23 and takes the low bits, up to 4194303 the same.
func (m *x86) round(v vec) vec {
	d, r := m.newVec()
	if m.wide {
		m.VRNDSCALEPS(operand.U8(0), m.vecs[v], r)
	} else {
		m.VROUNDPS(operand.U8(0), m.vecs[v], r)
	}
	return d
}

func (m *x86) sqrt(v vec) vec {
	d, r := m.newVec()
	m.VSQRTPS(m.vecs[v], r)
	return d
}

func (m *x86) abs(v vec) vec { return m.binary(and, v, m.constant(0x7fffffff)) }

// nearest is the scalar code's rounding, with its wrapping beyond 4194303.
func (m *x86) nearest(v vec) vec {
	t := m.binary(add, v, m.constant(0x4b400000))
	mask, bias := m.op(m.constant(0x007fffff)), m.op(m.constant(0x00400000))
	d, r := m.newVec()
	if m.wide {
		m.VPANDD(mask, m.vecs[t], r)
	} else {
		m.VPAND(mask, m.vecs[t], r)
	}
	m.VPSUBD(bias, r, r)
	m.VCVTDQ2PS(r, r)
	return d
}

// VMINPS b, a, d is a < b ? a : b and gives b for a NaN: with the old value as b it is the scalar comparison.
func (m *x86) lower(d, v vec) { m.VMINPS(m.vecs[d], m.vecs[v], m.vecs[d]) }
func (m *x86) upper(d, v vec) { m.VMAXPS(m.vecs[d], m.vecs[v], m.vecs[d]) }

func (m *x86) compare(p predicate, a vec, b any) mask {
	// immediates of VCMPPS: ordered or unordered as the names of the predicates say, quiet where there is a choice
	imm := map[predicate]uint64{less: 17, greater: 30, equal: 0, differs: 4, notLess: 21, notAtMost: 22, notAtLeast: 25}[p]
	d, r := m.newMask()
	m.VCMPPS(operand.U8(imm), m.op(b), m.vecs[a], r)
	return d
}

func (m *x86) both(a, b mask) mask {
	d, r := m.newMask()
	if m.wide {
		m.KANDW(m.masks[b], m.masks[a], r)
	} else {
		m.VANDPS(m.masks[b], m.masks[a], r)
	}
	return d
}

func (m *x86) either(a, b mask) mask {
	d, r := m.newMask()
	if m.wide {
		m.KORW(m.masks[b], m.masks[a], r)
	} else {
		m.VORPS(m.masks[b], m.masks[a], r)
	}
	return d
}

func (m *x86) join(d, a mask) {
	if m.wide {
		m.KORW(m.masks[a], m.masks[d], m.masks[d])
	} else {
		m.VORPS(m.masks[a], m.masks[d], m.masks[d])
	}
}

// without is a and not b; of AND NOT the first operand is the one that is negated.
func (m *x86) without(a, b mask) mask {
	d, r := m.newMask()
	if m.wide {
		m.KANDNW(m.masks[a], m.masks[b], r)
	} else {
		m.VANDNPS(m.masks[a], m.masks[b], r)
	}
	return d
}

func (m *x86) none() mask {
	d, r := m.newMask()
	if m.wide {
		m.KXORW(r, r, r)
	} else {
		m.VXORPS(r, r, r)
	}
	return d
}

// pick replaces lanes of d, in place: d lives on over a loop's turns.
func (m *x86) pick(d vec, a mask, t vec) {
	if m.wide {
		m.VBLENDMPS(m.vecs[t], m.vecs[d], m.masks[a], m.vecs[d])
	} else {
		m.VBLENDVPS(m.masks[a], m.vecs[t], m.vecs[d], m.vecs[d])
	}
}

func (m *x86) keep(a mask, v vec) vec {
	d, r := m.newVec()
	if m.wide {
		m.VMOVAPS_Z(m.vecs[v], m.masks[a], r)
	} else {
		m.VANDPS(m.masks[a], m.vecs[v], r)
	}
	return d
}

func (m *x86) drop(a mask, v vec) vec {
	d, r := m.newVec()
	if m.wide {
		k := m.K()
		m.KNOTW(m.masks[a], k)
		m.VMOVAPS_Z(m.vecs[v], k, r)
	} else {
		m.VANDNPS(m.vecs[v], m.masks[a], r)
	}
	return d
}

// Masks go through memory as lanes of all ones, so that a state has one form and Go code can read it.

func (m *x86) storeMask(a mask, to mem) {
	if !m.wide {
		m.VMOVUPS(m.masks[a], m.mem(to))
		return
	}
	v := m.ZMM()
	m.VPMOVM2D(m.masks[a], v)
	m.VMOVUPS(v, m.mem(to))
}

func (m *x86) loadMask(from mem) mask {
	d, r := m.newMask()
	if !m.wide {
		m.VMOVUPS(m.mem(from), r)
		return d
	}
	v := m.ZMM()
	m.VMOVUPS(m.mem(from), v)
	m.VPMOVD2M(v, r)
	return d
}

func (m *x86) label(name string) { m.Label(name) }

func (m *x86) jumpIfNone(a mask, label string) {
	if m.wide {
		m.KORTESTW(m.masks[a], m.masks[a])
	} else {
		r := m.GP32()
		m.VMOVMSKPS(m.masks[a], r)
		m.TESTL(r, r)
	}
	m.JZ(operand.LabelRef(label))
}

// Loops count down to zero, which the processor tells without a comparison.

func (m *x86) countdown(r gp, label string) {
	m.DECQ(m.gps[r])
	m.JNZ(operand.LabelRef(label))
}

func (m *x86) advance(p gp, bytes int) { m.ADDQ(operand.U32(bytes), m.gps[p]) }

func (m *x86) addressOf(a mem) gp {
	r := m.GP64()
	m.LEAQ(m.mem(a), r)
	return m.addGP(r.(reg.GPVirtual))
}

func (m *x86) number(n int) gp {
	r := m.addGP(m.GP64().(reg.GPVirtual))
	m.set(r, n)
	return r
}

func (m *x86) set(r gp, n int) { m.MOVQ(operand.U32(n), m.gps[r]) }

func (m *x86) shift(r gp, left int) {
	if left < 0 {
		m.SHRQ(operand.U8(-left), m.gps[r])
	} else {
		m.SHLQ(operand.U8(left), m.gps[r])
	}
}

func (m *x86) subtractJump(r, by gp, label string) {
	m.SUBQ(m.gps[by], m.gps[r])
	m.JNZ(operand.LabelRef(label))
}

func (m *x86) indexBelow(i, n gp, label string) {
	m.CMPQ(m.gps[i], m.gps[n])
	m.JL(operand.LabelRef(label))
}
