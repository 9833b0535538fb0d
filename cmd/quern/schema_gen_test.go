package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"quern/convert/vocab"
	"quern/pipeline"
	"quern/pipeline/batch/graph"
	"quern/pipeline/batch/lock"
	"quern/pipeline/queue"
	"quern/quantize/llamacpp"
	"quern/quantize/machine"
	"quern/quantize/recipe"
	"quern/quantize/recommend"
	"quern/stages/bench"
	"quern/stages/build"
	"quern/stages/importance"
	"quern/stages/job"
	"quern/stages/plan"
	"quern/stages/publish"
	"quern/stages/quality"
	"quern/stages/record"
	"quern/stages/set"
	"quern/stages/smoke"
	"quern/stages/source"
	"quern/stages/tune"

	"github.com/invopop/jsonschema"
)

var update = flag.Bool("update", false, "write the schemas anew from the types")

// eventsVersion is raised when a key of an event goes or changes its meaning; a new key does not raise it.
const eventsVersion = 1

// eventTypes is what every "type" of --json carries. What is not here is not in the schema, and the scripts then fail on it.
var eventTypes = []struct {
	name string
	of   []any // more than one: the first keys tell them apart
	says string
}{
	{"stage", []any{pipeline.Started{}, pipeline.Finished{}}, "a stage begins (no state), or ends"},
	{"progress", []any{pipeline.Progress{}}, "how far a stage is"},
	{"summary", []any{pipeline.Line{}}, "a line for people: a label and a text"},
	{"warning", []any{pipeline.Warning{}}, "what the user should know and what does not stop the run"},
	{"error", []any{errorEvent{}}, "the last line of a run that failed"},
	{"plan", []any{plan.Report{}}, "plan, prepare, quantize, convert: everything that was decided from headers"},
	{"component", []any{recommend.Component{}}, "plan: where memory goes, one part of a planned run"},
	{"formula", []any{textLine{}}, "plan --explain: a line of it"},
	{"cell", []any{recommend.Cell{}}, "plan --matrix: a type at a context"},
	{"modelfile", []any{textLine{}}, "plan --modelfile: the file"},
	{"finetune", []any{recommend.Tuning{}}, "plan --finetune: what training an adapter takes"},
	{"place", []any{plan.Place{}}, "plan --for all: the choice for a machine of the table"},
	{"metadata", []any{keyLine{}}, "plan --metadata-keys, inspect: a key of the file"},
	{"tensor", []any{tensorLine{}}, "plan --tensors, inspect: a tensor that is written or dropped"},
	{"build", []any{build.Made{}}, "how long the files took, and what the workers did meanwhile"},
	{"file", []any{record.Written{}}, "a finished file with its receipt"},
	{"copied", []any{copied{}}, "split, merge, edit: a file with the tensors of its source"},
	{"smoke", []any{smoke.Outcome{}}, "smoke, prepare: what a file did when it was tried"},
	{"bench", []any{bench.Line{}}, "bench, prepare: one measured test"},
	{"delta", []any{bench.Delta{}}, "bench --compare, records compare: a test now and before"},
	{"prediction", []any{prediction{}}, "bench --compare prediction: measured and predicted speed"},
	{"quality", []any{quality.Result{}}, "quality, prepare: how close a file is to its original"},
	{"closeness", []any{closeness{}}, "records compare: quality now and before"},
	{"trial", []any{tune.Trial{}}, "tune: a measured setting"},
	{"tuned", []any{tune.Outcome{}}, "tune: the best setting"},
	{"grid", []any{gridLine{}}, "tune --grid: the search against every combination"},
	{"imatrix", []any{importance.Report{}}, "imatrix: a written importance matrix"},
	{"merged", []any{mergedLine{}}, "imatrix --merge: the sum of matrices"},
	{"recipe", []any{recipe.Recipe{}}, "quantize --fit: a mixture of types"},
	{"rivals", []any{job.Rivals{}}, "quantize --fit: the mixture beside named types"},
	{"published", []any{publish.Done{}}, "publish: what became of a target"},
	{"download", []any{download{}}, "pull --dry-run: what would be fetched"},
	{"pull", []any{pulled{}}, "pull: a finished download"},
	{"model", []any{inspected{}}, "inspect: the head of a file or checkpoint"},
	{"arch", []any{archLine{}}, "archs: a class of models"},
	{"rules", []any{textLine{}}, "archs --rules: the declarations of an architecture"},
	{"tokenizer", []any{preLine{}}, "archs --tokenizers: a known pre-tokenizer"},
	{"file_type", []any{kindLine{}}, "archs --types: a file type"},
	{"machine", []any{machineReport{}}, "machine: what it is and what is missing"},
	{"chip", []any{machine.Chip{}}, "machine --list: a row of the table of chips"},
	{"verified", []any{record.Checked{}}, "verify: a file that was compared with its receipt"},
	{"signed", []any{signed{}}, "verify --key: a bundle whose signature and subjects hold"},
	{"rebuilt", []any{rebuilt{}}, "verify --rebuild: a receipt whose files came out with the same bytes"},
	{"attested", []any{attested{}}, "attest: a written statement"},
	{"sealed", []any{sealed{}}, "card: a written file about a folder"},
	{"record", []any{record.Record{}}, "records list, show: a record"},
	{"page", []any{written{}}, "records report: the page"},
	{"runtime", []any{runtimeReport{}}, "runtime: the llama.cpp libraries"},
	{"package", []any{packageLine{}}, "runtime install --dry-run: what would be fetched"},
	{"worker", []any{queue.Worker{}}, "queue status: a worker"},
	{"batch", []any{set.Totals{}}, "batch: how far a model set is"},
	{"entry", []any{set.Entry{}}, "batch: what became of a model on a machine"},
	{"report", []any{set.Report{}}, "batch: all entries and the totals, as in batch.json"},
	{"schema", []any{schemaLine{}}, "schema: a schema of this program"},
}

// documents are the files that quern writes, and the lines of --json that are no events. The manifest's schema is written by hand:
// it is a form that people write.
var documents = []struct {
	name    string
	version int
	of      any
	title   string
}{
	{"receipt", record.ReceiptVersion, record.Receipt{}, "FILE.receipt.json: from which bytes a file was made, how, and what it did when it was tried"},
	{"record", record.RecordVersion, record.Record{}, "a line of records.jsonl: a file on a machine, and what was measured"},
	{"recipe", recipe.Version, recipe.Recipe{}, "NAME.recipe.json: a mixture of types that --fit found and --recipe replays"},
	{"lock", 1, lock.Document{}, "quern.lock: the commit and the digests of all sources of a model set"},
	{"ledger", 1, pipeline.LedgerFile{}, ".quern/ledger.json: what earlier runs proved; private, may go at any time"},
	{"batch", 1, set.Report{}, "batch.json: what became of a model set"},
	{"runtime", 1, llamacpp.Manifest{}, "quern-runtime.json: the installed llama.cpp libraries and their digests"},
	{"ids", 1, encoded{}, "a line of tokenize --json: the ids of a text"},
	{"identity", 1, vocab.Identity{}, "tokenize --explain --json: which pre-tokenizer, and how it was decided"},
}

// enums are the types whose values are words of a closed list.
var enums = map[reflect.Type][]any{
	reflect.TypeFor[pipeline.State](): {pipeline.OK, pipeline.Skipped, pipeline.Proven, pipeline.Planned, pipeline.Failed, graph.Blocked},
	reflect.TypeFor[smoke.State]():    {smoke.Passed, smoke.Failed, smoke.Skipped},
	reflect.TypeFor[source.Kind]():    {source.Folder, source.Hub, source.Builtin, source.GGUF},
	reflect.TypeFor[recommend.Fit]():  {recommend.Fits, recommend.Tight, recommend.No},
	reflect.TypeFor[vocab.How]():      {vocab.HowHash, vocab.HowStructure, vocab.HowOverride, vocab.HowFile},
}

// reflector makes a schema of a type: closed objects, the words of the types' own comments as descriptions.
func reflector(t *testing.T) *jsonschema.Reflector {
	t.Helper()
	r := &jsonschema.Reflector{Anonymous: true, ExpandedStruct: true}
	r.Namer = func(t reflect.Type) string {
		if t.PkgPath() == "" || t.Name() == "" {
			return t.Name()
		}
		return path.Base(t.PkgPath()) + "." + t.Name()
	}
	r.Mapper = func(t reflect.Type) *jsonschema.Schema {
		switch words := enums[t]; {
		case words != nil:
			return &jsonschema.Schema{Type: "string", Enum: words}
		case t == reflect.TypeFor[llamacpp.Number]():
			return &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "number"}, {Enum: []any{"NaN", "+Inf", "-Inf"}}}}
		case t == reflect.TypeFor[recipe.TypeName]():
			return &jsonschema.Schema{Type: "string"}
		}
		return nil
	}
	said := comments(t)
	r.LookupComment = func(t reflect.Type, field string) string {
		return said[strings.TrimSuffix(t.PkgPath()+"."+t.Name()+"."+field, ".")]
	}
	return r
}

// comments are what the sources say of their types and fields: by package path, type and field.
func comments(t *testing.T) map[string]string {
	t.Helper()
	said := map[string]string{}
	fset := token.NewFileSet()
	err := filepath.WalkDir("../..", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return err
		}
		src, err := parser.ParseFile(fset, file, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		for _, decl := range src.Decls {
			g, ok := decl.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range g.Specs {
				if ts, ok := spec.(*ast.TypeSpec); ok {
					key := path.Join("quern/cmd/quern", filepath.ToSlash(filepath.Dir(file))) + "." + ts.Name.Name
					said[key] = oneLine(g.Doc, ts.Doc)
					fieldComments(said, key, ts.Type)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return said
}

func fieldComments(said map[string]string, key string, typ ast.Expr) {
	st, ok := typ.(*ast.StructType)
	if !ok {
		return
	}
	for _, f := range st.Fields.List {
		for _, n := range f.Names {
			said[key+"."+n.Name] = oneLine(f.Doc, f.Comment)
		}
	}
}

func oneLine(groups ...*ast.CommentGroup) string {
	var words []string
	for _, g := range groups {
		words = append(words, strings.Fields(g.Text())...)
	}
	return strings.Join(words, " ")
}

// closed is a type's schema as plain JSON, without its definitions, which go into defs.
func closed(t *testing.T, r *jsonschema.Reflector, of any, defs map[string]any) map[string]any {
	t.Helper()
	b, err := json.Marshal(r.Reflect(of))
	if err != nil {
		t.Fatal(err)
	}
	var s map[string]any
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	for name, d := range asObject(s["$defs"]) {
		if old, ok := defs[name]; ok && !reflect.DeepEqual(old, d) {
			t.Fatalf("two types are called %s", name)
		}
		defs[name] = d
	}
	delete(s, "$defs")
	delete(s, "$schema")
	return s
}

func asObject(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

// document is a whole schema.
func document(name string, version int, title string, s, defs map[string]any) []byte {
	s["$schema"], s["$id"], s["title"] = "https://json-schema.org/draft/2020-12/schema", fmt.Sprintf("urn:quern:%s:%d", name, version), title
	if len(defs) > 0 {
		s["$defs"] = defs
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	e.Encode(s) //nolint:errcheck // maps of maps and texts always encode
	return b.Bytes()
}

// event is the schema of an event: its type first, the entry of a batch where it is about one, then the data's own keys.
func event(t *testing.T, r *jsonschema.Reflector, name string, of any, says string, defs map[string]any) map[string]any {
	s := closed(t, r, of, defs)
	props := asObject(s["properties"])
	props["type"] = map[string]any{"const": name}
	props["entry"] = map[string]any{"type": "string", "description": "of a batch: the model that the event is about"}
	required, _ := s["required"].([]any)
	s["required"] = append([]any{"type"}, required...)
	s["description"] = says
	return s
}

// schemas are all generated files by name.
func schemas(t *testing.T) map[string][]byte {
	r := reflector(t)
	all := map[string][]byte{}
	for _, d := range documents {
		defs := map[string]any{}
		s := closed(t, r, d.of, defs)
		all[d.name] = document(d.name, d.version, d.title, s, defs)
	}
	defs := map[string]any{}
	var refs []any
	for _, e := range eventTypes {
		var forms []any
		for _, of := range e.of {
			forms = append(forms, event(t, r, e.name, of, e.says, defs))
		}
		key := "event." + e.name
		if defs[key] = forms[0]; len(forms) > 1 {
			defs[key] = map[string]any{"description": e.says, "oneOf": forms}
		}
		refs = append(refs, map[string]any{"$ref": "#/$defs/" + key})
	}
	all["events"] = document("events", eventsVersion, "a line of --json: an event or a result", map[string]any{
		"description": "One object a line on standard output. New keys and types may be added at any time; none changes its meaning.", "oneOf": refs}, defs)
	return all
}

// The schemas in the tree are what the types say; -update writes them.
func TestHouseSchemas(t *testing.T) {
	all := schemas(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		file := filepath.Join("schema", name+".schema.json")
		if *update {
			if err := os.WriteFile(file, all[name], 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if b, err := os.ReadFile(file); err != nil || !bytes.Equal(b, all[name]) {
			t.Errorf("%s is not what the types say (%v): look at `go test ./cmd/quern -run TestHouseSchemas -update`", file, err)
		}
	}
	t.Logf("count: %d schemas, %d kinds of events", len(all), len(eventTypes))
}
