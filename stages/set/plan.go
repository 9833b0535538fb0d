package set

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"quern/pipeline"
	"quern/pipeline/batch/graph"
	"quern/pipeline/batch/lock"
	"quern/pipeline/batch/manifest"
	"quern/quantize/machine"
	"quern/quantize/recipe"
	"quern/stages/job"
	"quern/stages/plan"
	"quern/stages/record"
	"quern/stages/source"

	"github.com/google/renameio/v2"
)

func (m *model) planNode() *graph.Node {
	n := m.stage("plan", 0, func(ctx context.Context, g *graph.Graph, _ int, n *graph.Node) (pipeline.State, error) {
		if err := m.plan(ctx); err != nil {
			m.fail("plan", "", err)
			return pipeline.Failed, err
		}
		n.Says = m.note
		g.Add(n, m.makeNodes()...)
		return pipeline.OK, nil
	})
	n.Class = "plan"
	return n
}

// plan opens the source once, pins it, and decides for every entry and type which file that is.
func (m *model) plan(ctx context.Context) error {
	var err error
	if m.base, err = m.run.New(ctx, m.Model); err != nil {
		return err
	}
	s := m.base
	s.Out, s.NoSmoke, s.NoBench = m.dir, m.Gates.Smoke == manifest.SmokeOff, !m.Measures(manifest.Speed)
	s.Model = m.argument()
	if err := plan.Open(ctx, s); err != nil {
		return err
	}
	m.taken = len(s.Files) > 0
	if err := plan.OpenTower(ctx, s); err != nil {
		return err
	}
	if err := m.pin(ctx); err != nil {
		return err
	}
	for _, e := range m.entries {
		for _, t := range m.Types {
			p := &piece{entry: e, typ: t}
			m.pieces = append(m.pieces, p)
			if err := m.planPiece(ctx, p); err != nil {
				if errors.Is(err, context.Canceled) {
					return err
				}
				m.fail("plan", t.String(), err)
			}
		}
	}
	for _, p := range m.pieces {
		if p.file != nil || p.fit != nil {
			return nil
		}
	}
	return m.failed[0].err // nothing of it can be made
}

// argument is the MODEL argument: a folder beside the manifest, or a repository at its locked commit.
func (m *model) argument() string {
	if path := m.run.set.Resolve(m.Model.Model); exists(path) {
		return path
	}
	if commit := m.run.Lock.Commit(m.Model.Model); commit != "" {
		repo, _, _ := strings.Cut(m.Model.Model, "@")
		return repo + "@" + commit
	}
	return m.Model.Model
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

// pin holds the source against the lock.
func (m *model) pin(ctx context.Context) error {
	s := m.base
	if s.Source.Kind == source.Folder || s.Source.Kind == source.GGUF {
		if err := m.digests(ctx); err != nil {
			return err
		}
	}
	files, _, err := record.Sources(ctx, s)
	if err != nil {
		return err
	}
	p := lock.Pin{Commit: s.Source.Commit}
	for _, f := range files {
		p.Files = append(p.Files, lock.File{Name: f.Name, Size: f.Size, Digest: f.Digest})
	}
	m.note, err = m.run.Lock.Check(m.Model.Model, p)
	return err
}

// taken is a digest with the state of the file that it was taken of.
type taken struct {
	Size    int64  `json:"size"`
	ModTime int64  `json:"mod_time"` // nanoseconds
	Digest  string `json:"digest"`
}

// digests are those of a local source, read again only where size or time changed.
func (m *model) digests(ctx context.Context) error {
	path := filepath.Join(m.hidden(), "digests.json")
	known := map[string]taken{}
	if b, err := os.ReadFile(path); err == nil && json.Unmarshal(b, &known) != nil {
		known = map[string]taken{}
	}
	s := m.base
	stat := func(name string) (taken, error) {
		fi, err := fs.Stat(s.Source.FS, name)
		if err != nil {
			return taken{}, err
		}
		return taken{Size: fi.Size(), ModTime: fi.ModTime().UnixNano()}, nil
	}
	s.Digests = map[string]string{}
	for name, k := range known {
		if now, err := stat(name); err == nil && now.Size == k.Size && now.ModTime == k.ModTime {
			s.Digests[name] = k.Digest
		}
	}
	files, _, err := record.Sources(ctx, s)
	if err != nil {
		return err
	}
	fresh := false
	now := map[string]taken{}
	for _, f := range files {
		k, err := stat(f.Name)
		if err != nil {
			return err
		}
		k.Digest = f.Digest
		fresh = fresh || known[f.Name] != k
		now[f.Name], s.Digests[f.Name] = k, f.Digest
	}
	if !fresh || m.run.DryRun {
		return nil
	}
	b, err := json.Marshal(now)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(m.hidden(), 0o777); err != nil {
		return err
	}
	return renameio.WriteFile(path, b, 0o644)
}

// planPiece plans one type for one machine. A mixture that was not found yet stays open until the source is here.
func (m *model) planPiece(ctx context.Context, p *piece) error {
	s := m.copyOf()
	p.state = s
	s.For = p.entry.Machine
	if s.For != "" {
		s.Machine = nil
	}
	word := []string{"--quant", p.typ.Name}
	switch {
	case p.typ.Fit != "":
		b, err := recipe.ParseSize(p.typ.Fit)
		if err != nil {
			return err
		}
		p.fit = &b
		word = []string{"--fit", p.typ.Fit}
	case p.typ.Name == manifest.Recommended:
		word = nil
		if p.entry.Machine != "" {
			word = []string{"--for", p.entry.Machine}
		}
	default:
		s.Types = []string{p.typ.Name}
	}
	s.Args = append(append([]string{}, s.Args...), word...)
	if p.fit != nil {
		s.Args[0] = "quantize" // which has the option
	}
	if p.fit != nil {
		found, err := m.recall(ctx, p)
		if !found || err != nil {
			return err
		}
	}
	return m.describe(ctx, p)
}

// describe runs the plan stage and takes the file that comes out of it.
func (m *model) describe(ctx context.Context, p *piece) error {
	s := p.state
	if err := pipeline.Run(ctx, []pipeline.Stage[job.State]{plan.Stage{}}, s, m.ev, pipeline.Options{}); err != nil {
		var se *pipeline.StageError
		if errors.As(err, &se) {
			err = se.Err
		}
		return err
	}
	if m.base.Machine == nil && p.entry.Machine == "" {
		m.base.Machine = s.Machine // it is looked at once
	}
	p.file = m.take(s, s.Files[0])
	p.file.here = p.file.here || m.run.here(p.entry, s)
	if a := s.Projector(); a != nil {
		beside := m.take(s, a)
		if beside.state.Beside == nil { // it is tried on the first model
			beside.state.Beside = p.file.art
		}
		p.file.beside, p.file.state.Beside = beside, beside.art
	}
	return nil
}

// take is the file of the path of a, which is a new one unless an entry has asked for it before.
func (m *model) take(s *job.State, a *job.Artifact) *file {
	f := m.fileAt(a.Path)
	if f == nil {
		f = &file{art: a, state: only(s, a)}
		m.files = append(m.files, f)
	}
	return f
}

func (m *model) fileAt(path string) *file {
	for _, f := range m.files {
		if f.art.Path == path {
			return f
		}
	}
	return nil
}

// here tells whether an entry's machine is the one at work.
func (r *run) here(e manifest.Entry, s *job.State) bool {
	return e.Machine == "" || r.Part == Trial || r.Machine != "" && MachineKey(s.Machine) == r.Machine
}

// MachineKey is what a machine is for the sake of finding one: chip and memory, as a word. Two machines with one key take one
// another's work.
func MachineKey(m *machine.Machine) string {
	text := fmt.Sprintf("%s %dgb", m.Chip, (m.Memory+1<<29)>>30)
	return strings.Join(strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9')
	}), "-")
}

// need is what the model takes of the disk: its source, if that comes from the Hub, and all its files, whether they are there or
// not. That does not depend on what earlier runs left, so neither does the answer to whether it fits.
func (m *model) need() int64 {
	m.sources, m.extra = 0, 0
	s := m.base
	for _, p := range m.pulls() {
		for _, f := range p.Pull.Files {
			m.sources += f.Size
		}
	}
	n := m.sources
	for _, f := range m.files {
		n += f.art.Bytes
	}
	counted := map[string]bool{}
	for _, p := range m.pieces {
		if p.fit != nil && p.file == nil && !counted[p.typ.Fit] {
			counted[p.typ.Fit] = true // several machines share a mixture
			n += p.fit.Bytes
		}
	}
	if m.Measures(manifest.Quality) && s.Checked != nil {
		m.extra = s.Checked.Plan.FileSize
		n += m.extra
	}
	return n
}

// pulls are the states whose sources are fetched.
func (m *model) pulls() []*job.State {
	states := []*job.State{m.base}
	if m.taken {
		states = nil
		for _, f := range m.files {
			states = append(states, f.state)
		}
	}
	return slices.DeleteFunc(states, func(s *job.State) bool {
		return s.Source.Kind != source.Hub || s.Stream || s.Pull == nil
	})
}

func (m *model) String() string { return fmt.Sprintf("%s (%s)", m.Key, m.Model.Model) }
