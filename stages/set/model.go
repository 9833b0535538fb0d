package set

import (
	"context"
	"path/filepath"
	"slices"
	"sync"

	"quern/pipeline"
	"quern/pipeline/batch/graph"
	"quern/pipeline/batch/manifest"
	"quern/quantize/recipe"
	"quern/stages/job"
	"quern/stages/quality"
)

// model is a model of the set under way. Its nodes run one after the other where they share a field; mu guards the rest.
type model struct {
	*manifest.Model
	run     *run
	entries []manifest.Entry // those that were chosen
	node    *graph.Model
	dir     string
	ledger  *pipeline.Ledger
	ev      pipeline.Events

	base   *job.State // the source, opened once; every file's state is a copy
	taken  bool       // the source is GGUF files that others published: each file is one of them, opened by itself
	pieces []*piece
	files  []*file
	build  *graph.Node
	sealed *graph.Node // finish
	note   string      // what the lock says

	mu      sync.Mutex
	failed  []failure
	opened  []*job.State
	sources int64 // bytes of the source that the budget was charged with
	extra   int64 // bytes of the file of the source precision
	planned bool  // of a dry run: a step would run
}

// piece is a type on a machine: what one entry asks for.
type piece struct {
	entry manifest.Entry
	typ   manifest.Type
	state *job.State // planned for the entry's machine
	file  *file      // nil while its mixture is not known
	fit   *recipe.Budget
}

// file is one output. Several entries may ask for it.
type file struct {
	art   *job.Artifact
	state *job.State // a copy of a piece's, with this file alone
	why   string     // what makes an earlier run's file unfit; empty: it is good
	built bool       // by this run
	here  bool       // it is made for the machine at work, on which its speed is measured

	smoke, speed, record *graph.Node
	quality              *quality.Result
	receipt              bool // it passed everything

	beside *file // of a model, its projector, which all models of a source share; nil where there is none
}

// failure is what one stage of a model failed with.
type failure struct {
	stage, path string // path: of the file it is about; empty: of all
	err         error
}

func (m *model) hidden() string { return filepath.Join(m.dir, hiddenName) }

func (m *model) fail(stage, path string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failed = append(m.failed, failure{stage, path, err})
}

// opens remembers a state whose files are closed at the end of the run.
func (m *model) opens(s *job.State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.opened = append(m.opened, s)
}

func (m *model) shut() {
	for i := len(m.opened) - 1; i >= 0; i-- {
		m.opened[i].Shut() //nolint:errcheck // they were read
	}
	if m.base != nil {
		m.base.Shut() //nolint:errcheck // as above
	}
}

// copyOf is a state of the same source that is planned anew.
func (m *model) copyOf() *job.State {
	s := *m.base
	s.Close, s.Types, s.Files, s.Advice, s.Shape = nil, nil, nil, nil, nil
	s.Policy.Tensors = append(s.Policy.Tensors[:0:0], s.Policy.Tensors...)
	if m.taken {
		s.Source, s.Parts, s.Pinned, s.Pull, s.Remote = nil, nil, nil, nil, nil
	}
	m.opens(&s)
	return &s
}

// models are the files but the projector.
func (m *model) models() []*file {
	return slices.DeleteFunc(slices.Clone(m.files), func(f *file) bool { return f.art.Mmproj })
}

// only is the state with one file: stages work on it alone.
func only(s *job.State, a *job.Artifact) *job.State {
	one := *s
	one.Files = []*job.Artifact{a}
	return &one
}

// stage makes a node of the model.
func (m *model) stage(name string, rank int, do func(ctx context.Context, g *graph.Graph, cores int, n *graph.Node) (pipeline.State, error)) *graph.Node {
	n := &graph.Node{Name: name, Model: m.node, Rank: rank}
	n.Run = func(ctx context.Context, g *graph.Graph, cores int) (pipeline.State, error) {
		return do(ctx, g, cores, n)
	}
	return n
}

// once carries out a stage for a file, unless the ledger proves it. It gives the reason.
func (m *model) once(ctx context.Context, st pipeline.Stage[job.State], s *job.State) (state pipeline.State, why string, err error) {
	if k, ok := st.(pipeline.Skipper[job.State]); ok {
		if why := k.Skip(s); why != "" {
			return pipeline.Skipped, why, nil
		}
	}
	step, err := st.Plan(ctx, s)
	if err != nil {
		return pipeline.Failed, "", err
	}
	r, recalls := st.(pipeline.Recaller[job.State])
	if recalls {
		var kept []byte
		if kept, why = m.ledger.Recall(st.Name(), step); why == "" {
			if err := r.Recall(s, kept); err == nil {
				return pipeline.Proven, unchanged, nil
			}
			why = "the earlier result is not to be kept"
		}
		if kept := m.run.Trials[FileKey(m.Key, s.Files[0].Path)][st.Name()]; kept != nil && r.Recall(s, kept) == nil {
			return pipeline.Proven, "another machine did it", m.ledger.Keep(st.Name(), step, kept)
		}
	}
	if m.run.Part == Collect {
		return pipeline.Skipped, "no machine did it: " + why, nil
	}
	if m.run.DryRun {
		return pipeline.Planned, why, nil
	}
	if err := st.Run(ctx, s, m.ev); err != nil {
		return pipeline.Failed, why, err
	}
	if recalls {
		err = m.ledger.Keep(st.Name(), step, r.Result(s))
	}
	return pipeline.OK, why, err
}

const unchanged = "nothing that it depends on has changed"

// cores of a test and of a build, so that they go together: a quarter for tests, and the rest for builds.
func (r *run) testCores() int  { return max(1, r.Budget.Cores/4) }
func (r *run) buildCores() int { return max(1, r.Budget.Cores-r.testCores()) }
