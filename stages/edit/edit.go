// Package edit changes the metadata of a GGUF file.
//
// Where the new header fits before the data (gguf.InPlace), the data stays at its offset and only the header is other
// bytes. Still the file under its name is never written to: a copy beside it gets the new header, is flushed, and takes
// the name over, so that a crash at any moment leaves the old file or the new one. A journal in front of a write in
// place was the alternative; it would leave a half-written model under its name until somebody starts quern again, and
// would write through hard links. The copy is a clone where the file system shares blocks (APFS, Btrfs, XFS): it then
// costs the header alone. Elsewhere the kernel copies, which costs a read and a write of the file.
//
// A name that is a symbolic link, as in the Hub's cache, becomes a file of its own: what it pointed to stays as it was.
//
// Where the header does not fit, the file is built anew by the pass that all files are written by (stages/build).
//
// Held by tests: the data is untouched, a crash after any step leaves a whole file (TestRewriteFaults), edits of recorded
// files read back as asked for, llama.cpp loads them.
package edit

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"quern/convert/fault"
	"quern/convert/gguf"
	"quern/stages/job"
	"quern/stages/source"
)

// Edits are what is to change. Renames come first, then deletions, then settings.
type Edits struct {
	Rename [][2]string // from, to
	Delete []string
	Set    []gguf.KV
}

// fixed are keys that describe how a file is laid out, not the model. The alignment does too, and can be chosen: the data moves.
var fixed = []string{gguf.KeySplitNo, gguf.KeySplitCount, gguf.KeySplitTensors, gguf.KeyPad}

// Apply makes the new metadata. A key keeps its place; new ones come at the end. Errors are *fault.Invalid: a key that is
// not there, a name that is taken, a key that describes the file's layout.
func (e Edits) Apply(meta []gguf.KV) ([]gguf.KV, error) {
	meta = slices.Clone(meta)
	at := func(key string) int {
		return slices.IndexFunc(meta, func(kv gguf.KV) bool { return kv.Key == key })
	}
	for _, r := range e.Rename {
		i := at(r[0])
		switch {
		case i < 0:
			return nil, missing(r[0], meta)
		case at(r[1]) >= 0:
			return nil, &fault.Invalid{On: r[1], Says: "there is such a key already", Next: "--delete it first"}
		}
		if err := allowed(r[0], r[1]); err != nil {
			return nil, err
		}
		meta[i].Key = r[1]
	}
	for _, key := range e.Delete {
		i := at(key)
		if i < 0 {
			return nil, missing(key, meta)
		}
		if err := allowed(key); err != nil {
			return nil, err
		}
		meta = slices.Delete(meta, i, i+1)
	}
	for _, kv := range e.Set {
		if err := allowed(kv.Key); err != nil {
			return nil, err
		}
		if i := at(kv.Key); i >= 0 {
			meta[i].Value = kv.Value
		} else {
			meta = append(meta, kv)
		}
	}
	if at("general.architecture") < 0 {
		return nil, &fault.Invalid{On: "general.architecture", Says: "no program loads a file without it"}
	}
	return meta, nil
}

func allowed(keys ...string) error {
	for _, k := range keys {
		if k == "" || slices.Contains(fixed, k) {
			return &fault.Invalid{On: fmt.Sprintf("key %q", k), Says: "it describes how the file is laid out and is not edited"}
		}
	}
	return nil
}

// missing names keys that end alike, since a key's prefix is what people forget.
func missing(key string, meta []gguf.KV) error {
	last := key[strings.LastIndexByte(key, '.')+1:]
	var near []string
	for _, kv := range meta {
		if strings.HasSuffix(kv.Key, last) && len(near) < 3 {
			near = append(near, kv.Key)
		}
	}
	next := "`quern inspect FILE` lists the keys"
	if len(near) > 0 {
		next = "there is " + strings.Join(near, ", ")
	}
	return &fault.Invalid{On: key, Says: "the file has no such key", Next: next}
}

// Result says how an edit would be carried out.
type Result struct {
	File    *gguf.File
	Plan    gguf.Plan
	InPlace bool // the data keeps its offset
	Notes   []string
}

// Plan decides how the edit of the file that s.Model names is made; out is another file to write, or empty. Where the data
// has to move, or goes elsewhere, s.Files holds the new file for the build stage.
func Plan(s *job.State, e Edits, out string) (*Result, error) {
	f, err := open(s)
	if err != nil {
		return nil, err
	}
	meta, err := e.Apply(f.Metadata)
	if err != nil {
		return nil, err
	}
	alignment := (&gguf.Plan{Metadata: meta}).Alignment()
	stays := out == "" && alignment == f.Alignment
	if n, ok := f.Int(gguf.KeySplitCount); ok && n > 1 && !stays {
		return nil, &fault.Unsupported{On: s.Model, Says: "a part of a split model is edited where it is, in its alignment", Next: "`quern merge` makes one file of the parts first"}
	}
	r := &Result{File: f, Notes: e.notes(f)}
	if stays {
		if r.Plan, r.InPlace, err = f.InPlace(meta); err != nil || r.InPlace {
			return r, err
		}
	}
	if out == "" {
		out = s.Source.Path
	}
	meta = slices.DeleteFunc(meta, func(kv gguf.KV) bool { return kv.Key == gguf.KeyPad })
	if r.Plan, err = gguf.Layout(meta, f.Outputs, alignment); err != nil {
		return nil, err
	}
	s.Parts = []*gguf.File{f}
	a := &job.Artifact{Type: "edited", Path: out, Paths: []string{out}}
	a.SetParts([]gguf.Part{{Plan: r.Plan}})
	for i := range f.Outputs {
		a.Copies = append(a.Copies, job.Ref{Index: i})
	}
	s.Files = []*job.Artifact{a}
	return r, nil
}

// open reads the header of the one file whose metadata counts: of a split model the first part's.
func open(s *job.State) (*gguf.File, error) {
	var err error
	if s.Source, err = source.Parse(s.Model); err != nil {
		return nil, err
	}
	if s.Source.Kind != source.GGUF {
		return nil, &fault.Unsupported{On: s.Model, Says: "is not a GGUF file"}
	}
	name := filepath.Base(s.Source.Path)
	if stem, no, n, ok := gguf.ParseSplitName(name); ok && no != 1 {
		return nil, &fault.Invalid{On: s.Model, Says: "is a later part of a split model", Next: "metadata stands in the first part, " + gguf.SplitName(stem, 1, n)}
	}
	return read(s.Source.Path)
}

// notes tell of changes that programs may stumble over.
func (e Edits) notes(f *gguf.File) []string {
	var notes []string
	for _, kv := range e.Set {
		old, ok := f.Lookup(kv.Key)
		if !ok {
			continue
		}
		if was, now := kindOf(old), kindOf(kv.Value); was != now {
			notes = append(notes, fmt.Sprintf("%s was %s and is %s now: llama.cpp loads a key in its own type only", kv.Key, was, now))
		}
	}
	if f.Version < gguf.Version {
		notes = append(notes, fmt.Sprintf("the file was of version %d, the new header is of version %d", f.Version, gguf.Version))
	}
	return notes
}

func kindOf(v any) string {
	t, elem, _, _ := gguf.Kind(v)
	if t == gguf.Array {
		return elem.String() + "[]"
	}
	return t.String()
}
