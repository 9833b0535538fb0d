package safetensors

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
)

// MaxIndex is the largest index file that is read: the names of ten million tensors fit.
const MaxIndex = 1 << 30

// index reads the weight_map of the named file: tensor -> part. It is nil when there is no such file.
func (c *Checkpoint) index(src fs.FS, name string) (map[string]string, error) {
	f, err := src.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c.Index = name
	return ReadIndex(name, f)
}

// ReadIndex reads an index file (model.safetensors.index.json or pytorch_model.bin.index.json): tensor -> name of its part.
// Parts are plain names in the index's own folder: a path that leads elsewhere is refused. Errors are *FormatError.
func ReadIndex(file string, r io.Reader) (map[string]string, error) {
	// A reader, not a file: its length is not known, so the bound is put on what is read.
	limited := &io.LimitedReader{R: r, N: MaxIndex}
	p := &parser{file: file, dec: json.NewDecoder(&utf8Reader{r: limited})}
	p.dec.UseNumber()
	if err := p.open('{', "the index"); err != nil {
		return nil, err
	}
	// Other keys (metadata with total_size, which is often wrong) decide nothing and are skipped.
	var weights map[string]string
	err := p.members(func(key string) error {
		if key != "weight_map" {
			return p.skip()
		}
		if weights != nil {
			return p.fail("the index has %q twice", key)
		}
		weights = map[string]string{}
		return p.weightMap(weights)
	})
	if err != nil {
		if limited.N == 0 {
			return nil, bad(file, "", "the index is longer than %d bytes", int64(MaxIndex))
		}
		return nil, err
	}
	if len(weights) == 0 {
		return nil, bad(file, "", `the index has no "weight_map" with tensors`)
	}
	return weights, nil
}

// weightMap reads tensor -> part and keeps one copy of each part's name, of which there are few.
func (p *parser) weightMap(weights map[string]string) error {
	if err := p.open('{', `"weight_map"`); err != nil {
		return err
	}
	parts := map[string]string{} // one copy of each part's name
	return p.members(func(name string) error {
		p.tensor = name
		t, err := p.token()
		if err != nil {
			return err
		}
		part, ok := t.(string)
		if !ok {
			return p.fail("its part must be a string, found %s", kind(t))
		}
		if _, known := parts[part]; !known {
			if err := partName(part); err != nil {
				return p.fail("its part %q %s", part, err)
			}
			parts[part] = part
		}
		if _, twice := weights[name]; twice {
			return p.fail("the index lists it twice")
		}
		weights[name] = parts[part]
		p.tensor = ""
		return nil
	})
}

// partName refuses what is no plain file name: fs.ValidPath alone would let "sub/../x"-free subfolders pass,
// and back slashes and drive letters lead elsewhere on some systems.
func partName(s string) error {
	if !fs.ValidPath(s) || s == "." {
		return errors.New("is not a plain path below the checkpoint's folder")
	}
	// fs.ValidPath knows slashes only.
	for _, r := range s {
		if r == '\\' || r == ':' || r < ' ' {
			return fmt.Errorf("holds the character %q", r)
		}
	}
	return nil
}

// skip reads one value of any shape, with no recursion.
func (p *parser) skip() error {
	for depth := 0; ; {
		t, err := p.token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

// files are the parts, each once, sorted as the reference sorts them.
func files(weights map[string]string) []string {
	seen := map[string]bool{}
	var names []string
	for _, f := range weights {
		if !seen[f] {
			seen[f] = true
			names = append(names, f)
		}
	}
	slices.Sort(names)
	return names
}
