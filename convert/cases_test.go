package convert_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"quern/convert"
	"quern/convert/arch"
	"quern/convert/config"
	"quern/convert/conformance"
	"quern/quantize/build"
	"quern/quantize/kernel"
)

// corpus is the recorded cases, unpacked once: the common ones and, on top, those of the project's own, which use the same
// tokenizers. A case of the same name in two bundles is a mistake.
var corpus = sync.OnceValues(func() (fs.FS, error) {
	own, err := filepath.Glob("testdata/own-*.tar.zst")
	if err != nil {
		return nil, err
	}
	all := fstest.MapFS{}
	for _, name := range append([]string{"testdata/cases.tar.zst", "testdata/projectors.tar.zst"}, own...) {
		tree, err := conformance.OpenBundle(name)
		if err != nil {
			return nil, err
		}
		for file, data := range tree.(fstest.MapFS) {
			if all[file] != nil {
				return nil, fmt.Errorf("%s: %s is in another bundle too", name, file)
			}
			all[file] = data
		}
	}
	return all, nil
})

// options reads a run's arguments as the reference's command line. ok is false for what another test covers.
func options(c *conformance.Case, src fs.FS, args []string) (o convert.Options, ok bool, err error) {
	o = convert.Options{Dir: c.Dir, Pre: c.Pre}
	file := func(arg string) string { return path.Clean(strings.TrimPrefix(strings.TrimPrefix(arg, "{src}"), "/")) }
	for len(args) > 0 && err == nil {
		arg, rest := args[0], args[1:]
		value := ""
		switch arg {
		case "--outtype", "--model-name", "--metadata", "--target-model-dir":
			value, rest = rest[0], rest[1:]
		}
		switch arg {
		case "--outtype":
			o.Type = arch.FileType(value)
		case "--model-name":
			o.ModelName = &value
		case "--metadata":
			o.Metadata, err = fs.ReadFile(src, file(value))
		case "--target-model-dir":
			if o.Target, err = fs.Sub(src, file(value)); err == nil {
				o.TargetDir = path.Join(c.Dir, file(value))
			}
		case "--mmproj":
			o.Projector = true
		case "--vocab-only":
			o.VocabOnly = true
		case "--fuse-qkv":
			o.FuseQKV = true
		case "--fp8-as-q8":
			o.FP8AsQ8 = true
		case "--fuse-gate-up-exps":
			o.FuseGateUp = true
		case "--mtp":
			o.MTPOnly = true
		case "--no-mtp", "--no-nextn":
			o.NoMTP = true
		case "--dspark":
			o.DSpark = true
		case "--sentence-transformers-dense-modules":
			o.Dense = true
		case "--mistral-format":
			o.Mistral = true
		case "--disable-mistral-community-chat-template":
			o.OwnTemplate = true
		case "--no-lazy": // memory of the reference, not its answer
		default:
			return o, false, nil
		}
		args = rest
	}
	return o, true, err
}

// entry is the class name that decides a run's family, and the entry where it is registered. A few checkpoints have no
// config.json.
func entry(ctx context.Context, src fs.FS, dir string, projector bool) (name string, a *arch.Arch, ok bool) {
	if _, err := fs.Stat(src, "params.json"); err == nil { // Mistral's own layout has no class
		m, err := convert.Open(ctx, src, convert.Options{Dir: dir, Mistral: true, Projector: projector})
		if err != nil {
			a, ok = arch.Lookup("MistralForCausalLM")
			return "", a, ok
		}
		defer m.Close()
		return m.HF, m.Arch, true
	}
	cfg, err := config.Load(src, dir)
	if errors.Is(err, fs.ErrNotExist) {
		m, err := convert.Open(ctx, src, convert.Options{Dir: dir, Projector: projector})
		if err != nil {
			return "", nil, false
		}
		defer m.Close()
		return m.HF, m.Arch, true
	}
	if err != nil {
		return "", nil, false
	}
	if projector {
		name, _ = cfg.ProjectorArchitecture()
		a, ok = arch.LookupProjector(name)
		return name, a, ok
	}
	name, _ = cfg.Architecture()
	a, ok = arch.Lookup(name)
	return name, a, ok
}

// memory is a file in memory.
type memory []byte

func (m memory) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > int64(len(m)) {
		return 0, io.ErrShortWrite
	}
	return copy(m[off:], p), nil
}

// write makes the file that a model plans.
func write(ctx context.Context, m *convert.Model) ([]byte, error) {
	out := make(memory, m.Plan.FileSize)
	var head strings.Builder
	if err := m.Plan.WriteHeader(&head); err != nil {
		return nil, err
	}
	copy(out, head.String())
	jobs := make([]build.Job, len(m.Plan.Outputs))
	for i, o := range m.Plan.Outputs {
		jobs[i] = build.Job{Name: o.Name, Source: m.Sources[i],
			To: []build.Target{{Type: o.Type, Offset: m.Plan.DataOffset + o.Offset, Copy: m.Raw[i]}}}
	}
	return out, build.Run(ctx, jobs, kernel.Go(), []io.WriterAt{out}, build.Options{})
}

// testRun converts one case and compares the file with the reference's.
func testRun(ctx context.Context, c *conformance.Case, run string) (skipped bool, err error) {
	src, err := c.Checkpoint()
	if err != nil {
		return false, err
	}
	o, ok, err := options(c, src, c.Runs[run])
	if err != nil || !ok {
		return true, err
	}
	want, err := c.Answer(run)
	if err != nil {
		return false, err
	}
	m, err := convert.Open(ctx, src, o)
	if want.Fails != "" {
		if err == nil {
			err = m.Close()
			return false, errors.Join(fmt.Errorf("the reference refuses: %s", want.Fails), err)
		}
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer m.Close()
	data, err := write(ctx, m)
	if err != nil {
		return false, err
	}
	return false, want.Check(strings.NewReader(string(data)), int64(len(data)), c.Tolerance)
}

// refused are the class names that the reference knows and always refuses: there is no file to compare with.
var refused = map[string]string{
	"UltravoxModel": "it has no text model: the one that its config.json names is converted",
}

// TestCases converts every recorded case of a registered class and compares files by their bytes. It prints, by family,
// how many there are. A registered class that no case shows is a failure: nothing would hold it against the reference.
func TestCases(t *testing.T) {
	tree, err := corpus()
	if err != nil {
		t.Fatal(err)
	}
	names, err := conformance.Cases(tree, "convert")
	if err != nil || len(names) == 0 {
		t.Fatalf("%d cases: %v", len(names), err)
	}
	family := families(t)
	passed, total, waiting := map[string]int{}, map[string]int{}, map[string]int{}
	shown, seen := map[string]bool{}, map[string]bool{} // classes whose text model a case shows, and whose projector
	for _, name := range names {
		c, err := conformance.OpenCase(tree, name)
		if err != nil {
			t.Fatal(err)
		}
		src, err := c.Checkpoint()
		if err != nil {
			t.Fatal(err)
		}
		for _, run := range slices.Sorted(maps.Keys(c.Runs)) {
			projector := slices.Contains(c.Runs[run], "--mmproj")
			hf, a, ok := entry(t.Context(), src, c.Dir, projector)
			if !ok {
				waiting[hf]++
				continue
			}
			if projector {
				seen[hf] = true
			} else if !slices.Contains(c.Fails, run) {
				shown[hf] = true
			}
			t.Run(c.Name+"/"+run, func(t *testing.T) {
				skipped, err := testRun(t.Context(), c, run)
				if skipped && err == nil {
					t.Skip("its arguments belong to another test")
				}
				total[family(a)]++
				if err != nil {
					t.Fatal(err)
				}
				passed[family(a)]++
			})
		}
	}
	for _, f := range slices.Sorted(maps.Keys(total)) {
		t.Logf("%-16s %3d of %3d runs", f, passed[f], total[f])
	}
	names = arch.ClassNames()
	for _, n := range names {
		if shown[n] == (refused[n] != "") {
			t.Errorf("%s: a case shows it: %t; the reference always refuses it: %t", n, shown[n], refused[n] != "")
		}
	}
	t.Logf("%d of %d class names are shown by a case; the reference refuses the rest: %d", len(names)-len(refused), len(names), len(refused))
	missing := slices.DeleteFunc(arch.ProjectorNames(), func(n string) bool { return seen[n] })
	t.Logf("projectors without a case: %s", strings.Join(missing, " "))
	t.Logf("%d classes that have cases are not registered", len(waiting))
}

// hfList is the list of class names in an entry of the registry's source.
var hfList = regexp.MustCompile(`HF: +\[\]string\{([^}]*)\}`)

// families tells the file of the registry's source that declares an entry, without .go.
func families(t *testing.T) func(*arch.Arch) string {
	t.Helper()
	names, err := filepath.Glob("arch/*.go")
	if err != nil || len(names) == 0 {
		t.Fatalf("%d files of the registry: %v", len(names), err)
	}
	files := map[string][]string{} // by class name: a text model and a projector may share one
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, list := range hfList.FindAllSubmatch(text, -1) {
			for class := range strings.SplitSeq(string(list[1]), ",") {
				class = strings.Trim(class, "\" \n\t")
				files[class] = append(files[class], strings.TrimSuffix(filepath.Base(name), ".go"))
			}
		}
	}
	return func(a *arch.Arch) string {
		family := a.GGUF
		for _, class := range a.HF {
			for _, f := range files[class] {
				if strings.HasPrefix(f, "clip") == a.Projector() || family == a.GGUF {
					family = f
				}
			}
		}
		return family
	}
}
