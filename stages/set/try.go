package set

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"quern/pipeline"
	"quern/pipeline/batch/graph"
	"quern/pipeline/batch/manifest"
	"quern/quantize/llamacpp"
	"quern/stages/bench"
	"quern/stages/job"
	"quern/stages/quality"
	"quern/stages/record"
	"quern/stages/smoke"
)

// GateError says that a file works and is not good enough. The command ends with exit code 17.
type GateError struct {
	Path, Gate string
	Got, Want  float64
}

// Error gives both figures.
func (e *GateError) Error() string {
	if e.Gate == "max_kld" {
		return fmt.Sprintf("%s: mean divergence %.4g, the gate is at most %.4g", filepath.Base(e.Path), e.Got, e.Want)
	}
	return fmt.Sprintf("%s: %.4g tokens a second, the gate is at least %.4g", filepath.Base(e.Path), e.Got, e.Want)
}

// Hint says what helps.
func (e *GateError) Hint() string {
	if e.Gate == "max_kld" {
		return "a larger type, an importance matrix, or another max_kld; the file stays, without a receipt"
	}
	return "a smaller type or another min_speed; the file stays, without a receipt"
}

// tryNodes are the stages behind the build.
func (m *model) tryNodes() []*graph.Node {
	var nodes []*graph.Node
	var judged *graph.Node
	if m.Measures(manifest.Quality) && m.run.Part != Make && len(m.files) > 0 {
		judged = m.stage("quality", rankTry, m.quality)
		judged.Need = func() graph.Need { return m.testNeed(m.weights()) }
		nodes = append(nodes, judged)
	}
	var records []*graph.Node
	for _, f := range m.files {
		f.record = m.stage("record "+f.name(), rankRecord, func(ctx context.Context, _ *graph.Graph, _ int, n *graph.Node) (pipeline.State, error) {
			return m.record(ctx, f, n)
		})
		if m.run.Part != Make {
			nodes = append(nodes, m.trials(f)...)
		}
		if judged != nil {
			f.record.Behind = append(f.record.Behind, judged)
		}
		records = append(records, f.record)
	}
	for _, f := range m.models() {
		if f.beside != nil {
			f.record.Behind = append(f.record.Behind, f.beside.record)
		}
	}
	m.sealed = m.stage("finish", rankFinish, m.finish)
	m.sealed.Behind = records
	if judged != nil {
		m.sealed.Behind = append(m.sealed.Behind, judged)
	}
	return append(append(nodes, records...), m.sealed)
}

func (m *model) trials(f *file) []*graph.Node {
	var nodes []*graph.Node
	if m.Gates.Smoke != manifest.SmokeOff {
		f.smoke = m.stage("smoke "+f.name(), rankTry, func(ctx context.Context, _ *graph.Graph, cores int, n *graph.Node) (pipeline.State, error) {
			return m.try(ctx, smokeStage{smoke.Stage{}, m.Gates.Smoke == manifest.SmokeReport}, f, cores, n)
		})
		f.smoke.Need = func() graph.Need {
			n := f.art.Bytes
			if f.art.Mmproj {
				n += f.state.Beside.Bytes
			}
			return m.testNeed(n)
		}
		f.record.Behind = append(f.record.Behind, f.smoke)
		nodes = append(nodes, f.smoke)
	}
	if m.Measures(manifest.Speed) && f.here {
		f.speed = m.stage("speed "+f.name(), rankTry, func(ctx context.Context, _ *graph.Graph, _ int, n *graph.Node) (pipeline.State, error) {
			return m.try(ctx, bench.Stage{}, f, 0, n)
		})
		f.speed.Class = "speed"
		f.speed.Need = func() graph.Need { // alone: beside others it would measure them
			n := m.testNeed(f.art.Bytes)
			n.Least, n.Most = m.run.Budget.Cores, m.run.Budget.Cores
			return n
		}
		if f.smoke != nil {
			f.speed.After = []*graph.Node{f.smoke}
		}
		f.record.Behind = append(f.record.Behind, f.speed)
		nodes = append(nodes, f.speed)
	}
	return nodes
}

// testNeed is what a model under test takes: its weights, and a quarter for cache and buffers.
func (m *model) testNeed(bytes int64) graph.Need {
	return graph.Need{Least: m.run.testCores(), Most: m.run.Budget.Cores, Memory: m.clamp(bytes + bytes/4)}
}

// weights are the largest file and the source precision, loaded together.
func (m *model) weights() int64 {
	most := int64(0)
	for _, f := range m.models() {
		most = max(most, f.art.Bytes)
	}
	if m.base.Checked != nil {
		most += m.base.Checked.Plan.FileSize
	}
	return most
}

// smokeStage is the smoke test, which the manifest may let pass.
type smokeStage struct {
	smoke.Stage
	report bool // what it finds is written down, and stops nothing
}

// Plan tells a test that may fail from one that may not.
func (t smokeStage) Plan(ctx context.Context, s *job.State) (pipeline.Step, error) {
	step, err := t.Stage.Plan(ctx, s)
	step.Params = map[string]any{"may fail": t.report}
	return step, err
}

// Run lets a failure pass where the manifest says so.
func (t smokeStage) Run(ctx context.Context, s *job.State, ev pipeline.Events) error {
	err := t.Stage.Run(ctx, s, ev)
	if t.report && errors.Is(err, smoke.ErrFailed) {
		ev.Emit(pipeline.Warning{Stage: "smoke", Says: err.Error()})
		return nil
	}
	return err
}

// Recall takes an earlier report over.
func (t smokeStage) Recall(s *job.State, b json.RawMessage) error { return t.Stage.Recall(s, b) }

func (m *model) try(ctx context.Context, st pipeline.Stage[job.State], f *file, cores int, n *graph.Node) (pipeline.State, error) {
	if m.run.DryRun && f.why != "" {
		n.Says = "its file is made anew"
		return pipeline.Planned, nil
	}
	if f.why != "" {
		return pipeline.Skipped, nil
	}
	if f.state.CannotRun != "" && st.Name() == "smoke" && m.Gates.Smoke == manifest.SmokeRequired {
		_, err := f.state.Runtime() // a gate is not passed by what cannot be tried
		if err == nil {
			err = errors.New(f.state.CannotRun)
		}
		m.fail("smoke", f.art.Path, err)
		return pipeline.Failed, err
	}
	f.state.Threads = cores
	state, why, err := m.once(ctx, st, f.state)
	if n.Says = why; err != nil {
		m.fail(st.Name(), f.art.Path, err)
	}
	return state, err
}

// qualityVersion changes when the measurement does.
const qualityVersion = 1

// qualityStep is what a file's quality depends on: the file, the source, and the text.
func (m *model) qualityStep(ctx context.Context, f *file) (pipeline.Step, error) {
	step := pipeline.Step{Versions: []string{"llama.cpp " + llamacpp.Version, fmt.Sprintf("quality %d", qualityVersion)}}
	for i, p := range f.art.Paths {
		if i < len(f.art.SHA256) {
			step.Inputs = append(step.Inputs, pipeline.Input{Name: filepath.Base(p), Digest: "sha256:" + f.art.SHA256[i]})
		}
	}
	files, _, err := record.Sources(ctx, f.state)
	if err != nil {
		return step, err
	}
	for _, s := range files {
		step.Inputs = append(step.Inputs, pipeline.Input{Name: s.Name, Digest: s.Digest})
	}
	text, err := m.text()
	step.Params = map[string]any{"text": fmt.Sprintf("%x", sha256.Sum256(text)), "chunks": m.Judge.Chunks}
	return step, err
}

// text is the held-out text on which the model is judged.
func (m *model) text() ([]byte, error) {
	if m.Judge.Text == "" {
		return m.run.Text()
	}
	return os.ReadFile(m.run.set.Resolve(m.Judge.Text))
}

// unjudged says why a file's quality is to be measured; empty: an earlier run did it, and its result is the file's.
func (m *model) unjudged(ctx context.Context, f *file) string {
	if f.why != "" {
		return "its file is made anew"
	}
	step, err := m.qualityStep(ctx, f)
	if err != nil {
		return err.Error()
	}
	kept, why := m.ledger.Recall("quality", step)
	if told := m.run.Trials[FileKey(m.Key, f.art.Path)]["quality"]; why != "" && told != nil {
		kept, why = told, ""
		if err := m.ledger.Keep("quality", step, told); err != nil {
			return err.Error()
		}
	}
	if why != "" {
		return why
	}
	var r quality.Result
	if json.Unmarshal(kept, &r) != nil {
		return "the earlier result cannot be read"
	}
	f.quality, f.art.Quality = &r, &r
	return ""
}

// wantsReference tells whether the source precision is needed as a file.
func (m *model) wantsReference() bool {
	if !m.Measures(manifest.Quality) || m.run.Part == Make {
		return false
	}
	for _, f := range m.models() {
		if m.unjudged(context.Background(), f) != "" {
			return true
		}
	}
	return m.open()
}

// quality judges all files that no earlier run judged, in step with the source precision.
func (m *model) quality(ctx context.Context, _ *graph.Graph, cores int, n *graph.Node) (pipeline.State, error) {
	var todo []*file
	for _, f := range m.models() {
		why := m.unjudged(ctx, f)
		if why == "" {
			continue
		}
		if n.Says == "" {
			n.Says = f.name() + ": " + why
		}
		todo = append(todo, f)
	}
	if len(todo) == 0 {
		n.Says = unchanged
		return pipeline.Proven, nil
	}
	if m.run.DryRun {
		return pipeline.Planned, nil
	}
	if m.run.Part == Collect {
		return pipeline.Skipped, nil
	}
	if err := m.compare(ctx, todo, cores); err != nil {
		m.fail("quality", "", err)
		return pipeline.Failed, err
	}
	return pipeline.OK, nil
}

// sourcePath is the file of the source precision.
func (m *model) sourcePath() string {
	if m.base.Checked == nil {
		return m.base.Source.Path
	}
	if p := filepath.Join(m.hidden(), referenceName); exists(p) {
		return p
	}
	for _, f := range m.models() {
		if f.art.Policy == nil {
			return f.art.Path
		}
	}
	return ""
}

func (m *model) compare(ctx context.Context, files []*file, cores int) error {
	text, err := m.text()
	if err != nil {
		return err
	}
	o := quality.Options{Source: m.sourcePath(), Text: text, Chunks: m.Judge.Chunks, Memory: m.run.Budget.Memory, Dir: m.hidden(), Progress: func(what string, done, total int64) {
		m.ev.Emit(pipeline.Progress{Stage: "quality", Item: what, Done: done, Total: total, Unit: "chunks"})
	}}
	o.Context.Threads = cores
	for _, f := range files {
		o.Candidates = append(o.Candidates, f.art.Path)
	}
	s := m.base
	r, err := quality.Compare(ctx, func(ctx context.Context) (*llamacpp.Child, error) {
		rt, err := s.Runtime()
		if err != nil {
			return nil, err
		}
		return llamacpp.Start(ctx, rt, s.Worker, llamacpp.StartOptions{})
	}, o)
	if err != nil {
		return err
	}
	for i, f := range files {
		f.quality, f.art.Quality = &r.Results[i], &r.Results[i]
		m.ev.Emit(pipeline.Result{Type: "quality", Data: f.quality})
		step, err := m.qualityStep(ctx, f)
		if err != nil {
			return err
		}
		if err := m.ledger.Keep("quality", step, f.quality); err != nil {
			return err
		}
	}
	return nil
}

// recordStage writes a receipt and a record, once for what was found.
type recordStage struct{ record.Stage }

// Plan depends on everything that the receipt says but for the time.
func (t recordStage) Plan(ctx context.Context, s *job.State) (pipeline.Step, error) {
	step, err := t.Stage.Plan(ctx, s)
	a := s.Files[0]
	step.Inputs = append(step.Inputs, a.Built()...)
	if p := s.Projector(); p != nil {
		step.Inputs = append(step.Inputs, p.Built()...)
	}
	found := sha256.New()
	err = errors.Join(err, json.NewEncoder(found).Encode([]any{a.Smoke, a.Bench, a.Quality}))
	step.Params = map[string]any{"the outcome of its trials": fmt.Sprintf("%x", found.Sum(nil))}
	step.Versions = []string{fmt.Sprintf("receipt %d", record.ReceiptVersion), "quern " + s.Version}
	return step, err
}

// Result is nothing: the receipt is the output.
func (recordStage) Result(*job.State) any { return nil }

// Recall names the receipt.
func (recordStage) Recall(s *job.State, _ json.RawMessage) error {
	s.Files[0].Receipt = s.Files[0].Path + record.Suffix
	return nil
}

// record writes the receipt of a file that passed everything, and takes away that of one that did not.
func (m *model) record(ctx context.Context, f *file, n *graph.Node) (pipeline.State, error) {
	if m.run.DryRun && f.why != "" {
		n.Says = "its file is made anew"
		return pipeline.Planned, nil
	}
	if f.why != "" || m.run.Part == Make { // it was not made here, or is tried elsewhere
		return pipeline.Skipped, nil
	}
	if err := m.gates(f, n); err != nil || n.Says != "" {
		if !m.run.DryRun {
			os.Remove(f.art.Path + record.Suffix) //nolint:errcheck // mostly there is none
		}
		if err != nil {
			m.fail("gate", f.art.Path, err)
			return pipeline.Failed, err
		}
		return pipeline.Skipped, nil
	}
	if p := f.beside; p != nil && !p.receipt { // a receipt vouches for nothing that failed
		f.state.Beside = nil
	}
	state, why, err := m.once(ctx, recordStage{}, f.state)
	if n.Says = why; err != nil {
		m.fail("record", f.art.Path, err)
		return pipeline.Failed, err
	}
	if f.receipt = state == pipeline.OK || state == pipeline.Proven; state == pipeline.Skipped {
		os.Remove(f.art.Path + record.Suffix) //nolint:errcheck // mostly there is none
	}
	return state, nil
}

// gates are the figures that the manifest demands. A test that failed by itself has said so; the file then has no receipt.
func (m *model) gates(f *file, n *graph.Node) error {
	for _, t := range []*graph.Node{f.smoke, f.speed} {
		if t != nil && (t.State() == pipeline.Failed || t.State() == graph.Blocked) {
			n.Says = "no receipt: " + t.Name + " did not pass"
			return nil
		}
	}
	if m.run.DryRun || m.run.Part == Collect { // who tried the file has judged it
		return nil
	}
	if limit := m.Gates.MaxKLD; limit > 0 && !f.art.Mmproj {
		if f.quality == nil {
			n.Says = "no receipt: its quality could not be measured"
			return nil
		}
		if got := float64(f.quality.Mean); !(got <= limit) {
			return &GateError{f.art.Path, "max_kld", got, limit}
		}
	}
	if limit := m.Gates.MinSpeed; limit > 0 && f.here {
		if got := generation(f.art.Bench); !(got >= limit) {
			return &GateError{f.art.Path, "min_speed", got, limit}
		}
	}
	return nil
}

// generation is the measured speed of generating without a filled cache; 0 where it was not measured.
func generation(report any) float64 {
	r, ok := report.(*bench.Report)
	if !ok || r == nil {
		return 0
	}
	for _, t := range r.Results {
		if t.Generate > 0 && t.Prompt == 0 && t.Depth == 0 {
			return t.TokensPerSecond
		}
	}
	return 0
}
