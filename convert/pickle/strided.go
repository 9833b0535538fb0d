package pickle

import (
	"cmp"
	"context"
	"io"
	"math"
	"slices"

	"quern/convert/view"
)

// lazy is the tensor as a view of the file. Whatever is a permutation of something contiguous becomes the permutation
// of a plain view, which knows how to tile; the rest is read row by row, a row in pieces where its elements lie apart.
func (t *tensor) lazy(name string, r io.ReaderAt) (view.Tensor, error) {
	at := t.storage.at + t.offset*t.dtype.Size()
	order := make([]int, len(t.shape))
	for i := range order {
		order[i] = i
	}
	if slices.Contains(t.shape, 0) || t.dense(order) {
		return view.FromReader(name, t.dtype, t.shape, r, at), nil
	}
	// Sorted by stride, the dimensions of a transposed tensor are those of the matrix that lies in the file.
	weight := func(d int) int64 { // dimensions of size 1 may stand anywhere
		if t.shape[d] == 1 {
			return math.MaxInt64
		}
		return t.strides[d]
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(weight(b), weight(a)) })
	if !t.dense(order) {
		return t.scattered(name, r, at), nil
	}
	shape, back := make([]int64, len(order)), make([]int, len(order))
	for i, d := range order {
		shape[i], back[d] = t.shape[d], i
	}
	return view.Permute(view.FromReader(name, t.dtype, shape, r, at), back...)
}

// dense tells whether the dimensions, outermost first in this order, fill the storage without gaps.
func (t *tensor) dense(order []int) bool {
	next := int64(1)
	for _, d := range slices.Backward(order) {
		if t.shape[d] != 1 && t.strides[d] != next {
			return false
		}
		next *= t.shape[d]
	}
	return true
}

// scattered reads rows at their strides.
func (t *tensor) scattered(name string, r io.ReaderAt, at int64) view.Tensor {
	out := view.Tensor{Name: name, DType: t.dtype, Shape: t.shape}
	n := len(t.shape)
	s := &strides{r: r, at: at, size: t.dtype.Size(), n: t.shape[n-1], step: t.strides[n-1], dims: t.shape[:n-1], steps: t.strides[:n-1]}
	out.Reader = s
	return out
}

// strides reads tensors with gaps: slices of columns, every second row, diagonals, expanded dimensions.
type strides struct {
	r     io.ReaderAt
	at    int64 // of the first element in the file
	size  int64 // bytes of an element
	n     int64 // elements of a row
	step  int64 // from one to the next
	dims  []int64
	steps []int64
}

// ReadRows walks rows: shape and strides were held against the storage when the tensor was rebuilt.
func (s *strides) ReadRows(ctx context.Context, dst []byte, lo, hi int64) error {
	for ; lo < hi; lo++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		first, row := int64(0), lo
		for i := len(s.dims) - 1; i >= 0; i-- {
			first += row % s.dims[i] * s.steps[i]
			row /= s.dims[i]
		}
		if err := s.row(dst[:s.n*s.size], s.at+first*s.size); err != nil {
			return err
		}
		dst = dst[s.n*s.size:]
	}
	return nil
}

// window is how many bytes of a row with gaps are read at once.
const window = 64 << 10

// row reads one row, a window of the file at a time. A stride of 0 repeats one element.
func (s *strides) row(dst []byte, at int64) error {
	if s.step == 1 {
		return readFull(s.r, dst, at)
	}
	// From one element to the next, in bytes; the elements between are read and dropped.
	gap := s.step * s.size
	buf := make([]byte, min(window, max(s.size, (s.n-1)*gap+s.size)))
	for len(dst) > 0 {
		k := int64(len(dst)) / s.size // elements in this piece
		if gap > 0 {
			k = min(k, (int64(len(buf))-s.size)/gap+1)
		}
		span := (k-1)*gap + s.size
		if gap == 0 {
			span = s.size
		}
		if err := readFull(s.r, buf[:span], at); err != nil {
			return err
		}
		for i := range k {
			copy(dst[i*s.size:(i+1)*s.size], buf[i*gap:])
		}
		dst, at = dst[k*s.size:], at+k*gap
	}
	return nil
}

// readFull is ReadAt that turns the end of the file into an unexpected one.
func readFull(r io.ReaderAt, dst []byte, at int64) error {
	n, err := r.ReadAt(dst, at)
	if n == len(dst) {
		return nil
	}
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
