package place

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// clone shares the blocks of a file; most file systems of Linux cannot.
func clone(from, to string, mode fs.FileMode) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	return errors.Join(unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())), dst.Close())
}
