package pickle

// The two layouts of torch.save: a ZIP archive whose entries are stored without compression (since 1.6), and before
// that five pickles in a row followed by the storages.

import (
	"archive/zip"
	"bufio"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/big"
	"path"
	"slices"
	"strings"

	"quern/convert/fault"
	"quern/convert/safetensors"
	"quern/convert/view"
)

// Tensor is a tensor of a file under its name in the file's dictionary.
type Tensor struct {
	view.Tensor
	Offset int64 // of its first element in the file
}

// File is a PyTorch file: the tensors of its dictionary, in the dictionary's order, as the reference visits them.
type File struct {
	Name    string
	Tensors []Tensor
	Others  []string // keys whose values are no tensors: step counts, configurations, optimizer states
}

// Read reads a PyTorch file of size bytes. Tensors are views of r, which must stay open for them.
// Errors are *fault.Invalid for damage, *fault.Unsupported for what tensors do not need, by name, or those of r.
func Read(name string, r io.ReaderAt, size int64) (*File, error) {
	// The first bytes tell the layouts apart: a local ZIP header, or PROTO of a pickle.
	var head [4]byte
	if _, err := r.ReadAt(head[:min(4, max(0, size))], 0); err != nil && err != io.EOF {
		return nil, err
	}
	a := &archive{r: r, size: size, storages: map[string]*storage{}}
	var root any
	var err error
	switch {
	case string(head[:]) == "PK\x03\x04":
		root, err = a.zip()
	case head[0] == 0x80:
		root, err = a.legacy()
	default:
		err = &fault.Invalid{Says: fmt.Sprintf("it begins with % x: neither a ZIP archive nor a pickle", head)}
	}
	if err == nil {
		var f *File
		if f, err = a.list(root); err == nil {
			f.Name = name
			return f, nil
		}
	}
	return nil, at(name, err)
}

// at puts the file's name before what the error says.
func at(name string, err error) error {
	on := func(s string) string {
		if s == "" {
			return name
		}
		return name + ": " + s
	}
	switch e := err.(type) {
	case *fault.Invalid:
		e.On = on(e.On)
		return e
	case *fault.Unsupported:
		e.On = on(e.On)
		return e
	}
	return fmt.Errorf("%s: %w", name, err)
}

// archive is a file while its layout is read: storages by key come from the pickle, their places from around it.
type archive struct {
	r        io.ReaderAt
	size     int64
	storages map[string]*storage
}

func invalid(format string, args ...any) error {
	return &fault.Invalid{Says: fmt.Sprintf(format, args...), Next: "the file is damaged or incomplete: download it again and compare its digest"}
}

// persist makes the storage of a reference ("storage", class, key, location, numel): one for each key.
func (a *archive) persist(id tuple) (any, error) {
	if len(id) < 5 || id[0] != any("storage") {
		return nil, invalid("a reference to outside of the pickle that is no storage")
	}
	// The location (cpu, cuda:0) is of no interest: weights are read, not loaded onto anything.
	class, ok1 := id[1].(global)
	key, ok2 := id[2].(string)
	numel, ok3 := id[4].(int64)
	dtype, ok4 := storageTypes[class.name]
	if !ok1 || !ok2 || !ok3 || !ok4 || numel < 0 || numel > 1<<59 {
		return nil, invalid("a storage of %s, key %s, with %s elements", kind(id[1]), kind(id[2]), kind(id[4]))
	}
	// Views of storages are a thing of PyTorch before 0.4; no such checkpoint has a converter.
	if len(id) > 5 && id[5] != nil {
		return nil, &fault.Unsupported{Says: fmt.Sprintf("storage %.40q is a view of another storage", key), Next: "save the model again with a newer PyTorch"}
	}
	// Tensors that share a storage (tied embeddings, views of one matrix) name the same key.
	s, ok := a.storages[key]
	if !ok {
		s = &storage{key: key, dtype: dtype, numel: numel}
		a.storages[key] = s
	} else if s.dtype != dtype || s.numel != numel {
		return nil, invalid("storage %.40q has %d elements of %s here, %d of %s before", key, numel, name(dtype), s.numel, name(s.dtype))
	}
	return s, nil
}

func name(d safetensors.DType) string {
	if d == safetensors.Unknown {
		return "bytes"
	}
	return string(d)
}

// bytes is the size of a storage in the file.
func (s *storage) bytes() int64 {
	if s.dtype == safetensors.Unknown {
		return s.numel
	}
	return s.numel * s.dtype.Size()
}

// zip reads PREFIX/data.pkl; storage k is the entry PREFIX/data/k.
func (a *archive) zip() (any, error) {
	// The archive's reader takes the directory into memory, whatever number of entries it claims to have.
	in := &metered{ReaderAt: a.r, left: maxDirectory}
	z, err := zip.NewReader(in, a.size)
	if in.left < 0 {
		return nil, invalid("its ZIP directory has more than %d bytes", maxDirectory)
	}
	in.left = math.MaxInt64 // entries are found by reading their local headers
	if err != nil {
		return nil, &fault.Invalid{Says: "the ZIP directory cannot be read", Err: err, Next: "the file is damaged or incomplete: download it again"}
	}
	// A name that stands twice would be one entry for this reader and perhaps another for Python's.
	entries := make(map[string]*zip.File, len(z.File))
	// The folder inside of the archive has the name that the file had when it was saved.
	prefix := ""
	for _, f := range z.File {
		if _, twice := entries[f.Name]; twice {
			return nil, invalid("the ZIP directory has %.200q twice", f.Name)
		}
		entries[f.Name] = f
		if path.Base(f.Name) == "data.pkl" && strings.Count(f.Name, "/") == 1 {
			prefix = path.Dir(f.Name)
		}
	}
	if f := entries[prefix+"/byteorder"]; f != nil {
		if err := a.littleEndian(f); err != nil {
			return nil, err
		}
	}
	start, size, err := a.stored(entries[prefix+"/data.pkl"], prefix+"/data.pkl")
	if err != nil {
		return nil, err
	}
	if size > MaxPickle {
		return nil, invalid("a pickle of %d bytes, the limit is %d", size, MaxPickle)
	}
	m := &machine{r: bufio.NewReader(io.NewSectionReader(a.r, start, size)), persist: a.persist}
	// The pickle names storages; only then is it known which entries matter.
	root, err := m.run()
	if err != nil {
		return nil, err
	}
	return root, a.placeZip(entries, prefix)
}

// maxDirectory bounds a ZIP directory: that of a model with a hundred thousand tensors has 8 MB.
const maxDirectory = 8 << 20

// metered lets no more than left bytes be read.
type metered struct {
	io.ReaderAt
	left int64
}

func (m *metered) ReadAt(b []byte, off int64) (int, error) {
	if m.left -= int64(len(b)); m.left < 0 {
		return 0, io.ErrUnexpectedEOF
	}
	return m.ReaderAt.ReadAt(b, off)
}

// placeZip finds the storages, each an entry of its own. An entry may be longer than its storage, never shorter.
func (a *archive) placeZip(entries map[string]*zip.File, prefix string) error {
	placed := make([]*storage, 0, len(a.storages))
	for key, s := range a.storages {
		entry := prefix + "/data/" + key
		start, size, err := a.stored(entries[entry], entry)
		if err != nil {
			return err
		}
		if size < s.bytes() {
			return invalid("storage %.40q has %d bytes, its %d elements of %s take %d", key, size, s.numel, name(s.dtype), s.bytes())
		}
		s.at, s.found = start, true
		placed = append(placed, s)
	}
	// Entries over one another would make a model of any size out of few bytes. Those without bytes lie nowhere.
	placed = slices.DeleteFunc(placed, func(s *storage) bool { return s.bytes() == 0 })
	slices.SortFunc(placed, func(x, y *storage) int { return cmp.Compare(x.at, y.at) })
	for i := 1; i < len(placed); i++ {
		if x, y := placed[i-1], placed[i]; x.at+x.bytes() > y.at {
			return invalid("storages %.40q and %.40q lie over one another from offset %d on", x.key, y.key, y.at)
		}
	}
	return nil
}

// littleEndian reads the entry that says the byte order, which torch writes since 2.1.
func (a *archive) littleEndian(f *zip.File) error {
	start, size, err := a.stored(f, f.Name)
	if err != nil {
		return err
	}
	// "little" or "big"; 16 bytes are enough to show what else it says.
	b := make([]byte, min(size, 16))
	if err := readFull(a.r, b, start); err != nil {
		return err
	}
	if string(b) != "little" {
		return &fault.Unsupported{Says: fmt.Sprintf("its byte order is %q; little is read", b)}
	}
	return nil
}

// stored is where an entry's bytes stand in the file: torch stores, never compresses, so that files can be mapped.
func (a *archive) stored(f *zip.File, name string) (start, size int64, err error) {
	if f == nil {
		return 0, 0, invalid("the ZIP archive has no %.200q", name)
	}
	// A compressed entry could claim any size and cannot be read at an offset.
	if f.Method != zip.Store || f.Flags&1 != 0 || f.CompressedSize64 != f.UncompressedSize64 {
		return 0, 0, &fault.Unsupported{Says: fmt.Sprintf("the ZIP entry %.200q is compressed or encrypted; torch stores its entries", f.Name)}
	}
	// The local header is read for it: its extra field, with which torch aligns data to 64 bytes, is not in the directory.
	start, err = f.DataOffset()
	if err != nil {
		return 0, 0, &fault.Invalid{Says: fmt.Sprintf("the ZIP entry %.200q cannot be found", f.Name), Err: err}
	}
	if f.UncompressedSize64 > uint64(max(0, a.size-start)) {
		return 0, 0, invalid("the ZIP entry %.200q has %d bytes at offset %d, the file ends at %d", f.Name, f.UncompressedSize64, start, a.size)
	}
	return start, int64(f.UncompressedSize64), nil
}

// legacyMagic stands in the first of the five pickles (torch/serialization.py, MAGIC_NUMBER).
var legacyMagic, _ = new(big.Int).SetString("1950a86a20f9469cfc6c", 16)

// legacy reads magic, protocol version, system information, the object and the keys of its storages: five pickles.
// The storages follow in the order of the keys, each with the number of its elements before it.
func (a *archive) legacy() (any, error) {
	r := bufio.NewReader(io.NewSectionReader(a.r, 0, a.size))
	// Each pickle ends with its own STOP; the next begins at the following byte.
	var at int64
	var parts [5]any
	for i := range parts {
		m := &machine{r: r}
		if i == 3 {
			m.persist = a.persist
		}
		v, err := m.run()
		if err != nil {
			return nil, err
		}
		at += m.at
		parts[i] = v
		if magic, ok := v.(*big.Int); i == 0 && (!ok || magic.Cmp(legacyMagic) != 0) {
			return nil, invalid("its first pickle is %s, not the mark of a PyTorch file", kind(v))
		}
	}
	// The number never changed while this layout was written.
	if v, ok := parts[1].(int64); !ok || v != 1001 {
		return nil, &fault.Unsupported{Says: fmt.Sprintf("the protocol is %s instead of 1001", kind(parts[1]))}
	}
	if d, ok := parts[2].(*dict); ok {
		if i := slices.Index(d.keys, any("little_endian")); i >= 0 && d.values[i] != true {
			return nil, &fault.Unsupported{Says: "it was written on a big-endian machine; little-endian files are read"}
		}
	}
	// In the order of the data, which is that of Python's sorting of the keys as texts.
	keys, ok := parts[4].(*list)
	if !ok {
		return nil, invalid("the keys of its storages are %s", kind(parts[4]))
	}
	return parts[3], a.place(keys.items, at)
}

// place finds the storages that stand one behind the other from at on.
func (a *archive) place(keys []any, at int64) error {
	for _, k := range keys {
		key, _ := k.(string)
		s := a.storages[key]
		if s == nil || s.found {
			return invalid("it lists a storage by %s, which no tensor uses or which stands there already", kind(k))
		}
		var word [8]byte
		if at > a.size-8 {
			return invalid("it ends before storage %.40q", key)
		}
		if err := readFull(a.r, word[:], at); err != nil {
			return err
		}
		// The count stands twice in the file. Where the two differ, every later storage would be misplaced.
		if n := binary.LittleEndian.Uint64(word[:]); n != uint64(s.numel) {
			return invalid("storage %.40q has %d elements in the data, %d in the pickle", key, n, s.numel)
		}
		at += 8
		if s.bytes() > a.size-at {
			return invalid("storage %.40q has %d bytes at offset %d, the file ends at %d", key, s.bytes(), at, a.size)
		}
		s.at, s.found = at, true
		at += s.bytes()
	}
	for key, s := range a.storages {
		if !s.found {
			return invalid("storage %.40q is used and not there", key)
		}
	}
	return nil
}

// list takes the tensors out of the file's dictionary.
func (a *archive) list(root any) (*File, error) {
	d, ok := root.(*dict)
	if !ok {
		return nil, &fault.Unsupported{Says: fmt.Sprintf("it holds %s, not a dictionary of tensors", kind(root)), Next: "save the model's state_dict"}
	}
	// A checkpoint of a training run holds more than weights; what is no tensor is listed, so that nothing is lost in silence.
	f := &File{}
	seen := map[string]int{}
	for i, k := range d.keys {
		key, ok := k.(string)
		if !ok {
			return nil, invalid("a key of its dictionary is %s, not a text", kind(k))
		}
		t, ok := d.values[i].(*tensor)
		if !ok {
			f.Others = append(f.Others, key)
			continue
		}
		v, err := t.lazy(key, a.r)
		if err != nil {
			return nil, err
		}
		if _, twice := seen[key]; twice {
			return nil, invalid("its dictionary has %.200q twice", key)
		}
		seen[key] = len(f.Tensors)
		f.Tensors = append(f.Tensors, Tensor{v, t.storage.at + t.offset*t.dtype.Size()})
	}
	return f, nil
}
