package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"quern/quantize/llamacpp"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// watchEnv names the folder into which a quern that a script runs copies what it writes to standard output.
const watchEnv = "QUERN_TEST_WATCH"

// witnessed runs the program and keeps a copy of its JSON: a file whose first line is the arguments.
func witnessed(args []string, program func() int) int {
	dir := os.Getenv(watchEnv)
	if dir == "" || !slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "--json") || strings.Contains(a, "jsonl") }) {
		return program()
	}
	kept, err := os.CreateTemp(dir, "*.out")
	if err != nil {
		panic(err)
	}
	head, _ := json.Marshal(args[1:]) // texts always marshal
	fmt.Fprintf(kept, "%s\n", head)
	r, w, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	real, done := os.Stdout, make(chan struct{})
	os.Stdout = w
	go func() {
		io.Copy(io.MultiWriter(real, kept), r) //nolint:errcheck // who reads it may be gone
		close(done)
	}()
	code := program()
	w.Close()
	<-done
	kept.Close()
	return code
}

// watch holds all that the scripts' programs write against the schemas.
type watch struct {
	t        *testing.T
	compiler *jsonschema.Compiler
	mu       sync.Mutex
	seen     map[string]int // lines and files by schema
	commands map[string]bool
	compiled map[string]*jsonschema.Schema
}

// schemaURL is where the compiler finds the embedded schemas.
const schemaURL = "mem:///"

func newWatch(t *testing.T) *watch {
	w := &watch{t: t, compiler: jsonschema.NewCompiler(), seen: map[string]int{}, commands: map[string]bool{}, compiled: map[string]*jsonschema.Schema{}}
	w.compiler.AssertFormat()
	all, err := schemaNames()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all[:len(all)-1] { // the manifest's own tests hold it
		b, err := schemaFiles.ReadFile("schema/" + s.Name + schemaSuffix)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.compiler.AddResource(schemaURL+s.Name, doc); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// check holds a value against a schema, such as "receipt" or "events#/$defs/event.plan".
func (w *watch) check(where, schema string, raw []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.compiled[schema]
	if s == nil {
		var err error
		if s, err = w.compiler.Compile(schemaURL + schema); err != nil {
			w.t.Errorf("%s: no schema %s: %v", where, schema, err)
			return
		}
		w.compiled[schema] = s
	}
	w.seen[schema]++
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err == nil {
		err = s.Validate(v)
	}
	if err != nil {
		w.t.Errorf("%s: %s: %.400s: %v", where, schema, raw, err)
	}
}

const eventDefs = "events#/$defs/event."

// lines reads what a program wrote.
func (w *watch) lines(script, file string) {
	f, err := os.Open(file)
	if err != nil {
		w.t.Error(err)
		return
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 64<<20)
	sc.Scan()
	var args []string
	if err := json.Unmarshal(sc.Bytes(), &args); err != nil {
		w.t.Errorf("%s: %v", file, err)
		return
	}
	name := w.command(args)
	where := script + ": quern " + strings.Join(args, " ")
	for sc.Scan() {
		var e struct{ Type, Pre *string }
		if err := json.Unmarshal(sc.Bytes(), &e); err != nil {
			if name != "schema" && !slices.Contains(args, "--schema") { // documents of many lines
				w.t.Errorf("%s: %.200s: %v", where, sc.Bytes(), err)
			}
			continue
		}
		switch {
		case e.Type != nil && name != "records export":
			w.check(where, eventDefs+*e.Type, bytes.Clone(sc.Bytes()))
		case name == "records export":
			w.check(where, "record", bytes.Clone(sc.Bytes()))
		case name == "tokenize" && e.Pre != nil:
			w.check(where, "identity", bytes.Clone(sc.Bytes()))
		case name == "tokenize":
			w.check(where, "ids", bytes.Clone(sc.Bytes()))
		case !slices.ContainsFunc(args, func(a string) bool { return a == "--config" || a == "--matrix" }): // the Hub's form, a CI's form
			w.t.Errorf("%s: a line without a type: %.200s", where, sc.Bytes())
		}
	}
}

// command is the name of the command of a line, with that of its subcommand; a run with --json is remembered.
func (w *watch) command(args []string) string {
	name := ""
	for _, c := range commands() {
		if i := slices.Index(args, c.Name); i >= 0 && i <= 1 {
			name = c.Name
			for _, s := range c.Subcommands {
				if slices.Contains(args, s.Name) {
					name += " " + s.Name
				}
			}
		}
	}
	w.mu.Lock()
	w.commands[name] = true
	w.mu.Unlock()
	return name
}

// forms are the files that quern writes, by the end of their names.
var forms = []struct{ suffix, schema string }{
	{".receipt.json", "receipt"}, {".recipe.json", "recipe"}, {"quern.lock", "lock"}, {"ledger.json", "ledger"}, {"batch.json", "batch"},
	{"records.jsonl", "record"}, {".intoto.json", "statement"},
}

// files looks at everything below a script's folder. Files of the script itself, and those that it spoils, are listed by it in $WORK/spoiled.
func (w *watch) files(script, dir string) {
	spoiled, _ := os.ReadFile(filepath.Join(dir, "spoiled")) //nolint:errcheck // most scripts spoil nothing
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || bytes.Contains(spoiled, []byte(filepath.Base(path)+"\n")) {
			return err
		}
		for _, f := range forms {
			if !strings.HasSuffix(path, f.suffix) {
				continue
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			parts := [][]byte{b}
			if f.schema == "record" {
				parts = bytes.Split(bytes.TrimSpace(b), []byte("\n"))
			}
			for _, p := range parts {
				w.check(script+": "+filepath.Base(path), f.schema, p)
			}
		}
		return nil
	})
	if err != nil {
		w.t.Errorf("%s: %v", script, err)
	}
}

// script prepares a script and looks at what it left when it has ended.
func (w *watch) script(e *testscript.Env) error {
	dir, err := os.MkdirTemp(w.t.TempDir(), "out")
	if err != nil {
		return err
	}
	e.Vars = append(e.Vars, watchEnv+"="+dir)
	name := strings.TrimPrefix(filepath.Base(e.WorkDir), "script-")
	e.Defer(func() {
		found, err := filepath.Glob(filepath.Join(dir, "*.out"))
		if err != nil {
			w.t.Error(err)
		}
		for _, f := range found {
			w.lines(name, f)
		}
		w.files(name, e.WorkDir)
	})
	return nil
}

// mute are commands that write nothing of their own to be read by programs.
var mute = map[string]string{
	"completion": "it prints a script for a shell", "queue serve": "it runs until it is stopped", "worker": "it runs until it is stopped",
	"queue": "it has subcommands", "records": "it has subcommands", "runtime": "it has subcommands", workerName: "it is the program's own child",
}

// installed holds the note beside the libraries of this machine, where an install left one: it lies outside the scripts' folders.
func (w *watch) installed() {
	rt, err := llamacpp.Find(llamacpp.FindOptions{})
	if err != nil || rt.Manifest == nil {
		w.seen["runtime"]++
		w.t.Log("skipped: the libraries of this machine were not installed by quern, so there is no note of theirs to check")
		return
	}
	b, err := os.ReadFile(filepath.Join(rt.Dir, "quern-runtime.json"))
	if err != nil {
		w.t.Error(err)
	}
	w.check(rt.Dir, "runtime", b)
}

// complete demands that the scripts ran every command with --json and made every kind of event and of file.
func (w *watch) complete() {
	w.installed()
	var all []string
	for _, c := range commands() {
		all = append(all, c.Name)
		for _, s := range c.Subcommands {
			all = append(all, c.Name+" "+s.Name)
		}
	}
	for _, name := range all {
		if mute[name] == "" && !w.commands[name] {
			w.t.Errorf("no script runs `quern %s` with --json", name)
		}
	}
	for _, e := range eventTypes {
		if w.seen[eventDefs+e.name] == 0 {
			w.t.Errorf("no script makes an event %q", e.name)
		}
	}
	for _, d := range documents {
		if w.seen[d.name] == 0 {
			w.t.Errorf("no script makes a %s", d.name)
		}
	}
	lines, files := 0, 0
	for name, n := range w.seen {
		if strings.HasPrefix(name, eventDefs) {
			lines += n
		} else {
			files += n
		}
	}
	w.t.Logf("count: %d lines of --json and %d documents of quern hold to their schemas", lines, files)
}

// whole tells whether all scripts run: then nothing may be missing.
func whole() bool {
	f := flag.Lookup("test.run")
	return f == nil || !strings.Contains(f.Value.String(), "/")
}
