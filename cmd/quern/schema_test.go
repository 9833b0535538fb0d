package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Every line that --json writes is an event of the schema.
func TestEventsSchema(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("events.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin", "quern")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	seen := map[string]int{}
	for _, args := range [][]string{
		{"plan", "pocket"}, {"plan", "pocket", "--metadata-keys"}, {"plan", "pocket", "--tensors"}, {"archs"}, {"machine"}, {"machine", "--list"},
		{"convert", "pocket", "-o", "out"}, {"verify", "out"}, {"inspect", "out/pocket-BF16.gguf"}, {"records", "list"},
		{"convert", "nothing/here", "--offline"}, {"convert"}, {"runtime", "install", "--dry-run"},
	} {
		cmd := exec.Command(bin, append(args, "--json")...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir)
		out, _ := cmd.Output() // some of them fail, as they should
		sc := bufio.NewScanner(bytes.NewReader(out))
		sc.Buffer(nil, 64<<20)
		for sc.Scan() {
			v, err := jsonschema.UnmarshalJSON(bytes.NewReader(sc.Bytes()))
			if err != nil {
				t.Fatalf("%v: %v: %.200s", args, err, sc.Text())
			}
			if err := schema.Validate(v); err != nil {
				t.Errorf("%v: %.300s: %v", args, sc.Text(), err)
			}
			var e struct{ Type string }
			if err := json.Unmarshal(sc.Bytes(), &e); err != nil {
				t.Fatal(err)
			}
			seen[e.Type]++
		}
	}
	for _, want := range []string{"plan", "progress", "stage", "summary", "error", "file", "metadata", "tensor", "arch", "machine", "verified", "model", "record", "build"} {
		if seen[want] == 0 {
			t.Errorf("no %q event was seen: %v", want, seen)
		}
	}
}
