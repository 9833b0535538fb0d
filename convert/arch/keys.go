package arch

import (
	"fmt"
	"slices"
	"strings"

	"quern/convert/config"
	"quern/convert/fault"
	"quern/convert/gguf"
)

// Key is one step of making metadata: in a list of keys, each sees what Let steps before it changed.
type Key struct {
	Name  string // such as "attention.head_count", without the architecture; or a whole name, such as "xielu.beta"
	Value Expr
	If    Expr // nil: always

	in   part // of let: whose key is replaced
	let  bool // Value replaces the configuration's key Name, for the steps that follow
	fail bool // Name is the reason of a refusal
	do   func(*Meta) error
}

// Keys is metadata in order. Setting a key again keeps its first place, as in the reference.
type Keys []Key

// Set writes a key. A nil value (Opt of an absent key) writes nothing.
func Set(name string, value any) Key { return Key{Name: name, Value: asExpr(value)} }

// Let gives the configuration another value under a key, for the steps that follow; nothing is written.
func Let(name string, value any) Key { return Key{Name: name, Value: asExpr(value), let: true} }

// Fail refuses the checkpoint where the condition holds; reason is in lower case.
func Fail(cond Expr, reason string) Key { return Key{Name: reason, If: cond, fail: true} }

// Do runs code; doc is what the printed rules say.
func Do(doc string, f func(*Meta) error) Key { return Key{Name: doc, do: f} }

// Lift puts the keys of a nested object over the configuration, and its rope parameters in place of the present ones.
func Lift(key string) Key {
	return Do("lift the keys of "+key, func(m *Meta) error {
		inner, ok := m.Config.Object(key)
		if !ok {
			return nil
		}
		c := *m.Env
		var err error
		if c.Config, c.Rope, err = (&config.Config{Object: m.Config.Merge(inner)}).Text(); err != nil {
			return err
		}
		m.Env = &c
		return nil
	})
}

// When makes steps depend on a condition too.
func When(cond Expr, keys ...Key) Keys {
	out := slices.Clone(keys)
	for i := range out {
		if out[i].If == nil {
			out[i].If = cond
		} else {
			out[i].If = All(cond, out[i].If)
		}
	}
	return out
}

// Then appends steps: the lists stay as they are.
func (k Keys) Then(more ...Key) Keys { return append(slices.Clip(k), more...) }

// Also appends whole lists.
func (k Keys) Also(lists ...Keys) Keys { return append(slices.Clip(k), slices.Concat(lists...)...) }

// String is the step as `quern archs --rules` prints it.
func (k Key) String() string {
	s := ""
	switch {
	case k.fail:
		s = "refuse: " + k.Name
	case k.do != nil:
		s = "code: " + k.Name
	case k.let:
		s = "let " + k.Name + " = " + k.Value.String()
	default:
		s = k.Name + " = " + k.Value.String()
	}
	if k.If != nil {
		s += "   if " + k.If.String()
	}
	return s
}

// Meta is metadata under construction.
type Meta struct {
	*Env
	b *Build
}

// Set writes a key as the step Set does.
func (m *Meta) Set(name string, v any) error {
	if v == nil {
		return nil
	}
	return m.b.meta.set(m.GGUF, name, v)
}

// run takes the steps in order.
func (m *Meta) run(keys Keys) error {
	for _, k := range keys {
		ok, err := m.Truth(k.If)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if err := m.step(k); err != nil {
			return err
		}
	}
	return nil
}

func (m *Meta) step(k Key) error {
	switch {
	case k.fail:
		return &fault.Unsupported{On: m.HF, Says: k.Name}
	case k.do != nil:
		return k.do(m)
	}
	v, err := k.Value.Eval(m.Env)
	if err != nil {
		return err
	}
	if k.let {
		m.Env = m.Env.withIn(k.in, k.Name, v)
		return nil
	}
	if err := m.Set(k.Name, v); err != nil {
		return &fault.Invalid{On: "config.json: " + k.Value.String(), Says: "cannot be written as " + k.Name, Err: err}
	}
	return nil
}

// metadata is a list of entries in which a key that is set again keeps its place.
type metadata struct {
	kvs []gguf.KV
	at  map[string]int
}

// set converts and writes a value under a key that the tables know: with the architecture before it, or whole.
func (m *metadata) set(arch, name string, v any) error {
	t, err := loadTables()
	if err != nil {
		return err
	}
	full := name
	kind, ok := t.keys[name]
	for _, end := range []string{"_feat_in", "_feat_out"} {
		if strings.HasSuffix(name, end) {
			full, kind, ok = arch+"."+name, t.keys["{arch}.{dense}"+end], true
		}
	}
	for _, prefix := range []string{"{arch}.", arch + "."} {
		if k, mine := t.keys[prefix+name]; mine {
			full, kind, ok = arch+"."+name, k, true
		}
	}
	if !ok {
		return fmt.Errorf("no metadata key %q is known", name)
	}
	value, err := kind.value(v)
	if err != nil || value == nil {
		return err
	}
	m.put(full, value)
	return nil
}

// put writes a value that has its final type.
func (m *metadata) put(key string, value any) {
	if m.at == nil {
		m.at = map[string]int{}
	}
	if i, ok := m.at[key]; ok {
		m.kvs[i].Value = value
		return
	}
	m.at[key] = len(m.kvs)
	m.kvs = append(m.kvs, gguf.KV{Key: key, Value: value})
}

// knownKey tells whether the tables know a key's name; rules are checked with it when they are registered.
func (t *tables) knownKey(arch, name string) bool {
	_, whole := t.keys[name]
	_, mine := t.keys["{arch}."+name]
	_, own := t.keys[arch+"."+name]
	return whole || mine || own || strings.HasSuffix(name, "_feat_in") || strings.HasSuffix(name, "_feat_out")
}
