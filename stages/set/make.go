package set

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"quern/convert/arch"
	"quern/convert/gguf"
	"quern/pipeline"
	"quern/pipeline/batch/graph"
	"quern/stages/build"
	"quern/stages/fit"
	"quern/stages/job"
	"quern/stages/plan"
	"quern/stages/pull"
	"quern/stages/record"
	"quern/stages/source"
)

// The ranks of stages: what is nearer to a finished model goes first.
const (
	rankPull = iota + 1
	rankBuild
	rankTry
	rankRecord
	rankFinish
)

// makeNodes are the stages up to the build, which adds those behind it: only then is it known which files there are.
func (m *model) makeNodes() []*graph.Node {
	m.judge()
	var nodes, before []*graph.Node
	charge := func() graph.Need { return graph.Need{Disk: m.need()} }
	if m.fetches() {
		p := m.stage("pull", rankPull, m.pull)
		p.Class, p.Need = "pull", charge
		charge = nil
		nodes, before = append(nodes, p), []*graph.Node{p}
	}
	first := before
	for _, p := range m.pieces {
		if p.fit == nil || p.file != nil {
			continue
		}
		n := m.stage("fit "+p.typ.Fit, rankBuild, func(ctx context.Context, _ *graph.Graph, cores int, n *graph.Node) (pipeline.State, error) {
			return m.fit(ctx, p, cores, n)
		})
		n.After, n.Class, n.Need = first, "build", m.buildNeed(0)
		if charge != nil {
			n.Need, charge = m.buildNeed(m.need()), nil
		}
		nodes, before = append(nodes, n), append(before[:len(before):len(before)], n)
	}
	m.build = m.stage("build", rankBuild, m.builds)
	m.build.Behind, m.build.Class, m.build.Need = before, "build", m.buildNeed(0)
	if m.fetches() {
		m.build.After = first
	}
	if charge != nil {
		m.build.Need = m.buildNeed(m.need())
	}
	return append(nodes, m.build)
}

// buildNeed is what a pass over the weights takes: slabs for every core.
func (m *model) buildNeed(disk int64) func() graph.Need {
	const slabs = 32 << 20
	return func() graph.Need {
		if len(m.stale()) == 0 && !m.open() {
			return graph.Need{Disk: disk}
		}
		cores := m.run.buildCores()
		return graph.Need{Disk: disk, Least: cores, Most: m.run.Budget.Cores, Memory: m.clamp(int64(cores) * slabs)}
	}
}

// clamp keeps a need within what there is: a single model may be tried although it takes more than the machine likes.
func (m *model) clamp(bytes int64) int64 {
	if limit := m.run.Budget.Memory; limit > 0 && m.run.set.Budget.Memory == 0 {
		return min(bytes, limit)
	}
	return bytes
}

// judge decides of every file whether an earlier run's is good.
func (m *model) judge() {
	for _, f := range m.files {
		f.why = m.unfit(f)
	}
}

// unfit says why a file is to be built; empty: it is not.
func (m *model) unfit(f *file) string {
	step, err := build.Stage{}.Plan(context.Background(), f.state)
	if err != nil {
		return err.Error()
	}
	kept, why := m.ledger.Recall(build.Stage{}.Name(), step)
	if why == "" && (build.Stage{}).Recall(f.state, kept) != nil {
		why = "the earlier result cannot be read"
	}
	if why != "" && m.run.Made != nil {
		if err := m.accept(f, step); err == nil {
			return ""
		}
	}
	return why
}

// stale are the files that are to be built.
func (m *model) stale() []*file {
	var fs []*file
	for _, f := range m.files {
		if f.why != "" {
			fs = append(fs, f)
		}
	}
	return fs
}

// open tells whether a mixture is still to be found.
func (m *model) open() bool {
	for _, p := range m.pieces {
		if p.fit != nil && p.file == nil {
			return true
		}
	}
	return false
}

// fetches tells whether the source is needed on this disk: for a build, for a mixture, or for the file that quality is held against.
func (m *model) fetches() bool {
	return len(m.pulls()) > 0 && m.run.Part != Collect && (len(m.stale()) > 0 || m.open() || m.wantsReference())
}

func (m *model) pull(ctx context.Context, _ *graph.Graph, _ int, n *graph.Node) (pipeline.State, error) {
	fetch := int64(0)
	for _, s := range m.pulls() {
		fetch += s.Pull.Fetch
	}
	n.Says = fmt.Sprintf("%s to fetch", plan.Size(fetch))
	if fetch == 0 {
		n.Says = "it is in the cache"
	}
	if m.run.DryRun {
		return pipeline.Planned, nil
	}
	if err := m.noteFetch(); err != nil {
		m.fail("pull", "", err)
		return pipeline.Failed, err
	}
	for _, s := range m.pulls() {
		if err := (pull.Stage{}).Run(ctx, s, m.ev); err != nil {
			m.fail("pull", "", err)
			return pipeline.Failed, err
		}
	}
	return pipeline.OK, nil
}

// recipePath is where a mixture is kept for later runs.
func (m *model) recipePath(p *piece) string {
	return filepath.Join(m.hidden(), "fit-"+strings.ReplaceAll(p.typ.Fit, " ", "")+".recipe.json")
}

// fitStep is what a mixture depends on: the source, the budget, and the options by which types are chosen.
func (m *model) fitStep(ctx context.Context, p *piece) (pipeline.Step, error) {
	step := pipeline.Step{Outputs: []string{m.recipePath(p)}, Params: map[string]any{"budget": p.fit.String(), "policy": p.state.Policy, "kernel": p.state.Kernel},
		Versions: []string{"quern " + p.state.Version}}
	files, _, err := record.Sources(ctx, p.state)
	for _, f := range files {
		step.Inputs = append(step.Inputs, pipeline.Input{Name: f.Name, Digest: f.Digest})
	}
	return step, err
}

// recall takes the mixture of an earlier run.
func (m *model) recall(ctx context.Context, p *piece) (bool, error) {
	step, err := m.fitStep(ctx, p)
	if err != nil {
		return false, err
	}
	if _, why := m.ledger.Recall("fit", step); why != "" {
		d, _, err := source.SumFile(ctx, m.recipePath(p))
		if err != nil || m.made(m.recipePath(p)) != d {
			return false, nil
		}
		if err := m.ledger.Keep("fit", step, nil); err != nil {
			return false, err
		}
	}
	_, err = fit.Read(ctx, p.state, m.recipePath(p))
	m.label(p)
	return err == nil, err
}

// label keeps the names of several mixtures apart.
func (m *model) label(p *piece) { p.state.Label = "-fit-" + strings.ReplaceAll(p.typ.Fit, " ", "") }

func (m *model) fit(ctx context.Context, p *piece, cores int, n *graph.Node) (pipeline.State, error) {
	step, err := m.fitStep(ctx, p)
	if err == nil {
		_, n.Says = m.ledger.Recall("fit", step)
	}
	if m.run.DryRun || err != nil {
		return pipeline.Planned, err
	}
	if m.run.Part == Collect {
		return pipeline.Skipped, nil
	}
	if n.Says == "" { // another entry's mixture
		found, err := m.recall(ctx, p)
		if found && err == nil {
			err = m.describe(ctx, p)
		}
		if err != nil {
			m.fail("fit", p.typ.String(), err)
			return pipeline.Failed, err
		}
		if found {
			n.Says = unchanged
			return pipeline.Proven, nil
		}
	}
	if err := m.finds(ctx, p, step, cores); err != nil {
		m.fail("fit", p.typ.String(), err)
		return pipeline.Failed, err
	}
	return pipeline.OK, nil
}

func (m *model) finds(ctx context.Context, p *piece, step pipeline.Step, cores int) error {
	p.state.Workers = cores
	r, err := fit.Find(ctx, p.state, *p.fit, quietStages{m.ev})
	if err != nil {
		return err
	}
	if err := fit.Write(m.recipePath(p), r); err != nil {
		return err
	}
	if err := m.ledger.Keep("fit", step, nil); err != nil {
		return err
	}
	m.label(p)
	if err := m.describe(ctx, p); err != nil {
		return err
	}
	p.file.why = m.unfit(p.file)
	return nil
}

// quietStages drops the starts and ends of what is only a part of a node.
type quietStages struct{ to pipeline.Events }

// Emit passes progress and warnings on.
func (q quietStages) Emit(e pipeline.Event) {
	switch e.(type) {
	case pipeline.Progress, pipeline.Warning:
		q.to.Emit(e)
	}
}

// builds writes all stale files in one pass over the source, and adds the stages behind.
func (m *model) builds(ctx context.Context, g *graph.Graph, cores int, n *graph.Node) (pipeline.State, error) {
	stale := m.stale()
	var ref *file
	if m.wantsReference() && m.run.Part != Collect {
		var err error
		if ref, err = m.reference(ctx); err != nil {
			m.fail("build", "", err)
			return pipeline.Failed, err
		}
	}
	n.Says = m.reasons(stale, ref)
	state := pipeline.Planned
	switch {
	case len(stale) == 0 && ref == nil:
		state = pipeline.Proven
	case m.run.Part == Collect:
		state = pipeline.Skipped
	case !m.run.DryRun:
		if err := m.pass(ctx, cores, stale, ref); err != nil {
			m.fail("build", "", err)
			return pipeline.Failed, err
		}
		state = pipeline.OK
	}
	g.Add(n, m.tryNodes()...)
	return state, nil
}

// reasons says of every stale file why it is built.
func (m *model) reasons(stale []*file, ref *file) string {
	if len(stale) == 0 && ref == nil {
		return unchanged
	}
	var parts []string
	for _, f := range stale {
		parts = append(parts, f.name()+": "+f.why)
	}
	if ref != nil {
		parts = append(parts, ref.art.Type+" of the source precision, for the measurement of quality")
	}
	return strings.Join(parts, "; ")
}

// name is the file's type with what sets it apart.
func (f *file) name() string {
	if f.art.Mmproj {
		return f.art.Type + " (projector)"
	}
	return f.art.Type + f.state.Label
}

func (m *model) pass(ctx context.Context, cores int, stale []*file, ref *file) error {
	together := [][]*file{stale[:len(stale):len(stale)]}
	if m.taken { // each is a source of its own
		together = nil
		for _, f := range stale {
			together = append(together, []*file{f})
		}
	}
	for _, files := range together {
		s := *m.base
		if m.taken {
			s = *files[0].state
		}
		s.Files, s.Workers = nil, cores
		for _, f := range files {
			s.Files = append(s.Files, f.art)
		}
		if ref != nil {
			s.Files, files, ref = append(s.Files, ref.art), append(files, ref), nil
		}
		if err := (build.Stage{}).Run(ctx, &s, quietStages{m.ev}); err != nil {
			return err
		}
		for _, f := range files {
			step, err := build.Stage{}.Plan(ctx, f.state)
			if err != nil {
				return err
			}
			if err := m.ledger.Keep("build", step, build.Stage{}.Result(f.state)); err != nil {
				return err
			}
			f.built, f.why = true, ""
		}
	}
	return nil
}

// made is the digest of a file of the model that was made elsewhere; empty where it was not.
func (m *model) made(path string) string { return m.run.Made[FileKey(m.Key, path)] }

// FileKey names a file of a model in Made and Trials.
func FileKey(model, path string) string { return model + "/" + filepath.Base(path) }

// accept takes a file over that another machine made of the same source by the same plan.
func (m *model) accept(f *file, step pipeline.Step) error {
	f.art.SHA256 = nil
	for i, path := range f.art.Paths {
		want := m.made(path)
		if want == "" {
			return errors.New("it was not made")
		}
		d, n, err := source.SumFile(context.Background(), path)
		if err != nil || d != want || n != f.art.Plans[i].FileSize {
			return errors.Join(err, fmt.Errorf("%s is not what was made", path))
		}
		if err := sameHeader(path, f.art.Plans[i]); err != nil {
			return err
		}
		f.art.SHA256 = append(f.art.SHA256, strings.TrimPrefix(d, "sha256:"))
	}
	return m.ledger.Keep("build", step, build.Stage{}.Result(f.state))
}

// referenceName is the file of the source precision, which is there only while quality is measured.
const referenceName = "source.gguf"

// reference plans the file of the source precision; nil where it is there, or one of the outputs is it.
func (m *model) reference(ctx context.Context) (*file, error) {
	if m.base.Checked == nil {
		return nil, nil // a GGUF source is held against itself
	}
	s := m.copyOf()
	s.Make, s.Convert.Type, s.Out, s.Types = job.Converted, arch.Auto, filepath.Join(m.hidden(), referenceName), nil
	s.Tower = nil
	if err := pipeline.Run(ctx, []pipeline.Stage[job.State]{plan.Stage{}}, s, quietStages{m.ev}, pipeline.Options{}); err != nil {
		return nil, err
	}
	for _, f := range m.models() {
		if f.art.Policy == nil && f.art.Type == s.Files[0].Type {
			return nil, nil
		}
	}
	f := &file{art: s.Files[0], state: only(s, s.Files[0])}
	if f.why = m.unfit(f); f.why == "" {
		return nil, nil // an earlier run was stopped before it was of use
	}
	return f, nil
}

// sameHeader tells whether a file begins as its plan says.
func sameHeader(path string, p gguf.Plan) error {
	return compare(path, func(w *comparer) error { return p.WriteHeader(w) })
}
