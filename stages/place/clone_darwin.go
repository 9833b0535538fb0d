package place

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// clone shares the blocks of a file on APFS.
func clone(from, to string, _ fs.FileMode) error { return unix.Clonefile(from, to, 0) }
