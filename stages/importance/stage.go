package importance

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"quern/convert/arch"
	"quern/pipeline"
	"quern/quantize/imatrix"
	"quern/quantize/llamacpp"
	"quern/quantize/policy"
	"quern/stages/build"
	"quern/stages/job"
	"quern/stages/plan"
	"quern/stages/source"
	"quern/stages/source/calibration"

	"github.com/google/renameio/v2"
)

// Stage computes the matrix that `--imatrix auto` stands for, from the source and the text that ships, or takes the one that
// an earlier run kept for the same source and text. Then it has the files planned anew with what the matrix holds.
type Stage struct{}

// Name is "imatrix".
func (Stage) Name() string { return "imatrix" }

// Skip gives the reason why none is computed.
func (Stage) Skip(s *job.State) string {
	switch {
	case s.Auto == nil && s.Imatrix != nil:
		return "a matrix is named"
	case s.Auto == nil:
		return "not asked for"
	case !plan.WantsMatrix(s):
		return "no type below Q4 is made"
	}
	return ""
}

// Plan says what is read and how long that takes.
func (Stage) Plan(_ context.Context, s *job.State) (pipeline.Step, error) {
	says := fmt.Sprintf("from %s, some %d tokens", calibration.Name, calibration.Tokens())
	if t := plan.MatrixTime(s); t > 0 {
		says += fmt.Sprintf(", about %s", max(t, time.Second).Round(time.Second))
	}
	return pipeline.Step{Says: says + "; kept for later runs"}, nil
}

// Run fills Imatrix, Matrix and the policy's view of the matrix, and plans the files anew.
func (Stage) Run(ctx context.Context, s *job.State, ev pipeline.Events) error {
	dir, err := folder()
	if err != nil {
		return err
	}
	key, err := sourceKey(s)
	if err != nil {
		return err
	}
	stem := filepath.Join(dir, strings.TrimSuffix(plan.MatrixFile(s), ".imatrix.gguf")+"-"+key)
	r, err := kept(ctx, stem)
	if err != nil {
		return err
	}
	fresh := r == nil
	if fresh {
		if r, err = compute(ctx, s, ev, stem); err != nil {
			return err
		}
	}
	if err := use(s, r); err != nil {
		return err
	}
	for _, l := range r.Coverage {
		ev.Emit(pipeline.Line{Stage: "imatrix", Label: "imatrix", Text: l})
	}
	text := fmt.Sprintf("%d entries from %d chunks of %s", r.Entries, r.Chunks, r.Text)
	if fresh {
		text += fmt.Sprintf(", in %s", time.Duration(r.Seconds*float64(time.Second)).Round(10*time.Millisecond))
	} else {
		text += ", of an earlier run"
	}
	ev.Emit(pipeline.Line{Stage: "imatrix", Label: "imatrix", Text: text})
	return plan.Describe(ctx, s)
}

// record is what is kept beside a whole matrix.
type record struct {
	job.Calibration
	Path string `json:"path"`
}

// use makes a matrix on disk the run's.
func use(s *job.State, r *record) error {
	m, err := ReadFile(r.Path)
	if err != nil {
		return err
	}
	m.Keep(s.Auto.Include, s.Auto.Exclude)
	s.Matrix = &r.Calibration
	Take(s, plan.MatrixFile(s), m)
	return nil
}

// Take gives a run a matrix: the policy sees which entries there are, the build their values.
func Take(s *job.State, file string, m *imatrix.Matrix) {
	im := &policy.Imatrix{File: file, Chunks: m.Chunks, Entries: m.Sizes()}
	if len(m.Datasets) > 0 {
		im.Dataset = m.Datasets[0]
	}
	s.Policy.Imatrix, s.Imatrix = im, m.Importance
}

// Describe is what a receipt says of a matrix that was named.
func Describe(ctx context.Context, path string, m *imatrix.Matrix) (*job.Calibration, error) {
	sum, _, err := source.SumFile(ctx, path)
	c := &job.Calibration{File: path, Digest: sum, Chunks: m.Chunks, Entries: len(m.Entries)}
	if len(m.Datasets) > 0 {
		c.Text = m.Datasets[0]
	}
	return c, err
}

func folder() (string, error) {
	dir := llamacpp.DataDir()
	if dir == "" {
		return "", errors.New("there is no home directory to keep an imatrix in")
	}
	dir = filepath.Join(dir, "imatrix")
	return dir, os.MkdirAll(dir, 0o777)
}

// sourceKey pins what a matrix is of: the files of the source, how they are converted, the text and the library.
func sourceKey(s *job.State) (string, error) {
	in, err := build.Inputs(s)
	if err != nil {
		return "", err
	}
	o := s.Convert
	o.Prover, o.Target = nil, nil
	b, err := json.Marshal(struct {
		Source  string
		Inputs  []pipeline.Input
		Convert any
	}{s.Source.Path, in, fmt.Sprintf("%+v", o)})
	if err != nil {
		return "", err
	}
	text, err := calibration.Text()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	h.Write(b)
	h.Write(text)
	fmt.Fprint(h, llamacpp.Version)
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

// kept is the record of a whole matrix, or nil.
func kept(ctx context.Context, stem string) (*record, error) {
	b, err := os.ReadFile(stem + ".json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var r record
	if json.Unmarshal(b, &r) != nil {
		return nil, nil
	}
	// the matrix may have been removed or changed since: then it is computed again
	if sum, _, err := source.SumFile(ctx, r.Path); err != nil || sum != r.Digest {
		return nil, nil
	}
	return &r, nil
}

func compute(ctx context.Context, s *job.State, ev pipeline.Events, stem string) (*record, error) {
	start := time.Now()
	model, of, done, err := reader(ctx, s, ev, stem)
	if err != nil {
		return nil, err
	}
	text, err := calibration.Text()
	if err != nil {
		return nil, err
	}
	rt, err := s.Runtime()
	if err != nil {
		return nil, err
	}
	child, err := llamacpp.Start(ctx, rt, s.Worker, llamacpp.StartOptions{})
	if err != nil {
		return nil, err
	}
	defer child.Close()
	rep, err := Compute(ctx, child, plan.Base(s), Options{Text: text, Dataset: calibration.Name, Path: stem + ".imatrix.gguf",
		Model: llamacpp.ModelOptions{Path: model}, Context: llamacpp.ContextOptions{Threads: s.Workers},
		Progress: func(done, total int) {
			ev.Emit(pipeline.Progress{Stage: "imatrix", Done: int64(done), Total: int64(total), Unit: "chunks"})
		}})
	if err != nil {
		return nil, err
	}
	r := &record{Path: rep.Path, Calibration: job.Calibration{File: plan.MatrixFile(s), Text: calibration.Name, Of: of, Chunks: rep.Chunks,
		Entries: rep.Entries, Coverage: rep.Coverage.Lines(), Seconds: time.Since(start).Seconds()}}
	if r.Digest, _, err = source.SumFile(ctx, rep.Path); err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return nil, err
	}
	if err := renameio.WriteFile(stem+".json", b, 0o644); err != nil {
		return nil, err
	}
	return r, done()
}

// reader is a GGUF file that reads the text: the source where it is one, else the source in Q8_0, made for this and removed by
// done. An interrupted run leaves it, and finds it again by its name.
func reader(ctx context.Context, s *job.State, ev pipeline.Events, stem string) (path, of string, done func() error, err error) {
	done = func() error { return nil }
	if s.Checked == nil {
		switch {
		case s.Source.Kind == source.GGUF:
			return s.Source.Path, "the source", done, nil
		case s.Local != nil:
			return filepath.Join(s.Local.Dir, s.Parts[0].Name), "the source", done, nil
		}
		return "", "", nil, &plan.OutputError{Says: "--imatrix auto runs the source, and --stream keeps none of it"}
	}
	path, of = stem+"-Q8_0.gguf", "the source in Q8_0"
	done = func() error { return os.Remove(path) }
	if _, err := os.Stat(path); err == nil {
		return path, of, done, nil
	}
	side := *s
	defer func() { s.Close, s.Digests = side.Close, side.Digests }()
	a, err := plan.Converted(ctx, &side, arch.Q8_0)
	if err != nil {
		return "", "", nil, err
	}
	a.Path, a.Paths = path, []string{path}
	if len(a.Plans) != 1 {
		return "", "", nil, fmt.Errorf("%s: planned in %d parts", path, len(a.Plans))
	}
	side.Files = []*job.Artifact{a}
	return path, of, done, build.Stage{}.Run(ctx, &side, means{ev})
}

// means passes on what a build that is only a means tells, but for its line: nobody asked for that file.
type means struct{ ev pipeline.Events }

// Emit implements pipeline.Events.
func (m means) Emit(e pipeline.Event) {
	if _, line := e.(pipeline.Line); !line {
		m.ev.Emit(e)
	}
}
