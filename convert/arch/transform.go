package arch

import (
	"fmt"
	"strings"

	"quern/convert/safetensors"
	"quern/convert/view"
)

// Transform changes what a tensor holds or its shape, not its name. Expressions in it see the number of the
// tensor's block as Block. Nothing is read before the file is written.
type Transform interface {
	apply(b *Build, it Item, v view.Tensor) (view.Tensor, error)
	String() string
}

// transform is a Transform as a text and a function.
type transform struct {
	text string
	f    func(b *Build, it Item, v view.Tensor) (view.Tensor, error)
	rows bool // it only chooses rows
}

func (t *transform) apply(b *Build, it Item, v view.Tensor) (view.Tensor, error) {
	return t.f(b, it, v)
}
func (t *transform) String() string { return t.text }

// View is a transform in code; doc is what the printed rules say.
func View(doc string, f func(b *Build, it Item, v view.Tensor) (view.Tensor, error)) Transform {
	return &transform{text: doc, f: f}
}

func plain(text string, f func(view.Tensor) (view.Tensor, error)) Transform {
	return &transform{text: text, f: func(_ *Build, _ Item, v view.Tensor) (view.Tensor, error) { return f(v) }}
}

// withInts is a transform that takes integers from the configuration.
func withInts(text string, args []any, f func(v view.Tensor, n []int64) (view.Tensor, error)) *transform {
	xs := asExprs(args)
	texts := make([]string, len(xs))
	for i, x := range xs {
		texts[i] = x.String()
	}
	return &transform{text: fmt.Sprintf(text, strings.Join(texts, ", ")), f: func(b *Build, it Item, v view.Tensor) (view.Tensor, error) {
		e := b.blockEnv(it.Block)
		n := make([]int64, len(xs))
		for i, x := range xs {
			var err error
			if n[i], err = e.Int(x); err != nil {
				return v, err
			}
		}
		return f(v, n)
	}}
}

// arithmetic is a transform that computes: like the reference it works in F32 on everything but F16.
func arithmetic(text string, x any, f func(v view.Tensor, s float32) (view.Tensor, error)) Transform {
	s := asExpr(x)
	return &transform{text: fmt.Sprintf(text, s), f: func(b *Build, it Item, v view.Tensor) (view.Tensor, error) {
		n, err := b.blockEnv(it.Block).Float(s)
		if err != nil {
			return v, err
		}
		if v, err = wide(v); err != nil {
			return v, err
		}
		return f(v, float32(n))
	}}
}

// wide converts to F32 what the reference computes in F32: every type but F16. Source: conversion/base.py, prepare_tensors.
func wide(v view.Tensor) (view.Tensor, error) {
	if v.DType == safetensors.F16 || v.DType == safetensors.F32 {
		return v, nil
	}
	return view.Cast(v, safetensors.F32)
}

// Computation.
var (
	// NegExp is -exp(x), for the A of state spaces.
	NegExp = plain("-exp", func(v view.Tensor) (view.Tensor, error) {
		v, err := exp(v)
		if err != nil {
			return v, err
		}
		return view.Negate(v)
	})
	// Exp is exp(x).
	Exp = plain("exp", exp)
)

func exp(v view.Tensor) (view.Tensor, error) {
	v, err := wide(v)
	if err != nil {
		return v, err
	}
	return view.Exp(v)
}

// Plus adds a number, a value or an expression, to every element.
func Plus(x any) Transform { return arithmetic("+ %s", x, view.AddScalar) }

// Times multiplies every element.
func Times(x any) Transform { return arithmetic("* %s", x, view.Scale) }

// Over divides every element, which is not the same as multiplying by the inverse.
func Over(x any) Transform { return arithmetic("/ %s", x, view.Divide) }

// Shapes.
var (
	// Transposed exchanges the last two dimensions.
	Transposed = plain("transpose", view.Transpose)
	// SqueezeAll drops every dimension of size 1.
	SqueezeAll = plain("squeeze", view.SqueezeAll)
)

// Squeeze drops a dimension of size 1.
func Squeeze(axis int) Transform {
	return plain(fmt.Sprintf("squeeze %d", axis), func(v view.Tensor) (view.Tensor, error) { return view.Squeeze(v, axis) })
}

// Unsqueeze adds a dimension of size 1 before dimension axis; -1 adds it behind the last.
func Unsqueeze(axis int) Transform {
	return plain(fmt.Sprintf("unsqueeze %d", axis), func(v view.Tensor) (view.Tensor, error) { return view.Unsqueeze(v, axis) })
}

// Permute orders the dimensions anew.
func Permute(axes ...int) Transform {
	return plain("permute "+fmt.Sprint(axes), func(v view.Tensor) (view.Tensor, error) { return view.Permute(v, axes...) })
}

// Reshape gives another shape, numbers or expressions, outermost first; one may be -1.
func Reshape(shape ...any) Transform {
	return withInts("reshape to %s", shape, func(v view.Tensor, n []int64) (view.Tensor, error) { return view.Reshape(v, n...) })
}

// Unfold gives each row a shape; the number of rows stays, so that a configuration of another width is refused.
func Unfold(shape ...any) Transform {
	return withInts("rows to %s", shape, func(v view.Tensor, n []int64) (view.Tensor, error) {
		if len(v.Shape) > 0 {
			n = append([]int64{v.Shape[0]}, n...)
		}
		return view.Reshape(v, n...)
	})
}

// Rows.

// Rotary undoes the order in which Hugging Face keeps the rows of query and key projections with rotary positions; heads
// is the number of heads in the tensor.
func Rotary(heads any) Transform {
	t := withInts("rotary order of %s heads", []any{heads}, func(v view.Tensor, n []int64) (view.Tensor, error) { return view.Rotary(v, n[0]) })
	t.rows = true
	return t
}

// Keep keeps the rows [from, to) of an axis; to may be nil, which is the end.
func Keep(axis int, from, to any) Transform {
	if to == nil {
		return withInts(fmt.Sprintf("axis %d from %%s", axis), []any{from}, func(v view.Tensor, n []int64) (view.Tensor, error) {
			if axis < 0 && -axis <= len(v.Shape) || axis >= 0 && axis < len(v.Shape) {
				return slice(v, axis, n[0], v.Shape[(axis+len(v.Shape))%len(v.Shape)])
			}
			return v, fmt.Errorf("no axis %d", axis)
		})
	}
	return withInts(fmt.Sprintf("axis %d [%%s)", axis), []any{from, to}, func(v view.Tensor, n []int64) (view.Tensor, error) { return slice(v, axis, n[0], n[1]) })
}

// Every keeps each step-th element of an axis, beginning with the first-th: Python's [first::step].
func Every(axis int, first, step int64) Transform {
	return plain(fmt.Sprintf("axis %d [%d::%d]", axis, first, step), func(v view.Tensor) (view.Tensor, error) {
		a := axis
		if a < 0 {
			a += len(v.Shape)
		}
		if a < 0 || a >= len(v.Shape) || step <= 0 {
			return v, fmt.Errorf("no axis %d in steps of %d", axis, step)
		}
		var index []int64
		for i := first; i < v.Shape[a]; i += step {
			index = append(index, i)
		}
		return view.Gather(v, a, index)
	})
}

// FirstRows keeps the first n rows, all of them where there are no more.
func FirstRows(n any) Transform {
	return withInts("first %s rows", []any{n}, func(v view.Tensor, n []int64) (view.Tensor, error) {
		if len(v.Shape) > 0 && n[0] >= v.Shape[0] {
			return v, nil
		}
		return view.Rows(v, 0, n[0])
	})
}

// Take keeps the listed elements of an axis, in this order.
func Take(axis int, index ...int64) Transform {
	return plain(fmt.Sprintf("axis %d %v", axis, index), func(v view.Tensor) (view.Tensor, error) { return view.Gather(v, axis, index) })
}

// Extent leaves a tensor as it is whose axis has the extent n, and refuses others.
func Extent(axis int, n any) Transform {
	return withInts(fmt.Sprintf("axis %d must be %%s", axis), []any{n}, func(v view.Tensor, n []int64) (view.Tensor, error) {
		a := axis
		if a < 0 {
			a += len(v.Shape)
		}
		if a >= 0 && a < len(v.Shape) && v.Shape[a] == n[0] {
			return v, nil
		}
		return v, fmt.Errorf("axis %d is not %d", axis, n[0])
	})
}

// Ranges cuts the first axis into parts, transforms each and puts them together again. Parts have no names here.
func Ranges(parts ...Part) Transform {
	return View("rows "+partTexts(parts), func(b *Build, it Item, v view.Tensor) (view.Tensor, error) {
		if len(v.Shape) == 0 {
			return v, fmt.Errorf("no rows")
		}
		sizes, err := b.sizes(parts, it, v.Shape[0])
		if err != nil {
			return v, err
		}
		pieces, err := view.Split(v, 0, sizes...)
		if err != nil {
			return v, err
		}
		for i := range pieces {
			p := it
			p.View = pieces[i]
			if pieces[i], err = on(parts[i].Then).run(b, p); err != nil {
				return v, err
			}
		}
		return concat(pieces)
	})
}

// rowsAre leaves a tensor as it is and refuses another number of rows than n.
func rowsAre(n any) Transform {
	return withInts("%s rows", []any{n}, func(v view.Tensor, n []int64) (view.Tensor, error) {
		if len(v.Shape) == 0 || v.Shape[0] != n[0] {
			return v, fmt.Errorf("want %d rows", n[0])
		}
		return v, nil
	})
}

// PadRows appends rows of zeros until there are n.
func PadRows(n any) Transform {
	return withInts("pad to %s rows", []any{n}, func(v view.Tensor, n []int64) (view.Tensor, error) {
		if len(v.Shape) > 0 && n[0] <= v.Shape[0] {
			return v, nil
		}
		return view.PadRows(v, n[0])
	})
}

// Ungroup puts the first axis, which is groups x (a member of each size), into the order of members: all first members,
// then all second ones, as llama.cpp wants fused query-key-value projections.
func Ungroup(groups any, sizes ...any) Transform {
	return withInts("regroup (%s)", append([]any{groups}, sizes...), func(v view.Tensor, n []int64) (view.Tensor, error) {
		parts, err := view.Regroup(v, n[0], n[1:]...)
		if err != nil {
			return v, err
		}
		return view.Concat(0, parts...)
	})
}

// SplitGroups is Split for a first axis of groups x (a member of each part's size): part i holds member i of every group.
func SplitGroups(p Pattern, groups any, parts ...Part) Rule {
	return rule(p, splitGroups{asExpr(groups), parts})
}

type splitGroups struct {
	groups Expr
	parts  []Part
}

func (s splitGroups) apply(b *Build, it Item) ([]Item, error) {
	e := b.blockEnv(it.Block)
	groups, err := e.Int(s.groups)
	if err != nil {
		return nil, err
	}
	sizes := make([]int64, len(s.parts))
	for i, p := range s.parts {
		if sizes[i], err = e.Int(asExpr(p.Size)); err != nil {
			return nil, err
		}
	}
	pieces, err := view.Regroup(it.View, groups, sizes...)
	if err != nil {
		return nil, err
	}
	out := make([]Item, len(pieces))
	for i, v := range pieces {
		if out[i], err = b.piece(s.parts[i], it, v); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (s splitGroups) String() string {
	return fmt.Sprintf("split %s groups into %s", s.groups, partTexts(s.parts))
}

// slice is view.Slice with its bounds checked as expressions give them.
func slice(v view.Tensor, axis int, lo, hi int64) (view.Tensor, error) {
	return view.Slice(v, axis, lo, hi)
}

// stack and concat promote members of different types to F32, as torch does.
func stack(members []view.Tensor) (view.Tensor, error) {
	members, err := promoted(members)
	if err != nil {
		return view.Tensor{}, err
	}
	return view.Stack(members...)
}

func concat(members []view.Tensor) (view.Tensor, error) {
	members, err := promoted(members)
	if err != nil {
		return view.Tensor{}, err
	}
	return view.Concat(0, members...)
}

func promoted(members []view.Tensor) ([]view.Tensor, error) {
	same := true
	for i := range members {
		same = same && members[i].DType == members[0].DType
	}
	if same {
		return members, nil
	}
	out := make([]view.Tensor, len(members))
	for i := range members {
		var err error
		if out[i], err = view.Cast(members[i], safetensors.F32); err != nil {
			return nil, err
		}
	}
	return out, nil
}
