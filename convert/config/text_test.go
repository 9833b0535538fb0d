package config

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"quern/convert/fault"
)

func object(t testing.TB, s string) Object {
	t.Helper()
	v, err := Parse("test", []byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return v.(Object)
}

// A key that is present hides the ones after it, null included.
func TestAccessors(t *testing.T) {
	o := object(t, `{"null": null, "i": 3, "f": 2.5, "s": "x", "b": true, "l": [1, 2], "fl": [1, 2.5], "sl": ["a"], "mixed": [1, "a"], "o": {"k": 1}, "empty": []}`)
	if _, ok := o.Int("none", "null", "i"); ok {
		t.Error("null was skipped")
	}
	if v, ok := o.Int("none", "i", "f"); !ok || v != 3 {
		t.Error("the second key was not found")
	}
	if _, ok := o.Int("f"); ok {
		t.Error("2.5 is no integer")
	}
	if v, ok := o.Float("i"); !ok || v != 3 {
		t.Error("an integer is a number")
	}
	if l, ok := o.Ints("l"); !ok || len(l) != 2 || l[1] != 2 {
		t.Error("a list of integers")
	}
	if _, ok := o.Ints("fl"); ok {
		t.Error("a list with a float is none of integers")
	}
	if l, ok := o.Floats("fl"); !ok || l[0] != 1 || l[1] != 2.5 {
		t.Error("a list of numbers")
	}
	if _, ok := o.Strings("mixed"); ok {
		t.Error("a mixed list is none of texts")
	}
	if !o.Null("null") || !o.Null("none") || o.Null("i") || o.True("empty") || !o.True("s") {
		t.Error("null and truth")
	}
	_, err := o.NeedInt("none", "f")
	var bad *fault.Invalid
	if !errors.As(err, &bad) || !strings.Contains(err.Error(), "config.json: f: an integer is needed, not 2.5") {
		t.Error(err)
	}
	if _, err := o.NeedFloat("x", "y"); err == nil || !strings.Contains(err.Error(), "x or y") {
		t.Error(err)
	}
}

// text_config goes over the root, and the rope parameters gather what stands elsewhere.
func TestText(t *testing.T) {
	c, err := New(object(t, `{"model_type": "none", "hidden_size": 1, "architectures": ["A"], "rope_theta": 5.0, "lm_config": {"hidden_size": 2, "architectures": ["B"],
		"rope_scaling": {"type": "linear", "factor": 2.0}, "partial_rotary_factor": 0.5, "rope_local_base_freq": 7.0}}`), "dir")
	if err != nil {
		t.Fatal(err)
	}
	o, rope, err := c.Text()
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := o.Int("hidden_size"); v != 2 {
		t.Errorf("hidden_size %d", v)
	}
	const want = `{"factor":2.0,"partial_rotary_factor":0.5,"rope_theta":5.0,"rope_type":"linear","sliding_attention":{"rope_theta":7.0},"type":"linear"}`
	if text(rope) != want || text(o["rope_scaling"]) != want {
		t.Errorf("rope %s", text(rope))
	}
	if text(c.Raw["lm_config"].(Object)["rope_scaling"]) != `{"factor":2.0,"type":"linear"}` {
		t.Error("the file's own object was changed")
	}
	if a, err := c.Architecture(); err != nil || a != "B" {
		t.Errorf("architecture %q, %v", a, err)
	}
	if a, err := c.ProjectorArchitecture(); err != nil || a != "A" {
		t.Errorf("architecture %q, %v", a, err)
	}
}

func TestArchitecture(t *testing.T) {
	for in, want := range map[string]string{
		`{"architectures": ["X"], "text_config": {"architectures": null}}`:                               "X",
		`{"architectures": ["KimiK3ForConditionalGeneration"], "text_config": {"architectures": ["Y"]}}`: "KimiK3ForConditionalGeneration",
		`{"ssm_cfg": {"layer": "Mamba2"}}`:                                                               "Mamba2ForCausalLM",
		`{"ssm_cfg": {}}`:                                                                                "MambaForCausalLM",
		`{"architectures": []}`:                                                                          "",
	} {
		c, err := New(object(t, in), "dir")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.Architecture(); got != want || (err != nil) != (want == "") {
			t.Errorf("%s: %q, %v", in, got, err)
		}
	}
}

// No configuration makes the completion fill memory: sizes that no model has are refused with the bound.
func TestHostile(t *testing.T) {
	for _, in := range []string{
		`{"model_type": "gemma2", "num_hidden_layers": 1000000}`,
		`{"model_type": "gemma2", "num_hidden_layers": 999999999999999999999999}`,
		`{"model_type": "llama", "num_labels": 4000000000}`,
		`{"model_type": "gemma3n", "text_config": {"num_hidden_layers": 70000}}`,
	} {
		_, err := Load(config([]byte(in)), "dir")
		var bad *fault.Invalid
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), "at most 65536") {
			t.Errorf("%s: %v", in, err)
		}
	}
	for _, in := range []string{
		`{"model_type": "qwen2", "num_hidden_layers": -5}`,
		`{"model_type": "llama4_text", "interleave_moe_layer_step": 0}`,
		`{"model_type": "llama4_text", "interleave_moe_layer_step": 1e300}`,
		`{"model_type": "llama", "hidden_size": 1e999, "num_attention_heads": 0}`,
		`{"model_type": "mamba", "expand": Infinity}`,
		`{"model_type": ["llama"]}`, `{"model_type": null}`, `{"model_type": {}}`,
		`{"model_type": "qwen2_vl", "text_config": {"vision_config": {"text_config": {}}}}`,
		`{"thinker_config": {"text_config": 5}}`,
	} {
		if _, err := Load(config([]byte(in)), "dir"); err != nil {
			t.Errorf("%s: %v", in, err)
		}
	}
	if _, err := Load(config([]byte(`{"thinker_config": []}`)), "dir"); err == nil {
		t.Error("a thinker_config without text_config was read")
	}
}

// classes.json is whole: every type has a class, every class in the table its rules.
func TestTables(t *testing.T) {
	tab, err := load()
	if err != nil {
		t.Fatal(err)
	}
	for typ, name := range tab.types {
		if tab.classes[name] == nil {
			t.Errorf("%s: no class %s", typ, name)
		}
	}
	for name := range tab.classes {
		if _, err := tab.complete(tab.classes[name], Object{}); err != nil {
			t.Errorf("%s from nothing: %v", name, err)
		}
	}
	if len(tab.types) != 112 || len(tab.classes) != 150 || len(tab.known) != 421 || len(tab.dtypes) != 54 {
		t.Errorf("%d types, %d classes, %d known, %d dtypes", len(tab.types), len(tab.classes), len(tab.known), len(tab.dtypes))
	}
}

func FuzzLoad(f *testing.F) {
	for _, c := range cases(f)[:60] {
		raw, _ := c.Object("config")
		data, _ := raw.MarshalJSON()
		f.Add(data, "model")
	}
	f.Add([]byte(`{"model_type": "llama", "rope_scaling": {"type": ["x"]}, "id2label": {"1_0": 1}}`), "a/llama")
	f.Add([]byte(`{"auto_map": {"AutoConfig": null}}`), "bert")
	f.Fuzz(func(t *testing.T, data []byte, dir string) {
		c, err := Load(fstest.MapFS{file: {Data: data}}, dir)
		if err != nil {
			return
		}
		once := c.JSON()
		if _, err := Parse("again", once); err != nil {
			t.Fatalf("its own text is not read: %v", err)
		}
		_, _, _ = c.Text()
		_, _ = c.Architecture()
	})
}
