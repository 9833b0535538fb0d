package hfclient

import (
	"context"
	"slices"
	"sync"
)

const (
	blockSize   = 4 << 20  // bytes fetched by one request of a remote read
	blockMemory = 64 << 20 // bytes of blocks that one FS holds
	readAhead   = 3        // blocks fetched before they are asked for, while a tensor is read in order
)

// block is a piece of a remote file in memory, or on its way there.
type block struct {
	r     *remoteFile
	lo    int64
	size  int64
	data  []byte        // nil once the block was dropped
	ready chan struct{} // closed when data or err is there
	err   error

	// Guarded by the budget.
	users  int
	failed bool
	used   int64 // bytes that were copied out
	stamp  int64 // of the last use
}

// whole reports whether the data is there.
func (b *block) whole() bool {
	select {
	case <-b.ready:
		return b.err == nil
	default:
		return false
	}
}

// blockBudget bounds the memory of all blocks of an FS. When it is spent, the block that was read to its end goes
// first, then the one unused for longest; a reader waits only while all blocks are in use.
type blockBudget struct {
	mu    sync.Mutex
	cond  *sync.Cond
	left  int64
	clock int64
	held  map[*block]bool
}

// newBudget starts with nothing held.
func newBudget(bytes int64) *blockBudget {
	b := &blockBudget{left: bytes, held: map[*block]bool{}}
	b.cond = sync.NewCond(&b.mu)
	return b
}

// take makes room for b, whose only user is the caller, and gives what it dropped for that. Without wait it gives up
// instead of waiting or of dropping what may still be read.
func (g *blockBudget) take(b *block, wait bool) (dropped []*block, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.left < b.size {
		victim := g.victim(wait)
		if victim == nil {
			if !wait {
				return dropped, false
			}
			g.cond.Wait()
			continue
		}
		g.drop(victim)
		dropped = append(dropped, victim)
	}
	g.left -= b.size
	g.held[b] = true
	b.users, b.stamp = 1, g.tick()
	return dropped, true
}

// tick is a clock that only counts: real time would make what is dropped depend on the machine.
func (g *blockBudget) tick() int64 {
	g.clock++
	return g.clock
}

// victim is the block that goes next, or nil. Unless any may go, only those read to their end do.
func (g *blockBudget) victim(any bool) *block {
	var oldest, spent *block
	for b := range g.held {
		if b.users > 0 {
			continue
		}
		if b.used >= b.size && (spent == nil || b.stamp < spent.stamp) {
			spent = b
		}
		if oldest == nil || b.stamp < oldest.stamp {
			oldest = b
		}
	}
	if spent != nil || !any {
		return spent
	}
	return oldest
}

// drop frees a block without users. Who still finds it in its file's table sees by acquire that it is gone: the
// file's lock is taken before the budget's, never after.
func (g *blockBudget) drop(b *block) {
	delete(g.held, b)
	g.left += b.size
	b.users, b.data = -1, nil
}

// acquire makes the caller a user of b; false if b was dropped.
func (g *blockBudget) acquire(b *block) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if b.users < 0 {
		return false
	}
	b.users++
	b.stamp = g.tick()
	return true
}

// release ends a use in which n bytes were copied out.
func (g *blockBudget) release(b *block, n int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	b.users--
	b.used += n
	if b.failed && b.users == 0 {
		g.drop(b)
	}
	g.cond.Broadcast()
}

// fail marks a block whose data will never come, so that its last user gives its room back.
func (g *blockBudget) fail(b *block) {
	g.mu.Lock()
	defer g.mu.Unlock()
	b.failed = true
}

// block gives [lo, hi), fetching it if nobody has. The caller releases it.
func (r *remoteFile) block(ctx context.Context, lo, hi int64) (*block, error) {
	b, mine := r.claim(lo, hi, true)
	if mine {
		r.load(ctx, b)
	}
	select {
	case <-b.ready:
	case <-ctx.Done():
		r.fs.budget.release(b, 0)
		return nil, context.Cause(ctx)
	}
	if b.err != nil {
		r.fs.budget.release(b, 0)
		return nil, b.err
	}
	return b, nil
}

// claim finds the block or makes it; mine says that the caller must load it. Without wait it may give nil.
func (r *remoteFile) claim(lo, hi int64, wait bool) (b *block, mine bool) {
	r.mu.Lock()
	if b := r.blocks[lo]; b != nil && r.fs.budget.acquire(b) {
		r.mu.Unlock()
		return b, false
	}
	r.mu.Unlock()
	// Room is made without the lock, for it may take a while; another reader may have made the block meanwhile.
	b = &block{r: r, lo: lo, size: hi - lo, ready: make(chan struct{})}
	dropped, ok := r.fs.budget.take(b, wait)
	for _, d := range dropped {
		d.r.strike(d)
	}
	if !ok {
		return nil, false
	}
	b.data = make([]byte, hi-lo)
	r.mu.Lock()
	defer r.mu.Unlock()
	if other := r.blocks[lo]; other != nil && r.fs.budget.acquire(other) {
		r.fs.budget.cancel(b)
		return other, false
	}
	r.blocks[lo] = b
	return b, true
}

// strike takes a dropped block off the table.
func (r *remoteFile) strike(b *block) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.blocks[b.lo] == b {
		delete(r.blocks, b.lo)
	}
}

// cancel gives back the room of a block that was not needed.
func (g *blockBudget) cancel(b *block) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.drop(b)
	g.cond.Broadcast()
}

// load fetches the data of a claimed block.
func (r *remoteFile) load(ctx context.Context, b *block) {
	err := r.fill(ctx, b.data, b.lo)
	r.mu.Lock()
	if err == nil {
		err = r.account(b)
	}
	b.err = err
	close(b.ready)
	r.mu.Unlock()
	if err != nil {
		r.strike(b) // the next reader tries anew
		r.fs.budget.fail(b)
	}
}

// ahead starts to fetch what follows [lo, hi) in the same tensor, as far as there is room for it. It needs a sign
// that the reading goes on: the beginning of a tensor, or the block before.
func (r *remoteFile) ahead(lo, hi int64) {
	if !r.inOrder(lo) {
		return
	}
	for range readAhead {
		if hi-lo < blockSize || hi >= r.file.Size {
			return // the end of a tensor, or of the file
		}
		next, end := r.span(hi)
		if next != hi {
			return
		}
		b, mine := r.claim(next, end, false)
		if b == nil {
			return
		}
		if mine {
			go func() {
				r.load(r.fs.ctx, b)
				r.fs.budget.release(b, 0)
			}()
		} else {
			r.fs.budget.release(b, 0)
		}
		lo, hi = next, end
	}
}

// inOrder is false for a lone read in the middle of a file, where reading ahead would fetch what nobody asked for.
func (r *remoteFile) inOrder(lo int64) bool {
	if _, begins := slices.BinarySearch(r.starts, lo); begins {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.blocks[lo-blockSize] != nil
}
