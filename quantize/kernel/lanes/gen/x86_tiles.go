package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// transpose reads 8 blocks of rows floats, stride bytes apart, and writes rows of 8, step bytes apart: the tile of 8 lanes, or
// half of the tile of 16.
func (m *x86) transpose() {
	m.begin("transpose", "writes 8 blocks of rows floats, stride bytes apart in src, as rows of 8 floats, step bytes apart in dst. rows is a multiple of 8.",
		param{"dst", "*float32"}, param{"src", "*float32"}, param{"stride", "int"}, param{"step", "int"}, param{"rows", "int"})
	gpr := func(name string) reg.GPVirtual { return m.gps[m.arg(name)] }
	dst, src, stride, step, rows := gpr("dst"), gpr("src"), gpr("stride"), gpr("step"), gpr("rows")
	m.SHRQ(operand.U8(3), rows)
	three, upper := m.GP64(), m.GP64()
	m.LEAQ(operand.Mem{Base: stride, Index: stride, Scale: 2}, three)
	m.LEAQ(operand.Mem{Base: src, Index: stride, Scale: 4}, upper)
	m.Label("next")
	var r, t, u [8]reg.VecVirtual
	for k := range 8 {
		a := operand.Mem{Base: src}
		if k >= 4 {
			a.Base = upper
		}
		switch k & 3 {
		case 1:
			a.Index, a.Scale = stride, 1
		case 2:
			a.Index, a.Scale = stride, 2
		case 3:
			a.Index, a.Scale = three, 1
		}
		r[k] = m.YMM()
		m.VMOVUPS(a, r[k])
	}
	for k := 0; k < 8; k += 2 {
		t[k], t[k+1] = m.YMM(), m.YMM()
		m.VUNPCKLPS(r[k+1], r[k], t[k])
		m.VUNPCKHPS(r[k+1], r[k], t[k+1])
	}
	for k := 0; k < 8; k += 4 {
		for q := range 2 {
			u[k+2*q], u[k+2*q+1] = m.YMM(), m.YMM()
			m.VSHUFPS(operand.U8(0x44), t[k+2+q], t[k+q], u[k+2*q])
			m.VSHUFPS(operand.U8(0xee), t[k+2+q], t[k+q], u[k+2*q+1])
		}
	}
	for half, lanes := range []uint64{0x20, 0x31} {
		_ = half
		for k := range 4 {
			v := m.YMM()
			m.VPERM2F128(operand.U8(lanes), u[k+4], u[k], v)
			m.VMOVUPS(v, operand.Mem{Base: dst})
			m.ADDQ(step, dst)
		}
	}
	m.ADDQ(operand.U8(32), src)
	m.ADDQ(operand.U8(32), upper)
	m.DECQ(rows)
	m.JNZ(operand.LabelRef("next"))
	m.end()
}

// requantize writes levels in natural order: clamp(nearest((x + min) / scale), lowest, highest) + offset as bytes, with the
// rounding in its exact integer form. Two halves of 16 weights a turn; each has a scale and a minimum, the same one twice where
// step is 0.
func (m *x86) requantize() {
	m.begin("requantize", "writes levels of pairs of 16 weights as bytes. limits is lowest, highest, offset. step is the distance in bytes of the scales of a pair: 0 or 4.",
		param{"dst", "*byte"}, param{"x", "*float32"}, param{"scales", "*float32"}, param{"mins", "*float32"}, param{"limits", "*int16"}, param{"pairs", "int"}, param{"step", "int"})
	gpr := func(name string) reg.GPVirtual { return m.gps[m.arg(name)] }
	dst, x, scales, mins, limits, pairs, step := gpr("dst"), gpr("x"), gpr("scales"), gpr("mins"), gpr("limits"), gpr("pairs"), gpr("step")
	lowest, highest, offset := m.YMM(), m.YMM(), m.YMM()
	for i, r := range []reg.VecVirtual{lowest, highest, offset} {
		m.VPBROADCASTW(operand.Mem{Base: limits, Disp: 2 * i}, r)
	}
	words := func(w uint32) reg.VecVirtual {
		r := m.YMM()
		m.VMOVDQU(m.constant(w).(operand.Mem), r)
		return r
	}
	magic, mask, bias := words(0x4b400000), words(0x007fffff), words(0x00400000)
	order := m.YMM() // undoes the interleaving of 128-bit halves by the packing instructions
	m.VMOVDQU(m.data("order", []uint32{0, 4, 1, 5, 2, 6, 3, 7}), order)
	m.Label("next")
	var packed [2]reg.VecVirtual
	for h := range 2 {
		scale, min := m.YMM(), m.YMM()
		m.VBROADCASTSS(operand.Mem{Base: scales}, scale)
		m.VBROADCASTSS(operand.Mem{Base: mins}, min)
		var q [2]reg.VecVirtual
		for i := range q {
			q[i] = m.YMM()
			m.VADDPS(operand.Mem{Base: x, Disp: 32 * (2*h + i)}, min, q[i])
			m.VDIVPS(scale, q[i], q[i])
			m.VADDPS(magic, q[i], q[i])
			m.VPAND(mask, q[i], q[i])
			m.VPSUBD(bias, q[i], q[i])
		}
		packed[h] = m.YMM()
		m.VPACKSSDW(q[1], q[0], packed[h])
		m.VPMINSW(highest, packed[h], packed[h])
		m.VPMAXSW(lowest, packed[h], packed[h])
		m.VPADDW(offset, packed[h], packed[h])
		if h == 0 {
			m.ADDQ(step, scales)
			m.ADDQ(step, mins)
		}
	}
	m.VPACKUSWB(packed[1], packed[0], packed[0])
	m.VPERMD(packed[0], order, packed[0])
	m.VMOVDQU(packed[0], operand.Mem{Base: dst})
	m.ADDQ(operand.U8(4), scales)
	m.ADDQ(operand.U8(4), mins)
	m.ADDQ(operand.U32(128), x)
	m.ADDQ(operand.U8(32), dst)
	m.DECQ(pairs)
	m.JNZ(operand.LabelRef("next"))
	m.end()
}
