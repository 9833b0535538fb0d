package plan

import (
	"fmt"
	"path/filepath"
	"strings"

	"quern/convert/fault"
	"quern/convert/gguf"
	"quern/stages/job"
	"quern/stages/source"
)

// SplitFile plans the parts of a GGUF file as llama-gguf-split writes them. out is the parts' common path without numbers.
func SplitFile(s *job.State, out string) error {
	if err := openFile(s); err != nil {
		return err
	}
	whole := s.Parts[0]
	if n, ok := whole.Int(gguf.KeySplitCount); ok && n > 1 {
		return &fault.Invalid{On: s.Model, Says: fmt.Sprintf("is a part of %d already", n), Next: "`quern merge` makes one file of them first"}
	}
	s.Split.Tool = true
	if s.Split.MaxTensors == 0 && s.Split.MaxBytes == 0 {
		s.Split.MaxTensors = defaultPartTensors
	}
	parts, err := whole.Plan.Split(s.Split)
	if err != nil {
		return err
	}
	a := &job.Artifact{Type: "parts"}
	a.SetParts(parts)
	for i := range whole.Outputs {
		a.Copies = append(a.Copies, job.Ref{Index: i})
	}
	for i := range parts {
		a.Paths = append(a.Paths, gguf.SplitName(strings.TrimSuffix(out, ".gguf"), i+1, len(parts)))
	}
	a.Path = a.Paths[0]
	s.Files = []*job.Artifact{a}
	return nil
}

// defaultPartTensors is llama-gguf-split's limit when none is given.
const defaultPartTensors = 128

// MergeFiles plans one file of all parts of a split model.
func MergeFiles(s *job.State, out string) error {
	if err := openFile(s); err != nil {
		return err
	}
	p, err := gguf.Merge(s.Parts)
	if err != nil {
		return err
	}
	a := &job.Artifact{Type: "merged", Path: out, Paths: []string{out}}
	a.SetParts([]gguf.Part{{Plan: p}})
	for i, f := range s.Parts {
		for j := range f.Outputs {
			a.Copies = append(a.Copies, job.Ref{Part: i, Index: j})
		}
	}
	s.Files = []*job.Artifact{a}
	return nil
}

func openFile(s *job.State) error {
	var err error
	if s.Source, err = source.Parse(s.Model); err != nil {
		return err
	}
	if s.Source.Kind != source.GGUF {
		return &fault.Unsupported{On: s.Model, Says: "is not a GGUF file", Next: "`quern convert " + s.Model + "` makes one"}
	}
	return openGGUF(s)
}

// Lines tell what the parts would be, as the reference's tools print it.
func Lines(s *job.State) []string {
	a := s.Files[0]
	lines := []string{fmt.Sprintf("n_split: %d", len(a.Plans))}
	for i, p := range a.Plans {
		total := p.DataOffset
		for _, o := range p.Outputs {
			total += o.Size
		}
		lines = append(lines, fmt.Sprintf("split %05d: n_tensors = %d, total_size = %dM", i+1, len(p.Outputs), total/1000/1000))
	}
	return lines
}

// PartLines tell what a conversion would write: one line a file, with the size of its tensors.
func PartLines(s *job.State) []string {
	var lines []string
	for _, a := range s.Files {
		for i, p := range a.Plans {
			total := int64(0)
			for _, o := range p.Outputs {
				total += o.Size
			}
			lines = append(lines, fmt.Sprintf("%s: n_tensors = %d, total_size = %s", filepath.Base(a.Paths[i]), len(p.Outputs), tensorSize(total)))
		}
	}
	return lines
}

// tensorSize is how gguf-py prints a size.
func tensorSize(n int64) string {
	if n == 0 {
		return "negligible - metadata only"
	}
	f := float64(n)
	for _, unit := range []string{"", "K", "M", "G"} {
		if f < 1000 {
			return fmt.Sprintf("%3.1f%s", f, unit)
		}
		f /= 1000
	}
	return fmt.Sprintf("%.1fT - over 1TB, split recommended", f)
}
