package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// A manifest is written by people and short; what is longer is not one.
const (
	maxBytes  = 4 << 20
	maxModels = 10_000
)

// Kind is what an option takes.
type Kind string

// The kinds.
const (
	Bool   Kind = "bool"
	Text   Kind = "text"
	Number Kind = "number"
	List   Kind = "list" // of texts; one text is a list of one
	Path   Kind = "path" // of a file or folder, relative to the manifest
)

// Words are what a manifest may say and only the program knows.
type Words struct {
	Options map[string]Kind
	Type    func(name string) error // whether files are made in the type
	Machine func(text string) error
	Size    func(text string) (int64, error)         // bytes; refuses 0 and less
	Nearest func(name string, known []string) string // a hint that names the one that was meant, if one is alike
}

// Error is a mistake in a manifest.
type Error struct {
	File string
	Position
	Says, Next string
}

// Error is file:line:column: and what is wrong there.
func (e *Error) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Says
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Says)
}

// Hint says what would be right.
func (e *Error) Hint() string { return e.Next }

// Errors are all mistakes of a manifest, in its order.
type Errors []*Error

// Error tells all of them.
func (es Errors) Error() string {
	var lines []string
	for _, e := range es {
		lines = append(lines, e.Error())
	}
	return strings.Join(lines, "; ")
}

// Hint is that of the first mistake that has one.
func (es Errors) Hint() string {
	for _, e := range es {
		if e.Next != "" {
			return e.Next
		}
	}
	return "`quern batch --schema` prints the form of a manifest, for editors too"
}

// ReadFile reads the manifest at path.
func ReadFile(path string, w Words) (*Set, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return nil, err
	}
	return Read(path, data, w)
}

// Read reads a manifest. An error is an Errors with every mistake that was found.
func Read(name string, data []byte, w Words) (*Set, error) {
	if len(data) > maxBytes {
		return nil, Errors{{File: name, Says: fmt.Sprintf("more than %d bytes are no manifest", maxBytes)}}
	}
	if t := bytes.TrimLeft(data, " \t\r\n"); len(t) > 0 && t[0] == '{' {
		data = bytes.ReplaceAll(data, []byte{'\t'}, []byte{' '}) // JSON may be indented by tabs, YAML may not; columns stay
	}
	r := &reader{set: &Set{File: name, Output: "artifacts"}, words: w}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, Errors{syntaxError(name, err)}
	}
	if len(doc.Content) == 0 {
		return nil, Errors{{File: name, Says: "is empty", Next: "list at least one model under models:"}}
	}
	r.top(doc.Content[0])
	if len(r.errs) > 0 {
		slices.SortStableFunc(r.errs, func(a, b *Error) int { return a.Line - b.Line })
		return nil, r.errs
	}
	return r.set, nil
}

// syntaxError takes the place out of the parser's own error.
func syntaxError(name string, err error) *Error {
	e := &Error{File: name, Says: strings.TrimPrefix(err.Error(), "yaml: ")}
	var le *yaml.LoadError
	if errors.As(err, &le) {
		e.Position, e.Says = Position{le.Mark.Line, le.Mark.Column}, le.Message
	}
	return e
}

// reader walks the nodes and collects what is wrong with them.
type reader struct {
	set      *Set
	words    Words
	defaults Model
	errs     Errors
}

func (r *reader) fail(n *yaml.Node, next, format string, a ...any) {
	r.errs = append(r.errs, &Error{r.set.File, at(n), fmt.Sprintf(format, a...), next})
}

func at(n *yaml.Node) Position { return Position{n.Line, n.Column} }

// field is how the value of a key is read.
type field struct {
	name string
	read func(*yaml.Node)
}

// fields reads a mapping whose keys are all known.
func (r *reader) fields(n *yaml.Node, what string, known ...field) {
	r.pairs(n, what, func(key, value *yaml.Node) {
		for _, f := range known {
			if f.name == key.Value {
				f.read(value)
				return
			}
		}
		var names []string
		for _, f := range known {
			names = append(names, f.name)
		}
		r.fail(key, r.words.Nearest(key.Value, names), "%s has no key %q", what, key.Value)
	})
}

// pairs visits a mapping; a key that stands twice is refused.
func (r *reader) pairs(n *yaml.Node, what string, each func(key, value *yaml.Node)) {
	n = target(n)
	if n.Kind != yaml.MappingNode {
		r.fail(n, "", "%s is a mapping of keys to values, not %s", what, describe(n))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if seen[key.Value] {
			r.fail(key, "", "%q stands twice", key.Value)
			continue
		}
		seen[key.Value] = true
		each(key, n.Content[i+1])
	}
}

// items visits a list; one scalar is a list of one where that is allowed.
func (r *reader) items(n *yaml.Node, what string, single bool, each func(*yaml.Node)) {
	n = target(n)
	switch {
	case n.Kind == yaml.SequenceNode:
		for _, c := range n.Content {
			each(c)
		}
	case single && n.Kind == yaml.ScalarNode && n.Tag != "!!null":
		each(n)
	default:
		r.fail(n, "", "%s is a list, not %s", what, describe(n))
	}
}

// scalar is a node's text; tags lists what it may be, such as "!!str".
func (r *reader) scalar(n *yaml.Node, what, want string, tags ...string) (string, bool) {
	n = target(n)
	if n.Kind != yaml.ScalarNode || !slices.Contains(tags, n.Tag) {
		r.fail(n, "", "%s is %s, not %s", what, want, describe(n))
		return "", false
	}
	return n.Value, true
}

// text accepts numbers too: a folder may be called 7.
func (r *reader) text(n *yaml.Node, what string, set func(string)) {
	if s, ok := r.scalar(n, what, "a text", "!!str", "!!int", "!!float"); ok {
		if strings.TrimSpace(s) == "" {
			r.fail(n, "", "%s is empty", what)
			return
		}
		set(s)
	}
}

func (r *reader) number(n *yaml.Node, what string, set func(float64)) {
	if _, ok := r.scalar(n, what, "a number", "!!int", "!!float"); !ok {
		return
	}
	var f float64
	if err := target(n).Decode(&f); err != nil || !(f > 0 && f < 1e15) {
		r.fail(n, "", "%s is a positive number, not %s", what, target(n).Value)
		return
	}
	set(f)
}

func (r *reader) size(n *yaml.Node, what string, set func(int64)) {
	r.text(n, what, func(s string) {
		b, err := r.words.Size(s)
		if err != nil || b <= 0 {
			r.fail(n, "such as 3.5GiB, 800MB or a number of bytes", "%s %q is no size", what, s)
			return
		}
		set(b)
	})
}

// target follows an alias. An anchor that holds an alias to itself ends at the alias, whose kind no reader accepts.
func target(n *yaml.Node) *yaml.Node {
	for range 8 {
		if n.Kind != yaml.AliasNode || n.Alias == nil {
			break
		}
		n = n.Alias
	}
	return n
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode:
		switch n.Tag {
		case "!!null":
			return "nothing"
		case "!!bool":
			return n.Value
		}
		return fmt.Sprintf("%q", n.Value)
	}
	return "an alias to itself"
}
