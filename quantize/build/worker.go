package build

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"quern/convert/safetensors"
	"quern/convert/view"
)

func widens(d safetensors.DType) bool { return view.Widens(d) }

// worker owns its buffers; they grow to the largest slab and are reused.
type worker struct {
	*run
	src    []byte
	out    []byte
	floats []float32
	clock
}

func (w *worker) slab(ctx context.Context, s slab) error {
	n := s.hi - s.lo
	w.start()
	w.src = resize(w.src, n*s.rowBytes)
	if err := s.Source.ReadRows(ctx, w.src, s.lo, s.hi); err != nil {
		return fmt.Errorf("%s: rows %d to %d: %w", s.Name, s.lo, s.hi, err)
	}
	w.lap(&w.spent.Read)
	if s.widen {
		if err := w.widen(s); err != nil {
			return err
		}
	}
	w.lap(&w.spent.Widen)
	for i := range s.to {
		if err := w.target(s, &s.to[i]); err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) widen(s slab) error {
	n := (s.hi - s.lo) * s.rowLen
	if int64(cap(w.floats)) < n {
		w.floats = make([]float32, n)
	}
	w.floats = w.floats[:n]
	if err := view.Widen(w.floats, w.src, s.Source.DType); err != nil {
		return &JobError{Tensor: s.Name, Says: err.Error()}
	}
	view.Round(w.floats, s.round)
	if s.finite {
		if i := notFinite(w.floats); i >= 0 {
			return &NotFiniteError{Tensor: s.Name, Row: s.lo + int64(i)/s.rowLen, Column: int64(i) % s.rowLen, Value: w.floats[i]}
		}
	}
	return nil
}

// target makes the slab's rows of one target and writes them, with the padding behind the last row.
func (w *worker) target(s slab, g *target) error {
	size, pad := (s.hi-s.lo)*g.rowBytes, int64(0)
	if s.hi == s.rows {
		pad = g.pad
	}
	var b []byte
	if g.how == raw || g.how == quiet && !hasNaN(w.src) {
		w.src = slices.Grow(w.src[:size], int(pad))
		b = w.src[:size]
	} else {
		w.out = resize(w.out, size+pad)
		b = w.out[:size]
		if err := w.fill(s, g, b); err != nil {
			return fmt.Errorf("%s: rows %d to %d as %s: %w", s.Name, s.lo, s.hi, g.Type, err)
		}
	}
	if err := w.check(s, g, b); err != nil {
		return err
	}
	w.lap(&w.spent.Kernel)
	b = b[:size+pad]
	clear(b[size:])
	if _, err := w.files[g.File].WriteAt(b, g.Offset+s.lo*g.rowBytes); err != nil {
		return fmt.Errorf("%s: write rows %d to %d: %w", s.Name, s.lo, s.hi, err)
	}
	w.lap(&w.spent.Write)
	return nil
}

func (w *worker) fill(s slab, g *target, b []byte) error {
	switch g.how {
	case quiet:
		quietNaNs(b, w.src)
		return nil
	case narrow:
		return view.Narrow(b, w.floats, g.dtype)
	}
	if len(g.Importance) == 0 {
		return w.kernel.Quantize(b, w.floats, g.Type, int(s.rowLen), nil)
	}
	each := s.rows / g.matrices // rows that share an importance
	for lo := s.lo; lo < s.hi; {
		m := lo / each
		hi := min(s.hi, (m+1)*each)
		out := b[(lo-s.lo)*g.rowBytes : (hi-s.lo)*g.rowBytes]
		in := w.floats[(lo-s.lo)*s.rowLen : (hi-s.lo)*s.rowLen]
		if err := w.kernel.Quantize(out, in, g.Type, int(s.rowLen), g.Importance[m*s.rowLen:(m+1)*s.rowLen]); err != nil {
			return err
		}
		lo = hi
	}
	return nil
}

// quietNaNs copies BF16 elements and sets the quiet bit of NaNs.
func quietNaNs(dst, src []byte) {
	copy(dst, src)
	for i := 0; i+1 < len(dst); i += 2 {
		if v := binary.LittleEndian.Uint16(dst[i:]); v&0x7FFF > 0x7F80 {
			binary.LittleEndian.PutUint16(dst[i:], v|0x40)
		}
	}
}

// hasNaN tells whether a BF16 element is a NaN, four at a time: adding 0x7F to a magnitude above 0x7F80 sets its top bit.
func hasNaN(b []byte) bool {
	const magnitude, top, add = 0x7FFF7FFF7FFF7FFF, 0x8000800080008000, 0x007F007F007F007F
	found := uint64(0)
	for ; len(b) >= 32; b = b[32:] {
		le := binary.LittleEndian
		found |= (le.Uint64(b)&magnitude + add) | (le.Uint64(b[8:])&magnitude + add) | (le.Uint64(b[16:])&magnitude + add) | (le.Uint64(b[24:])&magnitude + add)
	}
	for ; len(b) >= 2; b = b[2:] {
		found |= uint64(binary.LittleEndian.Uint16(b)&0x7FFF) + 0x7F
	}
	return found&top != 0
}

// notFinite is the index of the first NaN or infinity, -1 without one. Eight at a time: adding one to an exponent of all
// ones carries into the sign's place.
func notFinite(v []float32) int {
	const magnitude, one, top = 0x7FFFFFFF, 0x00800000, 0x80000000
	up := func(x float32) uint32 { return math.Float32bits(x)&magnitude + one }
	i := 0
	for ; i+8 <= len(v); i += 8 {
		w := v[i : i+8 : i+8]
		if (up(w[0])|up(w[1])|up(w[2])|up(w[3])|up(w[4])|up(w[5])|up(w[6])|up(w[7]))&top != 0 {
			break
		}
	}
	for ; i < len(v); i++ {
		if up(v[i])&top != 0 {
			return i
		}
	}
	return -1
}

func resize(b []byte, n int64) []byte {
	if int64(cap(b)) < n {
		return make([]byte, n)
	}
	return b[:n]
}
