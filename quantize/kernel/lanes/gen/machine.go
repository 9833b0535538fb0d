package main

// vec is a vector register of float32 lanes, mask a truth value per lane, gp a general register: numbers that a machine
// maps to registers of its own.
type (
	vec  int
	mask int
	gp   int
)

// mem is the address base + off, or base + index + off where there is an index. All are bytes.
type mem struct {
	base  gp
	off   int
	index *gp
}

// input is a vec or a mem: machines that cannot compute on memory load it first.
type input = any

// param is a parameter of a kernel; kind is its Go type.
type param struct{ name, kind string }

type op int

const (
	add op = iota
	sub
	mul
	div
	atMost  // the smaller one; which of two zeros, and what of a NaN, is the machine's affair
	atLeast // the larger one, likewise
	and     // of bits
	or
)

type predicate int

const (
	less predicate = iota // ordered: false for a NaN
	greater
	equal
	differs   // unordered: true for a NaN
	notLess   // unordered
	notAtMost // not (a <= b): unordered
	notAtLeast
)

// machine writes one instruction set. Kernels are described once against it; each lane does the scalar operations in the
// scalar order, so all machines give the same bits. No machine may fuse a product with a sum.
type machine interface {
	// lanes is the number of float32 in a vector.
	lanes() int
	// begin opens a kernel; arg loads a parameter; end returns from the kernel and closes it.
	begin(name, doc string, params ...param)
	arg(name string) gp
	end()

	binary(o op, a vec, b input) vec
	// update is d = d o b.
	update(o op, d vec, b input)
	load(m mem) vec
	store(v vec, m mem)
	// broadcast fills a vector with the float at m.
	broadcast(m mem) vec
	// constant is a vector of one float, given by its bits; it may live in memory.
	constant(bits uint32) input
	// value brings an input into a register.
	value(v input) vec
	zero() vec
	copyOf(v vec) vec
	round(v vec) vec // to the nearest integer, ties to even
	sqrt(v vec) vec
	abs(v vec) vec
	// nearest is the reference's rounding by adding 1.5*2^23 and reading the low 23 bits, for any float, as a float.
	nearest(v vec) vec
	// lower is d = v < d ? v : d, upper is d = v > d ? v : d: a NaN in v changes nothing.
	lower(d vec, v vec)
	upper(d vec, v vec)

	compare(p predicate, a vec, b input) mask
	both(a, b mask) mask
	either(a, b mask) mask
	// join is d = d or m.
	join(d, m mask)
	// pick is d = m ? t : d.
	pick(d vec, m mask, t vec)
	// keep is v where m, else 0; drop is 0 where m, else v.
	keep(m mask, v vec) vec
	drop(m mask, v vec) vec
	// without is a and not b.
	without(a, b mask) mask
	none() mask
	storeMask(m mask, to mem)
	loadMask(from mem) mask
	// table16 is, lane by lane, values[number of bounds that are not above v]: 16 ascending values, 15 ascending bounds.
	// The tables are prepared by tables16, once in a kernel.
	tables16(bounds [15]float32, values [16]float32)
	table16(v vec) vec

	label(name string)
	jumpIfNone(m mask, label string)
	// countdown subtracts 1 and jumps unless that gave 0.
	countdown(r gp, label string)
	// advance is p += bytes, addressOf a new pointer, number a new register with a constant, indexBelow jumps if i < n.
	advance(p gp, bytes int)
	addressOf(m mem) gp
	number(n int) gp
	set(r gp, n int)
	shift(r gp, left int) // r <<= left, or >>= -left
	subtractJump(r, by gp, label string)
	indexBelow(i, n gp, label string)
}

// kernel is a machine with the shorthands that make descriptions readable.
type kernel struct {
	machine
	bytes int // of a vector
}

func (k kernel) add(a vec, b input) vec { return k.binary(add, a, b) }
func (k kernel) sub(a vec, b input) vec { return k.binary(sub, a, b) }
func (k kernel) mul(a vec, b input) vec { return k.binary(mul, a, b) }
func (k kernel) div(a vec, b input) vec { return k.binary(div, a, b) }
func (k kernel) min(a vec, b input) vec { return k.binary(atMost, a, b) }
func (k kernel) max(a vec, b input) vec { return k.binary(atLeast, a, b) }

// sum is d += b.
func (k kernel) sum(d vec, b input) { k.update(add, d, b) }

// choose is m ? t : f.
func (k kernel) choose(m mask, t, f vec) vec {
	d := k.copyOf(f)
	k.pick(d, m, t)
	return d
}

// row addresses vector i of a tile.
func (k kernel) row(p gp, i int) mem { return mem{base: p, off: i * k.bytes} }

// notFinite marks lanes whose magnitude is infinite or NaN. Float32 tests of the lanes' own arithmetic are enough.
func (k kernel) notFinite(v vec) mask { return k.compare(notAtMost, k.abs(v), k.constant(largestBits)) }

// Bits of the constants.
const (
	limitBits   = 0x4a7ffffc // 4194303: nearest is the float rounding up to here
	largestBits = 0x7f7fffff // the largest finite float32
	tinyBits    = 0x26901d7d // 1e-15, below which the reference takes a group for zero
	oneBits     = 0x3f800000
	over32Bits  = 0x3d000000 // 1/32, a power of two: a product with it is the quotient
)
