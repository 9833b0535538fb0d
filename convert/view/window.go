package view

import "context"

// smallRead is the number of bytes from which a read of its own is cheaper than looking ahead.
const smallRead = 4096

// window serves many small reads of one reader from a few larger ones. It looks ahead only while the reads stay near
// each other: it doubles with every miss just behind it, up to chunk, and starts again from the read itself elsewhere.
type window struct {
	s      *scratch
	f      flatReader
	lo, hi int64 // the bytes of f that the buffer holds
	ahead  int64 // how much the last miss read
}

func openWindow() *window { return &window{s: borrow(chunk, 0)} }

func (w *window) close() { w.s.release() }

// read copies len(dst) bytes from off on; f has size bytes.
func (w *window) read(ctx context.Context, f flatReader, size int64, dst []byte, off int64) error {
	n := int64(len(dst))
	if f != w.f || off < w.lo || off+n > w.hi {
		near := f == w.f && off >= w.lo && off < w.hi+w.ahead
		if near {
			w.ahead = min(2*w.ahead, chunk)
		} else {
			w.ahead = max(n, 512)
		}
		w.f, w.lo, w.hi = f, off, min(off+max(n, w.ahead), size)
		if err := f.readFlat(ctx, w.s.bytes[:w.hi-w.lo], off); err != nil {
			w.f = nil
			return err
		}
	}
	copy(dst, w.s.bytes[off-w.lo:])
	return nil
}
