// Package card makes the general.* entries of a GGUF file from a checkpoint's model card, names, parameter counts,
// generation_config.json and an override file, as the reference does (gguf-py/gguf/metadata.py), and the default
// name of the file.
//
// Where a value comes from, the first that has one wins:
//
//	--model-name          the name only
//	override file         any key but general.license; null takes a value away
//	generation_config     sampling defaults only
//	model card            the front matter of README.md, by up to three names for a key            front.go, yaml.go
//	repo id               taken apart at its hyphens: base name, size, finetune, version           name.go
//	_name_or_path         of config.json, the same way, unless it looks like a path
//	folder                the same way
//	parameter count       the size label                                                           size.go
//
// What each key is called in these places, and what it may hold, is one table: keys in fields.go. The reference finds a
// wrong type only when it writes the file. Here the card is checked when it is read,
// a key that does not fit is left out with a warning, and a later source may fill it in. Strict restores the
// reference's behaviour and its order: a wrong value that an override file replaces is no error then.
//
// A card is written by people. It is never trusted: its size, its nesting, its aliases and the number of warnings are
// bounded, and no part of it can lead a file name out of its folder.
//
// Known to differ from the reference: bytes (!!binary) as a text, half a surrogate pair as an escape, and a list of lists
// are problems here; a name or size label of 0 or false is one too, where the reference drops it or prints it into
// the file's name.
//
// Held by tests: entries, order, types and file names equal the reference's (TestConformance, TestWholeFiles);
// a broken card costs its broken keys only (TestLenient); no card makes it panic (FuzzCard).
package card

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"unicode/utf8"

	"quern/convert/config"
	"quern/convert/fault"
	"quern/convert/gguf"
)

// Input is everything that general.* is made from.
type Input struct {
	Source    fs.FS          // the checkpoint: README.md and generation_config.json are read, both may be missing
	Folder    string         // name of the checkpoint's folder, without its path
	Repo      string         // id on the Hub (org/name), when it comes from there; see Metadata
	Config    *config.Config // for `_name_or_path` of the file; nil when there is none
	Params    Params
	Override  []byte  // contents of an override file (JSON), nil for none
	ModelName *string // replaces the name; an empty one leaves general.name out
	Strict    bool    // fail where the reference fails on a card or generation_config.json
}

// Info is what else the sources told.
type Info struct {
	Parts       Parts
	License     string   // general.license, as the card has it
	LicenseName string   // general.license.name
	LicenseLink string   // general.license.link
	Warnings    []string // one line each, with file and line; never the reason for a missing file
}

// Metadata makes the entries that follow general.type, in the reference's order. general.architecture, general.type,
// general.file_type and general.quantization_version are the caller's.
//
// A name comes from the first that has one: override file (or ModelName), model card, repo id, `_name_or_path`,
// folder. With a repo id quern goes its own way: the reference (--remote) makes the id the name and takes the other
// parts from the name of the cache's folder, which is a commit; and `_name_or_path` often names the model that this
// one was tuned from. So with Repo the parts come from the id, and neither Folder nor `_name_or_path` is asked.
//
// A value that does not fit its key is left out with a warning, or with Strict an error, as in the reference; in an
// override file it is always an error. Errors are *fault.Invalid.
func Metadata(in Input) ([]gguf.KV, Info, error) {
	m := meta{in: in, v: map[string]entry{}, from: map[string]string{}}
	for _, read := range []func() error{m.readCard, m.readNames, m.readGeneration, m.readOverride} {
		if err := read(); err != nil {
			return nil, m.info, err
		}
	}
	if in.ModelName != nil {
		m.put("general.name", *in.ModelName, "--model-name")
	}
	if m.v["general.name"].v == nil {
		m.put("general.name", in.Folder, "the folder")
	}
	if m.v["general.size_label"].v == nil && in.Params.Total > 0 {
		m.put("general.size_label", in.Params.sizeLabel(), "the parameter count")
	}
	kvs, err := m.write()
	return kvs, m.info, err
}

// Original is the id of the first repository that the model card in src names as what this one was made from; "" without one.
func Original(src fs.FS) string {
	m := meta{in: Input{Source: src}}
	data, err := m.readFile(readme, maxCard)
	if err != nil {
		return ""
	}
	f, _ := readFront(data, false)
	for _, k := range keys {
		for _, name := range k.card {
			if k.name != baseModels || f[name].v == nil {
				continue
			}
			v := f[name].v
			if l, ok := v.([]any); ok && len(l) > 0 {
				v = l[0]
			}
			id, _ := v.(string)
			if m := reHub.FindStringSubmatch(id); m != nil {
				id = m[1]
			}
			return id
		}
	}
	return ""
}

// meta collects values by the names of the keys.
type meta struct {
	in   Input
	v    map[string]entry
	from map[string]string // where a value comes from, for messages
	info Info
}

// put replaces what is there, with null too: an override file can take a value away.
func (m *meta) put(name string, v any, from string) {
	m.v[name] = entry{v: v}
	m.from[name] = from
}

// offer keeps an earlier value.
func (m *meta) offer(name string, v any, from string) {
	if m.v[name].v == nil {
		m.put(name, v, from)
	}
}

// warn keeps the order of the sources.
func (m *meta) warn(on, says string) { m.info.Warnings = append(m.info.Warnings, on+": "+says) }

// drop warns of a problem, or returns it as an error with Strict.
func (m *meta) drop(p problem) error {
	if m.in.Strict {
		return p.err()
	}
	if p.whole {
		m.warn(p.where(), p.says+"; its keys are read one by one")
		return nil
	}
	m.warn(p.where(), p.says+"; left out")
	return nil
}

// readFile gives nil for a missing file.
func (m *meta) readFile(name string, bound int) ([]byte, error) {
	if m.in.Source == nil {
		return nil, nil
	}
	f, err := m.in.Source.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &fault.Invalid{On: name, Says: "cannot be read", Err: err}
	}
	defer f.Close()
	// The reference asks is_file first, so a folder of that name counts as missing.
	if s, err := f.Stat(); err == nil && s.IsDir() {
		return nil, nil
	}
	data, err := io.ReadAll(io.LimitReader(f, int64(bound)+1))
	if err != nil {
		return nil, &fault.Invalid{On: name, Says: "cannot be read", Err: err}
	}
	if len(data) > bound {
		return nil, &fault.Invalid{On: name, Says: fmt.Sprintf("more than %d bytes", bound)}
	}
	return data, nil
}

// maxProblems bounds the warnings of one card.
const maxProblems = 20

// readCard fills in what the card says. The order of the keys does not matter: each has its own names.
func (m *meta) readCard() error {
	data, err := m.readFile(readme, maxCard)
	if err != nil && m.in.Strict {
		return err
	} else if err != nil {
		m.info.Warnings = append(m.info.Warnings, err.Error()+"; nothing of the card is used")
	}
	f, problems := readFront(data, m.in.Strict)
	if n := len(problems); n > maxProblems && !m.in.Strict {
		problems = append(problems[:maxProblems:maxProblems], problem{says: fmt.Sprintf("%d more keys that cannot be read", n-maxProblems)})
	}
	for _, p := range problems {
		if err := m.drop(p); err != nil {
			return err
		}
	}
	if f == nil && unseen(data) {
		m.warn(readme, "the front matter does not start on the first line and does not count")
	}
	for _, k := range keys {
		switch k.kind {
		case list:
			err = m.cardList(k, f)
		case origins:
			err = m.cardSources(k, f)
		default:
			err = m.cardValue(k, f)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// cardValue takes the first of a key's names in the card that is present and not null. With Strict a wrong type is
// found when the file is written, as in the reference: an override may have replaced it by then.
func (m *meta) cardValue(k key, f front) error {
	for _, name := range k.card {
		e := f[name]
		if e.v == nil {
			continue
		}
		if _, err := k.kind.typed(e.v); err != nil && !m.in.Strict {
			_ = m.drop(problem{line: e.line, key: name, says: err.Error()}) // a warning
			continue
		}
		m.put(k.name, e.v, problem{line: e.line, key: name}.where())
		return nil
	}
	return nil
}

// cardList joins the lists of a key's names in the card; a text is a list of one, anything else an empty list.
func (m *meta) cardList(k key, f front) error {
	all := []any{}
	for _, name := range k.card {
		e := f[name]
		if e.v == nil {
			continue
		}
		more, _ := e.v.([]any)
		if s, ok := e.v.(string); ok {
			more = []any{s}
		}
		// One wrong element spoils the whole list, and what an earlier name gave must stay.
		both := slices.Concat(all, more)
		if _, err := array(both); err != nil && !m.in.Strict {
			_ = m.drop(problem{line: e.line, key: name, says: err.Error()}) // a warning
			continue
		}
		all = both
		m.put(k.name, all, problem{line: e.line, key: name}.where())
	}
	return nil
}

// readNames fills in what the id of the repo, or `_name_or_path` and the folder tell.
func (m *meta) readNames() error {
	if m.in.Repo != "" {
		m.offerID(m.in.Repo, "the repo id")
		return nil
	}
	if m.in.Config != nil {
		v := m.in.Config.Raw["_name_or_path"]
		path, ok := v.(string)
		if v != nil && !ok {
			p := problem{says: describe(v) + ", a text is needed"}
			if m.in.Strict {
				return &fault.Invalid{On: "config.json: _name_or_path", Says: p.says}
			}
			m.warn("config.json: _name_or_path", p.says+"; left out")
		}
		if ok && strings.Count(path, "/") <= 1 { // else it is a path on somebody's machine
			m.offerID(path, "_name_or_path")
		}
	}
	m.offerID(m.in.Folder, "the folder")
	return nil
}

// offerID fills in what is still missing. The parts of different ids mix: a folder gives the finetune that
// _name_or_path lacks.
func (m *meta) offerID(id, from string) {
	p := parseID(id, m.in.Params.Total)
	m.offer("general.name", title(p.full), from)
	if p.hasOrg {
		m.offer("general.organization", title(p.org), from)
	}
	for name, s := range map[string]string{"general.basename": p.basename, "general.finetune": p.finetune,
		"general.version": p.version, "general.size_label": p.label} {
		if s != "" {
			m.offer(name, s, from)
		}
	}
}

// generation is the file of sampling defaults.
const generation = "generation_config.json"

// readGeneration overwrites nothing but sampling keys, which no card can set. A file that is no JSON is ignored by the
// reference as well; one that holds a wrong type stops it when the file is written.
func (m *meta) readGeneration() error {
	data, err := m.readFile(generation, maxCard)
	if err != nil && !m.in.Strict {
		m.info.Warnings = append(m.info.Warnings, err.Error()+"; no sampling defaults are written")
		return nil
	} else if err != nil || data == nil {
		return err
	}
	if m.in.Strict && !utf8.Valid(data) {
		return &fault.Invalid{On: generation, Says: "not UTF-8"}
	}
	v, err := config.Parse(generation, data)
	if err != nil {
		m.warn(generation, "not read, no sampling defaults are written: "+err.Error())
		return nil // the reference goes on as well
	}
	o, ok := v.(config.Object)
	if !ok {
		if !config.Truth(v) {
			return nil
		}
		return m.badGeneration("", v, "an object is needed")
	}
	for _, k := range keys {
		v, ok := o.Find(k.gen...)
		if !ok {
			continue
		}
		if _, err := k.kind.typed(v); err != nil && !m.in.Strict {
			m.warn(generation+": "+k.gen[0], err.Error()+"; left out")
			continue
		}
		m.put(k.name, v, generation+": "+k.gen[0])
	}
	return nil
}

// badGeneration is a warning, or an error with Strict.
func (m *meta) badGeneration(key string, v any, says string) error {
	if m.in.Strict {
		return &fault.Invalid{On: generation + key, Says: describe(v) + ", " + says}
	}
	m.warn(generation+key, describe(v)+", "+says+"; left out")
	return nil
}

// overrideFile names the file in messages; its path is the caller's.
const overrideFile = "override file"

// readOverride takes every key that is present, null included. The user wrote this file for this run, so a mistake in it
// is never passed over, and a key that the reference would ignore is named.
func (m *meta) readOverride() error {
	if m.in.Override == nil {
		return nil
	}
	v, err := config.Parse(overrideFile, m.in.Override)
	if err != nil {
		return err
	}
	o, ok := v.(config.Object)
	if !ok {
		return &fault.Invalid{On: overrideFile, Says: describe(v) + ", an object is needed"}
	}
	known := map[string]bool{}
	for _, k := range keys {
		name := k.name
		if k.override != "" {
			name = k.override
		}
		known[name] = true
		v, ok := o[name]
		if !ok {
			continue
		}
		if s, isText := v.(string); isText && k.kind == list {
			letters := []any{} // a text counts as the list of its characters
			for _, c := range s {
				letters = append(letters, string(c))
			}
			v = letters
		}
		m.put(k.name, v, overrideFile+": "+name)
	}
	for _, name := range slices.Sorted(mapKeys(o)) {
		if !known[name] {
			m.warn(overrideFile, name+" is no key that can be overridden; not used")
		}
	}
	return nil
}
