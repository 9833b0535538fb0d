package queue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"github.com/nats-io/nats.go/jetstream"
)

// Store carries files from those who make them to those who asked. Names are task/file.
type Store interface {
	Put(ctx context.Context, name, path string) error
	// Fetch writes the file under its path when it is whole.
	Fetch(ctx context.Context, name, path string) error
	Delete(ctx context.Context, name string) error
}

// Files is the store of the server itself: files cross the network in chunks, each with its digest.
func (q *Queue) Files() Store { return objects{q} }

type objects struct{ q *Queue }

// Put sends a file. The name appears when all of it has arrived.
func (o objects) Put(ctx context.Context, name, path string) error {
	return o.q.again(ctx, "store "+name, func(context.Context) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = o.q.files.Put(ctx, jetstream.ObjectMeta{Name: name}, f)
		return err
	})
}

// Fetch brings a file; its digest is verified before it has its name.
func (o objects) Fetch(ctx context.Context, name, path string) error {
	return o.q.again(ctx, "fetch "+name, func(context.Context) error {
		r, err := o.q.files.Get(ctx, name)
		if err != nil {
			return err
		}
		defer r.Close()
		return save(r, path)
	})
}

// Delete takes a file away; one that is not there is no mistake.
func (o objects) Delete(ctx context.Context, name string) error {
	return o.q.again(ctx, "delete "+name, func(ctx context.Context) error {
		err := o.q.files.Delete(ctx, name)
		if errors.Is(err, jetstream.ErrObjectNotFound) {
			return nil
		}
		return err
	})
}

func save(r io.Reader, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	f, err := renameio.NewPendingFile(path, renameio.WithPermissions(0o644))
	if err != nil {
		return err
	}
	defer f.Cleanup() //nolint:errcheck // it does nothing to a file that has its name
	if _, err := io.Copy(f, r); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
}

// Folder is a store in a folder that all machines see.
type Folder string

func (d Folder) path(name string) (string, error) {
	if !fs.ValidPath(name) {
		return "", fmt.Errorf("%q is not a name of a file", name)
	}
	return filepath.Join(string(d), filepath.FromSlash(name)), nil
}

// Put links the file where both are on one disk, and copies it otherwise.
func (d Folder) Put(_ context.Context, name, path string) error {
	to, err := d.path(name)
	if err != nil {
		return err
	}
	return carry(path, to)
}

// Fetch links or copies the file to its path.
func (d Folder) Fetch(_ context.Context, name, path string) error {
	from, err := d.path(name)
	if err != nil {
		return err
	}
	return carry(from, path)
}

// Delete takes a file away.
func (d Folder) Delete(_ context.Context, name string) error {
	p, err := d.path(name)
	if err != nil {
		return err
	}
	if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	os.Remove(filepath.Dir(p)) //nolint:errcheck // the task's folder, when it is empty
	return nil
}

// carry gives a file another name by a link that appears whole, or else by a copy.
func carry(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
		return err
	}
	part := to + fmt.Sprintf(".%d.part", os.Getpid())
	if err := os.Link(from, part); err == nil {
		return os.Rename(part, to)
	}
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	return save(f, to)
}
