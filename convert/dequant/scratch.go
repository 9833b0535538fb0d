package dequant

import "sync"

// chunk is how many bytes of stored rows are held at once, or one row where a row is larger.
const chunk = 256 << 10

// scratch is a pair of buffers that readers borrow for the time of one ReadRows.
type scratch struct {
	bytes  []byte
	floats []float32
}

var pool = sync.Pool{New: func() any { return new(scratch) }}

// borrow gives buffers of these lengths with undefined contents.
func borrow(bytes, floats int64) *scratch {
	s := pool.Get().(*scratch)
	if int64(cap(s.bytes)) < bytes {
		s.bytes = make([]byte, bytes)
	}
	if int64(cap(s.floats)) < floats {
		s.floats = make([]float32, floats)
	}
	s.bytes, s.floats = s.bytes[:bytes], s.floats[:floats]
	return s
}

func (s *scratch) release() { pool.Put(s) }

// rowsOf is the number of rows of n bytes that are taken at once: at least one.
func rowsOf(n int64) int64 { return max(1, chunk/max(1, n)) }
