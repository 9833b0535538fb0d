package plan_test

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"quern/convert/arch"
	"quern/convert/conformance"
	"quern/convert/gguf"
	"quern/pipeline"
	"quern/stages/build"
	"quern/stages/job"
	"quern/stages/plan"
)

func recorded(t *testing.T) fs.FS {
	t.Helper()
	tree, err := conformance.OpenBundle("testdata/parts.tar.zst")
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// converting is a run of a recorded case as `quern convert` gets it. The folder holds the case's checkpoint.
func converting(t *testing.T, c *conformance.Case, run string) (s *job.State, dry bool) {
	t.Helper()
	src, err := c.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	s = &job.State{}
	s.Model, s.Out, s.Make = filepath.Join(t.TempDir(), c.Dir), filepath.Join(t.TempDir(), "out.gguf"), job.Converted
	s.Convert.Pre = c.Pre
	if err := os.CopyFS(s.Model, src); err != nil {
		t.Fatal(err)
	}
	for args := c.Runs[run]; len(args) > 0; args = args[1:] {
		switch args[0] {
		case "--no-tensor-first-split":
			s.Split.EmptyFirst = true
			continue
		case "--dry-run":
			dry = true
			continue
		case "--outtype":
			s.Convert.Type = arch.FileType(args[1])
		case "--split-max-tensors":
			s.Split.MaxTensors = int(size(t, args[1]))
		case "--split-max-size":
			s.Split.MaxBytes = size(t, args[1])
		default:
			t.Fatalf("%s: argument %s is not known", c.Name, args[0])
		}
		args = args[1:]
	}
	return s, dry
}

func size(t *testing.T, text string) int64 {
	t.Helper()
	factor := int64(1)
	if digits, ok := strings.CutSuffix(text, "K"); ok {
		text, factor = digits, 1e3
	} else if digits, ok := strings.CutSuffix(text, "M"); ok {
		text, factor = digits, 1e6
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n * factor
}

func through(t *testing.T, s *job.State, list ...pipeline.Stage[job.State]) {
	t.Helper()
	if err := pipeline.Run(t.Context(), list, s, silent{}, pipeline.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Shut(); err != nil {
		t.Fatal(err)
	}
}

// convertedCase writes the files of a recorded run and gives them in order.
func convertedCase(t *testing.T, c *conformance.Case, run string) *job.Artifact {
	t.Helper()
	s, _ := converting(t, c, run)
	through(t, s, plan.Stage{}, build.Stage{})
	return s.Files[0]
}

// part is a file as an answer describes it.
type part struct {
	File   string
	Size   int64
	SHA256 string
}

func same(t *testing.T, what string, a *job.Artifact, want []part) {
	t.Helper()
	if len(a.Paths) != len(want) {
		t.Errorf("%s: %d files, want %d", what, len(a.Paths), len(want))
		return
	}
	for i, w := range want {
		fi, err := os.Stat(a.Paths[i])
		if err != nil {
			t.Fatal(err)
		}
		if got := (part{filepath.Base(a.Paths[i]), fi.Size(), a.SHA256[i]}); w.File != "" && got != w || got.Size != w.Size || got.SHA256 != w.SHA256 {
			t.Errorf("%s: file %d is %v, want %v", what, i, got, w)
		}
	}
}

// A conversion into parts writes the converter's files and names, and a dry run its lines.
func TestConverterParts(t *testing.T) {
	c, err := conformance.OpenCase(recorded(t), "convert/split-llama3")
	if err != nil {
		t.Fatal(err)
	}
	written, planned := 0, 0
	for _, run := range slices.Sorted(maps.Keys(c.Runs)) {
		answer, err := c.Answer(run)
		if err != nil {
			t.Fatal(err)
		}
		s, dry := converting(t, c, run)
		if dry {
			through(t, s, plan.Stage{})
			if got := plan.PartLines(s); !slices.Equal(got, answer.Plan) || len(got) != len(answer.Printed) {
				t.Errorf("%s: %q, want %q", run, got, answer.Plan)
			}
			if _, err := os.Stat(s.Files[0].Path); err == nil {
				t.Errorf("%s: a plan wrote %s", run, s.Files[0].Path)
			}
			planned++
			continue
		}
		through(t, s, plan.Stage{}, build.Stage{})
		var want []part
		for _, f := range answer.Parts {
			want = append(want, part{f.Name, f.Size, f.SHA256})
		}
		same(t, run, s.Files[0], want)
		written++
	}
	t.Logf("count: %d runs into parts equal the converter's files, %d dry runs its lines", written, planned)
}

// splitCase is one call of llama-gguf-split.
type splitCase struct {
	Name  string
	Input struct{ Case, Run, SHA256 string }
	Args  []string
	Plan  []string
	Parts []part
	Merge *part
}

// Splitting and merging write the files of llama-gguf-split, byte for byte, and say what it says.
func TestSplitTool(t *testing.T) {
	tree := recorded(t)
	data, err := fs.ReadFile(tree, "split/cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []splitCase
	if err := json.Unmarshal(data, &cases); err != nil || len(cases) == 0 {
		t.Fatalf("%d cases: %v", len(cases), err)
	}
	splits, merges := 0, 0
	for _, c := range cases {
		input, err := conformance.OpenCase(tree, "convert/"+c.Input.Case)
		if err != nil {
			t.Fatal(err)
		}
		first := convertedCase(t, input, c.Input.Run)
		if c.Input.SHA256 != "" && first.SHA256[0] != c.Input.SHA256 {
			t.Fatalf("%s: the input is %s, want %s", c.Name, first.SHA256[0], c.Input.SHA256)
		}
		if !slices.Contains(c.Args, "--merge") {
			first = split(t, c, first.Path)
			splits++
		}
		if c.Merge == nil {
			continue
		}
		s := &job.State{}
		s.Model = first.Path
		if err := plan.MergeFiles(s, filepath.Join(t.TempDir(), "merged.gguf")); err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		through(t, s, build.Stage{})
		same(t, c.Name+", merged", s.Files[0], []part{*c.Merge})
		merges++
	}
	t.Logf("count: %d splits and %d merges equal llama-gguf-split's, of %d cases", splits, merges, len(cases))
}

// split cuts a file as a case says. A dry run stops at the lines.
func split(t *testing.T, c splitCase, path string) *job.Artifact {
	t.Helper()
	s := &job.State{}
	s.Model = path
	for i, a := range c.Args {
		switch a {
		case "--split-max-tensors":
			s.Split.MaxTensors = int(size(t, c.Args[i+1]))
		case "--split-max-size":
			s.Split.MaxBytes = size(t, c.Args[i+1])
		case "--no-tensor-first-split":
			s.Split.EmptyFirst = true
		}
	}
	if err := plan.SplitFile(s, filepath.Join(t.TempDir(), "out")); err != nil {
		t.Fatalf("%s: %v", c.Name, err)
	}
	if got := plan.Lines(s); !slices.Equal(got, c.Plan[:len(c.Plan)-1]) { // the last line tells of what was written
		t.Errorf("%s: %q, want %q", c.Name, got, c.Plan)
	}
	if slices.Contains(c.Args, "--dry-run") {
		return s.Files[0]
	}
	through(t, s, build.Stage{})
	same(t, c.Name, s.Files[0], c.Parts)
	return s.Files[0]
}

// Parts that do not belong together, or are not all there, are refused and named.
func TestPartsRefused(t *testing.T) {
	input, err := conformance.OpenCase(recorded(t), "convert/split-llama3")
	if err != nil {
		t.Fatal(err)
	}
	a := convertedCase(t, input, "tensors8")
	merge := func(path string) error {
		s := &job.State{}
		s.Model = path
		return plan.MergeFiles(s, filepath.Join(t.TempDir(), "merged.gguf"))
	}
	if err := merge(a.Paths[1]); err == nil || !strings.Contains(err.Error(), "later part") {
		t.Errorf("a later part: %v", err)
	}
	s := &job.State{}
	s.Model = a.Paths[0]
	if err := plan.SplitFile(s, "out"); err == nil {
		t.Error("a part was split again")
	}
	if err := os.Rename(a.Paths[2], a.Paths[1]); err != nil {
		t.Fatal(err)
	}
	if err := merge(a.Paths[0]); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("a missing part: %v", err)
	}
	data, err := os.ReadFile(a.Paths[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.Paths[2], data, 0o644); err != nil { // the third part twice
		t.Fatal(err)
	}
	if err := merge(a.Paths[0]); err == nil || !strings.Contains(err.Error(), gguf.KeySplitNo) {
		t.Errorf("a part twice: %v", err)
	}
}
