package vocab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"unicode/utf8"

	"quern/convert/config"
	"quern/convert/fault"
)

// maxFile bounds every text or model file of a tokenizer: the largest published tokenizer.json is about 40 MB.
const maxFile = 512 << 20 // bytes

// pair is one member of a JSON object, in file order.
type pair struct {
	key   string
	value json.RawMessage
}

// memo reads each file of a checkpoint once: a remote source pays for every reading.
type memo struct {
	fs.FS
	files map[string]memoFile
}

// memoFile is what one reading gave, a failure too: a missing file stays missing while a vocabulary is built.
type memoFile struct {
	data []byte
	err  error
}

// ReadFile gives a file's bytes, which must not be changed; a file above maxFile is a *fault.Invalid.
func (m *memo) ReadFile(name string) ([]byte, error) {
	f, ok := m.files[name]
	if !ok {
		f.data, f.err = readWhole(m.FS, name)
		m.files[name] = f
	}
	return f.data, f.err
}

// Stat asks the source.
func (m *memo) Stat(name string) (fs.FileInfo, error) { return fs.Stat(m.FS, name) }

// ReadDir asks the source.
func (m *memo) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(m.FS, name) }

// readWhole reads a file whose size is known beforehand to be within the bound. A folder of that name is no file.
func readWhole(src fs.FS, name string) ([]byte, error) {
	f, err := src.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.IsDir() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
	}
	if st.Size() > maxFile {
		return nil, &fault.Invalid{On: name, Says: fmt.Sprintf("%d bytes, at most %d are read", st.Size(), int64(maxFile))}
	}
	b := make([]byte, 0, max(st.Size(), 0)+1)
	w := bytes.NewBuffer(b)
	_, err = w.ReadFrom(io.LimitReader(f, maxFile))
	return w.Bytes(), err
}

// read gives a file's bytes, or nil when it is not there.
func read(src fs.FS, name string) ([]byte, error) {
	var b []byte
	var err error
	if m, ok := src.(*memo); ok {
		b, err = m.ReadFile(name)
	} else {
		b, err = readWhole(src, name)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	case b == nil:
		b = []byte{}
	}
	return b, nil
}

// exists tells whether name is a file of the checkpoint, as the reference's is_file does.
func exists(src fs.FS, name string) bool {
	st, err := fs.Stat(src, name)
	return err == nil && !st.IsDir()
}

// readText is read for a file that Python opens as text: universal newlines, UTF-8 only.
func readText(src fs.FS, name string) (string, bool, error) {
	b, err := read(src, name)
	if b == nil || err != nil {
		return "", false, err
	}
	if !utf8.Valid(b) {
		return "", true, &fault.Invalid{On: name, Says: "not UTF-8"}
	}
	s := string(b)
	if strings.Contains(s, "\r") {
		s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	}
	return s, true, nil
}

// readObject reads a JSON object; nil without an error when the file is not there.
func readObject(src fs.FS, name string) (config.Object, error) {
	b, err := read(src, name)
	if b == nil || err != nil {
		return nil, err
	}
	v, err := config.Parse(name, b)
	if err != nil {
		return nil, err
	}
	o, ok := v.(config.Object)
	if !ok {
		return nil, &fault.Invalid{On: name, Says: "not a JSON object"}
	}
	return o, nil
}

// pairs lists an object's members in file order, as Python's dict keeps them: a name that comes twice keeps its
// first place and its last value. nil for anything but an object.
func pairs(raw json.RawMessage) []pair {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	var out []pair
	at := map[string]int{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil
		}
		key, _ := t.(string)
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil
		}
		if i, ok := at[key]; ok {
			out[i].value = v
			continue
		}
		at[key] = len(out)
		out = append(out, pair{key, v})
	}
	return out
}

// readPairs is pairs of a whole file.
func readPairs(src fs.FS, name string) ([]pair, error) {
	b, err := read(src, name)
	if b == nil || err != nil {
		return nil, err
	}
	if !json.Valid(b) {
		return nil, &fault.Invalid{On: name, Says: "not JSON"}
	}
	return pairs(b), nil
}

// integer reads a JSON integer as Python's isinstance(v, int) would: true and false count, 1.0 does not.
func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case int:
		return int64(v), true
	case int64:
		return v, true
	}
	return 0, false
}

// member walks nested objects; nil where a step is missing or is no object.
func member(v any, keys ...string) any {
	for _, k := range keys {
		o, ok := v.(config.Object)
		if !ok {
			return nil
		}
		v = o[k]
	}
	return v
}
