package vocab

import (
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"

	"quern/convert/config"
	"quern/convert/conformance"
	"quern/convert/gguf"
)

// recorded is the cases of the whole conversion, unpacked once.
var recorded = sync.OnceValues(func() (fs.FS, error) { return conformance.OpenBundle("../testdata/cases.tar.zst") })

// vocabEntries keeps what a vocabulary writes.
func vocabEntries(in []conformance.Entry, but []string) []conformance.Entry {
	var out []conformance.Entry
	for _, e := range in {
		if strings.HasPrefix(e.Key, "tokenizer.") && !slices.Contains(but, e.Key) {
			out = append(out, e)
		}
	}
	return out
}

// got is our entries in the form of an answer.
func got(v *Vocab) []conformance.Entry {
	var kvs []gguf.KV
	for _, kv := range v.KVs {
		if strings.HasPrefix(kv.Key, "tokenizer.") {
			kvs = append(kvs, kv)
		}
	}
	return conformance.Planned(&gguf.Plan{Metadata: kvs}).Metadata
}

// checkpoint lays a case's files over those of its tokenizer.
type overlay []fs.FS

func (o overlay) Open(name string) (fs.File, error) {
	for _, f := range o {
		if file, err := f.Open(name); err == nil {
			if st, err := file.Stat(); err == nil && !st.IsDir() {
				return file, nil
			}
			file.Close()
		}
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

func (o overlay) ReadDir(name string) ([]fs.DirEntry, error) {
	var out []fs.DirEntry
	for _, f := range o {
		list, _ := fs.ReadDir(f, name)
		for _, e := range list {
			if !slices.ContainsFunc(out, func(x fs.DirEntry) bool { return x.Name() == e.Name() }) {
				out = append(out, e)
			}
		}
	}
	slices.SortFunc(out, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return out, nil
}

func TestCases(t *testing.T) {
	tree, err := recorded()
	if err != nil {
		t.Fatal(err)
	}
	names, err := conformance.Cases(tree, "convert")
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, name := range names {
		t.Run(name, func(t *testing.T) { compared += testCase(t, tree, name) })
	}
	if compared < 300 {
		t.Errorf("%d answers compared, want 300 or more", compared)
	}
}

func testCase(t *testing.T, tree fs.FS, name string) (compared int) {
	c, err := conformance.OpenCase(tree, name)
	if err != nil {
		t.Fatal(err)
	}
	files, _ := fs.Sub(tree, name+"/files")
	src := overlay{files}
	if c.Tokenizer != "" {
		tok, _ := fs.Sub(tree, "tokenizers/"+c.Tokenizer)
		src = append(src, tok)
	}
	cfg, err := config.Load(src, c.Dir)
	if err != nil {
		t.Skip(err)
	}
	h, _, err := cfg.Text()
	if err != nil {
		t.Skip(err)
	}
	arch, err := cfg.Architecture()
	if err != nil {
		t.Skip(err)
	}
	if root, _ := cfg.Raw.Strings("architectures"); len(root) > 0 && (presetKeys[root[0]] != nil || architectureKinds[arch] == Llama && architectureKinds[root[0]] == GLMEdge) {
		arch = root[0]
	}
	if arch == "Qwen3TTSForConditionalGeneration" {
		t.Skip("takes the names of its codec from the architecture")
	}
	in := Input{Config: h, Root: cfg.Raw, Arch: "x", Pre: c.Pre}
	family(t, arch, &in)
	kind, ok := architectureKinds[arch]
	if name, _ := h.String("_name_or_path"); strings.Contains(name, "THUDM/chatglm3-6b") {
		kind = ChatGLM3
	}
	if kind == BERT && h.Has("num_experts") {
		kind = NomicMoE
	}
	if !ok {
		t.Skip("no kind for ", arch)
	}
	for run, args := range c.Runs {
		if slices.Contains(c.Fails, run) || slices.ContainsFunc(args, func(s string) bool { return strings.Contains(s, "mmproj") || s == "--dry-run" }) {
			continue
		}
		answer, err := conformance.ReadAnswer(tree, name+"/expected."+run+".json")
		if err != nil || len(answer.Parts) == 0 {
			t.Skip(run, err)
		}
		compared++
		v, err := Build(src, kind, in)
		if err != nil {
			t.Errorf("%s (%s): %v", run, kind, err)
			continue
		}
		w, g := vocabEntries(answer.Parts[0].Metadata, presetKeys[arch]), vocabEntries(got(v), presetKeys[arch])
		if err := conformance.Compare(&conformance.File{Version: 3, Metadata: w}, &conformance.File{Version: 3, Metadata: g}, c.Tolerance); err != nil {
			t.Errorf("%s (%s): %v", run, kind, err)
		}
	}
	return compared
}

// family does what an architecture does before it asks for its vocabulary.
func family(t *testing.T, arch string, in *Input) {
	h := in.Config
	multiple := map[string]int64{"MambaForCausalLM": 8, "FalconMambaForCausalLM": 8, "Mamba2ForCausalLM": 16, "NemotronHForCausalLM": 8,
		"NemotronHPuzzleForCausalLM": 8, "BambaForCausalLM": 8, "GraniteMoeHybridForCausalLM": 8}[arch]
	size, _ := h.Int("vocab_size")
	if multiple > 0 && size > 0 {
		if n, ok := h.Int("pad_vocab_size_multiple"); ok && multiple != 8 {
			multiple = n
		}
		in.VocabSize = (size + multiple - 1) / multiple * multiple
	}
	if strings.HasPrefix(arch, "Gemma3n") {
		in.VocabSize = size
	}
}
