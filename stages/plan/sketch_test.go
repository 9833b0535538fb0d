package plan_test

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"quern/convert"
	"quern/convert/conformance"
	"quern/convert/gguf"
	"quern/stages/plan"
)

// beside are the cases whose weights are other than their configuration says.
var beside = map[string]string{"codellama": "has no output of its own and says it has", "gemma3-bpe": "has fewer rows than its vocabulary", "llama-tied-with-head": "has an output and says it is tied",
	"qwen25-tied-with-head": "as above", "qwen2-embedding": "an embedding model under a generating class", "qwen3-reranker": "has a classifier"}

// What a configuration alone gives is what the converter makes of the checkpoint: the same tensors with the same shapes, for
// every recorded case of a class that is sketched.
func TestSketchEqualsConverter(t *testing.T) {
	tree, err := conformance.OpenBundle("../../convert/testdata/cases.tar.zst")
	if err != nil {
		t.Fatal(err)
	}
	names, err := fs.ReadDir(tree, "convert")
	if err != nil {
		t.Fatal(err)
	}
	equal, classes := 0, map[string]int{}
	for _, n := range names {
		c, err := conformance.OpenCase(tree, "convert/"+n.Name())
		if err != nil {
			continue
		}
		if beside[n.Name()] != "" {
			continue
		}
		src, err := c.Checkpoint()
		if err != nil {
			continue
		}
		text, err := fs.ReadFile(src, "config.json")
		if err != nil {
			continue
		}
		m, err := convert.Open(t.Context(), src, convert.Options{Dir: c.Dir, Pre: c.Pre, Type: "bf16"})
		if err != nil {
			continue // refused by the converter too
		}
		f, err := plan.Sketch(fstest.MapFS{"config.json": {Data: text}})
		m.Close()
		if err != nil && strings.Contains(err.Error(), "do not follow") || f == nil && err == nil {
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", n.Name(), err)
			continue
		}
		if d := differences(f.Outputs, m.Plan.Outputs); len(d) > 0 {
			t.Errorf("%s (%s): %d tensors differ: %s", n.Name(), m.HF, len(d), d[0])
			for _, l := range d[:min(len(d), 6)] {
				t.Log("   ", l)
			}
			continue
		}
		equal, classes[m.HF] = equal+1, classes[m.HF]+1
	}
	if equal < 80 || len(classes) < 35 {
		t.Errorf("%d checkpoints of %d classes were compared", equal, len(classes))
	}
	t.Logf("count: %d checkpoints of %d classes: the configuration alone gives the converter's tensors", equal, len(classes))
	t.Log(slices.Sorted(maps.Keys(classes)))
}

func differences(got, want []gguf.Output) []string {
	shapes := map[string]string{}
	for _, o := range want {
		shapes[o.Name] = fmt.Sprint(o.Shape)
	}
	var d []string
	for _, o := range got {
		if w := shapes[o.Name]; w != fmt.Sprint(o.Shape) {
			d = append(d, fmt.Sprintf("%s: %v, the converter has %s", o.Name, o.Shape, w))
		}
		delete(shapes, o.Name)
	}
	for n, s := range shapes {
		if !strings.HasPrefix(n, "rope_") { // tables of a few numbers
			d = append(d, n+" "+s+" is missing")
		}
	}
	slices.Sort(d)
	return d
}
