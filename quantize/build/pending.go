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
	"path/filepath"
	"sync"

	"golang.org/x/sync/errgroup"
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

	mu      sync.Mutex
	more    sync.Cond // written grew, or closing changed
	written spans
	closing bool           // those behind the writers end where the front is
	behind  errgroup.Group // digest and writeback
	sum     hash.Hash

	settled bool // every byte is on the disk and hashed
	ended   bool // committed or discarded
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
	p := &Pending{files: files, path: path, part: filepath.Join(dir, "."+name+".part"), size: size, sum: sha256.New()}
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
	p.behind.Go(p.hash)
	if s, ok := h.(starter); ok {
		p.behind.Go(func() error { p.writeBack(s); return nil })
	}
	return p, nil
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
	p.mu.Unlock()
	p.more.Broadcast()
	return n, nil
}

// Settle waits until the whole file is on the disk and hashed; Commit does so where it has not been done. Several files may
// settle at the same time, and then wait for the disk together. After an error the file can only be discarded.
func (p *Pending) Settle() error {
	if p.settled {
		return nil
	}
	p.mu.Lock()
	gap, whole := p.written.gap(p.size)
	p.mu.Unlock()
	if !whole {
		return fmt.Errorf("%s: %d bytes at offset %d were never written", p.path, gap.hi-gap.lo, gap.lo)
	}
	err := p.stop()
	if err == nil {
		err = p.h.Sync()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", p.path, err)
	}
	p.settled = true
	return nil
}

// Commit makes the file durable under its name and returns its digest. Every byte must have been written.
// On any error nothing remains of it and an older file of that name stays as it was, unless only the last step failed:
// when the folder cannot be synced the new file has its name already.
func (p *Pending) Commit() (Digest, error) {
	if err := p.Settle(); err != nil {
		return Digest{}, errors.Join(err, p.Discard())
	}
	p.ended = true
	err := p.h.Close()
	if err == nil {
		err = p.files.Rename(p.part, p.path)
	}
	if err != nil {
		return Digest{}, errors.Join(fmt.Errorf("%s: %w", p.path, err), p.files.Remove(p.part))
	}
	return Digest(p.sum.Sum(nil)), p.files.SyncDir(filepath.Dir(p.path))
}

// Discard removes what has been written. It does nothing after Commit or Discard.
func (p *Pending) Discard() error {
	if p.ended {
		return nil
	}
	p.ended = true
	_ = p.stop() // nobody asks for the digest of what is thrown away
	return errors.Join(p.h.Close(), p.files.Remove(p.part))
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
