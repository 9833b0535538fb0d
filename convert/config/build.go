package config

import (
	"errors"
	"fmt"
	"slices"

	"quern/convert/fault"
)

// build is an object of a configuration class while its rules run.
type build struct {
	t    *tables
	cls  *class
	file Object // the keys given
	vals Object // attributes as they stand: parameters with their defaults, and all other keys of the file
	rest Object // the keys of the file that are no parameter of the class
}

// step is one rule of a class. An error means that the reference takes the file as it is.
type step func(b *build) error

// dropped are keys that to_dict never shows.
var dropped = []string{"attn_implementation", "_attn_implementation", "_commit_hash", "_auto_class", "transformers_version"}

// complete makes the class's object of the file's keys. Nested objects are shared with the result.
//
// A class's object is plain: parameters and other keys of the file live in one map, as Python's attributes do. What the
// rules must still tell apart is kept beside it: what the file gave (a preset gives way to it), and what of that is no
// parameter (aliases, and the text part of a model that has none of its own).
func (t *tables) complete(cls *class, file Object) (Object, error) {
	b := &build{t: t, cls: cls, file: file, vals: clone(cls.defaults).(Object), rest: Object{}}
	for k, v := range file {
		if slices.Contains(cls.readOnly, k) || k == "use_return_dict" {
			return nil, fmt.Errorf("%s cannot be set for this model type", k)
		}
		// A parameter takes the file's value, null included; any other key is kept as an attribute.
		if !cls.defaults.Has(k) {
			b.rest[k] = v
		}
		b.vals[k] = v
	}
	for _, s := range stepsOf(cls.name) {
		if err := s(b); err != nil {
			return nil, err
		}
	}
	for _, k := range slices.Concat(cls.drop, dropped) {
		delete(b.vals, k)
	}
	// to_dict calls a method of it unless it is an object: null, too, makes the file raw.
	if v, ok := b.vals["quantization_config"]; ok {
		if _, ok := v.(Object); !ok {
			return nil, errors.New("quantization_config is " + kind(v))
		}
	}
	b.vals["model_type"] = cls.modelType
	return b.vals, nil
}

// base is the common base class: other names become real ones, common defaults, dtype, labels.
// Source: transformers configuration_utils.py, PretrainedConfig.__init__.
func base(b *build) error {
	names := make([]string, 0, len(b.cls.aliases))
	for k := range b.cls.aliases {
		names = append(names, k)
	}
	// Of two other names for one (Whisper's heads) the later in the file would win; an Object has no order, so
	// num_attention_heads does, as in the answer whisper.3, whose file once had that order.
	slices.Sort(names)
	for _, k := range slices.Backward(names) {
		v, ok := b.rest[k]
		if !ok {
			continue
		}
		delete(b.vals, k)
		if real := b.cls.aliases[k]; !slices.Contains(b.cls.lost, real) {
			b.vals[real] = v
		}
	}
	for k, v := range b.t.base {
		if _, ok := b.vals[k]; !ok {
			b.vals[k] = clone(v)
		}
	}
	if b.vals["pruned_heads"] == nil {
		b.vals["pruned_heads"] = Object{}
	}
	if v := b.vals["problem_type"]; v != nil && v != "regression" && v != "single_label_classification" && v != "multi_label_classification" {
		return errors.New("problem_type is " + kind(v))
	}
	if _, ok := b.vals["_name_or_path"]; !ok {
		b.vals["_name_or_path"], _ = b.vals["name_or_path"].(string)
	}
	delete(b.vals, "name_or_path")
	if err := b.dtype(); err != nil {
		return err
	}
	return b.labels()
}

// baseAlone is the base class called without the file's other keys, which are lost.
func baseAlone(b *build) error {
	for k := range b.rest {
		delete(b.vals, k)
	}
	b.rest = Object{}
	return base(b)
}

// dtype resolves the type of the weights: dtype wins over the older torch_dtype, and a name that is no attribute of
// torch ("auto") makes the file raw.
func (b *build) dtype() error {
	old := b.vals["torch_dtype"]
	delete(b.vals, "torch_dtype")
	if b.vals["dtype"] == nil {
		b.vals["dtype"] = old
	}
	if name, ok := b.vals["dtype"].(string); ok {
		v, ok := b.t.dtypes[name]
		if !ok {
			return fmt.Errorf("dtype %q is none of torch's", name)
		}
		b.vals["dtype"] = v
	}
	return nil
}

// labels are two dummies, num_labels dummies, or what the file says with its keys as integers.
func (b *build) labels() error {
	for _, k := range []string{"label2id", "id2label"} {
		if _, ok := b.vals[k].(Object); !ok && b.vals[k] != nil {
			return errors.New(k + " is " + kind(b.vals[k]))
		}
	}
	count, has := b.vals["num_labels"]
	delete(b.vals, "num_labels")
	if ids, ok := b.vals["id2label"].(Object); ok {
		keyed, err := intKeys(ids, "id2label")
		b.vals["id2label"] = keyed
		if _, ok := b.vals["label2id"]; !ok {
			b.vals["label2id"] = nil
		}
		return err
	}
	if !has || count == nil {
		count = int64(2)
	}
	n, err := length(count, "num_labels")
	if err != nil {
		return err
	}
	ids, labels := make(Object, n), make(Object, n)
	for i := range n {
		name := fmt.Sprintf("LABEL_%d", i)
		ids[fmt.Sprint(i)], labels[name] = name, int64(i)
	}
	b.vals["id2label"], b.vals["label2id"] = ids, labels
	return nil
}

// maxLayers bounds every list whose length a configuration states (layers, labels): the reference would fill
// memory for a number that no model has. The deepest known model has some hundreds of layers.
const maxLayers = 1 << 16

// length is len(range(v)): an integer or a boolean, below zero is none.
func length(v any, key string) (int, error) {
	_, i, ok := number(v)
	switch {
	case !ok || i == nil:
		return 0, errors.New(key + " is " + kind(v))
	case i.Sign() < 0:
		return 0, nil
	case !i.IsInt64() || i.Int64() > maxLayers:
		return 0, &fault.Invalid{On: file + ": " + key, Says: fmt.Sprintf("%s, at most %d are read", kind(v), maxLayers)}
	}
	return int(i.Int64()), nil
}

// layers is the number of layers, num_hidden_layers.
func (b *build) layers() (int, error) {
	return length(b.vals["num_hidden_layers"], "num_hidden_layers")
}

// sub makes the object under key a configuration of that class.
func sub(key, name string) step {
	return func(b *build) error { return b.sub(key, "", b.t.classes[name], nil) }
}

// subOrRoot is sub; where the file has no such object it is made of the root's other keys. Nested objects are
// then shared: what the class rewrites in rope_scaling shows at the root too.
func subOrRoot(key, name string) step {
	return func(b *build) error { return b.sub(key, "", b.t.classes[name], b.rest) }
}

// subByType is sub with the class of the object's own model_type, modelType when it has none.
func subByType(key, modelType string) step {
	return func(b *build) error { return b.sub(key, modelType, nil, nil) }
}

// sub does the work: the given object, or what stands for a missing one, with the class by name or by model_type.
// Any other value than an object is a failure; the reference passes some of those on and fails later.
func (b *build) sub(key, modelType string, cls *class, absent Object) error {
	given, ok := b.vals[key].(Object)
	if v := b.vals[key]; v == nil {
		given = absent
		if made, has := b.cls.absent.Object(key); has {
			given = b.fromRoot(made)
		}
	} else if !ok {
		return errors.New(key + " is " + kind(v))
	}
	if under, ok := b.cls.under.Object(key); ok {
		given = under.Clone().Merge(given)
	}
	if cls == nil {
		if v, has := given["model_type"]; has {
			if modelType, ok = v.(string); !ok {
				return fmt.Errorf("%s: model_type is %s", key, kind(v))
			}
		}
		var err error
		if cls, err = b.t.byType(modelType); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	out, err := b.t.complete(cls, given)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	b.vals[key] = out
	return nil
}

// fromRoot copies what a missing sub-configuration is made from; "=k" stands for the root's value of k.
func (b *build) fromRoot(made Object) Object {
	o := made.Clone()
	for k, v := range o {
		if s, ok := v.(string); ok && s != "" && s[0] == '=' {
			o[k] = b.vals[s[1:]]
		}
	}
	return o
}
