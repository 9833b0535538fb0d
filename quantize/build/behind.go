package build

// Two goroutines follow the writers of an output: one takes its digest, the other asks the disk to write what is whole, so that
// little is left for the last Sync. Neither ever holds up a worker: starting a transfer waits while the disk's queue is full, and
// a worker that did it would leave its core idle.

import "fmt"

// writeback is how much of the front is whole before the disk is asked to write it: enough for long transfers, little enough
// that the system never has so many unwritten pages that it slows the writers down, or leaves them all to the last Sync.
const writeback = 32 << 20

// readBack is how much of the file is read at a time for its digest.
const readBack = 1 << 20

// starter is a Handle that can ask for a range to be written to the disk without waiting for its end.
type starter interface {
	StartWriteback(off, n int64)
}

// whole waits until the front is at least n bytes beyond at, and tells how far it is; at the end, or when closing, with less.
func (p *Pending) whole(at, n int64) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.written.front() < min(at+n, p.size) && !p.closing {
		p.more.Wait()
	}
	return p.written.front()
}

// hash reads the file behind the writers, from its front as far as it is whole: what it reads was just written and comes from
// the page cache. It ends at the last byte, or when closing is set before.
func (p *Pending) hash() error {
	b := make([]byte, readBack)
	for at := int64(0); at < p.size; {
		front := p.whole(at, 1)
		if front <= at {
			return nil
		}
		for at < front {
			n, err := p.h.ReadAt(b[:min(int64(len(b)), front-at)], at)
			if n == 0 && err != nil {
				return fmt.Errorf("%s: read back at %d: %w", p.part, at, err)
			}
			p.sum.Write(b[:n])
			at += int64(n)
		}
	}
	return nil
}

// writeBack leaves the last part, shorter than a transfer, to Sync.
func (p *Pending) writeBack(s starter) {
	for at := int64(0); ; {
		front := p.whole(at, writeback)
		if front-at < writeback {
			return
		}
		s.StartWriteback(at, front-at)
		at = front
	}
}

// stop waits for those behind the writers, which first do what is whole.
func (p *Pending) stop() error {
	p.mu.Lock()
	p.closing = true
	p.mu.Unlock()
	p.more.Broadcast()
	return p.behind.Wait()
}
