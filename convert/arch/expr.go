package arch

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"

	"quern/convert/config"
	"quern/convert/fault"
)

// Expr computes a value from a configuration and prints as what it computes.
//
// Values are nil (absent or null), bool, int64, *big.Int, float64, string, []any, config.Object and slices of the first six.
type Expr interface {
	Eval(e *Env) (any, error)
	String() string
}

// expr is an expression as a text and a function.
type expr struct {
	text string
	eval func(*Env) (any, error)
}

func (x *expr) Eval(e *Env) (any, error) { return x.eval(e) }
func (x *expr) String() string           { return x.text }

// Fn is an expression in code; doc is what `quern archs --rules` prints for it.
func Fn(doc string, eval func(*Env) (any, error)) Expr { return &expr{doc, eval} }

// Const is a fixed value. Integers and floats differ: 1.0 cannot be written under an integer key.
func Const(v any) Expr {
	if i, ok := v.(int); ok {
		v = int64(i)
	}
	return &expr{show(v), func(*Env) (any, error) { return v, nil }}
}

// Cfg is the first of the keys that the configuration has. None, or null, is an error.
func Cfg(keys ...string) Expr {
	return &expr{strings.Join(keys, "|"), func(e *Env) (any, error) {
		v, ok := e.value(keys...)
		if !ok {
			return nil, &fault.Invalid{On: "config.json", Says: "no " + strings.Join(keys, " or "), Next: "the architecture " + e.HF + " needs it"}
		}
		if v == nil {
			return nil, &fault.Invalid{On: "config.json: " + strings.Join(keys, " or "), Says: "is null"}
		}
		return v, nil
	}}
}

// CfgNull is Cfg where a null is an answer: some key must be there, but nothing is written for its null.
func CfgNull(keys ...string) Expr {
	given := Cfg(keys...)
	return &expr{given.String() + " or null", func(e *Env) (any, error) {
		if v, ok := e.value(keys...); ok && v == nil {
			return nil, nil
		}
		return given.Eval(e)
	}}
}

// Opt is the first of the keys that the configuration has, nil for none or null. A key with a nil value is not written.
func Opt(keys ...string) Expr {
	return &expr{strings.Join(keys, "|") + "?", func(e *Env) (any, error) {
		v, _ := e.value(keys...)
		return v, nil
	}}
}

// CfgOr is the key's value, or dflt where the key is absent: Python's get(key, dflt). A null stays nil.
func CfgOr(key string, dflt any) Expr {
	d := asExpr(dflt)
	return &expr{fmt.Sprintf("%s else %s", key, d), func(e *Env) (any, error) {
		if v, ok := e.value(key); ok {
			return v, nil
		}
		return d.Eval(e)
	}}
}

// Else is x, or dflt (a value or an expression) where x is nil.
func Else(x Expr, dflt any) Expr {
	d := asExpr(dflt)
	return &expr{fmt.Sprintf("%s or, if null, %s", x, d), func(e *Env) (any, error) {
		v, err := x.Eval(e)
		if v != nil || err != nil {
			return v, err
		}
		return d.Eval(e)
	}}
}

// Or is x where it is true, else dflt: Python's "x or dflt".
func Or(x Expr, dflt any) Expr {
	d := asExpr(dflt)
	return &expr{fmt.Sprintf("%s or %s", x, d), func(e *Env) (any, error) {
		v, err := x.Eval(e)
		if config.Truth(v) || err != nil {
			return v, err
		}
		return d.Eval(e)
	}}
}

// In evaluates x with the nested object under key in place of the configuration; without that object x sees an empty one.
func In(key string, x Expr) Expr {
	return &expr{key + "." + x.String(), func(e *Env) (any, error) {
		inner := *e
		inner.Config, _ = e.Config.Object(key)
		return x.Eval(&inner)
	}}
}

// Rope evaluates x over the rope parameters, those of full attention where they are told apart by kind of attention.
func Rope(x Expr) Expr {
	return &expr{"rope." + x.String(), func(e *Env) (any, error) {
		inner := *e
		inner.Config = e.rope()
		return x.Eval(&inner)
	}}
}

// RopeAll evaluates x over all rope parameters.
func RopeAll(x Expr) Expr {
	return &expr{"rope_parameters." + x.String(), func(e *Env) (any, error) {
		inner := *e
		inner.Config = e.Rope
		return x.Eval(&inner)
	}}
}

func (e *Env) rope() config.Object {
	if full, ok := e.Rope.Object("full_attention"); ok {
		return full
	}
	return e.Rope
}

// asExpr makes a constant of a plain value.
func asExpr(v any) Expr {
	if x, ok := v.(Expr); ok {
		return x
	}
	return Const(v)
}

func asExprs(vs []any) []Expr {
	out := make([]Expr, len(vs))
	for i, v := range vs {
		out[i] = asExpr(v)
	}
	return out
}

// Mul is the product, of integers if all factors are.
func Mul(xs ...any) Expr {
	return arith(" * ", xs, func(a, b int64) (int64, bool) { return mulInt(a, b) }, func(a, b float64) float64 { return a * b })
}

// Add is the sum.
func Add(xs ...any) Expr {
	return arith(" + ", xs, addInt, func(a, b float64) float64 { return a + b })
}

// Sub is the first minus the others.
func Sub(xs ...any) Expr {
	return arith(" - ", xs, func(a, b int64) (int64, bool) { return addInt(a, -b) }, func(a, b float64) float64 { return a - b })
}

// FloorDiv is Python's //. A division by zero is an error.
func FloorDiv(xs ...any) Expr {
	return arith(" // ", xs, func(a, b int64) (int64, bool) {
		if b == 0 || a == math.MinInt64 && b == -1 {
			return 0, false
		}
		q := a / b
		if a%b != 0 && (a < 0) != (b < 0) {
			q--
		}
		return q, true
	}, func(a, b float64) float64 { return math.Floor(a / b) })
}

// Div is Python's /: always a float.
func Div(a, b any) Expr {
	x, y := asExpr(a), asExpr(b)
	return &expr{fmt.Sprintf("%s / %s", x, y), func(e *Env) (any, error) {
		n, err := e.Float(x)
		if err != nil {
			return nil, err
		}
		d, err := e.Float(y)
		if err == nil && d == 0 {
			err = &fault.Invalid{On: "config.json: " + y.String(), Says: "is 0 and divides " + x.String()}
		}
		return n / d, err
	}}
}

// Trunc is Python's int(x).
func Trunc(x any) Expr {
	a := asExpr(x)
	return &expr{fmt.Sprintf("int(%s)", a), func(e *Env) (any, error) {
		v, err := a.Eval(e)
		if i, ok := integer(v); ok || err != nil {
			if ok && i.IsInt64() {
				return i.Int64(), err
			}
			return i, err
		}
		f, err := e.Float(a)
		if err == nil && !(math.Abs(f) < 1<<63) {
			err = &fault.Invalid{On: "config.json: " + a.String(), Says: fmt.Sprintf("%v is no integer", f)}
		}
		return int64(f), err
	}}
}

func addInt(a, b int64) (int64, bool) {
	s := a + b
	return s, (s > a) == (b > 0)
}

func mulInt(a, b int64) (int64, bool) {
	p := new(big.Int).Mul(big.NewInt(a), big.NewInt(b))
	return p.Int64(), p.IsInt64()
}

// arith folds numbers from the left, as integers while both sides are.
func arith(op string, xs []any, ints func(a, b int64) (int64, bool), floats func(a, b float64) float64) Expr {
	list := asExprs(xs)
	texts := make([]string, len(list))
	for i, x := range list {
		texts[i] = x.String()
	}
	text := "(" + strings.Join(texts, op) + ")"
	return &expr{text, func(e *Env) (any, error) {
		var acc any
		for i, x := range list {
			v, err := x.Eval(e)
			if err != nil {
				return nil, err
			}
			if _, ok := number(v); !ok {
				return nil, &fault.Invalid{On: "config.json: " + x.String(), Says: "a number is needed, not " + show(v)}
			}
			if i == 0 {
				acc = v
				continue
			}
			if acc, err = fold(acc, v, ints, floats); err != nil {
				return nil, &fault.Invalid{On: "config.json: " + text, Says: "cannot be computed", Err: err}
			}
		}
		return acc, nil
	}}
}

func fold(a, b any, ints func(a, b int64) (int64, bool), floats func(a, b float64) float64) (any, error) {
	x, xi := integer(a)
	y, yi := integer(b)
	if xi && yi {
		if !x.IsInt64() || !y.IsInt64() {
			return nil, fmt.Errorf("%v and %v are too large", a, b)
		}
		v, ok := ints(x.Int64(), y.Int64())
		if !ok {
			return nil, fmt.Errorf("%v and %v have no 64-bit result", a, b)
		}
		return v, nil
	}
	f, _ := number(a)
	g, _ := number(b)
	return floats(f, g), nil
}

// show prints a value for rules and messages; long ones are cut.
func show(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		v = strconv.Quote(v)
		if len(v) > 60 {
			v = v[:60] + `..."`
		}
		return v
	case float64:
		s := strconv.FormatFloat(v, 'g', -1, 64)
		if !strings.ContainsAny(s, ".eIN") {
			s += ".0"
		}
		return s
	case config.Object:
		return fmt.Sprintf("an object of %d keys", len(v))
	}
	if list, ok := asList(v); ok && len(list) > 8 {
		return fmt.Sprintf("a list of %d", len(list))
	}
	return fmt.Sprint(v)
}
