package convert_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"quern/convert"
	"quern/convert/arch"
	"quern/convert/conformance"
)

// adapterRun converts one recorded adapter.
func adapterRun(ctx context.Context, c *conformance.Case, run string) error {
	src, err := c.Checkpoint()
	if err != nil {
		return err
	}
	base, err := c.Base()
	if err != nil {
		return err
	}
	o := convert.Options{Dir: c.Dir}
	lazy := func(arg string) bool { return arg == "--no-lazy" } // how the reference reads, not what it writes
	for args := slices.DeleteFunc(slices.Clone(c.Runs[run]), lazy); len(args) > 0; args = args[2:] {
		switch args[0] {
		case "--outtype":
			o.Type = arch.FileType(args[1])
		case "--base": // the base's folder
		default:
			return fmt.Errorf("argument %s is not known", args[0])
		}
	}
	want, err := c.Answer(run)
	if err != nil {
		return err
	}
	m, err := convert.OpenAdapter(ctx, src, convert.Base{Source: base, Dir: "base"}, o)
	if want.Fails != "" {
		if err == nil {
			return errors.Join(fmt.Errorf("the reference refuses: %s", want.Fails), m.Close())
		}
		return refusedAlike(want.Fails, err)
	}
	if err != nil {
		return err
	}
	defer m.Close()
	data, err := write(ctx, m)
	if err != nil {
		return err
	}
	return want.Check(strings.NewReader(string(data)), int64(len(data)), c.Tolerance)
}

// refusedAlike wants a refusal to name the tensor that the reference names.
func refusedAlike(reference string, err error) error {
	_, rest, ok := strings.Cut(reference, "'")
	name, _, closed := strings.Cut(rest, "'")
	if ok && closed && !strings.Contains(err.Error(), name) {
		return fmt.Errorf("refused for another reason than %q: %w", reference, err)
	}
	return nil
}

// TestAdapterCases converts every recorded PEFT adapter and compares the files, or the refusals, with the reference's.
func TestAdapterCases(t *testing.T) {
	tree, err := conformance.OpenBundle("testdata/lora.tar.zst")
	if err != nil {
		t.Fatal(err)
	}
	names, err := conformance.Cases(tree, "lora")
	if err != nil || len(names) == 0 {
		t.Fatalf("%d cases: %v", len(names), err)
	}
	equal, refused := 0, 0
	for _, name := range names {
		c, err := conformance.OpenCase(tree, name)
		if err != nil {
			t.Fatal(err)
		}
		for _, run := range slices.Sorted(maps.Keys(c.Runs)) {
			t.Run(c.Name+"/"+run, func(t *testing.T) {
				if err := adapterRun(t.Context(), c, run); err != nil {
					t.Fatal(err)
				}
				if slices.Contains(c.Fails, run) {
					refused++
				} else {
					equal++
				}
			})
		}
	}
	t.Logf("count: %d adapters equal the reference's files, %d are refused as it refuses them, of %d cases", equal, refused, len(names))
}

// openCase opens one recorded adapter with changes to its files.
func openCase(t *testing.T, name string, o convert.Options, change func(adapter, base map[string][]byte)) (*convert.Model, error) {
	t.Helper()
	tree, err := conformance.OpenBundle("testdata/lora.tar.zst")
	if err != nil {
		t.Fatal(err)
	}
	c, err := conformance.OpenCase(tree, path.Join("lora", name))
	if err != nil {
		t.Fatal(err)
	}
	adapter, err := c.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	base, err := c.Base()
	if err != nil {
		t.Fatal(err)
	}
	a, b := contents(t, adapter), contents(t, base)
	if change != nil {
		change(a, b)
	}
	o.Dir = c.Dir
	return convert.OpenAdapter(t.Context(), folder(a), convert.Base{Source: folder(b), Dir: "base"}, o)
}

func contents(t *testing.T, src fs.FS) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	list, err := fs.ReadDir(src, ".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if files[e.Name()], err = fs.ReadFile(src, e.Name()); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// folder makes a file system of files in memory.
func folder(files map[string][]byte) fs.FS {
	tree := fstest.MapFS{}
	for name, data := range files {
		tree[name] = &fstest.MapFile{Data: data}
	}
	return tree
}

// Auto takes the adapter's own precision; the reference stops there.
func TestAdapterAuto(t *testing.T) {
	m, err := openCase(t, "lora-llama", convert.Options{Type: arch.Auto}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if m.Type == arch.Auto || !m.Type.Valid() || len(m.Plan.Outputs) == 0 {
		t.Errorf("type %q, %d tensors", m.Type, len(m.Plan.Outputs))
	}
}

// What an adapter needs and lacks, or contradicts, is an error that says where, before anything is planned.
func TestAdapterRefusals(t *testing.T) {
	for name, change := range map[string]func(adapter, base map[string][]byte){
		"no configuration":   func(a, _ map[string][]byte) { delete(a, "adapter_config.json") },
		"no JSON":            func(a, _ map[string][]byte) { a["adapter_config.json"] = []byte("{") },
		"no tensors":         func(a, _ map[string][]byte) { delete(a, "adapter_model.safetensors") },
		"damaged tensors":    func(a, _ map[string][]byte) { a["adapter_model.safetensors"] = []byte("1234") },
		"no base":            func(_, b map[string][]byte) { delete(b, "config.json") },
		"a base of no class": func(_, b map[string][]byte) { b["config.json"] = []byte(`{"architectures": ["FooModel"]}`) },
	} {
		if m, err := openCase(t, "lora-llama", convert.Options{}, change); err == nil {
			t.Errorf("%s: planned %d tensors", name, len(m.Plan.Outputs))
		} else if err.Error() == "" {
			t.Errorf("%s: an error without words", name)
		}
	}
}
