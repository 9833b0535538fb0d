package view

import "context"

// skipCost is the number of bytes beside a wanted range below which reading them is cheaper than another read call.
const skipCost = 4096

// columns yields a byte range of every row of src.
type columns struct {
	src  Tensor
	skip int64 // bytes of a source row before the range
	row  int64 // bytes of the range
}

// ReadRows reads ranges where the gap between them is wide and the source can, else whole rows in chunks.
func (c *columns) ReadRows(ctx context.Context, dst []byte, lo, hi int64) error {
	wide := c.src.RowBytes()
	if f, ok := c.src.Reader.(flatReader); ok && wide-c.row > skipCost {
		for ; lo < hi; lo++ {
			if err := f.readFlat(ctx, dst[:c.row], lo*wide+c.skip); err != nil {
				return err
			}
			dst = dst[c.row:]
		}
		return nil
	}
	n := rowsPerChunk(wide)
	s := borrow(min(n, hi-lo)*wide, 0)
	defer s.release()
	for lo < hi {
		k := min(n, hi-lo)
		if err := c.src.ReadRows(ctx, s.bytes[:k*wide], lo, lo+k); err != nil {
			return err
		}
		for i := int64(0); i < k; i++ {
			from := i*wide + c.skip
			copy(dst[i*c.row:(i+1)*c.row], s.bytes[from:from+c.row])
		}
		dst, lo = dst[k*c.row:], lo+k
	}
	return nil
}

// beside yields rows that are the rows of several tensors one after the other.
type beside struct {
	parts []Tensor
	row   int64
}

// ReadRows fills dst part by part, each with its own chunk, so that memory does not grow with the number of parts.
func (b *beside) ReadRows(ctx context.Context, dst []byte, lo, hi int64) error {
	at := int64(0)
	for i := range b.parts {
		t := &b.parts[i]
		if err := b.part(ctx, t, dst, at, lo, hi); err != nil {
			return err
		}
		at += t.RowBytes()
	}
	return nil
}

func (b *beside) part(ctx context.Context, t *Tensor, dst []byte, at, lo, hi int64) error {
	w := t.RowBytes()
	n := rowsPerChunk(w)
	s := borrow(min(n, hi-lo)*w, 0)
	defer s.release()
	for base := lo; lo < hi; {
		k := min(n, hi-lo)
		if err := t.ReadRows(ctx, s.bytes[:k*w], lo, lo+k); err != nil {
			return err
		}
		for i := int64(0); i < k; i++ {
			copy(dst[(lo-base+i)*b.row+at:], s.bytes[i*w:(i+1)*w])
		}
		lo += k
	}
	return nil
}

// pick yields chosen elements of every row.
type pick struct {
	src   Tensor
	index []int64
}

func (p *pick) ReadRows(ctx context.Context, dst []byte, lo, hi int64) error {
	wide, size := p.src.RowBytes(), p.src.DType.Size()
	n := rowsPerChunk(wide)
	s := borrow(min(n, hi-lo)*wide, 0)
	defer s.release()
	for lo < hi {
		k := min(n, hi-lo)
		if err := p.src.ReadRows(ctx, s.bytes[:k*wide], lo, lo+k); err != nil {
			return err
		}
		for i := int64(0); i < k; i++ {
			row := s.bytes[i*wide : (i+1)*wide]
			for _, j := range p.index {
				copy(dst[:size], row[j*size:])
				dst = dst[size:]
			}
		}
		lo += k
	}
	return nil
}

// transposed yields the columns of the matrices of src as rows.
//
// Its bound: ReadRows holds chunk bytes of source columns at once (or one row of them). It reads every source row of a
// matrix once per call, only the wanted columns of it where the source can start inside a row; so a call for many
// rows at once costs little more than a copy, a call per row costs the matrix each time.
type transposed struct {
	src        Tensor
	rows, cols int64 // of a source matrix
	size       int64 // bytes of an element
}

// ReadRows takes all wanted columns of one matrix at once: the caller decides with its slab how often it is read.
func (t *transposed) ReadRows(ctx context.Context, dst []byte, lo, hi int64) error {
	for lo < hi {
		m, c := lo/t.cols, lo%t.cols
		k := min(t.cols-c, hi-lo)
		n := k * t.rows * t.size
		if err := t.matrix(ctx, dst[:n], m, c, c+k); err != nil {
			return err
		}
		dst, lo = dst[n:], lo+k
	}
	return nil
}

// matrix writes columns [lo, hi) of matrix m as rows.
func (t *transposed) matrix(ctx context.Context, dst []byte, m, lo, hi int64) error {
	wide := (hi - lo) * t.size
	cut := columns{src: t.src, skip: lo * t.size, row: wide}
	n := rowsPerChunk(wide)
	s := borrow(min(n, t.rows)*wide, 0)
	defer s.release()
	for r := int64(0); r < t.rows; r += n {
		k := min(n, t.rows-r)
		if err := cut.ReadRows(ctx, s.bytes[:k*wide], m*t.rows+r, m*t.rows+r+k); err != nil {
			return err
		}
		flip(dst, s.bytes[:k*wide], r, k, hi-lo, t.rows, t.size)
	}
	return nil
}

// flip writes k source rows of n elements, the first of which is row r of the matrix, as columns of dst, whose rows
// have rows elements.
func flip(dst, src []byte, r, k, n, rows, size int64) {
	switch size {
	// The halves that checkpoints consist of; two byte stores beat a call of copy by far.
	case 2:
		for c := int64(0); c < n; c++ {
			out := dst[(c*rows+r)*2:][: 2*k : 2*k]
			for i := int64(0); i < k; i++ {
				at := (i*n + c) * 2
				out[2*i], out[2*i+1] = src[at], src[at+1]
			}
		}
	default:
		for c := int64(0); c < n; c++ {
			out := dst[(c*rows+r)*size:]
			for i := int64(0); i < k; i++ {
				copy(out[i*size:(i+1)*size], src[(i*n+c)*size:])
			}
		}
	}
}
