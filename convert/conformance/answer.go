package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
)

// Answer is what the reference left after a run: files, printed names, or a refusal.
type Answer struct {
	Fails   string   `json:"fails"`   // the reference's refusal; empty if it wrote something
	Printed []string `json:"printed"` // a dry run's file names
	Plan    []string `json:"plan"`    // a dry run's lines on tensors and sizes
	Parts   []*File  `json:"parts"`   // the files written, one or more
}

// File is a GGUF file as data: equal Files are equal files.
type File struct {
	Name       string   `json:"file"` // of a part; empty where the run wrote one file
	Version    uint32   `json:"version"`
	Size       int64    `json:"size"`
	SHA256     string   `json:"sha256"` // empty in a plan: its bytes do not exist yet
	DataOffset int64    `json:"data_offset"`
	Metadata   []Entry  `json:"metadata"` // in file order
	Tensors    []Stored `json:"tensors"`  // in file order
}

// Entry is one metadata entry with its value as canonical JSON: floats as the hexadecimal of their bits, long arrays and
// strings by digest.
type Entry struct {
	Key   string
	Type  string // u8 ... f64, str, or arr:<type>
	Value string
}

// Stored is one tensor of a file.
type Stored struct {
	Name   string
	Type   string
	Shape  []int64 // ne order: the row length first
	Offset int64   // from the start of the data section
	SHA256 string  // of the tensor's bytes; empty in a plan
}

// ReadAnswer reads an expected.<run>.json file.
func ReadAnswer(tree fs.FS, name string) (*Answer, error) {
	data, err := fs.ReadFile(tree, name)
	if err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	a, err := ParseAnswer(data)
	if err != nil {
		return nil, fmt.Errorf("answer %s: %w", name, err)
	}
	return a, nil
}

// ParseAnswer reads the text of an expected.<run>.json file.
func ParseAnswer(data []byte) (*Answer, error) {
	a := &Answer{}
	if err := json.Unmarshal(data, a); err != nil {
		return nil, err
	}
	if a.Fails == "" && a.Printed == nil && a.Parts == nil {
		f := &File{}
		if err := json.Unmarshal(data, f); err != nil {
			return nil, err
		}
		if f.Version == 0 {
			return nil, errors.New("neither a file nor parts, printed names or a refusal")
		}
		a.Parts = []*File{f}
	}
	return a, nil
}

// UnmarshalJSON reads [key, type, value].
func (e *Entry) UnmarshalJSON(data []byte) error {
	var raw json.RawMessage
	if err := tuple(data, &e.Key, &e.Type, &raw); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return err
	}
	e.Value = canonical(v)
	return nil
}

// UnmarshalJSON reads [name, type, shape, offset, sha256]; the digest may be absent.
func (s *Stored) UnmarshalJSON(data []byte) error {
	return tuple(data, &s.Name, &s.Type, &s.Shape, &s.Offset, &s.SHA256)
}

func tuple(data []byte, to ...any) error {
	var parts []json.RawMessage
	if err := json.Unmarshal(data, &parts); err != nil {
		return err
	}
	if len(parts) > len(to) || len(parts) < len(to)-1 {
		return fmt.Errorf("%.60s: %d values, want %d", data, len(parts), len(to))
	}
	for i, p := range parts {
		if err := json.Unmarshal(p, to[i]); err != nil {
			return err
		}
	}
	return nil
}

// canonical is JSON without spaces, keys sorted, no HTML escapes: two values are equal if these texts are.
func canonical(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "!" + err.Error() // equal to no value of an answer
	}
	return string(bytes.TrimRight(b.Bytes(), "\n"))
}
