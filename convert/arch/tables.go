package arch

import (
	_ "embed"
	"fmt"
	"strings"
	"sync"
)

// The three tables are facts of the reference, one line each, so that a diff shows what a new llama.cpp version changed.
//
//go:embed tables/tensors.txt
var tensorsText string

//go:embed tables/roles.txt
var rolesText string

//go:embed tables/keys.txt
var keysText string

// role is what a tensor does in a model: its GGUF name and the names that checkpoints give it.
// # in either stands for the block number.
type role struct {
	id    string
	gguf  string
	names []string            // nil: no checkpoint name, only rules lead to it
	only  map[string][]string // architecture -> names that stand there instead
}

func (r *role) namesFor(arch string) []string {
	if n, ok := r.only[arch]; ok {
		return n
	}
	return r.names
}

// tables is the parsed form of the embedded texts.
type tables struct {
	roles []*role            // in file order: where names collide, the later role has it
	byID  map[string]*role   // role id
	archs map[string][]*role // architecture -> its roles, in the order of tensors.txt
	keys  map[string]keyKind // full key pattern, "{arch}.block_count" or "xielu.beta"
}

// loadTables parses the embedded texts once. They are part of the binary: a fault in them is found by TestTables.
var loadTables = sync.OnceValues(func() (*tables, error) {
	t := &tables{byID: map[string]*role{}, archs: map[string][]*role{}, keys: map[string]keyKind{}}
	for _, part := range []struct {
		text string
		line func(string) error
	}{{tensorsText, t.tensorLine}, {rolesText, t.roleLine}, {keysText, t.keyLine}} {
		for line := range strings.Lines(part.text) {
			line = strings.TrimSpace(line)
			if line == "" || line[0] == '#' {
				continue
			}
			if err := part.line(line); err != nil {
				return nil, err
			}
		}
	}
	return t, nil
})

func (t *tables) tensorLine(line string) error {
	head, names, mapped := strings.Cut(line, "=")
	f := strings.Fields(head)
	if len(f) != 2 {
		return fmt.Errorf("tensors.txt: %q: want a role and a name", line)
	}
	if arch, ok := strings.CutPrefix(f[1], "@"); ok {
		r := t.byID[f[0]]
		if r == nil {
			return fmt.Errorf("tensors.txt: %q: no role of this name above", line)
		}
		if r.only == nil {
			r.only = map[string][]string{}
		}
		r.only[arch] = strings.Fields(names)
		return nil
	}
	r := &role{id: f[0], gguf: f[1]}
	if mapped {
		// An empty list still maps the GGUF name to itself.
		r.names = append([]string{}, strings.Fields(names)...)
	}
	t.roles = append(t.roles, r)
	if t.byID[r.id] == nil {
		t.byID[r.id] = r
	}
	return nil
}

func (t *tables) roleLine(line string) error {
	arch, ids, ok := strings.Cut(line, ":")
	if !ok {
		return fmt.Errorf("roles.txt: %q: want 'architecture: roles'", line)
	}
	has := map[string]bool{}
	for _, id := range strings.Fields(ids) {
		if t.byID[id] == nil {
			return fmt.Errorf("roles.txt: %s: no role %q", arch, id)
		}
		has[id] = true
	}
	for _, r := range t.roles {
		if has[r.id] {
			t.archs[arch] = append(t.archs[arch], r)
		}
	}
	return nil
}

func (t *tables) keyLine(line string) error {
	f := strings.Fields(line)
	if len(f) != 2 {
		return fmt.Errorf("keys.txt: %q: want a key and its kind", line)
	}
	kind, err := parseKind(f[1])
	if err != nil {
		return fmt.Errorf("keys.txt: %s: %w", f[0], err)
	}
	t.keys[f[0]] = kind
	return nil
}
