// Package plan is the stage that decides everything from headers: what the model is, what the machine is, which types are
// made, what each file will be to the byte. It fetches no weights and writes nothing.
package plan

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"quern/convert/fault"
	"quern/pipeline"
	"quern/quantize/llamacpp"
	"quern/quantize/machine"
	"quern/quantize/recommend"
	"quern/stages/job"
	"quern/stages/source"
)

// Stage is the plan.
type Stage struct {
	// Only marks a plan that nothing follows: what would stop the run is a warning then.
	Only bool
}

// Name is "plan".
func (Stage) Name() string { return "plan" }

// OnlyReads makes a dry run carry it out.
func (Stage) OnlyReads() {}

// Plan has nothing to say before the headers are read.
func (Stage) Plan(_ context.Context, s *job.State) (pipeline.Step, error) {
	return pipeline.Step{Says: "headers of " + s.Model}, nil
}

// Run fills Source, Checked or Parts, Machine, Shape, Advice and Files of the state.
func (st Stage) Run(ctx context.Context, s *job.State, ev pipeline.Events) error {
	s.DryRun = s.DryRun || st.Only
	if err := Open(ctx, s); err != nil {
		return err
	}
	if !st.Only && s.Source.Kind == source.Folder && s.Checked == nil {
		return &fault.Unsupported{On: s.Model, Says: "has a config.json and no weights", Next: "`quern plan` works from it; building needs the checkpoint"}
	}
	if err := OpenTower(ctx, s); err != nil {
		return err
	}
	for _, w := range Warnings(s) {
		ev.Emit(pipeline.Warning{Stage: "plan", Says: w})
	}
	if err := Advise(ctx, s); err != nil {
		return err
	}
	if s.Auto != nil && s.Policy.Imatrix == nil {
		s.Policy.Imatrix = expected(s)
	}
	if err := describe(ctx, s); err != nil {
		return err
	}
	for _, w := range policyWarnings(s) {
		ev.Emit(w)
	}
	if err := fits(s, ev); err != nil {
		return err
	}
	for _, check := range []func(*job.State) error{room, runtime} {
		if err := check(s); err != nil && !st.Only {
			return err
		} else if err != nil {
			ev.Emit(pipeline.Warning{Stage: "plan", Says: err.Error(), Next: hint(err)})
		}
	}
	for _, l := range lines(s) {
		ev.Emit(l)
	}
	ev.Emit(pipeline.Result{Type: "plan", Data: NewReport(s)})
	return nil
}

// Advise detects the machine and, where the user named no type, chooses one.
func Advise(ctx context.Context, s *job.State) error {
	if err := detect(ctx, s); err != nil {
		return err
	}
	if s.Make != job.Recommended || s.Advice != nil {
		return nil
	}
	var err error
	if s.Shape, err = recommend.ShapeOf(Base(s)); err != nil {
		return nil // a model without layers, such as an encoder of another kind: nothing to weigh, the default type stands
	}
	s.Shape.Projector = towerBytes(s)
	cands, err := candidates(s)
	if err != nil {
		return err
	}
	w := s.Wish
	if len(s.Types) > 0 {
		w.Type = strings.ToUpper(s.Types[0])
	}
	learn(s, &w, cands)
	if s.Advice, err = recommend.Choose(s.Machine, s.Shape, cands, w); err != nil {
		return err
	}
	taught(s, w.Calibration)
	return nil
}

// detect finds out what the machine is, or makes the one that --for describes.
func detect(ctx context.Context, s *job.State) error {
	if s.Machine != nil {
		return nil
	}
	if s.For == "" {
		s.Machine = machine.Detect(ctx, outFolder(s))
		return nil
	}
	var err error
	s.Machine, err = machine.For(s.For)
	return err
}

// TooLargeError says that nothing fits the machine. The command ends with exit code 16.
type TooLargeError struct {
	Reasons []recommend.Reason
}

// Error says what is missing.
func (e *TooLargeError) Error() string { return said(e.Reasons, "type") }

// Hint is what would help.
func (e *TooLargeError) Hint() string {
	return strings.Join(append(helps(e.Reasons), "`--quant TYPE` builds it all the same"), "; ")
}

// said is the reason for one value of a choice.
func said(reasons []recommend.Reason, about string) string {
	for _, r := range reasons {
		if r.About == about {
			return r.Says
		}
	}
	return ""
}

// helps are what to do where nothing fits.
func helps(reasons []recommend.Reason) []string {
	var hs []string
	for _, r := range reasons {
		if r.About == "help" {
			hs = append(hs, r.Says)
		}
	}
	return hs
}

// fits stops a run whose recommended model the machine cannot hold; a type that the user named is built with a warning.
func fits(s *job.State, ev pipeline.Events) error {
	if s.Advice == nil || s.Advice.Runs {
		return nil
	}
	if len(s.Types) > 0 && !s.DryRun {
		ev.Emit(pipeline.Warning{Stage: "plan", Says: said(s.Advice.Reasons, "type")})
	}
	if len(s.Types) > 0 || s.For != "" {
		return nil // the line about the type says it
	}
	return &TooLargeError{s.Advice.Reasons}
}

// NoRoomError says that the disk cannot hold the outputs. The command ends with exit code 16.
type NoRoomError struct {
	Folder     string
	Need, Free int64
}

// Error gives need and room.
func (e *NoRoomError) Error() string {
	return fmt.Sprintf("%s: the outputs need %s and %s are free", e.Folder, Size(e.Need), Size(e.Free))
}

// Hint says what helps.
func (e *NoRoomError) Hint() string {
	return "free some space, choose another folder with -o, or make fewer types at once"
}

// room checks the disk before anything is fetched or written.
func room(s *job.State) error {
	need := int64(0)
	for _, a := range s.Files {
		need += a.Bytes
	}
	if s.Machine.DiskFree > 0 && need > s.Machine.DiskFree {
		return &NoRoomError{outFolder(s), need, s.Machine.DiskFree}
	}
	return nil
}

// runtime checks that the llama.cpp libraries are there when a later stage needs them. Making a file does not, but for a few
// types; where none are installed the file is made and not run, and the plan says so. A folder that was named must have them.
func runtime(s *job.State) error {
	runs := s.Make == job.Recommended && !(s.NoSmoke && s.NoBench)
	needs := s.NeedsLibrary() || WantsMatrix(s)
	if !runs && !needs || s.Runtime == nil {
		return nil
	}
	_, err := s.Runtime()
	var e *llamacpp.Error
	if !needs && errors.As(err, &e) && e.Fault == llamacpp.Missing && e.On == "" {
		s.CannotRun = "no llama.cpp runtime is installed"
		return nil
	}
	return err
}

func hint(err error) string {
	if h, ok := err.(interface{ Hint() string }); ok {
		return h.Hint()
	}
	return ""
}

// lines are what a person reads first.
func lines(s *job.State) []pipeline.Line {
	var ls []pipeline.Line
	add := func(label, format string, a ...any) {
		ls = append(ls, pipeline.Line{Stage: "plan", Label: label, Text: fmt.Sprintf(format, a...)})
	}
	add("model", "%s", modelText(s))
	add("machine", "%s", machineText(s))
	if s.CannotRun != "" {
		add("runs", "not here: %s; the file is made all the same, and `quern runtime install` brings what smoke test, bench and quality need", s.CannotRun)
	}
	if s.Advice != nil && len(s.Files) > 0 {
		add("type", "%s", choiceText(s))
		if better := said(s.Advice.Reasons, "better"); better != "" {
			add("better", "%s", better)
		}
	}
	if p := s.Projector(); p != nil {
		add("projector", "%s", towerText(p))
	}
	if WantsMatrix(s) {
		t := "auto: computed from the text that ships, for the types below Q4"
		if d := MatrixTime(s); d > 0 {
			t += fmt.Sprintf("; about %s", max(d, time.Second).Round(time.Second))
		}
		add("imatrix", "%s", t)
	}
	if s.Make == job.Quantized {
		for _, a := range s.Files {
			add("type", "%-8s %s", a.Type, typeText(a))
		}
	}
	return ls
}

// choiceText is the chosen type with the reason for it and against its neighbours.
func choiceText(s *job.State) string {
	a, f := s.Advice, s.Files[0]
	t := fmt.Sprintf("%-8s %s, %.2f bits a weight: %s", f.Type, Size(f.Bytes), f.BitsPerWeight(), said(a.Reasons, "type"))
	if !a.Runs {
		return t
	}
	larger, smaller := a.Neighbours()
	for _, r := range []*recommend.Row{larger, smaller} {
		if r != nil {
			t += fmt.Sprintf("; not %s: %s", r.Type, r.Reason)
		}
	}
	return t
}

func modelText(s *job.State) string {
	parts := []string{s.Source.Name + "  "}
	if m := s.Checked; m != nil {
		parts[0] += m.HF
		what := Count(m.Params.Total) + " parameters"
		if s.Adapter {
			what = Count(max(m.Params.Total, -m.Params.Total)) + " parameters changed in " + s.BaseOf.Name
		}
		parts = append(parts, what, strings.ToLower(string(m.Type)))
		if m.Card.License != "" {
			parts = append(parts, m.Card.License)
		}
	} else if len(s.Parts) > 0 {
		parts[0] += s.Parts[0].Architecture()
		form := "GGUF"
		if sketched(s.Parts[0]) {
			form = "planned from config.json alone"
		}
		parts = append(parts, Count(elements(Base(s).Outputs))+" parameters", form)
	}
	if s.Pinned != nil {
		parts = append(parts, "commit "+s.Pinned.Commit[:12])
	}
	return strings.Join(parts, ", ")
}

func machineText(s *job.State) string {
	m := s.Machine
	if s.For != "" {
		return fmt.Sprintf("%s, %d GB, %d cores, %d GPU cores, %d GB/s (described, not this machine)", m.Chip, m.Memory>>30, m.Cores, m.GPUCores, m.Bandwidth)
	}
	t := fmt.Sprintf("%s, %d cores", strings.TrimSpace(orUnknown(m.Chip)), m.Cores)
	if m.Available > 0 {
		t += fmt.Sprintf(", %s free", recommend.Size(m.Available))
	}
	if s.Runtime == nil {
		return t
	}
	if _, err := s.Runtime(); err != nil {
		return t + ", no llama.cpp runtime"
	}
	kind := "CPU"
	if m.Metal {
		kind = "Metal"
	}
	return t + ", " + kind + " runtime llama.cpp " + llamacpp.Version
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown processor"
	}
	return s
}

// Count is a number of parameters as people say it: 5.0M, 7.6B.
func Count(n int64) string {
	switch f := float64(n); {
	case f >= 1e12:
		return fmt.Sprintf("%.2fT", f/1e12)
	case f >= 1e9:
		return fmt.Sprintf("%.1fB", f/1e9)
	case f >= 1e6:
		return fmt.Sprintf("%.1fM", f/1e6)
	}
	return fmt.Sprintf("%.0fK", float64(n)/1e3)
}

// Size is a file's size as people read it.
func Size(n int64) string {
	switch f := float64(n); {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case f < 1e6:
		return fmt.Sprintf("%.1f kB", f/1e3)
	case f < 1e9:
		return fmt.Sprintf("%.1f MB", f/1e6)
	}
	return fmt.Sprintf("%.2f GB", float64(n)/1e9)
}
