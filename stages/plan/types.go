package plan

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"quern/convert"
	"quern/convert/arch"
	"quern/convert/gguf"
	"quern/quantize/policy"
	"quern/quantize/recommend"
	"quern/stages/job"
)

// offered are the types among which one is recommended: what people publish, without the largest and the lossiest.
var offered = []policy.FileType{policy.Q8_0, policy.Q6_K, policy.Q5_K_M, policy.Q5_K_S, policy.Q4_K_M, policy.Q4_K_S,
	policy.IQ4XS, policy.Q3_K_L, policy.Q3_K_M, policy.Q3_K_S, policy.Q2_K}

// plain are the types that are the converter's own files: nothing is quantized.
var plain = map[string]arch.FileType{"F32": arch.F32, "F16": arch.F16, "BF16": arch.BF16}

// Base is the source as a GGUF file: the conversion's, or the first part's metadata with all parts' tensors.
func Base(s *job.State) *gguf.Plan {
	if s.Checked != nil {
		return &s.Checked.Plan
	}
	p := s.Parts[0].Plan
	for _, f := range s.Parts[1:] {
		p.Outputs = append(p.Outputs[:len(p.Outputs):len(p.Outputs)], f.Outputs...)
	}
	return &p
}

// Parts are the source's files as the policy takes them.
func Parts(s *job.State) []*gguf.Plan {
	if s.Checked != nil {
		return []*gguf.Plan{&s.Checked.Plan}
	}
	var ps []*gguf.Plan
	for _, f := range s.Parts {
		ps = append(ps, &f.Plan)
	}
	return ps
}

// candidates are the offered types with their exact sizes, and the one that the user named.
func candidates(s *job.State) ([]recommend.Candidate, error) {
	fts := offered
	for _, o := range Base(s).Outputs {
		if o.Type == gguf.MXFP4 {
			fts = []policy.FileType{policy.MXFP4} // published in four bits: more bits would add size and no quality
			break
		}
	}
	for _, t := range s.Types {
		if ft, err := policy.ParseFileType(t); err == nil {
			fts = append(fts[:len(fts):len(fts)], ft)
		}
	}
	var cs []recommend.Candidate
	seen := map[policy.FileType]bool{}
	for _, ft := range fts {
		if seen[ft] {
			continue
		}
		seen[ft] = true
		o := s.Policy
		o.AllowRequantize = true
		out, err := policy.Decide(Parts(s), ft, o)
		if err != nil {
			return nil, err
		}
		var outs []gguf.Output
		loaded := int64(0)
		for _, f := range out.Files {
			outs = append(outs, f.Plan.Outputs...)
			loaded += s.Shape.Loaded(f.Plan.Outputs)
		}
		cs = append(cs, recommend.Candidate{Type: ft.String(), Weights: out.Bytes, Loaded: loaded, BPW: out.BitsPerWeight(),
			ActiveBytes: s.Shape.ActiveBytes(outs)})
	}
	return cs, nil
}

// describe makes an artifact for each wanted type: its path, its plan, its size.
func describe(ctx context.Context, s *job.State) error {
	if len(s.Files) > 0 { // a published file was chosen: it is taken as it is
		return place(s)
	}
	if len(s.Types) == 0 {
		switch {
		case s.Make == job.Converted:
			s.Types = []string{s.Checked.Type.Label()}
		case s.Advice != nil:
			s.Types, s.Chosen = []string{s.Advice.Type}, s.Advice.Type
		default:
			s.Types = []string{"Q4_K_M"}
		}
	}
	for _, t := range s.Types {
		a, err := artifact(ctx, s, t)
		if err != nil {
			return err
		}
		s.Files = append(s.Files, a)
	}
	if s.Tower != nil {
		a, err := projector(s.Tower)
		if err != nil {
			return err
		}
		s.Files = append(s.Files, a)
	}
	return place(s)
}

// Describe plans the files anew, after the importance of their weights has become known.
func Describe(ctx context.Context, s *job.State) error {
	s.Files = nil
	return describe(ctx, s)
}

// Converted plans the converter's own file of a type beside those of the run.
func Converted(ctx context.Context, s *job.State, ft arch.FileType) (*job.Artifact, error) {
	return converted(ctx, s, ft)
}

func artifact(ctx context.Context, s *job.State, name string) (*job.Artifact, error) {
	ownType, own := plain[strings.ToUpper(name)]
	if s.Make == job.Converted || own && s.Checked != nil && s.Make == job.Recommended {
		return converted(ctx, s, ownType)
	}
	ft, err := policy.ParseFileType(name)
	if err != nil {
		return nil, err
	}
	decide := policy.Plan
	if s.DryRun {
		decide = policy.Decide
	}
	o := s.Policy
	if s.Auto != nil && !ft.BelowQ4() {
		o.Imatrix = nil // a file's bytes do not depend on what else is made
	}
	out, err := decide(Parts(s), ft, o)
	if err != nil {
		return nil, err
	}
	a := &job.Artifact{Type: ft.String(), Policy: out, Model: s.Checked, Bytes: out.Size()}
	for _, f := range out.Files {
		a.Plans = append(a.Plans, f.Plan)
		a.Firsts = append(a.Firsts, f.First)
	}
	return a, nil
}

// converted is the converter's own file of a type: the conversion at hand when it has that type, else one more, from headers.
func converted(ctx context.Context, s *job.State, ft arch.FileType) (*job.Artifact, error) {
	m := s.Checked
	if ft != "" && m.Type != ft {
		o := s.Convert
		o.Dir, o.Repo, o.Prover, o.Type = s.Source.Path, s.Source.Repo, s.Prover, ft
		if o.Dir == "" {
			o.Dir = s.Source.Name
		}
		var err error
		if m, err = convert.Open(ctx, s.Source.FS, o); err != nil {
			return nil, err
		}
		s.Close = append(s.Close, m.Close)
	}
	a := &job.Artifact{Type: m.Type.Label(), Model: m, Mmproj: m.Arch.Projector()}
	parts, err := m.Plan.Split(s.Split)
	if err != nil {
		return nil, err
	}
	a.SetParts(parts)
	return a, nil
}

// OutputError says that the outputs cannot be named as asked. It is a usage error.
type OutputError struct{ Says string }

// Error says why.
func (e *OutputError) Error() string { return e.Says }

// Hint says how.
func (e *OutputError) Hint() string { return "give -o a folder for several files" }

// place names the files.
func place(s *job.State) error {
	if n := len(s.Models()); isFile(s.Out) && n > 1 {
		return &OutputError{fmt.Sprintf("-o %s is one file, and %d types are asked for", s.Out, n)}
	}
	seen := map[string]string{}
	for _, a := range s.Files {
		a.Path = s.Out
		if !isFile(s.Out) {
			name := baseName(s) + "-" + a.Type + s.Label + ".gguf"
			if a.Mmproj { // which the label of a mixture does not concern
				name = towerPrefix + baseName(s) + "-" + a.Type + ".gguf"
			}
			a.Path = filepath.Join(outFolder(s), name)
		} else if a == s.Projector() {
			a.Path = filepath.Join(outFolder(s), towerPrefix+filepath.Base(s.Out))
		}
		a.Paths = []string{a.Path}
		// --keep-split numbers the file of a source of one part too, as llama-quantize does
		if n := len(a.Plans); n > 1 || a.Policy != nil && s.Policy.KeepSplit {
			a.Paths = nil
			for i := range a.Plans {
				a.Paths = append(a.Paths, gguf.SplitName(a.Path, i+1, n))
			}
			a.Path = a.Paths[0]
		}
		if other, twice := seen[a.Path]; twice {
			return &OutputError{fmt.Sprintf("types %s and %s would both be written to %s", other, a.Type, a.Path)}
		}
		seen[a.Path] = a.Type
	}
	return nil
}

// ggufSuffix ends the names of repositories that hold a model's GGUF files.
const ggufSuffix = "-GGUF"

// baseName is the output's name without its type. A GGUF source brings its own type at the end; it is taken off.
func baseName(s *job.State) string {
	n := s.Source.Name
	if !s.Source.IsGGUF() {
		if end := len(n) - len(ggufSuffix); s.Parts != nil && end > 0 && strings.EqualFold(n[end:], ggufSuffix) {
			return n[:end]
		}
		return n
	}
	if i := strings.LastIndexByte(n, '-'); i > 0 {
		if _, err := policy.ParseFileType(n[i+1:]); err == nil && strings.ToUpper(n[i+1:]) == n[i+1:] {
			return n[:i]
		}
	}
	return n
}

func isFile(out string) bool { return strings.EqualFold(filepath.Ext(out), ".gguf") }

func outFolder(s *job.State) string {
	switch {
	case s.Out == "":
		return "models"
	case isFile(s.Out):
		return filepath.Dir(s.Out)
	}
	return s.Out
}

// Warnings are what the conversion noticed.
func Warnings(s *job.State) []string {
	if s.Checked == nil {
		return nil
	}
	return s.Checked.Warnings
}
