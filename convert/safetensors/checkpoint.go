package safetensors

// Which files make a checkpoint, and in which order their tensors come, is the reference's rule (conversion/base.py,
// index_tensors): an index decides alone, else every file of the family counts; files by name, names by code point.

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
)

// Families of file names, for OpenFamily.
const (
	Model        = "model"        // model.safetensors, model-00001-of-00002.safetensors, ...
	Consolidated = "consolidated" // Mistral's own layout
)

// Shard is one file of a checkpoint.
type Shard struct {
	Name   string
	Size   int64
	Header *Header
	Reader io.ReaderAt
}

// Tensor is a stored tensor and the file that it stands in.
type Tensor struct {
	Entry
	Shard *Shard
}

// Checkpoint is a set of open files with checked headers.
type Checkpoint struct {
	Shards []*Shard // by name
	Index  string   // the index file that chose the shards, empty without one
	Notes  []string // what is odd but harmless: a warning for the user

	tensors []Tensor
	byName  map[string]int
	files   []fs.File
}

// NotFoundError says that a folder holds no safetensors files of the family.
type NotFoundError struct {
	Family string
	Found  []string // weight files of other kinds that are there instead
}

// Error names what was looked for and what was found instead.
func (e *NotFoundError) Error() string {
	s := fmt.Sprintf("no %s*.safetensors and no %[1]s.safetensors.index.json", e.Family)
	if len(e.Found) > 0 {
		s += ", only " + strings.Join(e.Found, ", ")
	}
	return s
}

// Hint is the next step for the user.
func (e *NotFoundError) Hint() string {
	return "a checkpoint is a folder with model.safetensors, or with model.safetensors.index.json and its parts"
}

// Is makes the error one of fs.ErrNotExist's kind.
func (e *NotFoundError) Is(target error) bool { return target == fs.ErrNotExist }

// Open opens the checkpoint in the root of src: the files of model.safetensors.index.json, else every model*.safetensors
// but variants of a whole model.safetensors, such as model.fp16.safetensors.
// The files of src must implement io.ReaderAt. Errors are *NotFoundError, *FormatError, or those of src.
func Open(src fs.FS) (*Checkpoint, error) { return OpenFamily(src, Model) }

// OpenFamily opens the checkpoint whose file names begin with family. Only the family Model has an index.
func OpenFamily(src fs.FS, family string) (*Checkpoint, error) {
	// The index may name files of any name; without one the family's prefix decides.
	names, err := partNames(src, family)
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{}
	var weights map[string]string
	// Mistral's own layout has no index that its tools, or the reference, would read.
	if family == Model {
		if weights, err = c.index(src, family+".safetensors.index.json"); err != nil {
			return nil, err
		}
	}
	if weights != nil {
		names = files(weights)
	}
	if len(names) == 0 {
		return nil, &NotFoundError{Family: family, Found: otherWeights(src)}
	}
	for _, name := range names {
		if err := c.add(src, name); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	if weights == nil {
		c.dropVariants(family + ".safetensors")
	}
	if err := c.join(weights); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// dropVariants leaves out files that hold tensors of the file whole again and sort before it: model.fp16.safetensors
// beside model.safetensors. The reference reads both and keeps the later one's values, hence those of whole.
func (c *Checkpoint) dropVariants(whole string) {
	at := slices.IndexFunc(c.Shards, func(s *Shard) bool { return s.Name == whole })
	if at <= 0 {
		return
	}
	names := make(map[string]bool, len(c.Shards[at].Header.Entries))
	for _, e := range c.Shards[at].Header.Entries {
		names[e.Name] = true
	}
	again := func(s *Shard) bool {
		es := s.Header.Entries
		return len(es) > 0 && !slices.ContainsFunc(es, func(e Entry) bool { return !names[e.Name] })
	}
	kept := c.Shards[at:]
	for _, s := range slices.Backward(c.Shards[:at]) {
		if again(s) {
			c.Notes = append(c.Notes, fmt.Sprintf("%s holds nothing that %s does not: it is left out", s.Name, whole))
			continue
		}
		kept = append([]*Shard{s}, kept...)
	}
	c.Shards = kept
}

// OpenFiles opens the named files as one checkpoint, in this order.
func OpenFiles(src fs.FS, names ...string) (*Checkpoint, error) {
	c := &Checkpoint{}
	for _, name := range names {
		if err := c.add(src, name); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	if err := c.join(nil); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Tensors are all tensors in the reference's order: by file, then by name. The slice is shared: do not change it.
func (c *Checkpoint) Tensors() []Tensor { return c.tensors }

// Lookup finds a tensor by its name.
func (c *Checkpoint) Lookup(name string) (Tensor, bool) {
	i, ok := c.byName[name]
	if !ok {
		return Tensor{}, false
	}
	return c.tensors[i], true
}

// Bytes is the size of all tensors together.
func (c *Checkpoint) Bytes() int64 {
	var n int64
	// Empty without tensors; headers have bounded every size, so the sum cannot overflow for files that exist.
	for i := range c.tensors {
		n += c.tensors[i].Size
	}
	return n
}

// Close closes the files. Tensors cannot be read afterwards.
func (c *Checkpoint) Close() error {
	var errs []error
	for _, f := range c.files {
		errs = append(errs, f.Close())
	}
	c.files = nil
	return errors.Join(errs...)
}

// add opens one file and reads its header. Files stay open: their tensors are read later, from many goroutines.
func (c *Checkpoint) add(src fs.FS, name string) error {
	f, err := src.Open(name)
	if err != nil {
		if c.Index != "" && errors.Is(err, fs.ErrNotExist) {
			return &FormatError{File: c.Index, Says: fmt.Sprintf("its weight_map names %q, which is missing", name), Err: err,
				Next: "download the missing part"}
		}
		return err
	}
	c.files = append(c.files, f)
	info, err := f.Stat()
	if err != nil {
		return err
	}
	// Reading at an offset is what makes views safe for many goroutines: no file position is shared.
	r, ok := f.(io.ReaderAt)
	if !ok {
		return bad(name, "", "its source cannot read at an offset")
	}
	h, err := ReadHeader(name, r, info.Size())
	if err != nil {
		return err
	}
	if h.Unused > 0 {
		c.Notes = append(c.Notes, fmt.Sprintf("%s: %d bytes between its tensors belong to none of them", name, h.Unused))
	}
	c.Shards = append(c.Shards, &Shard{Name: name, Size: info.Size(), Header: h, Reader: r})
	return nil
}

// join lists the tensors of all shards and compares them with the index, if there is one.
func (c *Checkpoint) join(weights map[string]string) error {
	total := 0
	// Counted first, so that the list and the map are made once in their final size.
	for _, s := range c.Shards {
		total += len(s.Header.Entries)
	}
	c.tensors, c.byName = make([]Tensor, 0, total), make(map[string]int, total)
	for _, s := range c.Shards {
		for _, e := range s.Header.Entries {
			if i, twice := c.byName[e.Name]; twice {
				return bad(s.Name, e.Name, "it also stands in %q", c.tensors[i].Shard.Name)
			}
			c.byName[e.Name] = len(c.tensors)
			c.tensors = append(c.tensors, Tensor{e, s})
		}
	}
	if weights == nil {
		return nil
	}
	// An index that names the wrong part is as good as a right one while each tensor is there once; the reference takes it too.
	moved := 0
	for name, file := range weights {
		i, ok := c.byName[name]
		if !ok {
			return c.missing(weights)
		}
		if c.tensors[i].Shard.Name != file {
			moved++
		}
	}
	if len(weights) != len(c.tensors) {
		return c.extra(weights)
	}
	if moved > 0 {
		c.Notes = append(c.Notes, fmt.Sprintf("%s names another file than the one that holds it for %d of %d tensors; each is there once, so nothing is lost",
			c.Index, moved, len(weights)))
	}
	return nil
}

// missing names the first of the tensors that no part holds: usually a part that was never downloaded.
func (c *Checkpoint) missing(weights map[string]string) error {
	var names []string
	for name := range weights {
		if _, ok := c.byName[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return bad(weights[names[0]], names[0], "%s promises it here, no part holds it (%d of %d tensors are missing)", c.Index, len(names), len(weights))
}

// extra names the first of the tensors that the index does not know: usually parts of two versions in one folder.
func (c *Checkpoint) extra(weights map[string]string) error {
	var first *Tensor
	n := 0
	for i := range c.tensors {
		if _, ok := weights[c.tensors[i].Name]; !ok {
			if n++; first == nil {
				first = &c.tensors[i]
			}
		}
	}
	return bad(first.Shard.Name, first.Name, "%s does not list it (%d tensors are not listed)", c.Index, n)
}

// partNames lists the root's files "family*.safetensors", sorted.
// A folder that carries the right name is no part.
func partNames(src fs.FS, family string) ([]string, error) {
	list, err := fs.ReadDir(src, ".")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range list {
		if n := e.Name(); !e.IsDir() && strings.HasPrefix(n, family) && strings.HasSuffix(n, ".safetensors") {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return names, nil
}

// otherWeights are a few names that explain why a folder full of weights holds no checkpoint.
func otherWeights(src fs.FS) []string {
	list, _ := fs.ReadDir(src, ".")
	var names []string
	for _, e := range list {
		n := e.Name()
		for _, ext := range []string{".safetensors", ".bin", ".pth", ".pt", ".gguf", ".onnx", ".h5", ".msgpack"} {
			if strings.HasSuffix(n, ext) && len(names) < 5 {
				names = append(names, n)
			}
		}
	}
	return names
}
