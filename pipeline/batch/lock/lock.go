// Package lock pins a model set: for every source the commit and the digest of every file that is read. It stands beside the
// manifest as quern.lock and belongs under version control.
package lock

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/google/renameio/v2"
)

// Name is the file's name, beside the manifest.
const Name = "quern.lock"

// version changes when the meaning of an entry does.
const version = 1

// maxFile bounds what is read: a lock names every file of every model.
const maxFile = 64 << 20

// Mode says what a run may do with the lock.
type Mode int

// The modes.
const (
	Follow Mode = iota // what is locked stays; what is not, or is another source now, is added
	Update             // everything is resolved anew
	Locked             // nothing may differ
)

// Pin is one source.
type Pin struct {
	Commit string `json:"commit,omitempty"` // of a repository
	Files  []File `json:"files"`            // by name
}

// File is one file of a source.
type File struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	Digest string `json:"digest"` // sha256:... or git-sha1:...
}

// DriftError says that a source is not what the lock says. The command ends with exit code 12.
type DriftError struct {
	Path, Model, Says string
}

// Error names source and difference.
func (e *DriftError) Error() string { return fmt.Sprintf("%s: %s: %s", e.Path, e.Model, e.Says) }

// Hint says how the lock is renewed.
func (e *DriftError) Hint() string {
	return "`quern batch --update` locks what is there now; look at the difference of " + Name + " first"
}

// Lock is a lock file. It is safe for concurrent use.
type Lock struct {
	path string
	mode Mode

	mu      sync.Mutex
	sources map[string]Pin
	changed bool
}

// Document is the file's form.
type Document struct {
	Version int            `json:"version"`
	Sources map[string]Pin `json:"sources"` // by the MODEL argument as the manifest has it
}

// Open reads the lock at path. A missing file is an empty lock, which Locked refuses.
func Open(path string, mode Mode) (*Lock, error) {
	l := &Lock{path: path, mode: mode, sources: map[string]Pin{}}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if mode == Locked {
			return nil, &DriftError{path, "the set", "there is no lock"}
		}
		return l, nil
	}
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, &DriftError{path, "the set", fmt.Sprintf("%d bytes are no lock", info.Size())}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var f Document
	if err := json.Unmarshal(b, &f); err != nil || f.Version != version {
		return nil, &DriftError{path, "the set", "is not a lock of this version of quern"}
	}
	if f.Sources != nil {
		l.sources = f.Sources
	}
	return l, nil
}

// Of is a lock of some sources that are pinned elsewhere: nothing may differ, and nothing is written.
func Of(pins map[string]Pin) *Lock { return &Lock{path: Name, mode: Locked, sources: pins} }

// Pin is what a model is pinned to.
func (l *Lock) Pin(model string) (Pin, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, ok := l.sources[model]
	return p, ok
}

// Commit is the commit at which a model is to be read; empty where nothing is locked or it is to be resolved anew.
func (l *Lock) Commit(model string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mode == Update {
		return ""
	}
	return l.sources[model].Commit
}

// Check compares a source with the lock and adds it where the mode allows. note is what a person should know: what was renewed.
func (l *Lock) Check(model string, now Pin) (note string, err error) {
	now.Files = slices.Clone(now.Files)
	slices.SortFunc(now.Files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	l.mu.Lock()
	defer l.mu.Unlock()
	old, had := l.sources[model]
	says := ""
	if had {
		says = differs(old, now)
	}
	switch {
	case had && says == "":
		return "", nil
	case l.mode == Locked && !had:
		return "", &DriftError{l.path, model, "is not locked"}
	case l.mode == Locked, had && l.mode == Follow && now.Commit != "":
		return "", &DriftError{l.path, model, says} // a commit's files never change, unless someone lies
	case had:
		note = "the lock is renewed: " + says
	}
	l.sources[model], l.changed = now, true
	return note, nil
}

func differs(old, now Pin) string {
	if old.Commit != now.Commit {
		return fmt.Sprintf("commit %.12s is locked, it is at %.12s", old.Commit, now.Commit)
	}
	is := map[string]File{}
	for _, f := range now.Files {
		is[f.Name] = f
	}
	for _, f := range old.Files {
		g, ok := is[f.Name]
		switch {
		case !ok:
			return f.Name + " is locked and gone"
		case f != g:
			return fmt.Sprintf("%s has digest %s, %s is locked", f.Name, g.Digest, f.Digest)
		}
		delete(is, f.Name)
	}
	for name := range is {
		return name + " is not locked"
	}
	return ""
}

// Keep drops the sources that none of the models has any more.
func (l *Lock) Keep(models []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range slices.Collect(maps.Keys(l.sources)) {
		if !slices.Contains(models, m) && l.mode != Locked {
			delete(l.sources, m)
			l.changed = true
		}
	}
}

// Write writes the lock if anything changed.
func (l *Lock) Write() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.changed {
		return nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(Document{version, l.sources}); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(l.path), 0o777); err != nil {
		return err
	}
	l.changed = false
	return renameio.WriteFile(l.path, b.Bytes(), 0o644)
}
