package set

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"quern/hfclient"
	"quern/pipeline"
	"quern/pipeline/batch/graph"
	"quern/stages/card"

	"github.com/google/renameio/v2"
)

// finish seals the folder and gives back what is needed no longer.
func (m *model) finish(_ context.Context, g *graph.Graph, _ int, n *graph.Node) (pipeline.State, error) {
	if m.run.DryRun {
		return pipeline.Planned, nil
	}
	state, err := m.seal()
	if err == nil {
		err = m.tidy(g)
	}
	if err != nil {
		m.fail("finish", "", err)
		return pipeline.Failed, err
	}
	return state, nil
}

// seal writes card, checksums and records from the receipts in the folder.
func (m *model) seal() (pipeline.State, error) {
	if m.run.Part == Make {
		return pipeline.Skipped, nil
	}
	changed, err := card.Seal(m.dir)
	if err != nil {
		return pipeline.Failed, err
	}
	if !changed {
		return pipeline.Proven, nil
	}
	return pipeline.OK, nil
}

// tidy takes the file of the source precision away, and the source itself where --evict says so.
func (m *model) tidy(g *graph.Graph) error {
	if err := os.Remove(filepath.Join(m.hidden(), referenceName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	g.Release(m.node, m.extra)
	if !m.run.Evict {
		return nil
	}
	if err := m.evict(); err != nil {
		return err
	}
	g.Release(m.node, m.sources)
	return nil
}

// fetched is what the set brought into the cache, and may take out of it again.
type fetched struct {
	Repo   string   `json:"repo"`
	Commit string   `json:"commit"`
	Files  []string `json:"files"`
}

func (m *model) fetchedPath() string { return filepath.Join(m.hidden(), "fetched.json") }

// noteFetch remembers before the first byte which files of the cache will be this set's own doing.
func (m *model) noteFetch() error {
	var f fetched
	if b, err := os.ReadFile(m.fetchedPath()); err == nil {
		json.Unmarshal(b, &f) //nolint:errcheck // a damaged note means that nothing is evicted
	}
	for _, s := range m.pulls() {
		if f.Repo != s.Source.Repo || f.Commit != s.Source.Commit {
			f = fetched{Repo: s.Source.Repo, Commit: s.Source.Commit}
		}
		for _, file := range s.Pull.Missing {
			if !slices.Contains(f.Files, file.Path) {
				f.Files = append(f.Files, file.Path)
			}
		}
	}
	if len(f.Files) == 0 {
		return nil
	}
	b, err := json.Marshal(f)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(m.hidden(), 0o777); err != nil {
		return err
	}
	return renameio.WriteFile(m.fetchedPath(), b, 0o644)
}

// evict gives back the cached files that this set fetched. What was there before belongs to others.
func (m *model) evict() error {
	b, err := os.ReadFile(m.fetchedPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var f fetched
	if json.NewDecoder(bytes.NewReader(b)).Decode(&f) != nil || f.Repo == "" {
		return os.Remove(m.fetchedPath())
	}
	if err := m.base.Hub.Evict(hfclient.Cached{Repo: f.Repo, Commit: f.Commit, Files: f.Files}); err != nil {
		return err
	}
	return os.Remove(m.fetchedPath())
}
