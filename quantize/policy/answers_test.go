package policy

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"quern/convert/conformance"
	"quern/convert/gguf"
)

// answer is what the reference decided for one file type.
type answer struct {
	Types  map[string]string // ranges of tensor indices by type
	Report []string
	Size   int64
	SHA256 string // of a file that was written; the others come from dry runs
	Error  []string
	Bytes  int64
}

// ranges reads "0,2-3" into the indices that it names.
func ranges(t *testing.T, s string) (all []int) {
	for _, part := range strings.Split(s, ",") {
		lo, hi, ok := strings.Cut(part, "-")
		if !ok {
			hi = lo
		}
		a, err1 := strconv.Atoi(lo)
		b, err2 := strconv.Atoi(hi)
		if err1 != nil || err2 != nil {
			t.Fatalf("ranges %q", s)
		}
		for i := a; i <= b; i++ {
			all = append(all, i)
		}
	}
	return all
}

func (a answer) check(t *testing.T, what string, got []Decision) {
	t.Helper()
	n := 0
	for name, where := range a.Types {
		for _, i := range ranges(t, where) {
			n++
			if i >= len(got) {
				t.Errorf("%s: %d tensors, want one number %d", what, len(got), i)
				return
			}
			if got[i].To.String() != name {
				t.Errorf("%s: %s is %v (%s), want %s", what, got[i].Name, got[i].To, got[i].Rule, name)
			}
		}
	}
	if n != len(got) {
		t.Errorf("%s: %d tensors, want %d", what, len(got), n)
	}
}

// policy/<input>.json: every input in every type, with and without an imatrix.
func TestPolicyAnswers(t *testing.T) {
	files, err := fs.Glob(data(t), "policy/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no answers", err)
	}
	count, tensors, refused := 0, 0, 0
	for _, file := range append(files, "answers/pocket-llama.json") {
		var d struct {
			Input, Run string
			Tensors    [][]any
			Answers    map[string]answer
		}
		readJSON(t, file, &d)
		if d.Run == "" {
			d.Run = "bf16"
		}
		p := input(t, path.Base(d.Input), d.Run)
		for name, a := range d.Answers {
			what := d.Input + " " + name
			ft, o, err := request1(t, name, path.Base(d.Input), p)
			if err != nil {
				t.Fatal(what, err)
			}
			if a.Types == nil {
				refused++
				var r *Refusal
				if _, err := Plan([]*gguf.Plan{p}, ft, o); !errors.As(err, &r) {
					t.Errorf("%s: the reference refuses (%v), got %v", what, a.Error, err)
				}
				continue
			}
			out, err := Decide([]*gguf.Plan{p}, ft, o)
			if err != nil {
				t.Errorf("%s: %v", what, err)
				continue
			}
			count, tensors = count+1, tensors+len(out.Decisions)
			a.check(t, what, out.Decisions)
			for i, x := range d.Tensors {
				if got := out.Decisions[i]; got.Name != x[0] || got.From.String() != x[2] {
					t.Errorf("%s: tensor %d is %s in %v, want %v", what, i, got.Name, got.From, x)
				}
			}
			if written, refused := a.SHA256 != "", len(out.Refusals()) > 0; written && refused || a.Error != nil && !refused {
				t.Errorf("%s: the reference wrote it: %v (%v), quern refuses: %v", what, written, a.Error, out.Refusals())
			}
			if a.Size != 0 && a.Size != out.Size() {
				t.Errorf("%s: size %d, want %d", what, out.Size(), a.Size)
			}
			checkReport(t, what, a.Report, out)
		}
	}
	t.Logf("%d answers, %d tensors' types; %d refused", count, tensors, refused)
}

// request1 understands a key of the answers: a type, with "+imatrix".
func request1(t *testing.T, key, inputName string, p *gguf.Plan) (FileType, Options, error) {
	name, suffix, with := strings.Cut(key, "+imatrix")
	var o Options
	if with {
		file := "imatrix.gguf"
		if strings.HasSuffix(suffix, "dat") {
			file = "imatrix.dat"
		}
		o.Imatrix = importance(t, inputName, file, p)
	}
	ft, err := ParseFileType(name)
	return ft, o, err
}

func checkReport(t *testing.T, what string, want []string, out *Output) {
	t.Helper()
	if want == nil {
		return
	}
	got := report(out)
	for i, line := range got {
		if !slices.ContainsFunc(want, func(w string) bool {
			return w == line || strings.HasPrefix(line, "WARNING") && strings.HasPrefix(w, line+" of ")
		}) {
			t.Errorf("%s: line %d is %q, the reference reports %q", what, i, line, want)
		}
	}
	if n := slices.IndexFunc(want, func(w string) bool { return strings.Contains(w, "required fallback") }); n >= 0 && len(out.Fallbacks()) == 0 {
		t.Errorf("%s: no fallback, the reference reports %q", what, want[n])
	}
}

// policy/models: shapes of published models, with the reference's own snapshots among them.
func TestModelAnswers(t *testing.T) {
	files, err := fs.Glob(data(t), "policy/models/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no answers", err)
	}
	count, tensors := 0, 0
	for _, file := range files {
		var d struct {
			Model, Arch string
			Layers      uint32 `json:"n_layer"`
			Heads       uint32 `json:"n_head"`
			Keys        uint32 `json:"n_head_kv"`
			Experts     uint32 `json:"n_expert"`
			Columns     []string
			Tensors     [][]any
			Answers     map[string]answer
		}
		readJSON(t, file, &d)
		p := &gguf.Plan{Metadata: []gguf.KV{
			{Key: "general.architecture", Value: d.Arch}, {Key: d.Arch + ".context_length", Value: uint32(1)},
			{Key: d.Arch + ".embedding_length", Value: uint32(1)}, {Key: d.Arch + ".block_count", Value: d.Layers},
			{Key: d.Arch + ".attention.head_count", Value: d.Heads}, {Key: d.Arch + ".attention.head_count_kv", Value: d.Keys},
		}}
		if d.Experts > 0 {
			p.Metadata = append(p.Metadata, gguf.KV{Key: d.Arch + ".expert_count", Value: d.Experts}, gguf.KV{Key: d.Arch + ".expert_used_count", Value: uint32(1)})
		}
		for _, x := range d.Tensors {
			o := gguf.Output{Name: x[0].(string), Type: gguf.BF16, Shape: []int64{int64(x[1].(float64)), 2, 1}}
			if slices.Contains(d.Columns, "rows") {
				o.Shape[1] = int64(x[2].(float64))
			}
			o.Shape[2] = int64(x[len(x)-1].(float64))
			p.Outputs = append(p.Outputs, o)
		}
		for name, a := range d.Answers {
			ft, err := ParseFileType(name)
			if err != nil {
				t.Fatal(err)
			}
			out, err := Decide([]*gguf.Plan{p}, ft, Options{})
			if a.Types == nil {
				if err == nil {
					t.Errorf("%s %s: the reference decides nothing: %v", d.Model, name, a.Error)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s %s: %v", d.Model, name, err)
				continue
			}
			count, tensors = count+1, tensors+len(out.Decisions)
			byIndex := make([]Decision, len(out.Decisions))
			for _, x := range out.Decisions {
				byIndex[x.Source] = x
			}
			a.check(t, d.Model+" "+name, byIndex)
			if a.Bytes != 0 && a.Bytes != out.Bytes {
				t.Errorf("%s %s: %d bytes, want %d", d.Model, name, out.Bytes, a.Bytes)
			}
		}
	}
	t.Logf("%d models, %d answers, %d tensors' types", len(files), count, tensors)
}

// The whole answer but for the tensors' bytes: metadata, order, types, shapes, offsets, size.
func TestWrittenAnswers(t *testing.T) {
	files, err := fs.Glob(data(t), "answers/*.*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no answers", err)
	}
	count := 0
	for _, file := range files {
		var d struct {
			Input, Run, File string
			Args             []string
			Prepare          [][]string
			Report           []string
		}
		readJSON(t, file, &d)
		if path.Base(file) == "pocket-llama.bf16.json" {
			continue // the converter's own answer
		}
		if err := checkWritten(t, file, d.Input, d.Run, d.File, d.Args, d.Prepare, d.Report); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		count++
	}
	t.Logf("%d files without their tensors' bytes", count)
}

func checkWritten(t *testing.T, file, name, run, part string, args []string, prepare [][]string, lines []string) error {
	if run == "" {
		run = "bf16"
	}
	p := input(t, path.Base(name), run)
	r, err := parse(args)
	if err != nil {
		return err
	}
	if len(prepare) > 0 && prepare[0][0] == "llama-quantize" {
		first, err := parse(prepare[0][1:])
		if err != nil {
			return err
		}
		out, err := Plan([]*gguf.Plan{p}, first.ft, first.o)
		if err != nil {
			return err
		}
		p = &out.Files[0].Plan
	}
	if r.imatrix != "" {
		r.o.Imatrix = r.choose(importance(t, path.Base(name), r.imatrix, p))
	}
	out, err := Plan(r.parts(p), r.ft, r.o)
	if err != nil {
		return err
	}
	a, err := conformance.ReadAnswer(data(t), file)
	if err != nil {
		return err
	}
	i := 0
	if part != "" {
		if _, err := fmt.Sscanf(part, "out-%d-of-", &i); err != nil {
			return err
		}
		i--
	}
	checkReport(t, file, lines, out)
	return conformance.Compare(a.Parts[0], conformance.Planned(&out.Files[i].Plan), conformance.Tolerance{})
}
