package edit

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"quern/convert/gguf"
	"quern/quantize/build"
	"quern/stages/place"
)

// read reads a file's header.
func read(path string) (*gguf.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return gguf.Read(filepath.Base(path), f, fi.Size())
}

// step is called before each step of a rewrite; an error ends it there, as a crash would.
type step func(name string) error

// Rewrite gives a file the header of a plan that InPlace made of it.
func Rewrite(path string, p *gguf.Plan) error {
	return rewrite(path, p, func(string) error { return nil })
}

func rewrite(path string, p *gguf.Plan, before step) (err error) {
	dir, name := filepath.Split(path)
	part := filepath.Join(dir, "."+name+".part")
	if err := remove(part); err != nil { // what an earlier run left
		return err
	}
	if err := before("copy"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, remove(part))
		}
	}()
	if _, err := place.Duplicate(path, part); err != nil {
		return err
	}
	if err := head(part, p, before); err != nil {
		return err
	}
	if err := before("rename"); err != nil {
		return err
	}
	if err := os.Rename(part, path); err != nil {
		return err
	}
	return build.Disk{}.SyncDir(filepath.Dir(path))
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// head writes the header and makes the file durable.
func head(path string, p *gguf.Plan, before step) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	err = before("header")
	if err == nil {
		err = p.WriteHeader(io.NewOffsetWriter(f, 0))
	}
	if err == nil {
		err = before("sync")
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
