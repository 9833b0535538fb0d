package config

import (
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// classes.json states what transformers 4.57.6 knows of its configuration classes: model types, defaults in their
// own number types, attribute maps, what is dropped or read-only, and what a missing sub-configuration is made
// from. What a class computes is Go: steps.go.
//
//go:embed classes.json
var classesJSON []byte

// tables is classes.json, decoded once.
type tables struct {
	version string
	types   map[string]string // model_type -> class
	known   []string          // every model type of transformers, in no order that matters
	dtypes  Object
	base    Object
	classes map[string]*class
}

type class struct {
	name      string
	modelType string
	defaults  Object
	aliases   map[string]string // other name -> real name
	lost      []string          // real names whose other names are read and forgotten
	drop      []string
	readOnly  []string
	absent    Object // sub-configuration -> what it is made from when the file has none
	under     Object // sub-configuration -> defaults below the file's keys
}

var load = sync.OnceValues(func() (*tables, error) {
	v, err := Parse("classes.json", classesJSON)
	if err != nil {
		return nil, err
	}
	o := v.(Object)
	t := &tables{types: map[string]string{}, classes: map[string]*class{}}
	t.version, _ = o.String("transformers")
	t.known, _ = o.Strings("known_model_types")
	t.dtypes, _ = o.Object("dtypes")
	t.base, _ = o.Object("base")
	types, _ := o.Object("model_types")
	for k := range types {
		t.types[k], _ = types.String(k)
	}
	classes, _ := o.Object("classes")
	for name := range classes {
		c, _ := classes.Object(name)
		t.classes[name] = newClass(name, c)
	}
	// Only the longest name counts where a path is searched; equal lengths go by name.
	slices.SortFunc(t.known, func(a, b string) int {
		if d := len(b) - len(a); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return t, nil
})

// newClass decodes one entry; keys that it lacks stay empty.
func newClass(name string, o Object) *class {
	c := &class{name: name, aliases: map[string]string{}}
	c.modelType, _ = o.String("model_type")
	c.defaults, _ = o.Object("defaults")
	aliases, _ := o.Object("attribute_map")
	for k := range aliases {
		c.aliases[k], _ = aliases.String(k)
	}
	c.lost, _ = o.Strings("alias_lost")
	c.drop, _ = o.Strings("drop")
	c.readOnly, _ = o.Strings("readonly")
	c.absent, _ = o.Object("absent")
	c.under, _ = o.Object("under")
	return c
}

// auto is AutoConfig.from_pretrained(dir).to_dict(), or an error for which the file counts as it is.
// Input that no model can have (see maxLayers) is a *fault.Invalid instead.
func auto(raw Object, dir string) (Object, error) {
	t, err := load()
	if err != nil {
		return nil, err
	}
	cls, err := t.classFor(raw, dir)
	if err != nil {
		return nil, err
	}
	out, err := t.complete(cls, raw.Clone())
	if err != nil {
		return nil, err
	}
	if err := canonicalHeads(out); err != nil {
		return nil, err
	}
	if err := t.tidy(out); err != nil {
		return nil, err
	}
	out["transformers_version"] = t.version
	out["_name_or_path"] = dir
	return out, nil
}

// classFor chooses the class by auto_map, model_type, or the folder's path.
func (t *tables) classFor(raw Object, dir string) (*class, error) {
	modelType, named := raw.String("model_type")
	isKnown := named && slices.Contains(t.known, modelType)
	if m, ok := raw["auto_map"]; ok {
		remote, err := remoteCode(m)
		if err != nil {
			return nil, err
		}
		if remote && !isKnown {
			return nil, errors.New("it needs code from the repository (auto_map), which is never run")
		}
	}
	// The path as the user gave it is searched, so a folder called my-llama-run is a llama.
	if !raw.Has("model_type") {
		i := slices.IndexFunc(t.known, func(k string) bool { return strings.Contains(dir, k) })
		if i < 0 {
			return nil, errors.New("no model_type")
		}
		modelType, isKnown = t.known[i], true
	}
	// transformers does so for checkpoints made before ministral had a name.
	if _, ok := raw["layer_types"]; ok && modelType == "mistral" {
		modelType = "ministral"
	}
	if !isKnown {
		return nil, fmt.Errorf("unknown model_type %s", kind(raw["model_type"]))
	}
	return t.byType(modelType)
}

// remoteCode tells whether auto_map names code for the configuration; it fails where Python's `in` would.
func remoteCode(m any) (bool, error) {
	bad := errors.New("auto_map is " + kind(m))
	switch m := m.(type) {
	case Object:
		ref, ok := m["AutoConfig"]
		// `"--" in ref` works on these types only.
		switch ref.(type) {
		case string, []any, Object:
			return true, nil
		}
		if ok {
			return false, bad
		}
		return false, nil
	case string:
		if !strings.Contains(m, "AutoConfig") {
			return false, nil
		}
	case []any:
		if !slices.ContainsFunc(m, func(v any) bool { return v == "AutoConfig" }) {
			return false, nil
		}
	}
	return false, bad
}

// byType finds a class. Types that transformers knows and no architecture of the registry uses are not in the
// table: for them the file counts as it is, with a warning, where the reference would fill in defaults.
func (t *tables) byType(modelType string) (*class, error) {
	if name, ok := t.types[modelType]; ok {
		return t.classes[name], nil
	}
	if slices.Contains(t.known, modelType) {
		return nil, fmt.Errorf("the defaults of model_type %q are not known here", modelType)
	}
	return nil, fmt.Errorf("unknown model_type %q", modelType)
}

// tidy is what to_dict does to every nested object: dtype as text, private keys removed.
func (t *tables) tidy(o Object) error {
	// Deleting while ranging is safe in Go, and a key that is set here was there before.
	for k, v := range o {
		switch k {
		case "_auto_class", "_commit_hash", "_attn_implementation_internal", "base_model_tp_plan", "base_model_pp_plan":
			delete(o, k)
			continue
		case "dtype":
			s, err := dtypeText(v)
			if err != nil {
				return err
			}
			o[k] = s
		}
		if sub, ok := v.(Object); ok {
			if err := t.tidy(sub); err != nil {
				return err
			}
		}
	}
	if v, ok := o["_output_attentions"]; ok {
		o["output_attentions"] = v
		delete(o, "_output_attentions")
	}
	return nil
}

// dtypeText is what to_dict makes of a value under any key dtype: the part after the dot of its text.
func dtypeText(v any) (any, error) {
	switch v := v.(type) {
	case float64:
		_, after, ok := strings.Cut(FormatFloat(v), ".")
		if !ok {
			return nil, errors.New("dtype is " + kind(v))
		}
		return after, nil
	case []any:
		return nil, errors.New("dtype is a list")
	case Object:
		for k, e := range v {
			s := pythonText(e)
			v[k] = s[strings.LastIndexByte(s, '.')+1:]
		}
	}
	return v, nil
}

// pythonText is str(v) of a scalar.
func pythonText(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		if v {
			return "True"
		}
		return "False"
	case float64:
		return FormatFloat(v)
	}
	return fmt.Sprint(v)
}

// canonicalHeads is the root's second look at pruned_heads, whose keys are layer numbers.
func canonicalHeads(o Object) error {
	heads, ok := o.Object("pruned_heads")
	if !ok {
		return errors.New("pruned_heads is no object")
	}
	keyed, err := intKeys(heads, "pruned_heads")
	o["pruned_heads"] = keyed
	return err
}

// intKeys is {int(k): v}, with the numbers as text again.
func intKeys(o Object, what string) (Object, error) {
	out := make(Object, len(o))
	for k, v := range o {
		digits := strings.ReplaceAll(strings.TrimSpace(k), "_", "")
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: the key %q is no number", what, k)
		}
		out[strconv.FormatInt(n, 10)] = v
	}
	return out, nil
}
