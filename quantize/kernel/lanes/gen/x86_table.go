package main

import (
	"math"

	"github.com/mmcloughlin/avo/operand"
)

// A table look-up is a binary search with the bounds in permuted registers: four comparisons give four bits of the index.
// AVX2 compares into -1 or 0 and permutes by the low three bits of an index, so it counts downwards: entry (-k)&7 is that of k.
// AVX-512 adds under a mask and permutes 16 entries.

func (m *x86) tables16(bounds [15]float32, values [16]float32) {
	m.tables = map[string]operand.Mem{}
	put := func(name string, entry func(i int) float32) {
		words := make([]uint32, m.lanes())
		for i := range words {
			words[i] = math.Float32bits(entry(i))
		}
		m.tables[name] = m.data("t"+name+m.suffix, words)
	}
	put("half", func(int) float32 { return bounds[7] })
	if m.wide {
		put("quarter", func(i int) float32 { return bounds[(i+3)%15] })
		put("eighth", func(i int) float32 { return bounds[(i+1)%15] })
		put("last", func(i int) float32 { return bounds[i%15] })
		put("value", func(i int) float32 { return values[i] })
		return
	}
	put("low", func(int) float32 { return bounds[3] })
	put("high", func(int) float32 { return bounds[11] })
	put("eighth", func(i int) float32 { return bounds[4*(-i&3)+1] })
	put("last", func(i int) float32 { return bounds[2*(-i&7)] })
	put("even", func(i int) float32 { return values[2*(-i&7)] })
	put("odd", func(i int) float32 { return values[2*(-i&7)+1] })
}

const atLeastQuiet = 29 // VCMPPS: >=, false for a NaN

func (m *x86) table16(v vec) vec {
	if m.wide {
		return m.table16wide(v)
	}
	x := m.vecs[v]
	above := func(bound operand.Op) operand.Op {
		r := m.YMM()
		m.VCMPPS(operand.U8(atLeastQuiet), bound, x, r)
		return r
	}
	first, second := above(m.tables["half"]), m.YMM()
	m.VMOVUPS(m.tables["low"], second)
	m.VBLENDVPS(first, m.tables["high"], second, second)
	count := m.YMM()
	m.VPADDD(first, first, count)
	m.VPADDD(above(second), count, count)
	third := m.YMM()
	m.VPERMPS(m.tables["eighth"], count, third)
	m.VPADDD(count, count, count)
	m.VPADDD(above(third), count, count)
	fourth := m.YMM()
	m.VPERMPS(m.tables["last"], count, fourth)
	odd := above(fourth)
	d, r := m.newVec()
	other := m.YMM()
	m.VPERMPS(m.tables["even"], count, r)
	m.VPERMPS(m.tables["odd"], count, other)
	m.VBLENDVPS(odd, other, r, r)
	return d
}

func (m *x86) table16wide(v vec) vec {
	x := m.vecs[v]
	number := func(n uint32) operand.Mem { return m.constant(n).(operand.Mem) }
	index := m.ZMM()
	bound := operand.Op(m.tables["half"])
	for i, step := range []uint32{8, 4, 2, 1} {
		k := m.K()
		m.VCMPPS(operand.U8(atLeastQuiet), bound, x, k)
		if i == 0 {
			m.VMOVDQU32_Z(number(step), k, index)
		} else {
			m.VPADDD(number(step), index, k, index)
		}
		if step > 1 {
			next := m.ZMM()
			m.VPERMPS(m.tables[[]string{"quarter", "eighth", "last"}[i]], index, next)
			bound = next
		}
	}
	d, r := m.newVec()
	m.VPERMPS(m.tables["value"], index, r)
	return d
}
