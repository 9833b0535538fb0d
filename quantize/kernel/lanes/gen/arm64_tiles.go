package main

import (
	"math"
	"strconv"
)

// A table look-up is a binary search with TBL over 64 bytes, which stand in four registers in a row: bounds in V24 to V27, values
// in V28 to V31. Byte indices of the four bytes of a lane's entry are counted up together.
const (
	boundsAt = 24
	valuesAt = 28
)

func (m *arm64) tables16(bounds [15]float32, values [16]float32) {
	fill := func(first int, v []float32) {
		for r := range 4 {
			d := m.zero()
			m.fixed[d] = first + r
			for lane := range 4 {
				if i := 4*r + lane; i < len(v) {
					m.text("MOVD $%#x, %s", math.Float32bits(v[i]), scratchGP)
					// INS Vd.S[lane], Wn
					m.code = append(m.code, instruction{word: 0x4e041c00 | uint32(lane)<<19 | number16(scratchGP)<<5, what: "INS V%d.S[" + strconv.Itoa(lane) + "], W" + scratchGP[1:],
						regs: []vec{d}, shifts: []int{0}, def: []vec{d}, use: []vec{d}})
				}
			}
		}
	}
	fill(boundsAt, bounds[:])
	fill(valuesAt, values[:])
	number := func(bits uint32) vec { return m.value(m.constant(bits)) }
	m.table.half, m.table.lane = number(math.Float32bits(bounds[7])), number(0x03020100)
	m.table.d3, m.table.d1 = number(0x0c0c0c0c), number(0x04040404)
	m.table.step = [4]vec{number(0x20202020), number(0x10101010), number(0x08080808), m.table.d1}
}

// lookUp is the entries of the table of four registers from first on, at byte indices.
func (m *arm64) lookUp(first int, index vec) vec {
	d := m.fresh()
	use := []vec{index}
	for v, r := range m.fixed {
		if r >= first && r < first+4 {
			use = append(use, v)
		}
	}
	m.code = append(m.code, instruction{word: 0x4e006000 | uint32(first)<<5, what: "TBL V%d.16B, four from V" + strconv.Itoa(first) + ".16B, V%d.16B", regs: []vec{d, index}, shifts: []int{0, 16}, def: []vec{d}, use: use})
	return d
}

func (m *arm64) table16(v vec) vec {
	bytes := func(a, b vec) vec { return m.three(0x4e208400, "ADD", "16B", a, b) }
	index := bytes(m.table.lane, m.binary(and, m.atLeast(v, m.table.half), m.table.step[0]))
	for i, distance := range []*vec{&m.table.d3, &m.table.d1, nil} {
		at := index
		if distance != nil {
			at = bytes(index, *distance)
		}
		above := m.atLeast(v, m.lookUp(boundsAt, at))
		index = bytes(index, m.binary(and, above, m.table.step[i+1]))
	}
	return m.lookUp(valuesAt, index)
}

// transpose reads 4 blocks of rows floats, stride bytes apart, and writes rows of 4.
func (m *arm64) transpose() {
	m.begin("transpose", "writes 4 blocks of rows floats, stride bytes apart in src, as rows of 4 floats. rows is a multiple of 4.",
		param{"dst", "*float32"}, param{"src", "*float32"}, param{"stride", "int"}, param{"rows", "int"})
	dst, stride, rows := m.arg("dst"), m.arg("stride"), m.arg("rows")
	block := []gp{m.arg("src")}
	for i := range 3 {
		r := m.newGP()
		m.text("ADD %s, %s, %s", m.gp(stride), m.gp(block[i]), m.gp(r))
		block = append(block, r)
	}
	m.shift(rows, -2)
	m.label("next")
	var r [4]vec
	for i := range r {
		r[i] = m.load(mem{base: block[i]})
		m.advance(block[i], 16)
	}
	odd, even := [2]vec{}, [2]vec{}
	for i := range 2 {
		even[i] = m.three(0x4e802800, "TRN1", "4S", r[2*i], r[2*i+1])
		odd[i] = m.three(0x4e806800, "TRN2", "4S", r[2*i], r[2*i+1])
	}
	for i, v := range []vec{
		m.three(0x4ec03800, "ZIP1", "2D", even[0], even[1]), m.three(0x4ec03800, "ZIP1", "2D", odd[0], odd[1]),
		m.three(0x4ec07800, "ZIP2", "2D", even[0], even[1]), m.three(0x4ec07800, "ZIP2", "2D", odd[0], odd[1]),
	} {
		m.store(v, mem{base: dst, off: 16 * i})
	}
	m.advance(dst, 64)
	m.countdown(rows, "next")
	m.end()
}

// requantize is that of x86, 16 weights at a time.
func (m *arm64) requantize() {
	m.begin("requantize", "writes levels of pairs of 16 weights as bytes. limits is lowest, highest, offset. step is the distance in bytes of the scales of a pair: 0 or 4.",
		param{"dst", "*byte"}, param{"x", "*float32"}, param{"scales", "*float32"}, param{"mins", "*float32"}, param{"limits", "*int16"}, param{"pairs", "int"}, param{"step", "int"})
	dst, x, scales, mins, limits, pairs, step := m.arg("dst"), m.arg("x"), m.arg("scales"), m.arg("mins"), m.arg("limits"), m.arg("pairs"), m.arg("step")
	var limit [3]vec
	for i := range limit {
		m.text("MOVH %d(%s), %s", 2*i, m.gp(limits), scratchGP)
		d := m.fresh()
		m.code = append(m.code, instruction{word: 0x4e020c00 | number16(scratchGP)<<5, what: "DUP V%d.8H, W" + scratchGP[1:], regs: []vec{d}, shifts: []int{0}, def: []vec{d}})
		limit[i] = d
	}
	m.label("next")
	for h := range 2 {
		scale, min := m.broadcast(mem{base: scales}), m.broadcast(mem{base: mins})
		var half [2]vec
		for i := range half {
			for j := range 2 {
				q := m.nearestInteger(m.binary(div, m.binary(add, min, mem{base: x, off: 16 * (4*h + 2*i + j)}), scale))
				if j == 0 {
					half[i] = m.two(0x0e614800, "SQXTN", "4H", q)
				} else {
					m.emit(0x4e614800, "SQXTN2 V%d.8H, V%d.4S", true, half[i], q)
				}
			}
			half[i] = m.three(0x4e606c00, "SMIN", "8H", half[i], limit[1])
			half[i] = m.three(0x4e606400, "SMAX", "8H", half[i], limit[0])
			half[i] = m.three(0x4e608400, "ADD", "8H", half[i], limit[2])
		}
		packed := m.two(0x2e212800, "SQXTUN", "8B", half[0])
		m.emit(0x6e212800, "SQXTUN2 V%d.16B, V%d.8H", true, packed, half[1])
		m.store(packed, mem{base: dst, off: 16 * h})
		if h == 0 {
			m.text("ADD %s, %s, %[2]s", m.gp(step), m.gp(scales))
			m.text("ADD %s, %s, %[2]s", m.gp(step), m.gp(mins))
		}
	}
	m.advance(scales, 4)
	m.advance(mins, 4)
	m.advance(x, 128)
	m.advance(dst, 32)
	m.countdown(pairs, "next")
	m.end()
}
