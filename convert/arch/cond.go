package arch

import (
	"fmt"
	"slices"
	"strings"

	"quern/convert/fault"
)

// Conditions are expressions whose truth is Python's.

// Has holds where the configuration has one of the keys, null included.
func Has(keys ...string) Expr {
	return &expr{"has " + strings.Join(keys, "|"), func(e *Env) (any, error) { return e.Config.Has(keys...), nil }}
}

// Is holds where x equals one of the values.
func Is(x Expr, values ...any) Expr {
	for i, v := range values {
		if n, ok := v.(int); ok {
			values[i] = int64(n)
		}
	}
	return &expr{fmt.Sprintf("%s is %s", x, showAll(values)), func(e *Env) (any, error) {
		v, err := x.Eval(e)
		return slices.ContainsFunc(values, func(want any) bool { return equal(v, want) }), err
	}}
}

// equal compares as Python does: 1 == 1.0, and values of other types by themselves.
func equal(a, b any) bool {
	if f, ok := number(a); ok {
		g, ok := number(b)
		return ok && f == g
	}
	switch a.(type) {
	case nil, string:
		return a == b
	}
	return false
}

// Not, All and Any combine conditions.
func Not(x Expr) Expr {
	return &expr{"not " + x.String(), func(e *Env) (any, error) {
		ok, err := e.Truth(x)
		return !ok, err
	}}
}

// Flag is the truth of a key that must be there, for keys that are written as booleans. A null is false and is written, unlike under
// keys of other types: Python packs the truth of anything.
func Flag(key string) Expr { return Or(CfgNull(key), false) }

// FlagOr is Flag for a key with a default.
func FlagOr(key string, d bool) Expr { return Or(CfgOr(key, d), false) }

// All holds where every condition does; later ones are not looked at after one that does not.
func All(xs ...Expr) Expr { return join(" and ", xs, false) }

// Any holds where one condition does.
func Any(xs ...Expr) Expr { return join(" or ", xs, true) }

func join(word string, xs []Expr, stop bool) Expr {
	texts := make([]string, 0, len(xs))
	for _, x := range xs {
		texts = append(texts, x.String())
	}
	return &expr{strings.Join(texts, word), func(e *Env) (any, error) {
		for _, x := range xs {
			ok, err := e.Truth(x)
			if err != nil || ok == stop {
				return stop, err
			}
		}
		return !stop, nil
	}}
}

// Class holds for checkpoints of one of the class names.
func Class(names ...string) Expr {
	return &expr{"class is " + strings.Join(names, "|"), func(e *Env) (any, error) { return slices.Contains(names, e.HF), nil }}
}

// RootClass holds where the checkpoint itself, not its text model, is of one of the class names.
func RootClass(names ...string) Expr {
	return &expr{"checkpoint is " + strings.Join(names, "|"), func(e *Env) (any, error) { return slices.Contains(names, e.rootClass()), nil }}
}

func (e *Env) rootClass() string {
	if list, _ := e.Root.List("architectures"); len(list) > 0 {
		s, _ := list[0].(string)
		return s
	}
	return ""
}

// HasFile holds where the checkpoint has the file.
func HasFile(name string) Expr {
	return &expr{"has file " + name, func(e *Env) (any, error) { return e.hasFile(name), nil }}
}

// NoMTP holds where the user leaves the multi-token prediction layers out, MTPOnly where nothing else is wanted, DSparkOnly
// where only the DSpark draft is.
var (
	NoMTP   Expr = &expr{"--no-mtp", func(e *Env) (any, error) { return e.Options.NoMTP, nil }}
	MTPOnly Expr = &expr{"--mtp", func(e *Env) (any, error) { return e.Options.MTPOnly, nil }}

	DSparkOnly Expr = &expr{"--dspark", func(e *Env) (any, error) { return e.Options.DSpark, nil }}
)

// Block is the number of the block that a rule works on, -1 outside of blocks.
var Block Expr = &expr{"block", func(e *Env) (any, error) { return e.block, nil }}

// AtBlock is x, or of a list its element for the block that a rule works on.
func AtBlock(x Expr) Expr {
	return &expr{x.String() + "[block]", func(e *Env) (any, error) {
		v, err := x.Eval(e)
		list, ok := asList(v)
		if !ok || err != nil {
			return v, err
		}
		if e.block < 0 || e.block >= int64(len(list)) {
			return nil, &fault.Invalid{On: "config.json: " + x.String(), Says: fmt.Sprintf("a list of %d has no element for block %d", len(list), e.block)}
		}
		return list[e.block], nil
	}}
}

// HeadDim is the size of an attention head.
var HeadDim = Else(Opt("head_dim"), FloorDiv(Cfg("hidden_size"), Cfg("num_attention_heads")))

// LayersOf is a list of whether each element of the configuration's list under key is one of the words.
func LayersOf(key string, words ...string) Expr {
	return &expr{fmt.Sprintf("[%s is %s]", key, strings.Join(words, "|")), func(e *Env) (any, error) {
		v, _ := e.value(key)
		list, ok := v.([]any)
		if !ok {
			return nil, &fault.Invalid{On: "config.json: " + key, Says: "a list is needed, not " + show(v)}
		}
		out := make([]bool, len(list))
		for i, v := range list {
			s, _ := v.(string)
			out[i] = slices.Contains(words, s)
		}
		return out, nil
	}}
}

func showAll(values []any) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = show(v)
	}
	return strings.Join(texts, "|")
}

// Choose is a where the condition holds, else b.
func Choose(cond Expr, a, b any) Expr {
	x, y := asExpr(a), asExpr(b)
	return &expr{fmt.Sprintf("%s if %s else %s", x, cond, y), func(e *Env) (any, error) {
		ok, err := e.Truth(cond)
		if err != nil {
			return nil, err
		}
		if ok {
			return x.Eval(e)
		}
		return y.Eval(e)
	}}
}

// Null holds where x is absent or null.
func Null(x Expr) Expr {
	return &expr{"no " + x.String(), func(e *Env) (any, error) {
		v, err := x.Eval(e)
		return v == nil, err
	}}
}

// Leading is how many elements at the beginning of the configuration's list under key equal the value.
func Leading(key string, value any) Expr {
	if n, ok := value.(int); ok {
		value = int64(n)
	}
	return &expr{fmt.Sprintf("leading %s of %s", show(value), key), func(e *Env) (any, error) {
		v, _ := e.value(key)
		list, ok := v.([]any)
		if !ok {
			return nil, &fault.Invalid{On: "config.json: " + key, Says: "a list is needed, not " + show(v)}
		}
		n := int64(0)
		for n < int64(len(list)) && equal(list[n], value) {
			n++
		}
		return n, nil
	}}
}

// Equal holds where all numbers are the same.
func Equal(x Expr, others ...Expr) Expr {
	texts := []string{x.String()}
	for _, o := range others {
		texts = append(texts, o.String())
	}
	return &expr{strings.Join(texts, " = "), func(e *Env) (any, error) {
		want, err := e.Float(x)
		for _, o := range others {
			if err != nil {
				return nil, err
			}
			var f float64
			if f, err = e.Float(o); f != want {
				return false, err
			}
		}
		return true, err
	}}
}

// Positive holds for a number above 0.
func Positive(x Expr) Expr {
	return &expr{x.String() + " > 0", func(e *Env) (any, error) {
		n, err := e.Float(x)
		return n > 0, err
	}}
}
