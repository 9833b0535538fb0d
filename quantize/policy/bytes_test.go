package policy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"strings"
	"testing"

	"quern/convert"
	"quern/convert/arch"
	"quern/convert/conformance"
	"quern/convert/fault"
	"quern/convert/gguf"
	"quern/convert/safetensors"
	"quern/convert/view"
	"quern/quantize/build"
	"quern/quantize/imatrix"
	"quern/quantize/kernel"
	"quern/quantize/llamacpp/llamatest"
)

var everything = flag.Bool("all", false, "compare the bytes of every recorded answer, not of a choice: some ten minutes")

// memory is a file in memory.
type memory []byte

func (m memory) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > int64(len(m)) {
		return 0, io.ErrShortWrite
	}
	return copy(m[off:], p), nil
}

func (m memory) sha() string {
	sum := sha256.Sum256(m)
	return hex.EncodeToString(sum[:])
}

// maker makes files as llama-quantize would: checkpoints of the cases, converted once, quantized with llama.cpp's kernels.
type maker struct {
	t     *testing.T
	k     kernel.Quantizer // the one at work, of kernels
	byOf  map[string]int   // files that were compared, by the name of the kernel that quern's --kernel takes
	all   []named
	files map[string]memory // converted inputs by name and run
	plans map[string]*gguf.Plan

	missing []string // why the converter refuses inputs
}

// unknown notes inputs that the converter refuses, with its reason: they are no matter of this package. An input that it converts
// must have the reference's digest.
func (m *maker) unknown(err error) bool {
	var unsupported *fault.Unsupported
	var invalid *fault.Invalid
	if !errors.As(err, &unsupported) && !errors.As(err, &invalid) {
		return false
	}
	if !slices.Contains(m.missing, err.Error()) {
		m.missing = append(m.missing, err.Error())
	}
	return true
}

func newMaker(t *testing.T) *maker {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("the recorded bytes are those of x86-64")
	}
	library := llamatest.Kernels(t)
	m := &maker{t: t, k: library, all: []named{{"llamacpp", library}}, byOf: map[string]int{}, files: map[string]memory{}, plans: map[string]*gguf.Plan{}}
	for _, name := range kernel.Names() {
		native, err := kernel.New(name)
		if err != nil {
			t.Fatal(err)
		}
		m.all = append(m.all, named{name, kernel.NewPair(native, func() (kernel.Quantizer, error) { return library, nil })})
	}
	return m
}

// named is what a value of --kernel stands for.
type named struct {
	name string
	kernel.Quantizer
}

// kernels are those that an answer is made with: llama.cpp's always, our own where they write its blocks. Plain Go is as slow as
// llama.cpp's, so without -all it makes those of one input.
func (m *maker) kernels(input string, args []string) []named {
	if slow(args) {
		return m.all[:1]
	}
	return slices.DeleteFunc(slices.Clone(m.all), func(k named) bool { return k.name == "go" && input != "dense-llama" && !*everything })
}

// each makes the files of an answer with every kernel and hands them to check.
func (m *maker) each(input, run string, args []string, prepare [][]string, check func(made []memory, err error)) {
	for _, k := range m.kernels(input, args) {
		m.k = k
		check(m.run(input, run, "", args, prepare))
		m.byOf[k.name]++
	}
	m.k = m.all[0]
}

// tell logs how many files each kernel made.
func (m *maker) tell() {
	for _, k := range m.all {
		m.t.Logf("count: --kernel %s: %d files, byte for byte", k.name, m.byOf[k.name])
	}
}

// converted is the GGUF file of an input, with the digest that the answers name.
func (m *maker) converted(name, run string) (memory, *gguf.Plan, error) {
	key := name + "." + run
	if _, ok := m.files[key]; !ok {
		file, err := m.convert(name, run)
		if err != nil {
			return nil, nil, err
		}
		f, err := gguf.Read(key, bytes.NewReader(file), int64(len(file)))
		if err != nil {
			return nil, nil, err
		}
		m.files[key], m.plans[key] = file, &f.Plan
	}
	return m.files[key], m.plans[key], nil
}

// checkpoint is the source of an input: quern's own pocket model, or one that a case describes.
func (m *maker) checkpoint(name string) (fs.FS, convert.Options, error) {
	if name == "pocket-llama" {
		src, err := conformance.OpenBundle("../../stages/source/pocket/pocket.tar.zst")
		return src, convert.Options{Dir: name}, err
	}
	c, err := conformance.OpenCase(data(m.t), "inputs/"+name)
	if err != nil {
		return nil, convert.Options{}, err
	}
	src, err := c.Checkpoint()
	return src, convert.Options{Dir: c.Dir, Pre: c.Pre}, err
}

func (m *maker) convert(name, run string) (memory, error) {
	src, o, err := m.checkpoint(name)
	if err != nil {
		return nil, err
	}
	o.Type = arch.FileType(run)
	model, err := convert.Open(context.Background(), src, o)
	if err != nil {
		return nil, err
	}
	defer model.Close()
	out := make(memory, model.Plan.FileSize)
	var jobs []build.Job
	for i, o := range model.Plan.Outputs {
		jobs = append(jobs, build.Job{Name: o.Name, Source: model.Sources[i],
			To: []build.Target{{Type: o.Type, Offset: model.Plan.DataOffset + o.Offset, Copy: model.Raw[i]}}})
	}
	return out, finish(out, &model.Plan, jobs, kernel.Go())
}

func finish(out memory, p *gguf.Plan, jobs []build.Job, k kernel.Quantizer) error {
	var head bytes.Buffer
	if err := p.WriteHeader(&head); err != nil {
		return err
	}
	copy(out, head.Bytes())
	return build.Run(context.Background(), jobs, k, []io.WriterAt{out}, build.Options{Finite: true})
}

// quantize makes all files of an output from the bytes of a source, whose tensors are found by name.
func (m *maker) quantize(source memory, p *gguf.Plan, out *Output, weights *imatrix.Matrix) ([]memory, error) {
	var files []memory
	for _, f := range out.Files {
		file := make(memory, f.Plan.FileSize)
		var jobs []build.Job
		for i, o := range f.Plan.Outputs {
			d := out.Decisions[f.First+i]
			src, _ := p.Tensor(d.SourceName)
			tensor, err := m.tensor(source, p.DataOffset, src, d.Copied())
			if err != nil {
				return nil, err
			}
			blocks := d.Copied() && o.Type.Quantized() // plain types are read as numbers, so that NaN is found
			target := build.Target{Type: o.Type, Offset: f.Plan.DataOffset + o.Offset, Copy: blocks}
			if d.Importance {
				target.Importance = weights.Importance(d.SourceName)
			}
			jobs = append(jobs, build.Job{Name: d.Name, Source: tensor, To: []build.Target{target}})
		}
		if err := finish(file, &f.Plan, jobs, m.k); err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

var dtypes = map[gguf.Type]safetensors.DType{gguf.F32: safetensors.F32, gguf.F16: safetensors.F16, gguf.BF16: safetensors.BF16}

// tensor is a source tensor as a view: plain types as they are, blocks as bytes where they pass, else widened.
func (m *maker) tensor(file memory, base int64, o gguf.Output, copied bool) (view.Tensor, error) {
	shape := slices.Clone(o.Shape)
	slices.Reverse(shape)
	e := safetensors.Entry{Name: o.Name, DType: dtypes[o.Type], Shape: shape, Offset: base + o.Offset, Size: o.Size}
	if dtypes[o.Type] != "" {
		return view.FromFile(e, bytes.NewReader(file)), nil
	}
	if copied {
		e.DType = safetensors.U8
		e.Shape[len(shape)-1] = o.Type.RowBytes(o.Shape[0])
		return view.FromFile(e, bytes.NewReader(file)), nil
	}
	values := make([]float32, o.Elements())
	if err := m.k.Dequantize(values, file[e.Offset:e.Offset+e.Size], o.Type); err != nil {
		return view.Tensor{}, err
	}
	var wide bytes.Buffer
	binary.Write(&wide, binary.LittleEndian, values)
	e.DType, e.Offset, e.Size = safetensors.F32, 0, int64(wide.Len())
	return view.FromFile(e, bytes.NewReader(wide.Bytes())), nil
}

// matrix is the importance matrix of an input, the stored one or that of the rule.
func (m *maker) matrix(name, file string, p *gguf.Plan) (*imatrix.Matrix, error) {
	if b, err := fs.ReadFile(data(m.t), path.Join("imatrix", name, file)); err == nil {
		return imatrix.Read(file, bytes.NewReader(b), int64(len(b)))
	}
	out := &imatrix.Matrix{Datasets: []string{conformance.ImportanceDataset}, Chunks: conformance.ImportanceChunks, ChunkSize: conformance.ImportanceChunkSize}
	for _, e := range conformance.ImportanceByRule(p) {
		out.Entries = append(out.Entries, imatrix.Entry{Name: e.Name, Sums: e.Sums, Counts: e.Counts})
	}
	slices.SortFunc(out.Entries, func(a, b imatrix.Entry) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// run does what a command line asks for, and gives the files.
func (m *maker) run(name, run, imatrixOf string, args []string, prepare [][]string) ([]memory, error) {
	file, p, err := m.converted(name, run)
	if err != nil {
		return nil, err
	}
	for _, step := range prepare {
		if step[0] == "llama-quantize" {
			files, err := m.do(name, "", step[1:], file, p)
			if err != nil {
				return nil, err
			}
			f, err := gguf.Read("step", bytes.NewReader(files[0]), int64(len(files[0])))
			if err != nil {
				return nil, err
			}
			file, p = files[0], &f.Plan
		}
	}
	return m.do(name, imatrixOf, args, file, p)
}

func (m *maker) do(name, imatrixOf string, args []string, file memory, p *gguf.Plan) ([]memory, error) {
	r, err := parse(args)
	if err != nil {
		return nil, err
	}
	var weights *imatrix.Matrix
	if r.imatrix != "" {
		of, from := name, p
		if imatrixOf != "" {
			of, from = imatrixOf, input(m.t, imatrixOf, "bf16")
		}
		if weights, err = m.matrix(of, r.imatrix, from); err != nil {
			return nil, err
		}
		weights.Keep(r.include, r.exclude)
		if len(weights.Entries) > 0 {
			r.o.Imatrix = &Imatrix{File: r.imatrix, Dataset: weights.Datasets[0], Chunks: weights.Chunks, Entries: weights.Sizes()}
		}
	}
	out, err := Plan(r.parts(p), r.ft, r.o)
	if err != nil {
		return nil, err
	}
	return m.quantize(file, p, out, weights)
}

// The whole file, byte for byte, for every recorded command line.
func TestWrittenBytes(t *testing.T) {
	m := newMaker(t)
	files, err := fs.Glob(data(t), "answers/*.*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no answers", err)
	}
	count, left := 0, 0
	for _, file := range files {
		var d struct {
			Input, Run, File string
			Args             []string
			Prepare          [][]string
			SHA256           string
			InputSHA256      string `json:"input_sha256"`
		}
		readJSON(t, file, &d)
		if d.Input = path.Base(d.Input); d.Input == "." {
			continue // the converter's own answer on the pocket model
		}
		if d.Run == "" {
			d.Run = "bf16"
		}
		if !*everything && d.Input != "dense-llama" && slow(d.Args) {
			left++
			continue
		}
		if in, _, err := m.converted(d.Input, d.Run); m.unknown(err) {
			continue
		} else if err != nil {
			t.Errorf("%s: input: %v", file, err)
			continue
		} else if in.sha() != d.InputSHA256 {
			t.Errorf("%s: the converted input differs from the reference's", file)
			continue
		}
		part := 0
		if d.File != "" {
			fmt.Sscanf(d.File, "out-%d-of-", &part)
			part--
		}
		count++
		m.each(d.Input, d.Run, d.Args, d.Prepare, func(made []memory, err error) {
			if err != nil {
				t.Errorf("%s: %s: %v", file, m.k.Name(), err)
				return
			}
			if made[part].sha() == d.SHA256 {
				return
			}
			a, err := conformance.ReadAnswer(data(t), file)
			if err != nil {
				t.Fatal(err)
			}
			t.Errorf("%s: %s: %v", file, m.k.Name(), a.Check(bytes.NewReader(made[part]), int64(len(made[part])), conformance.Tolerance{}))
		})
	}
	m.tell()
	t.Logf("%d files, byte for byte; %d left out, not converted: %q", count, left, m.missing)
}

// slow tells whether the type's kernel does a million weights a second or so; each such type is compared for one input.
func slow(args []string) bool {
	return slices.ContainsFunc(args, func(a string) bool {
		return strings.HasPrefix(a, "IQ1") || strings.HasPrefix(a, "IQ2") || strings.HasPrefix(a, "IQ3")
	})
}

// chosen are types whose bytes are compared for every input; the others are compared with -all.
var chosen = []string{"F16", "Q8_0", "Q4_0", "Q4_K_M", "Q6_K", "TQ2_0", "MXFP4_MOE", "IQ4_NL", "Q5_1+imatrix", "Q2_K+imatrix",
	"Q2_K+imatrix.gguf", "Q4_K_M+imatrix.dat", "Q6_K+imatrix.dat"}

// Every input in the chosen types, byte for byte.
func TestPolicyBytes(t *testing.T) {
	m := newMaker(t)
	files, err := fs.Glob(data(t), "policy/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no answers", err)
	}
	count, left := 0, 0
	for _, file := range append(files, "answers/pocket-llama.json") {
		var d struct {
			Input, Run string
			SHA256     string `json:"input_sha256"`
			Answers    map[string]answer
		}
		readJSON(t, file, &d)
		if d.Input = path.Base(d.Input); d.Run == "" {
			d.Run = "bf16"
		}
		in, _, err := m.converted(d.Input, d.Run)
		if m.unknown(err) {
			continue
		}
		if err != nil || in.sha() != d.SHA256 {
			t.Errorf("%s: input: %v", d.Input, err)
			continue
		}
		for name, a := range d.Answers {
			if a.SHA256 == "" || !*everything && !slices.Contains(chosen, name) {
				left++
				continue
			}
			typ, with, _ := strings.Cut(name, "+")
			args := []string{"input.gguf", "out.gguf", typ}
			if with == "imatrix" {
				with += ".gguf"
			}
			if with != "" {
				args = append([]string{"--imatrix", with}, args...)
			}
			count++
			m.each(d.Input, d.Run, args, nil, func(made []memory, err error) {
				if err != nil {
					t.Errorf("%s %s: %s: %v", d.Input, name, m.k.Name(), err)
				} else if made[0].sha() != a.SHA256 {
					t.Errorf("%s %s: %s: the file differs", d.Input, name, m.k.Name())
				}
			})
		}
	}
	m.tell()
	t.Logf("%d files of %d inputs, byte for byte; %d left out, not converted: %q", count, len(files)+1, left, m.missing)
}

// What the reference takes although it looks like a mistake gives its bytes, and values that are no numbers are named.
func TestReferenceRefusalsWithBytes(t *testing.T) {
	m := newMaker(t)
	var d struct {
		Cases []struct {
			refusal
			SHA256 string
			Edit   []edit
		}
	}
	readJSON(t, "answers/refusals.json", &d)
	same, named := 0, 0
	for _, c := range d.Cases {
		isValue := strings.HasPrefix(c.Name, "nan-") || strings.HasPrefix(c.Name, "inf-")
		if c.SHA256 == "" && !isValue || c.Exit == 0 && c.SHA256 == "" {
			continue
		}
		clean, p, err := m.converted(c.Input, c.Run)
		if err != nil {
			t.Errorf("%s: input: %v", c.Name, err)
			continue
		}
		file := slices.Clone(clean)
		for _, e := range c.Edit {
			file = e.apply(t, file, p)
		}
		f, err := gguf.Read(c.Name, bytes.NewReader(file), int64(len(file)))
		if err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		made, err := m.do(c.Input, c.ImatrixOf, c.Args, file, &f.Plan)
		switch {
		case !isValue && err != nil:
			t.Errorf("%s: %v", c.Name, err)
		case !isValue && made[0].sha() != c.SHA256:
			t.Errorf("%s: the file differs", c.Name)
		case !isValue:
			same++
		case err == nil || !strings.Contains(err.Error(), c.Edit[0].Tensor):
			t.Errorf("%s: want an error that names %s, got %v", c.Name, c.Edit[0].Tensor, err)
		default:
			var bad *build.NotFiniteError
			if !errors.As(err, &bad) {
				t.Errorf("%s: untyped: %v", c.Name, err)
			}
			named++
		}
	}
	t.Logf("%d files byte for byte, %d tensors named", same, named)
}

// edit is a change to the input: an element's bits, or the first occurrence of a text.
type edit struct {
	File, Tensor, Bits, Replace, By string
	Element                         int64
}

func (e edit) apply(t *testing.T, file memory, p *gguf.Plan) memory {
	if e.Tensor == "" {
		return bytes.Replace(file, []byte(e.Replace), []byte(e.By), 1)
	}
	o, ok := p.Tensor(e.Tensor)
	var bits uint32
	if _, err := fmt.Sscanf(e.Bits, "0x%x", &bits); err != nil || !ok {
		t.Fatalf("edit %+v: %v", e, err)
	}
	size := o.Type.BlockBytes()
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], bits)
	copy(file[p.DataOffset+o.Offset+e.Element*size:], b[:size])
	return file
}
