package smoke

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"quern/convert/tokenizer"
	"quern/convert/vocab"
	"quern/pipeline"
	"quern/quantize/llamacpp"
	"quern/stages/job"
)

// Stage tries every file that was built.
type Stage struct{}

// Name is "smoke".
func (Stage) Name() string { return "smoke" }

// Skip gives the reason why files are not tried.
func (Stage) Skip(s *job.State) string {
	switch {
	case s.NoSmoke:
		return "--no-smoke"
	case s.Adapter && s.OnBase == "":
		return "there is no file of the adapter's base to try it on"
	case s.Convert.VocabOnly:
		return "a file without weights cannot be run"
	case s.CannotRun != "":
		return s.CannotRun
	}
	return ""
}

// Plan depends on the files' digests and the runtime.
func (Stage) Plan(_ context.Context, s *job.State) (pipeline.Step, error) {
	step := pipeline.Step{Versions: []string{"llama.cpp " + llamacpp.Version, fmt.Sprintf("smoke %d", version)}, Says: "load, generate, look for the known failures"}
	projector := slices.ContainsFunc(s.Files, func(a *job.Artifact) bool { return a.Mmproj })
	if projector && s.Runtime != nil { // a library that comes later makes more checks possible
		if rt, err := s.Runtime(); err == nil && rt.HasMultimodal() {
			step.Versions = append(step.Versions, "libmtmd")
		}
	}
	if s.Adapter {
		step.Inputs = append(step.Inputs, pipeline.Input{Name: s.OnBase, Digest: stamp(s.OnBase)})
	}
	step.Inputs = append(step.Inputs, s.Built()...)
	if h := s.Host(); projector && h == s.Beside && h != nil {
		step.Inputs = append(step.Inputs, h.Built()...)
	}
	return step, nil
}

// stamp tells one state of a file from another without reading it.
func stamp(path string) string {
	fi, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("stat:%d:%d", fi.Size(), fi.ModTime().UnixNano())
}

// version changes when checks do, so that files are tried again.
const version = 2

// Run tries each file in a child of its own and stops at the first that does not work.
func (Stage) Run(ctx context.Context, s *job.State, ev pipeline.Events) error {
	rt, err := s.Runtime()
	if err != nil {
		return err
	}
	for _, a := range s.Files {
		try := inChild
		if a.Mmproj {
			try = withPicture
		}
		r, err := try(ctx, rt, s, a)
		if err != nil {
			return err
		}
		a.Smoke = r
		ev.Emit(pipeline.Result{Type: "smoke", Data: Outcome{a.Path, r.Count(Failed) == 0, r}})
		if err := r.Err(a.Path); err != nil {
			return err
		}
		text := "ok      " + r.Summary()
		if len(s.Models()) > 1 || a.Mmproj {
			text = fmt.Sprintf("%-7s %s", a.Type, text)
		}
		if a.Mmproj {
			text += untried(r)
		}
		ev.Emit(pipeline.Line{Stage: "smoke", Label: "smoke", Text: text})
	}
	return nil
}

// untried says which checks of a projector could not be made.
func untried(r *Report) string {
	text := ""
	for _, c := range r.Checks {
		if c.State == Skipped {
			text += "; " + c.Value
		}
	}
	return text
}

// Outcome is the "smoke" result of --json.
type Outcome struct {
	Path string `json:"path"`
	OK   bool   `json:"ok"`
	*Report
}

func inChild(ctx context.Context, rt *llamacpp.Runtime, s *job.State, a *job.Artifact) (*Report, error) {
	child, err := llamacpp.Start(ctx, rt, s.Worker, llamacpp.StartOptions{})
	if err != nil {
		return nil, err
	}
	defer child.Close()
	o := Options{Model: llamacpp.ModelOptions{Path: a.Path}}
	o.Encoded, o.Encode = encoded(s)
	if s.Adapter {
		o.Model.Path, o.Adapter = s.OnBase, a.Path
	}
	if s.Advice != nil && a.Bytes > small {
		o.Context.Threads = s.Advice.Setting.Threads
	}
	if s.Threads > 0 {
		o.Context.Threads = s.Threads
	}
	return Try(ctx, child, o)
}

// probes are texts on which llama.cpp and Hugging Face agree for every kind of tokenizer, unless one of them is wrong.
var probes = []string{"Hello world", "The quick brown fox jumps over the lazy dog.", "and it came to pass, that he said unto them"}

// cuts are texts that pre-tokenizers cut at other places: digits, capitals after an apostrophe, blanks and lines, scripts.
var cuts = []string{"1234567 and 3.14159", "I'LL SAY it's we've", "they don't.\n", "two  blanks\n\n  and\tlines \r\n", "na\u00efve caf\u00e9 \u6f22\u5b57\u304b\u306a \U0001F642!!!", "foo_bar(x->y) == {z};"}

// encoded gives the probes with their ids by the checkpoint's own tokenizer, and that tokenizer for a chat where llama.cpp's
// vocabulary was asked about special tokens too. Where llama.cpp is known to encode otherwise, or the engine does not read the
// tokenizer, there are none.
func encoded(s *job.State) ([]Encoded, func(string) ([]int32, error)) {
	if s.Checked == nil || s.Checked.Vocab == nil {
		return nil, nil
	}
	p := s.Checked.Vocab.Pre
	if p != nil && (len(p.Differs) > 0 || p.How == vocab.HowOverride && !p.Proven) {
		return nil, nil
	}
	t, err := tokenizer.LoadFolder(s.Source.FS)
	if err != nil {
		return nil, nil
	}
	texts := probes
	var chat func(string) ([]int32, error)
	if p != nil && p.Proven { // then llama.cpp's own vocabulary was asked, and nothing differed
		texts = slices.Concat(probes, cuts)
		if t.Kind() == "BPE" {
			chat = func(text string) ([]int32, error) { return t.Encode(text, false) }
		}
	}
	var es []Encoded
	for _, text := range texts {
		if ids, err := t.Encode(text, false); err == nil {
			es = append(es, Encoded{Text: text, IDs: ids})
		}
	}
	return es, chat
}

// Result is what the ledger keeps.
func (Stage) Result(s *job.State) any {
	var rs []any
	for _, a := range s.Files {
		rs = append(rs, a.Smoke)
	}
	return rs
}

// Recall takes an earlier run's reports over.
func (Stage) Recall(s *job.State, b json.RawMessage) error {
	var rs []*Report
	if err := json.Unmarshal(b, &rs); err != nil {
		return err
	}
	if len(rs) != len(s.Files) {
		return errors.New("another number of files")
	}
	for i, a := range s.Files {
		a.Smoke = rs[i]
	}
	return nil
}
