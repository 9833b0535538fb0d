package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"sync"
	"testing"

	"quern/convert/conformance"
	"quern/convert/gguf"
)

// bundle is the reference's answers on llama-quantize, with the headers of the files that went in.
var bundle = sync.OnceValues(func() (fs.FS, error) { return conformance.OpenBundle("testdata/quantize.tar.zst") })

func data(t testing.TB) fs.FS {
	t.Helper()
	tree, err := bundle()
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func readJSON(t testing.TB, name string, v any) {
	t.Helper()
	b, err := fs.ReadFile(data(t), name)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// zeros is a file of which only the header is kept.
type zeros struct{ *bytes.Reader }

func (z zeros) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	n, err := z.Reader.ReadAt(p, off)
	if err == io.EOF {
		n, err = len(p), nil
	}
	return n, err
}

// input is the header of a file that the converter wrote, its tensors' sizes as if they were there.
func input(t testing.TB, name, run string) *gguf.Plan {
	t.Helper()
	b, err := fs.ReadFile(data(t), "headers/"+name+"."+run)
	if err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Read(name, zeros{bytes.NewReader(b)}, 1<<32)
	if err != nil {
		t.Fatal(err)
	}
	return &f.Plan
}

// importance is the imatrix of an input: a stored one's sizes, or those of the rule in the answers' README.
func importance(t testing.TB, name, file string, p *gguf.Plan) *Imatrix {
	t.Helper()
	m := &Imatrix{File: file, Dataset: "calibration.txt", Chunks: 3, Entries: map[string]int{}}
	if stored, err := fs.ReadFile(data(t), path.Join("imatrix", name, "imatrix.gguf")); err == nil {
		f, err := gguf.Read(file, bytes.NewReader(stored), int64(len(stored)))
		if err != nil {
			t.Fatal(err)
		}
		names, _ := f.Strings("imatrix.datasets")
		m.Dataset = names[0]
		m.Chunks, _ = f.Int("imatrix.chunk_count")
		for _, o := range f.Outputs {
			if entry, ok := strings.CutSuffix(o.Name, ".in_sum2"); ok {
				m.Entries[entry] = int(o.Elements())
			}
		}
		return m
	}
	for _, o := range p.Outputs {
		if len(o.Shape) > 1 && strings.HasSuffix(o.Name, "weight") && !strings.Contains(o.Name, "_norm") && !unmeasured[o.Name] {
			m.Entries[o.Name] = int(importanceLen(o.Shape))
		}
	}
	return m
}

// unmeasured are the tensors that a computed imatrix has no entry for.
var unmeasured = map[string]bool{"token_embd.weight": true, perLayerEmbedding: true, "output.weight": true, "position_embd.weight": true, "token_types.weight": true}

// typesTxt is the --tensor-type-file of the answers.
const typesTxt = "ffn_up=q5_0\nblk\\.0\\.ffn_down=q6_k   attn_v=q4_1\n"

// request is a command line of llama-quantize, understood.
type request struct {
	ft               FileType
	o                Options
	imatrix          string
	include, exclude []string
	split            bool // the source is the first of several parts
	dryRun           bool
}

// parse reads the arguments as the reference does, with quern's parsers.
func parse(args []string) (r request, err error) {
	explicit := func(option, name string) (*gguf.Type, error) {
		t, err := ParseType(option, name)
		return &t, err
	}
	var rest []string
	for i := 0; i < len(args) && err == nil; i++ {
		value := func() string {
			if i++; i < len(args) {
				return args[i]
			}
			err = &OptionError{Option: args[i-1], Says: "needs a value"}
			return ""
		}
		switch args[i] {
		case "--pure":
			r.o.Pure = true
		case "--leave-output-tensor":
			r.o.LeaveOutput = true
		case "--allow-requantize":
			r.o.AllowRequantize = true
		case "--keep-split":
			r.o.KeepSplit = true
		case "--dry-run":
			r.dryRun = true
		case "--imatrix":
			r.imatrix = value()
		case "--include-weights":
			r.include = append(r.include, value())
		case "--exclude-weights":
			r.exclude = append(r.exclude, value())
		case "--output-tensor-type":
			r.o.Output, err = explicit("--output-tensor-type", value())
		case "--token-embedding-type":
			r.o.Embedding, err = explicit("--token-embedding-type", value())
		case "--tensor-type":
			var t TensorType
			if t, err = ParseTensorType(value()); err == nil {
				r.o.Tensors = append(r.o.Tensors, t)
			}
		case "--tensor-type-file":
			var ts []TensorType
			if name := value(); name != "types.txt" {
				err = fmt.Errorf("%s: %w", name, fs.ErrNotExist)
			} else if ts, err = ParseTensorTypes(typesTxt); err == nil {
				r.o.Tensors = append(r.o.Tensors, ts...)
			}
		case "--override-kv":
			var o Override
			if o, err = ParseOverride(value()); err == nil {
				r.o.Overrides = append(r.o.Overrides, o)
			}
		case "--prune-layers":
			r.o.Prune, err = ParseLayers(value())
		default:
			if strings.HasPrefix(args[i], "--") {
				err = &OptionError{Option: args[i], Says: "is not an option"}
			}
			rest = append(rest, args[i])
		}
	}
	if err == nil && len(rest) < 2 {
		err = &OptionError{Option: "type", Says: "is missing"}
	}
	if err == nil {
		r.split = strings.Contains(rest[0], "-of-")
		if r.dryRun {
			rest = append(rest[:1], append([]string{""}, rest[1:]...)...)
		}
		if len(rest) < 3 {
			return r, &OptionError{Option: "type", Says: "is missing"}
		}
		r.ft, err = ParseFileType(rest[2])
	}
	return r, err
}

// parts is the source of a request: whole, or cut as llama-gguf-split --split-max-tensors 12 does.
func (r request) parts(p *gguf.Plan) []*gguf.Plan {
	if !r.split {
		return []*gguf.Plan{p}
	}
	const most = 12
	n := (len(p.Outputs) + most - 1) / most
	var parts []*gguf.Plan
	for i := range n {
		part := &gguf.Plan{Outputs: p.Outputs[i*most : min((i+1)*most, len(p.Outputs))]}
		if i == 0 {
			part.Metadata = append(part.Metadata, p.Metadata...)
		}
		part.Metadata = append(part.Metadata, gguf.KV{Key: "split.no", Value: uint16(i)}, gguf.KV{Key: "split.count", Value: uint16(n)},
			gguf.KV{Key: "split.tensors.count", Value: int32(len(p.Outputs))})
		parts = append(parts, part)
	}
	return parts
}

// choose applies --include-weights and --exclude-weights; without an entry left there is no imatrix.
func (r request) choose(m *Imatrix) *Imatrix {
	for name := range m.Entries {
		keep := len(r.include) == 0
		for _, part := range r.include {
			keep = keep || strings.Contains(name, part)
		}
		for _, part := range r.exclude {
			keep = keep && !strings.Contains(name, part)
		}
		if !keep {
			delete(m.Entries, name)
		}
	}
	if len(m.Entries) == 0 {
		return nil
	}
	return m
}

// report is what llama-quantize prints on sizes and fallbacks, from the output's figures.
func report(o *Output) []string {
	lines := []string{
		fmt.Sprintf("model size = %.2f MiB (%.2f BPW)", float64(o.SourceBytes)/1024/1024, o.SourceBitsPerWeight()),
		fmt.Sprintf("quant size = %.2f MiB (%.2f BPW)", float64(o.Bytes)/1024/1024, o.BitsPerWeight()),
	}
	if n := len(o.Fallbacks()); n > 0 {
		lines = append(lines, "WARNING: "+strconv.Itoa(n))
	}
	return lines
}
