package hfclient

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

const lockPoll = 50 * time.Millisecond

// lock takes the lock of a blob, the same one that Python's client takes. busy is called once if another process
// holds it. The lock file stays: removing it would let two processes hold two files of one name.
func (c *cache) lock(ctx context.Context, repo, etag string, busy func()) (unlock func(), err error) {
	p := filepath.Join(c.root, ".locks", filepath.Base(c.folder(repo)), etag+".lock")
	if err := os.MkdirAll(filepath.Dir(p), 0o777); err != nil {
		return nil, cacheError(err)
	}
	for {
		l := flock.New(p, flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(0o664))
		ok, err := l.TryLock()
		if err == nil && !ok {
			if busy != nil {
				busy()
				busy = nil
			}
			ok, err = l.TryLockContext(ctx, lockPoll)
		}
		switch {
		case errors.Is(err, syscall.ENOSYS), errors.Is(err, syscall.ENOTSUP):
			return func() {}, nil // a file system without locks: digests still keep every final name right
		case err != nil && ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			return nil, cacheError(err)
		}
		if ok && current(l, p) {
			return func() { _ = l.Unlock() }, nil
		}
		_ = l.Unlock()
	}
}

// current reports whether the locked file still has its name: another program may have removed it in between.
func current(l *flock.Flock, p string) bool {
	held, err := l.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(p)
	return err == nil && os.SameFile(held, named)
}
