package build

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// reserve asks for the blocks of the whole file. File systems that cannot (NFS, some FUSE) go without.
func reserve(f *os.File, size int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), 0, 0, size)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EINVAL):
			return nil
		}
		return err
	}
}

// StartWriteback is a wish: what it does not start, Sync does.
func (f diskFile) StartWriteback(off, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
}

func syncDir(d *os.File) error { return ignoreUnsupported(d.Sync()) }

// Some file systems cannot flush a folder; a rename is as durable there as it gets.
func ignoreUnsupported(err error) error {
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	return err
}
