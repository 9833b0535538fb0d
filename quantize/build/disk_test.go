package build

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
)

// fakeDisk remembers what has been flushed, writes down every operation, and fails or dies at one of them.
// After a crash only flushed contents count; a rename counts for sure after SyncDir and perhaps before.
type fakeDisk struct {
	mu      sync.Mutex
	names   map[string]*fakeFile // as programs see them
	durable map[string]*fakeFile // as of the last SyncDir
	log     strings.Builder
	fail    string // the operation that fails, once
	crashAt int    // operations from this one on do not happen; 0 = never
	ops     int
}

type fakeFile struct {
	disk    *fakeDisk
	name    string
	data    []byte
	flushed []byte
	closed  bool
}

var (
	errCrash = errors.New("the machine is gone")
	errFault = errors.New("injected fault")
)

func newDisk() *fakeDisk {
	return &fakeDisk{names: map[string]*fakeFile{}, durable: map[string]*fakeFile{}}
}

// op writes an operation down and says whether it happens.
func (d *fakeDisk) op(name, format string, args ...any) error {
	d.ops++
	if d.crashAt > 0 && d.ops >= d.crashAt {
		return errCrash
	}
	line := strings.TrimSpace(name + " " + fmt.Sprintf(format, args...))
	if d.fail == name {
		d.fail = ""
		fmt.Fprintf(&d.log, "%s: injected fault\n", line)
		return errFault
	}
	fmt.Fprintln(&d.log, line)
	return nil
}

func (d *fakeDisk) Create(name string) (Handle, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.op("create", "%s", name); err != nil {
		return nil, err
	}
	f := &fakeFile{disk: d, name: name}
	d.names[name] = f
	return f, nil
}

func (d *fakeDisk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.op("rename", "%s %s", from, to); err != nil {
		return err
	}
	d.names[to] = d.names[from]
	delete(d.names, from)
	return nil
}

func (d *fakeDisk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.op("remove", "%s", name); err != nil {
		return err
	}
	if d.names[name] == nil {
		return fs.ErrNotExist
	}
	delete(d.names, name)
	return nil
}

func (d *fakeDisk) SyncDir(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.op("sync-dir", "%s", name); err != nil {
		return err
	}
	d.durable = map[string]*fakeFile{}
	for n, f := range d.names {
		d.durable[n] = f
	}
	return nil
}

func (f *fakeFile) WriteAt(b []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.op("write", "%d bytes at %d", len(b), off); err != nil {
		return 0, err
	}
	return copy(f.data[off:], b), nil
}

// ReadAt is not written down: when the digest follows is nobody's business.
func (f *fakeFile) ReadAt(b []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.closed {
		return 0, fs.ErrClosed
	}
	n := copy(b, f.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *fakeFile) Preallocate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.op("preallocate", "%d", size); err != nil {
		return err
	}
	f.data = make([]byte, size)
	return nil
}

func (f *fakeFile) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.op("sync", ""); err != nil {
		return err
	}
	f.flushed = bytes.Clone(f.data)
	return nil
}

func (f *fakeFile) Close() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.closed = true
	return f.disk.op("close", "")
}
