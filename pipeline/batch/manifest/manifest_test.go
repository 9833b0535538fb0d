package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"
)

// words stand for the program's.
var words = Words{
	Options: map[string]Kind{"imatrix": Path, "pre": Text, "stream": Bool, "context": Number, "tensor_type": List},
	Type: func(s string) error {
		if !strings.Contains("F16 BF16 Q4_K_M Q8_0", strings.ToUpper(s)) {
			return fmt.Errorf("type %q is not known", s)
		}
		return nil
	},
	Machine: func(s string) error {
		if !strings.HasPrefix(s, "M") {
			return fmt.Errorf("machine %q is not known", s)
		}
		return nil
	},
	Size: func(s string) (int64, error) {
		n, err := strconv.ParseFloat(strings.TrimSuffix(s, "GiB"), 64)
		return int64(n * (1 << 30)), err
	},
	Nearest: func(name string, known []string) string { return fmt.Sprintf("one of %d", len(known)) },
}

func show(s *Set) string {
	var b strings.Builder
	fmt.Fprintf(&b, "output %s, budget %+v, runners %v\n", s.Output, s.Budget, s.Runners)
	for _, e := range s.Entries() {
		m := e.Model
		fmt.Fprintf(&b, "%s: %s on %q, types %s, gates %+v, measure %v", e.Key, m.Model, e.Machine, m.Types, m.Gates, m.Measure)
		for _, k := range slices.Sorted(maps.Keys(m.Options)) {
			fmt.Fprintf(&b, ", %s=%q", k, m.Options[k].Words)
		}
		fmt.Fprintln(&b)
	}
	return b.String()
}

// Manifests and what is read from them, or what is wrong where. The schema agrees on every one of them, but for what only the
// reader can know.
func TestManifests(t *testing.T) {
	schema := compile(t)
	n, refused := 0, 0
	datadriven.Walk(t, "testdata/manifests", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			n++
			s, err := Read("m.yaml", []byte(d.Input), words)
			valid := schema.Validate(plain(t, d.Input)) == nil
			if own := d.HasArg("own"); !own && valid != (err == nil) {
				t.Errorf("%s: the schema says %v, the reader %v", d.Pos, valid, err)
			}
			if err == nil {
				return show(s)
			}
			refused++
			var es Errors
			if !errors.As(err, &es) {
				t.Fatalf("%T is no Errors", err)
			}
			var out strings.Builder
			for _, e := range es {
				fmt.Fprintf(&out, "%s (%s)\n", e, e.Next)
			}
			return out.String()
		})
	})
	t.Logf("count: manifests: %d read, %d of them refused with line and column, the schema agrees", n, refused)
}

func compile(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("manifest.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("manifest.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// plain is what an editor sees: the document as JSON values.
func plain(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(strings.ReplaceAll(text, "\t", " ")), &v); err != nil {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	v, err = jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestResolve(t *testing.T) {
	s := &Set{File: filepath.Join("sets", "small.yaml")}
	if got, want := s.Resolve("im/a.gguf"), filepath.Join("sets", "im", "a.gguf"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := s.Resolve("/im/a.gguf"); got != "/im/a.gguf" {
		t.Error(got)
	}
}

func FuzzRead(f *testing.F) {
	files, err := filepath.Glob("testdata/manifests/*")
	if err != nil || len(files) == 0 {
		f.Fatal("no manifests")
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, block := range strings.Split(string(b), "\n\n") {
			_, block, _ = strings.Cut(block, "\n")
			block, _, _ = strings.Cut(block, "\n----")
			f.Add([]byte(block))
		}
	}
	f.Add([]byte("a: &a [*a, *a]\nmodels: *a"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Read("m.yaml", data, words)
		var es Errors
		if err != nil && !errors.As(err, &es) {
			t.Fatal(err)
		}
		if err == nil && len(s.Entries()) == 0 {
			t.Fatal("a set without entries")
		}
	})
}
