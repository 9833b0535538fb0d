package pickle

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"quern/convert/fault"
	"quern/convert/safetensors"
)

// Checkpoint is a set of open PyTorch files.
type Checkpoint struct {
	Files []*File // by name
	Index string  // the index file that chose the files, empty without one

	open []fs.File
}

const index = "pytorch_model.bin.index.json"

// Open opens the files of pytorch_model.bin.index.json in the root of src, else every pytorch_model*.bin there, sorted
// (conversion/base.py, index_tensors). The files of src must implement io.ReaderAt. Without any the error is fs.ErrNotExist.
func Open(src fs.FS) (*Checkpoint, error) {
	// As with safetensors, an index decides alone.
	weights, err := readIndex(src)
	if err != nil {
		return nil, err
	}
	var names []string
	if weights != nil {
		for _, f := range weights {
			if !slices.Contains(names, f) {
				names = append(names, f)
			}
		}
	} else {
		list, err := fs.ReadDir(src, ".")
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			if n := e.Name(); strings.HasPrefix(n, "pytorch_model") && strings.HasSuffix(n, ".bin") {
				names = append(names, n)
			}
		}
	}
	if len(names) == 0 {
		return nil, &fs.PathError{Op: "open", Path: "pytorch_model*.bin", Err: fs.ErrNotExist}
	}
	slices.Sort(names)
	c, err := OpenFiles(src, names...)
	if err != nil {
		return nil, err
	}
	if weights != nil {
		c.Index = index
		if err := c.compare(weights); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, nil
}

// OpenFiles opens the named files as one checkpoint, in this order.
func OpenFiles(src fs.FS, names ...string) (*Checkpoint, error) {
	c := &Checkpoint{}
	// The reference would take the last of two tensors of one name; here it is an error, as the two may differ.
	home := map[string]string{}
	for _, name := range names {
		f, err := c.read(src, name)
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		for _, t := range f.Tensors {
			if other, twice := home[t.Name]; twice {
				err := &fault.Invalid{On: name, Says: fmt.Sprintf("tensor %q also stands in %s", t.Name, other)}
				return nil, errors.Join(err, c.Close())
			}
			home[t.Name] = name
		}
		c.Files = append(c.Files, f)
	}
	return c, nil
}

// read opens one file, which stays open for its tensors.
func (c *Checkpoint) read(src fs.FS, name string) (*File, error) {
	f, err := src.Open(name)
	if err != nil {
		return nil, err
	}
	c.open = append(c.open, f)
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	r, ok := f.(io.ReaderAt)
	if !ok {
		return nil, &fault.Invalid{On: name, Says: "its source cannot read at an offset"}
	}
	return Read(name, r, info.Size())
}

// Tensors are all tensors in the reference's order: by file, then in the order of the file's dictionary.
func (c *Checkpoint) Tensors() []Tensor {
	var all []Tensor
	for _, f := range c.Files {
		all = append(all, f.Tensors...)
	}
	return all
}

// Close closes the files. Tensors cannot be read afterwards.
func (c *Checkpoint) Close() error {
	var errs []error
	for _, f := range c.open {
		errs = append(errs, f.Close())
	}
	c.open = nil
	return errors.Join(errs...)
}

// readIndex reads tensor -> file, nil without an index.
func readIndex(src fs.FS) (map[string]string, error) {
	f, err := src.Open(index)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return safetensors.ReadIndex(index, f)
}

// compare holds the files' tensors against the index: each is promised and each promise is kept.
func (c *Checkpoint) compare(weights map[string]string) error {
	left := make(map[string]bool, len(weights))
	for name := range weights {
		left[name] = true
	}
	for _, f := range c.Files {
		for _, t := range f.Tensors {
			if !left[t.Name] {
				return &fault.Invalid{On: f.Name, Says: fmt.Sprintf("%s does not list tensor %q", index, t.Name)}
			}
			delete(left, t.Name)
		}
	}
	for name := range left {
		return &fault.Invalid{On: weights[name], Says: fmt.Sprintf("%s promises tensor %q here, no file holds it (%d are missing)", index, name, len(left))}
	}
	return nil
}
