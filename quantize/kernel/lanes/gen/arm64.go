package main

import (
	"fmt"
	"strings"
)

// arm64 writes NEON: 4 lanes, masks are vectors. Go's assembler lacks most vector floating-point instructions before 1.27, so
// they are written as words, each with its meaning beside it. Registers are assigned at the end of a kernel (registers.go).
type arm64 struct {
	out   strings.Builder // finished kernels
	stubs strings.Builder

	name    string
	offsets map[string]int // of the parameters
	size    int            // of the parameters together
	code    []instruction
	vectors int // virtual vector registers in use
	nextGP  int
	fixed   map[vec]int // virtual registers with a register of their own, for tables

	table struct {
		half, lane, d3, d1 vec
		step               [4]vec
	}
}

// instruction is one line of assembly: text with register numbers to come, or a word.
type instruction struct {
	text     string // Go assembly, for everything but vectors
	word     uint32
	what     string // the mnemonic and operands with %d for each of regs
	regs     []vec  // in the order of what
	shifts   []int  // where each register's number goes in the word
	def, use []vec
	label    string // this is a label
	jump     string // label that control may go to
}

var gpNames = []string{"R0", "R1", "R2", "R3", "R4", "R5", "R6", "R7", "R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15", "R19", "R20", "R21", "R22", "R23"}

// scratchGP is for constants on their way into a vector. R16 to R18 and R25 up are left alone:
// the linker, the platform or Go's runtime use them.
const scratchGP = "R24"

func (m *arm64) lanes() int { return 4 }

func (m *arm64) begin(name, doc string, params ...param) {
	m.name, m.offsets, m.size, m.code, m.vectors, m.nextGP, m.fixed = name+"NEON", map[string]int{}, 0, nil, 0, 0, map[vec]int{}
	var list []string
	for _, p := range params {
		m.offsets[p.name] = m.size
		m.size += 8
		list = append(list, p.name+" "+p.kind)
	}
	fmt.Fprintf(&m.stubs, "\n// %s %s\nfunc %s(%s)\n", m.name, doc, m.name, strings.Join(list, ", "))
}

func (m *arm64) text(format string, a ...any) {
	m.code = append(m.code, instruction{text: fmt.Sprintf(format, a...)})
}

func (m *arm64) gp(r gp) string { return gpNames[r] }

func (m *arm64) newGP() gp { m.nextGP++; return gp(m.nextGP - 1) }

func (m *arm64) arg(name string) gp {
	r := m.newGP()
	m.text("MOVD %s+%d(FP), %s", name, m.offsets[name], m.gp(r))
	return r
}

// fresh is a virtual register; a real one is found when the kernel ends and all its uses are known.
func (m *arm64) fresh() vec { m.vectors++; return vec(m.vectors - 1) }

// emit adds a vector instruction d = what(a, b ...) with the usual places of the registers: d at 0, the first source at 5, the
// second at 16. Where d is also read (accumulating forms), reads is set.
func (m *arm64) emit(word uint32, what string, reads bool, d vec, sources ...vec) {
	i := instruction{word: word, what: what, regs: append([]vec{d}, sources...), shifts: []int{0, 5, 16}[:1+len(sources)], def: []vec{d}, use: sources}
	if reads {
		i.use = append([]vec{d}, sources...)
	}
	m.code = append(m.code, i)
}

func (m *arm64) three(word uint32, name, arrangement string, a, b vec) vec {
	d := m.fresh()
	m.emit(word, fmt.Sprintf("%s V%%d.%[2]s, V%%d.%[2]s, V%%d.%[2]s", name, arrangement), false, d, a, b)
	return d
}

func (m *arm64) two(word uint32, name, arrangement string, a vec) vec {
	d := m.fresh()
	m.emit(word, fmt.Sprintf("%s V%%d.%[2]s, V%%d.%[2]s", name, arrangement), false, d, a)
	return d
}

type encoding struct {
	word              uint32
	name, arrangement string
}

var arithmetic = map[op]encoding{
	add: {0x4e20d400, "FADD", "4S"}, sub: {0x4ea0d400, "FSUB", "4S"}, mul: {0x6e20dc00, "FMUL", "4S"}, div: {0x6e20fc00, "FDIV", "4S"},
	atMost: {0x4ea0f400, "FMIN", "4S"}, atLeast: {0x4e20f400, "FMAX", "4S"}, and: {0x4e201c00, "AND", "16B"}, or: {0x4ea01c00, "ORR", "16B"},
}

func (m *arm64) binary(o op, a vec, b input) vec {
	e := arithmetic[o]
	return m.three(e.word, e.name, e.arrangement, a, m.value(b))
}

func (m *arm64) update(o op, d vec, b input) {
	e := arithmetic[o]
	m.emit(e.word, fmt.Sprintf("%s V%%d.%[2]s, V%%d.%[2]s, V%%d.%[2]s", e.name, e.arrangement), false, d, d, m.value(b))
}

func (m *arm64) value(v input) vec {
	if a, ok := v.(mem); ok {
		return m.load(a)
	}
	return v.(vec)
}

// number16 is the number of a general register, by its name.
func number16(name string) uint32 {
	var n uint32
	fmt.Sscanf(name, "R%d", &n)
	return n
}

// access is a load or store of 16 bytes.
func (m *arm64) access(v vec, a mem, immediate, indexed uint32, name string, isLoad bool) {
	i := instruction{regs: []vec{v}, shifts: []int{0}, use: []vec{v}}
	if isLoad {
		i.def, i.use = i.use, nil
	}
	base := m.gp(a.base)
	if a.index == nil {
		if a.off < 0 || a.off%16 != 0 || a.off/16 > 4095 {
			panic(fmt.Sprintf("offset %d", a.off))
		}
		i.word, i.what = immediate|uint32(a.off/16)<<10|number16(base)<<5, fmt.Sprintf("%s Q%%d, [%s, #%d]", name, base, a.off)
	} else {
		index := m.gp(*a.index)
		i.word, i.what = indexed|number16(index)<<16|number16(base)<<5, fmt.Sprintf("%s Q%%d, [%s, %s]", name, base, index)
	}
	m.code = append(m.code, i)
}

func (m *arm64) load(a mem) vec {
	d := m.fresh()
	m.access(d, a, 0x3dc00000, 0x3ce06800, "LDR", true)
	return d
}

func (m *arm64) store(v vec, a mem) { m.access(v, a, 0x3d800000, 0x3ca06800, "STR", false) }

func (m *arm64) broadcast(a mem) vec {
	base := m.gp(a.base)
	if a.off != 0 {
		m.text("ADD $%d, %s, %s", a.off, base, scratchGP)
		base = scratchGP
	}
	d := m.fresh()
	m.code = append(m.code, instruction{word: 0x4d40c800 | number16(base)<<5, what: "LD1R {V%d.4S}, [" + base + "]", regs: []vec{d}, shifts: []int{0}, def: []vec{d}})
	return d
}

// constant is made from a general register each time: NEON has no operands in memory, and loading a table would take an address.
func (m *arm64) constant(bits uint32) input { return m.duplicate(bits, 0x4e040c00, "4S") }

func (m *arm64) duplicate(bits uint32, word uint32, arrangement string) vec {
	m.text("MOVD $%#x, %s", bits, scratchGP)
	d := m.fresh()
	m.code = append(m.code, instruction{word: word | number16(scratchGP)<<5, what: "DUP V%d." + arrangement + ", W" + scratchGP[1:], regs: []vec{d}, shifts: []int{0}, def: []vec{d}})
	return d
}

func (m *arm64) zero() vec {
	d := m.fresh()
	m.code = append(m.code, instruction{word: 0x4f000400, what: "MOVI V%d.4S, #0", regs: []vec{d}, shifts: []int{0}, def: []vec{d}})
	return d
}

func (m *arm64) copyOf(v vec) vec { return m.three(0x4ea01c00, "ORR", "16B", v, v) }
func (m *arm64) round(v vec) vec  { return m.two(0x4e218800, "FRINTN", "4S", v) }
func (m *arm64) sqrt(v vec) vec   { return m.two(0x6ea1f800, "FSQRT", "4S", v) }
func (m *arm64) abs(v vec) vec    { return m.two(0x4ea0f800, "FABS", "4S", v) }

func (m *arm64) nearest(v vec) vec { return m.two(0x4e21d800, "SCVTF", "4S", m.nearestInteger(v)) }

func (m *arm64) nearestInteger(v vec) vec {
	t := m.binary(add, v, m.constant(0x4b400000))
	t = m.binary(and, t, m.constant(0x007fffff))
	return m.three(0x6ea08400, "SUB", "4S", t, m.value(m.constant(0x00400000)))
}

// insert is d = m ? t : d.
func (m *arm64) insert(d vec, k, t vec) {
	m.emit(0x6ea01c00, "BIT V%d.16B, V%d.16B, V%d.16B", true, d, t, k)
}

func (m *arm64) greater(a, b vec) vec { return m.three(0x6ea0e400, "FCMGT", "4S", a, b) }
func (m *arm64) atLeast(a, b vec) vec { return m.three(0x6e20e400, "FCMGE", "4S", a, b) }
func (m *arm64) not(a vec) vec        { return m.two(0x6e205800, "NOT", "16B", a) }

// FMIN and FMAX give a NaN for a NaN; the scalar comparison keeps the old value, which a comparison and an insertion do.

func (m *arm64) lower(d, v vec) { m.insert(d, m.greater(d, v), v) }
func (m *arm64) upper(d, v vec) { m.insert(d, m.greater(v, d), v) }

func (m *arm64) compare(p predicate, a vec, b input) mask {
	// NEON compares for "greater" and "at least", false for a NaN: the predicates that are true for it are their opposites
	v := m.value(b)
	switch p {
	case less:
		return mask(m.greater(v, a))
	case greater:
		return mask(m.greater(a, v))
	case notLess:
		return mask(m.not(m.greater(v, a)))
	case notAtMost:
		return mask(m.not(m.atLeast(v, a)))
	case notAtLeast:
		return mask(m.not(m.atLeast(a, v)))
	}
	same := m.three(0x4e20e400, "FCMEQ", "4S", a, v)
	if p == differs {
		same = m.not(same)
	}
	return mask(same)
}

func (m *arm64) both(a, b mask) mask   { return mask(m.binary(and, vec(a), vec(b))) }
func (m *arm64) either(a, b mask) mask { return mask(m.binary(or, vec(a), vec(b))) }
func (m *arm64) join(d, a mask)        { m.update(or, vec(d), vec(a)) }
func (m *arm64) without(a, b mask) mask {
	return mask(m.three(0x4e601c00, "BIC", "16B", vec(a), vec(b)))
}
func (m *arm64) none() mask                { return mask(m.zero()) }
func (m *arm64) pick(d vec, a mask, t vec) { m.insert(d, vec(a), t) }
func (m *arm64) keep(a mask, v vec) vec    { return m.binary(and, v, vec(a)) }
func (m *arm64) drop(a mask, v vec) vec    { return m.three(0x4e601c00, "BIC", "16B", v, vec(a)) }
func (m *arm64) storeMask(a mask, to mem)  { m.store(vec(a), to) }
func (m *arm64) loadMask(from mem) mask    { return mask(m.load(from)) }
func (m *arm64) label(name string)         { m.code = append(m.code, instruction{label: name}) }
func (m *arm64) advance(p gp, bytes int)   { m.text("ADD $%d, %s, %[2]s", bytes, m.gp(p)) }
func (m *arm64) set(r gp, n int)           { m.text("MOVD $%d, %s", n, m.gp(r)) }

func (m *arm64) branch(jump, format string, a ...any) {
	m.code = append(m.code, instruction{text: fmt.Sprintf(format, a...), jump: jump})
}

func (m *arm64) jumpIfNone(a mask, label string) {
	// lanes are all ones or all zeros, so the largest says whether any is set
	s := m.two(0x6eb0a800, "UMAXV", "4S", vec(a))
	m.code[len(m.code)-1].what = "UMAXV S%d, V%d.4S"
	m.code = append(m.code, instruction{word: 0x1e260000 | number16(scratchGP), what: "FMOV W" + scratchGP[1:] + ", S%d", regs: []vec{s}, shifts: []int{5}, use: []vec{s}})
	m.branch(label, "CBZW %s, %s", scratchGP, label)
}

func (m *arm64) countdown(r gp, label string) {
	m.text("SUB $1, %s, %[1]s", m.gp(r))
	m.branch(label, "CBNZ %s, %s", m.gp(r), label)
}

func (m *arm64) addressOf(a mem) gp {
	r := m.newGP()
	m.text("ADD $%d, %s, %s", a.off, m.gp(a.base), m.gp(r))
	return r
}

func (m *arm64) number(n int) gp {
	r := m.newGP()
	m.set(r, n)
	return r
}

func (m *arm64) shift(r gp, left int) {
	if left < 0 {
		m.text("LSR $%d, %s, %[2]s", -left, m.gp(r))
	} else {
		m.text("LSL $%d, %s, %[2]s", left, m.gp(r))
	}
}

func (m *arm64) subtractJump(r, by gp, label string) {
	m.text("SUB %s, %s, %[2]s", m.gp(by), m.gp(r))
	m.branch(label, "CBNZ %s, %s", m.gp(r), label)
}

func (m *arm64) indexBelow(i, n gp, label string) {
	m.text("CMP %s, %s", m.gp(n), m.gp(i))
	m.branch(label, "BLT %s", label)
}
