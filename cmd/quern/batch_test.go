package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"quern/convert/conformance"
	"quern/pipeline"
	"quern/pipeline/batch/manifest"
	"quern/stages/set"

	"github.com/rogpeppe/go-internal/testscript"
	"go.yaml.in/yaml/v4"
)

// count logs a figure where `make test` finds it.
func count(ts *testscript.TestScript, format string, a ...any) {
	ts.Value(testKey{}).(testscript.T).Log("count: " + fmt.Sprintf(format, a...))
}

// testKey is where a script's test is kept.
type testKey struct{}

// models DIR NAME... writes checkpoints of the conformance cases, of a few hundred kilobytes each, into folders below DIR.
func writeModels(ts *testscript.TestScript, _ bool, args []string) {
	root := ts.Getenv("CASES")
	tree, err := conformance.OpenBundle(root)
	ts.Check(err)
	for _, name := range args[1:] {
		c, err := conformance.OpenCase(tree, "convert/"+name)
		ts.Check(err)
		src, err := c.Checkpoint()
		ts.Check(err)
		ts.Check(os.CopyFS(ts.MkAbs(filepath.Join(args[0], name)), src))
	}
}

// entries MANIFEST OUT runs each entry of the manifest's GitHub matrix by itself, as its jobs would, into the folder OUT.
func runEntries(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(ts.Exec("quern", "batch", args[0], "--matrix"))
	var m struct {
		Include []struct {
			Key    string
			Runner []string
		}
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &m))
	if len(m.Include) == 0 {
		ts.Fatalf("an empty matrix")
	}
	for _, j := range m.Include {
		ts.Check(ts.Exec("quern", "batch", args[0], "--only", j.Key, "-o", args[1], "--locked"))
		if len(j.Runner) == 0 {
			ts.Fatalf("%s has no runner", j.Key)
		}
	}
	count(ts, "matrix: %d entries driven by their matrix", len(m.Include))
}

// sums DIR... demands that the folders have the same models with the same SHA256SUMS, and at least one.
func compareSums(ts *testscript.TestScript, _ bool, args []string) {
	read := func(dir string) string {
		found, err := filepath.Glob(filepath.Join(ts.MkAbs(dir), "*", "SHA256SUMS"))
		ts.Check(err)
		var b strings.Builder
		for _, f := range found {
			b.WriteString(filepath.Base(filepath.Dir(f)) + "\n" + ts.ReadFile(f))
		}
		return b.String()
	}
	want := read(args[0])
	if n := strings.Count(want, "gguf"); n == 0 {
		ts.Fatalf("no files in %s", args[0])
	} else {
		count(ts, "sums: %d files the same in %s", n, strings.Join(args, ", "))
	}
	for _, d := range args[1:] {
		if got := read(d); got != want {
			ts.Fatalf("%s:\n%s\n%s:\n%s", args[0], want, d, got)
		}
	}
}

// events TYPE... demands that standard output is events, with these among them.
func checkEvents(ts *testscript.TestScript, _ bool, args []string) {
	seen := map[string]int{}
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		var e struct{ Type string }
		ts.Check(json.Unmarshal([]byte(line), &e))
		seen[e.Type]++
	}
	for _, want := range args {
		if seen[want] == 0 {
			ts.Fatalf("no %q event: %v", want, seen)
		}
	}
}

// The manifest's schema has the options of prepare, each with its kind, and no other.
func TestManifestSchema(t *testing.T) {
	var s struct {
		Defs struct {
			Options struct {
				Properties map[string]struct {
					Type  any
					OneOf []any
				}
			}
		} `json:"$defs"`
	}
	if err := json.Unmarshal(manifest.Schema, &s); err != nil {
		t.Fatal(err)
	}
	have := s.Defs.Options.Properties
	names := modelOptionNames()
	for name, kind := range names {
		p, ok := have[name]
		got := manifest.Text
		switch {
		case !ok:
			t.Errorf("pipeline/batch/manifest/manifest.schema.json lacks the option %s, of kind %s: put it under $defs.options", name, kind)
			continue
		case p.OneOf != nil:
			got = manifest.List
		case p.Type == "boolean":
			got = manifest.Bool
		case p.Type == "number":
			got = manifest.Number
		}
		if kind == manifest.Path {
			kind = manifest.Text
		}
		if got != kind {
			t.Errorf("%s is %s, the schema says %s", name, kind, got)
		}
	}
	for name := range have {
		if _, ok := names[name]; !ok {
			t.Errorf("prepare has no option %s", name)
		}
	}
	t.Logf("count: manifest options: %d in the schema and in prepare", len(names))
}

// The progress of a set has a line for each running stage and one of totals, never wider or higher than the terminal.
func TestSetProgress(t *testing.T) {
	var b bytes.Buffer
	p := newSetProgress(&b, true)
	now := time.Unix(0, 0)
	p.now = func() time.Time { return now }
	p.size = func() (int, int) { return 90, 6 }
	for _, entry := range []string{"one", "two", "three", "four"} {
		p.started(pipeline.Started{Entry: entry, Stage: "pull"})
	}
	now = now.Add(5 * time.Second)
	p.moved(pipeline.Progress{Entry: "one", Stage: "pull", Done: 500_000, Total: 1_000_000, Unit: "bytes", Rate: 100_000})
	b.Reset()
	p.total(set.Totals{Done: 3, Known: 20, Failed: 1, Seconds: 5, Left: 28})
	now = now.Add(time.Second)
	p.total(set.Totals{Done: 3, Known: 20, Failed: 1, Seconds: 6, Left: 34})
	got := b.String()
	for _, want := range []string{"one", "pull", "50 %", "5s left", "and 2 more", "3 of 20 steps, 1 failed, 6s, about 34s left", "\x1b["} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in %q", want, got)
		}
	}
	for line := range strings.Lines(got) {
		if len([]rune(strings.TrimRight(line, "\n"))) > 90+len("\x1b[4A\x1b[J") {
			t.Errorf("too wide: %q", line)
		}
	}
	for _, entry := range []string{"one", "two", "three", "four"} {
		p.finished(pipeline.Finished{Entry: entry, Stage: "pull", State: pipeline.OK})
	}
	b.Reset()
	p.clear()
	if b.String() != "\x1b[1A\x1b[J" {
		t.Errorf("one line is left to clear: %q", b.String())
	}
}

// Failures that share a code have it, others end with 1.
func TestSetExitCode(t *testing.T) {
	one := set.Entry{Key: "a", Code: 12, Says: "x"}
	two := set.Entry{Key: "b", Code: 11, Says: "y"}
	for _, c := range []struct {
		failed []set.Entry
		want   int
	}{{[]set.Entry{one}, 12}, {[]set.Entry{one, one}, 12}, {[]set.Entry{one, two}, 1}} {
		if got := exitCode(&set.Failed{Entries: 3, Failed: c.failed}); got != c.want {
			t.Errorf("%v: %d, want %d", c.failed, got, c.want)
		}
	}
}

// The composite action and the example for GitLab say what they use: inputs that are declared, steps with a shell, commands that
// quern has. actionlint looks at the workflows (make lint).
func TestActions(t *testing.T) {
	b, err := os.ReadFile("../../.github/actions/quern-batch/action.yml")
	if err != nil {
		t.Fatal(err)
	}
	var a struct {
		Inputs map[string]struct{ Description string }
		Runs   struct {
			Using string
			Steps []struct{ Name, Uses, Run, Shell string }
		}
	}
	if err := yaml.Unmarshal(b, &a); err != nil {
		t.Fatal(err)
	}
	used := regexp.MustCompile(`inputs\.([a-z-]+)`).FindAllStringSubmatch(string(b), -1)
	for _, u := range used {
		if a.Inputs[u[1]].Description == "" {
			t.Errorf("input %s is not declared", u[1])
		}
	}
	text := ""
	for _, s := range a.Runs.Steps {
		if (s.Run != "") == (s.Uses != "") || s.Run != "" && s.Shell == "" {
			t.Errorf("step %q: one of run (with a shell) and uses", s.Name)
		}
		text += s.Run + "\n"
	}
	for _, name := range []string{"../../docs/ci/gitlab.yml", "../../.github/workflows/batch.yml"} {
		more, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := yaml.Unmarshal(more, &v); err != nil {
			t.Fatal(err)
		}
		text += string(more)
	}
	calls := regexp.MustCompile(`(?m)quern"? (batch|card|verify|publish|runtime install)([^\n)]*)`).FindAllStringSubmatch(text, -1)
	app := newApp()
	for _, c := range calls {
		words := append([]string{"quern"}, strings.Fields(c[1])...)
		for _, w := range strings.Fields(c[2]) {
			if strings.HasPrefix(w, "--") {
				words = append(words, w, "github")
			}
		}
		if _, err := reorder(app, words); err != nil {
			t.Errorf("%s: %v", c[0], err)
		}
	}
	t.Logf("count: actions: %d inputs and %d commands checked", len(used), len(calls))
}
