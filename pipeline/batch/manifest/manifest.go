// Package manifest reads the file that describes a model set: models x types x machines, with options, gates and budgets.
//
// It is YAML, of which JSON is a part. Every mistake is told with its line and column; a key that is not known is refused with
// the nearest one that is. What only the program knows (names of types, machines and options) comes in as Words.
// manifest.schema.json says the same to editors; a test holds the two together.
package manifest

import (
	_ "embed"
	"path/filepath"
	"slices"
	"strings"
)

// Schema is the JSON Schema of manifests.
//
//go:embed manifest.schema.json
var Schema []byte

// Version is the form of manifests that this package reads.
const Version = 1

// Set is a manifest as it stands.
type Set struct {
	File   string // as it was named
	Output string // folder of the artifacts, relative to the manifest's own
	Budget Budget
	// Runners names, for a machine (or "default"), the labels of the CI runner that its entries run on.
	Runners map[string][]string
	Models  []Model
}

// Budget bounds what a run uses; 0: what the machine has.
type Budget struct {
	Disk      int64 // bytes of sources and outputs together, at any moment
	Memory    int64 // bytes of models under test and of buffers
	Cores     int
	Bandwidth int64 // bytes a second
}

// Model is one source and what is to be made of it. The defaults of the manifest are merged in.
type Model struct {
	Key     string // its name: folder, entry, CI job
	Model   string // the MODEL argument; a path is relative to the manifest
	Types   []Type
	For     []string // machines, as people write them; none: the one at work
	Options map[string]Option
	Gates   Gates
	Measure []string // what is measured of every file: speed, quality
	Judge   Judge
	At      Position
}

// Type is one wanted file: a type's name, Recommended, or the mixture that fits a size.
type Type struct {
	Name string
	Fit  string // a size such as 6GiB; Name is empty then
	At   Position
}

// Recommended is the type that suits the entry's machine.
const Recommended = "recommended"

// String is the type as a manifest has it.
func (t Type) String() string {
	if t.Fit != "" {
		return "fit: " + t.Fit
	}
	return t.Name
}

// Option is a value of an option: the words that a command line would have after it. A boolean has one word, true or false.
type Option struct {
	Kind  Kind
	Words []string
	At    Position
}

// Gates are what a file must pass before it gets a receipt.
type Gates struct {
	Smoke    string  // required, report, off
	MaxKLD   float64 // mean Kullback-Leibler divergence from the source precision, nats a token; 0: no gate
	MinSpeed float64 // generated tokens a second on the entry's machine; 0: no gate
}

// Judge says how quality is measured.
type Judge struct {
	Text   string // file with held-out text; empty: a text of the program's own
	Chunks int    // at most; 0: as `quern quality` does
}

// What a manifest may say of the smoke test.
const (
	SmokeRequired = "required" // a file that fails it fails its entry
	SmokeReport   = "report"   // what it finds is written down, and stops nothing
	SmokeOff      = "off"
)

// What may be measured.
const (
	Speed   = "speed"
	Quality = "quality"
)

// Position is a place in the manifest, counted from 1.
type Position struct{ Line, Column int }

// Entry is a model on a machine: what one CI job or one worker does.
type Entry struct {
	Key     string // unique in the set
	Machine string // as the manifest writes it; empty: the one at work
	Model   *Model
}

// Entries are all models on all their machines, in the manifest's order.
func (s *Set) Entries() []Entry {
	var all []Entry
	for i := range s.Models {
		m := &s.Models[i]
		if len(m.For) == 0 {
			all = append(all, Entry{Key: m.Key, Model: m})
		}
		for _, text := range m.For {
			all = append(all, Entry{Key: m.Key + "@" + slug(text), Machine: text, Model: m})
		}
	}
	return all
}

// Dir is the manifest's folder, to which its paths are relative.
func (s *Set) Dir() string { return filepath.Dir(s.File) }

// Resolve is a path of the manifest as this process opens it.
func (s *Set) Resolve(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(s.Dir(), filepath.FromSlash(path))
}

// Measures tells whether something is to be measured, because it is asked for or because a gate needs it.
func (m *Model) Measures(what string) bool {
	return slices.Contains(m.Measure, what) || what == Speed && m.Gates.MinSpeed > 0 || what == Quality && m.Gates.MaxKLD > 0
}

// slug is a text as a part of a name: lower case, with single hyphens for all that is neither letter, digit nor dot.
func slug(text string) string {
	var b strings.Builder
	hyphen := false
	for _, r := range strings.ToLower(text) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '_' {
			if hyphen && b.Len() > 0 {
				b.WriteByte('-')
			}
			hyphen = false
			b.WriteRune(r)
		} else {
			hyphen = true
		}
	}
	return strings.Trim(b.String(), ".")
}
