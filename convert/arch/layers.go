package arch

import (
	"fmt"

	"quern/convert/fault"
)

// Values by layer.

// ByLayer is a list with a where the list layers holds, and b elsewhere.
func ByLayer(layers Expr, a, b any) Expr {
	x, y := asExpr(a), asExpr(b)
	return &expr{fmt.Sprintf("[%s where %s, else %s]", x, layers, y), func(e *Env) (any, error) {
		on, err := e.bools(layers)
		if err != nil {
			return nil, err
		}
		yes, err := x.Eval(e)
		if err != nil {
			return nil, err
		}
		no, err := y.Eval(e)
		if err != nil {
			return nil, err
		}
		out := make([]any, len(on))
		for i := range on {
			// Both were evaluated before: a configuration that lacks one of the two is an error even if no layer asks for it.
			if out[i] = no; on[i] {
				out[i] = yes
			}
		}
		return out, nil
	}}
}

// bools evaluates an expression that makes a list of truths.
func (e *Env) bools(x Expr) ([]bool, error) {
	v, err := x.Eval(e)
	if err != nil {
		return nil, err
	}
	list, ok := v.([]bool)
	if !ok {
		return nil, fmt.Errorf("%s is no list of truths", x)
	}
	return list, nil
}

// At is element i of a list.
func At(x Expr, i int) Expr {
	return &expr{fmt.Sprintf("%s[%d]", x, i), func(e *Env) (any, error) {
		v, err := x.Eval(e)
		if err != nil {
			return nil, err
		}
		list, ok := asList(v)
		if !ok || i >= len(list) {
			return nil, &fault.Invalid{On: "config.json: " + x.String(), Says: fmt.Sprintf("a list with an element %d is needed, not %s", i, show(v))}
		}
		return list[i], nil
	}}
}

// Repeat is a list with x for every block.
func Repeat(x any) Expr {
	v := asExpr(x)
	return &expr{fmt.Sprintf("[%s for each block]", v), func(e *Env) (any, error) {
		one, err := v.Eval(e)
		if err != nil {
			return nil, err
		}
		// Blocks has met maxBlocks by now.
		out := make([]any, e.Blocks)
		for i := range out {
			out[i] = one
		}
		return out, nil
	}}
}

// plusEach is a list with n added to every element; of nil it is an empty one.
func plusEach(x Expr, n int64) Expr {
	return &expr{fmt.Sprintf("%s, each plus %d", x, n), func(e *Env) (any, error) {
		v, err := x.Eval(e)
		list, _ := asList(v)
		out := make([]any, len(list))
		for i, id := range list {
			if err == nil {
				out[i], err = Add(id, n).Eval(e)
			}
		}
		return out, err
	}}
}
