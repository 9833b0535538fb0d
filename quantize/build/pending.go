package build

// An output exists under its own name only when it is whole: it grows as .<name>.part in the same folder, is flushed,
// and then renamed. The order of the operations is the transcript in testdata/pending; a crash after any of them leaves
// the name as it was or the whole file (TestPendingCrash).

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Files are the operations on a file system that outputs need. A test may put faults into them.
type Files interface {
	Create(name string) (Handle, error) // for reading and writing; an older file of that name is emptied
	Rename(from, to string) error
	Remove(name string) error
	SyncDir(name string) error // makes the names in the folder durable
}

// Handle is an open file.
type Handle interface {
	io.ReaderAt
	io.WriterAt
	Preallocate(size int64) error // reserves the space and sets the size
	Sync() error
	Close() error
}

// Digest is the SHA-256 of a file.
type Digest [sha256.Size]byte

// String is the digest in hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Pending is an output that has no name yet. WriteAt may be called by many goroutines; Commit or Discard ends it.
type Pending struct {
	files Files
	path  string
	part  string
	size  int64
	h     Handle

	mu       sync.Mutex
	more     sync.Cond // written grew, or closing changed
	written  spans
	flushed  int64 // up to here the disk has been asked to write
	closing  bool
	followed chan error // the follower's end
	sum      hash.Hash
}

// Create begins the file path of size bytes: the folder must exist, the space is reserved at once.
// A part that an earlier run left behind is overwritten.
func Create(path string, size int64) (*Pending, error) { return CreateOn(Disk{}, path, size) }

// CreateOn is Create on another file system.
func CreateOn(files Files, path string, size int64) (*Pending, error) {
	dir, name := filepath.Split(path)
	if name == "" || size < 0 {
		return nil, fmt.Errorf("create %q with %d bytes: no file name or no size", path, size)
	}
	p := &Pending{files: files, path: path, part: filepath.Join(dir, "."+name+".part"), size: size, sum: sha256.New(), followed: make(chan error, 1)}
	p.more.L = &p.mu
	h, err := files.Create(p.part)
	if err != nil {
		return nil, err
	}
	p.h = h
	if err := h.Preallocate(size); err != nil {
		err = &SpaceError{Path: path, Size: size, Err: err}
		return nil, errors.Join(err, h.Close(), files.Remove(p.part))
	}
	go func() { p.followed <- p.follow() }()
	return p, nil
}

// writeback is how much of the front is whole before the disk is asked to write it: enough for long transfers, little enough
// that the system never has so many unwritten pages that it slows the writers down, or leaves them all to the last Sync.
const writeback = 32 << 20

// starter is a Handle that can ask for a range to be written to the disk without waiting for it.
type starter interface {
	StartWriteback(off, n int64)
}

// WriteAt writes inside the size that was promised.
func (p *Pending) WriteAt(b []byte, off int64) (int, error) {
	if off < 0 || int64(len(b)) > p.size-off {
		return 0, fmt.Errorf("%s: write of %d bytes at %d, its size is %d", p.path, len(b), off, p.size)
	}
	n, err := p.h.WriteAt(b, off)
	if err != nil {
		return n, err
	}
	p.mu.Lock()
	p.written.add(off, off+int64(n))
	from, front := p.flushed, p.written.front()
	start := front-from >= writeback
	if start {
		p.flushed = front
	}
	p.mu.Unlock()
	p.more.Signal()
	if s, ok := p.h.(starter); ok && start {
		s.StartWriteback(from, front-from)
	}
	return n, nil
}

// follow hashes the file behind the writers, from its front as far as it is whole: what it reads was just written and
// comes from the page cache. It ends at the last byte, or when closing is set before.
func (p *Pending) follow() error {
	b := make([]byte, 1<<20)
	for at := int64(0); at < p.size; {
		p.mu.Lock()
		for p.written.front() <= at && !p.closing {
			p.more.Wait()
		}
		front := p.written.front()
		p.mu.Unlock()
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

// Commit makes the file durable under its name and returns its digest. Every byte must have been written.
// On any error nothing remains of it and an older file of that name stays as it was, unless only the last step failed:
// when the folder cannot be synced the new file has its name already.
func (p *Pending) Commit() (Digest, error) {
	p.mu.Lock()
	gap, whole := p.written.gap(p.size)
	p.mu.Unlock()
	if !whole {
		return Digest{}, errors.Join(fmt.Errorf("%s: %d bytes at offset %d were never written", p.path, gap.hi-gap.lo, gap.lo), p.Discard())
	}
	err := p.stop()
	if err == nil {
		err = p.h.Sync()
	}
	if err = errors.Join(err, p.h.Close()); err == nil {
		err = p.files.Rename(p.part, p.path)
	}
	if err != nil {
		return Digest{}, errors.Join(fmt.Errorf("%s: %w", p.path, err), p.files.Remove(p.part))
	}
	return Digest(p.sum.Sum(nil)), p.files.SyncDir(filepath.Dir(p.path))
}

// Discard removes what has been written. It does nothing after Commit or Discard.
func (p *Pending) Discard() error {
	p.mu.Lock()
	closing := p.closing
	p.mu.Unlock()
	if closing {
		return nil
	}
	err := p.stop()
	if err != nil && errors.Is(err, fs.ErrClosed) {
		err = nil
	}
	return errors.Join(err, p.h.Close(), p.files.Remove(p.part))
}

// stop waits for the follower, which first reads what is written.
func (p *Pending) stop() error {
	p.mu.Lock()
	p.closing = true
	p.mu.Unlock()
	p.more.Signal()
	return <-p.followed
}

// SpaceError says that the space for an output cannot be reserved.
type SpaceError struct {
	Path string
	Size int64
	Err  error
}

// Error names the file and its size.
func (e *SpaceError) Error() string {
	return fmt.Sprintf("%s: %d bytes cannot be reserved: %v", e.Path, e.Size, e.Err)
}

// Hint is the next step for the user.
func (e *SpaceError) Hint() string {
	return "free space on that disk, or choose another folder with -o"
}

// Unwrap gives the cause.
func (e *SpaceError) Unwrap() error { return e.Err }

// Disk is the real file system.
type Disk struct{}

// Create opens name for reading and writing and empties it.
func (Disk) Create(name string) (Handle, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return nil, err
	}
	return diskFile{f}, nil
}

// Rename replaces to by from in one step.
func (Disk) Rename(from, to string) error { return os.Rename(from, to) }

// Remove removes a file.
func (Disk) Remove(name string) error { return os.Remove(name) }

// SyncDir flushes a folder.
func (Disk) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return syncDir(d)
}

type diskFile struct{ *os.File }

// Preallocate reserves blocks where the system can, so that a full disk shows before the work and not after it.
func (f diskFile) Preallocate(size int64) error {
	if size == 0 {
		return nil
	}
	if err := reserve(f.File, size); err != nil {
		return err
	}
	return f.Truncate(size)
}
