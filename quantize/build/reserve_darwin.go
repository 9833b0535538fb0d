package build

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// reserve asks for the blocks of the whole file, contiguous or not. File systems that cannot go without.
func reserve(f *os.File, size int64) error {
	err := unix.FcntlFstore(f.Fd(), unix.F_PREALLOCATE, &unix.Fstore_t{
		Flags: unix.F_ALLOCATEALL, Posmode: unix.F_PEOFPOSMODE, Length: size,
	})
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}

func syncDir(d *os.File) error {
	if err := d.Sync(); !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTSUP) {
		return err
	}
	return nil
}
