// Package place puts a file that is there under another name as well: by sharing it where the file system can, else by copying.
//
// A name appears by rename only, so that it never stands for half a file.
package place

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"quern/quantize/build"
)

// Way is how a file came to its second name.
type Way string

// The ways, the cheapest first.
const (
	There  Way = "there already" // the name is one of this very file
	Linked Way = "linked"        // one file, two names
	Cloned Way = "cloned"        // two files that share their blocks until one is written to
	Copied Way = "copied"
)

// Duplicate makes a copy that can be written to without changing the original. The name must be free.
func Duplicate(from, to string) (Way, error) {
	fi, err := os.Stat(from)
	if err != nil {
		return "", err
	}
	mode := fi.Mode().Perm() | 0o200
	if clone(from, to, mode) == nil {
		return Cloned, os.Chmod(to, mode)
	}
	if err := remove(to); err != nil {
		return "", err
	}
	src, err := os.Open(from)
	if err != nil {
		return "", err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(dst, src)
	if err == nil {
		err = dst.Sync()
	}
	return Copied, errors.Join(err, dst.Close())
}

// Share gives the file a second name in the folder of it, which is made. What stood under that name before is replaced at once.
func Share(ctx context.Context, from, to string) (Way, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	a, err := os.Stat(from)
	if err != nil {
		return "", err
	}
	if b, err := os.Stat(to); err == nil && os.SameFile(a, b) {
		return There, nil
	}
	dir := filepath.Dir(to)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", err
	}
	part := filepath.Join(dir, "."+filepath.Base(to)+".part")
	if err := remove(part); err != nil { // what a killed run left
		return "", err
	}
	way := Linked
	if os.Link(from, part) != nil {
		if way, err = Duplicate(from, part); err != nil {
			return "", errors.Join(err, remove(part))
		}
	}
	if err := os.Rename(part, to); err != nil {
		return "", errors.Join(err, remove(part))
	}
	return way, build.Disk{}.SyncDir(dir)
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
