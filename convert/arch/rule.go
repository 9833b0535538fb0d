package arch

import (
	"fmt"
	"slices"
	"strings"

	"quern/convert/fault"
	"quern/convert/gguf"
	"quern/convert/view"
)

// Item is a tensor on its way through the rules.
type Item struct {
	Name   string      // the checkpoint's at first, GGUF's at the end
	View   view.Tensor // what it holds
	Source string      // name of the tensor of the checkpoint that it came with; empty for a generated one
	From   string      // Name when Tensors began
	Block  int64       // the first number in From, or -1
	Final  bool        // Name is what is written, whether the architecture has such a role or not

	FP8    bool       // the checkpoint stores it in eight-bit floats
	Blocks gguf.Type  // View yields blocks of this type, whose rows may be moved but not computed with; F32 (0): values
	Type   *gguf.Type // of the output, whatever the general rules say; nil: they decide
}

// Rule changes the tensors that its pattern matches. Rules are taken in order: what one makes goes on to the next,
// and what is left at the end is named by the table of roles.
type Rule struct {
	Match Pattern
	If    Expr // nil: always

	Blocks bool // code that moves blocks too (Item.Blocks)

	names []string // Match, written out
	but   Pattern  // of these, what the rule leaves alone
	op    operation
}

// operation is what a rule does: pieces out of a piece. None at all means that the tensor is dropped or waits for others.
type operation interface {
	apply(b *Build, it Item) ([]Item, error)
	String() string
}

// Rules is a list of rules in order.
type Rules []Rule

// Then appends rules: the list stays as it is.
func (r Rules) Then(more ...Rule) Rules { return append(slices.Clip(r), more...) }

// Also appends whole lists.
func (r Rules) Also(lists ...Rules) Rules { return append(slices.Clip(r), slices.Concat(lists...)...) }

// Given makes rules depend on a condition too.
func Given(cond Expr, rules ...Rule) Rules {
	out := slices.Clone(rules)
	for i := range out {
		if out[i].If == nil {
			out[i].If = cond
		} else {
			out[i].If = All(cond, out[i].If)
		}
	}
	return out
}

func rule(p Pattern, op operation) Rule {
	return Rule{Match: p, names: p.alternatives(), op: op}
}

// Except leaves the tensors alone that match p as well.
func (r Rule) Except(p Pattern) Rule {
	r.but = p
	return r
}

func (r *Rule) matches(name string) bool {
	for _, p := range r.names {
		if glob(p, name) {
			return r.but == "" || !r.but.Match(name)
		}
	}
	return false
}

// String is the rule as `quern archs --rules` prints it.
func (r Rule) String() string {
	s := fmt.Sprintf("%s: %s", r.Match, r.op)
	if r.but != "" {
		s = fmt.Sprintf("%s but %s: %s", r.Match, r.but, r.op)
	}
	if r.If != nil {
		s += "   if " + r.If.String()
	}
	return s
}

// Drop leaves tensors out; the reason is shown to the user.
func Drop(p Pattern, reason string) Rule { return rule(p, drop(reason)) }

type drop string

func (d drop) apply(b *Build, it Item) ([]Item, error) {
	b.drop(it.Source, string(d))
	return nil, nil
}
func (d drop) String() string { return "drop, " + string(d) }

// Refuse ends the conversion where a tensor matches.
func Refuse(p Pattern, reason string) Rule { return rule(p, refuse(reason)) }

type refuse string

func (r refuse) apply(b *Build, it Item) ([]Item, error) {
	return nil, &fault.Unsupported{On: it.Source, Says: string(r)}
}
func (r refuse) String() string { return "refuse, " + string(r) }

// Rename gives tensors another name. to is one of
//
//	"@role"     the GGUF name of the role in the tensor's block, with the tensor's own .weight or .bias
//	"@role.end" the same with .end
//	"a=>b"      every a in the name becomes b; an empty a puts b in front
//	"a=>"       a is taken out
//	"+b"        b at the end
func Rename(p Pattern, to string) Rule { return rule(p, rename(to)) }

type rename string

func (r rename) apply(b *Build, it Item) ([]Item, error) {
	name, err := b.renamed(string(r), it)
	it.Name = name
	return []Item{it}, err
}
func (r rename) String() string { return "name " + string(r) }

// renamed resolves the little language of Rename for one tensor.
func (b *Build) renamed(to string, it Item) (string, error) {
	if id, ok := strings.CutPrefix(to, "@"); ok {
		id, end, stated := strings.Cut(id, ".")
		base, ok := b.names.Of(id, it.Block)
		if !ok {
			return "", &fault.Unsupported{On: it.Name, Says: fmt.Sprintf("architecture %s has no %s in block %d", b.GGUF, id, it.Block)}
		}
		if stated {
			return base + "." + end, nil
		}
		return base + suffixOf(it.Name), nil
	}
	if end, ok := strings.CutPrefix(to, "+"); ok {
		return it.Name + end, nil
	}
	from, into, ok := strings.Cut(to, "=>")
	switch {
	case !ok:
		return to, nil
	case from == "":
		return into + it.Name, nil
	}
	return strings.ReplaceAll(it.Name, from, into), nil
}

// suffixOf is .weight or .bias, .weight for names that end otherwise.
func suffixOf(name string) string {
	if strings.HasSuffix(name, ".bias") {
		return ".bias"
	}
	return ".weight"
}

// Named gives tensors their GGUF names already here, so that the rules behind it can ask for roles instead of for each
// family's spelling. Names that no role has stay.
var Named = rule("*", named{})

type named struct{}

func (named) apply(b *Build, it Item) ([]Item, error) {
	if _, name, ok := b.names.Map(it.Name); ok {
		it.Name = name
	}
	return []Item{it}, nil
}
func (named) String() string { return "name by role" }

// Copy writes tensors once more under another name, as in Rename, before their own.
func Copy(p Pattern, to string) Rule { return rule(p, duplicate(to)) }

type duplicate string

func (d duplicate) apply(b *Build, it Item) ([]Item, error) {
	twin := it
	name, err := b.renamed(string(d), it)
	twin.Name = name
	return []Item{twin, it}, err
}
func (d duplicate) String() string { return "copy to " + string(d) }

// DropZero leaves small tensors out that hold nothing but zeros, and refuses others: they are read while the file is planned.
func DropZero(p Pattern, reason string) Rule {
	return Code(p, "drop, "+reason+"; refuse where not all zero", func(b *Build, it Item) ([]Item, error) {
		values, err := b.Floats(it.View)
		if err != nil {
			return nil, err
		}
		for i, v := range values {
			if v != 0 {
				return nil, &fault.Unsupported{On: it.Source, Says: fmt.Sprintf("element %d is %v: the architecture has no place for it", i, v)}
			}
		}
		b.drop(it.Source, reason)
		return nil, nil
	})
}

// Prefix puts text before the checkpoint's names that do not begin with it (a generated tensor has GGUF's), Strip takes it off
// those that do.
func Prefix(text string) Rule { return rule("*", prefix(text)) }

type prefix string

func (p prefix) apply(_ *Build, it Item) ([]Item, error) {
	if it.Source != "" && !strings.HasPrefix(it.Name, string(p)) {
		it.Name = string(p) + it.Name
	}
	return []Item{it}, nil
}
func (p prefix) String() string { return "prefix " + string(p) }

// Strip takes text off the beginning of names.
func Strip(text string) Rule { return rule(Pattern(text+"*"), strip(text)) }

type strip string

func (s strip) apply(_ *Build, it Item) ([]Item, error) {
	it.Name = strings.TrimPrefix(it.Name, string(s))
	return []Item{it}, nil
}
func (s strip) String() string { return "strip " + string(s) }

// On transforms tensors in place, by one or more transforms in order.
func On(p Pattern, ts ...Transform) Rule { return rule(p, on(ts)) }

type on []Transform

func (o on) apply(b *Build, it Item) ([]Item, error) {
	v, err := o.run(b, it)
	it.View = v
	return []Item{it}, err
}

func (o on) run(b *Build, it Item) (view.Tensor, error) {
	v := it.View
	for _, t := range o {
		var err error
		if v, err = t.apply(b, it, v); err != nil {
			return v, &fault.Invalid{On: it.Source, Says: t.String() + " does not fit its shape " + dims(v.Shape), Err: err}
		}
	}
	return v, nil
}

func (o on) String() string {
	texts := make([]string, len(o))
	for i, t := range o {
		texts[i] = t.String()
	}
	return strings.Join(texts, ", ")
}

// Part is one piece of a split tensor.
type Part struct {
	To   string // as in Rename; empty keeps the name
	Size any    // extent along the axis, a number or an expression; nil: an equal share of what the others leave
	Then []Transform
}

// movesBlocks tells whether a rule works on blocks: names, and transforms that choose rows.
func (r *Rule) movesBlocks() bool {
	switch op := r.op.(type) {
	case drop, refuse, rename, prefix, strip, named:
		return true
	case on:
		for _, t := range op {
			if x, ok := t.(*transform); !ok || !x.rows {
				return false
			}
		}
		return true
	}
	return r.Blocks
}

// Split cuts tensors along an axis (counted from the end where negative) into parts, in order.
func Split(p Pattern, axis int, parts ...Part) Rule { return rule(p, split{axis, parts}) }

type split struct {
	axis  int
	parts []Part
}

func (s split) apply(b *Build, it Item) ([]Item, error) {
	axis := s.axis
	if axis < 0 {
		axis += len(it.View.Shape)
	}
	if axis < 0 || axis >= len(it.View.Shape) {
		return nil, &fault.Invalid{On: it.Source, Says: fmt.Sprintf("shape %s has no axis %d to split", dims(it.View.Shape), s.axis)}
	}
	sizes, err := b.sizes(s.parts, it, it.View.Shape[axis])
	if err != nil {
		return nil, err
	}
	var out []Item
	at := int64(0)
	for i, part := range s.parts {
		v, err := slice(it.View, axis, at, at+sizes[i])
		if err != nil {
			return nil, &fault.Invalid{On: it.Source, Says: "cannot be split", Err: err}
		}
		at += sizes[i]
		piece, err := b.piece(part, it, v)
		if err != nil {
			return nil, err
		}
		out = append(out, piece)
	}
	return out, nil
}

func (s split) String() string {
	return fmt.Sprintf("split axis %d into %s", s.axis, partTexts(s.parts))
}

// piece names and transforms one part.
func (b *Build) piece(part Part, it Item, v view.Tensor) (Item, error) {
	piece := it
	piece.View = v
	var err error
	if part.To != "" {
		if piece.Name, err = b.renamed(part.To, it); err != nil {
			return piece, err
		}
	}
	piece.View, err = on(part.Then).run(b, piece)
	return piece, err
}

// sizes evaluates the extents of parts, which must add up to the whole.
func (b *Build) sizes(parts []Part, it Item, whole int64) ([]int64, error) {
	sizes := make([]int64, len(parts))
	sum, open := int64(0), int64(0)
	for i, p := range parts {
		if p.Size == nil {
			open++
			continue
		}
		n, err := b.blockEnv(it.Block).Int(asExpr(p.Size))
		if err != nil {
			return nil, err
		}
		if n < 0 || n > whole-sum {
			return nil, &fault.Invalid{On: it.Source, Says: fmt.Sprintf("part %d of %d rows (%s) does not fit in %d", i, n, asExpr(p.Size), whole),
				Next: "config.json and the tensor's shape contradict each other"}
		}
		sizes[i], sum = n, sum+n
	}
	if rest := whole - sum; open == 0 && rest != 0 || open > 0 && rest%open != 0 {
		return nil, &fault.Invalid{On: it.Source, Says: fmt.Sprintf("its %d rows are not the parts %s", whole, partTexts(parts)),
			Next: "config.json and the tensor's shape contradict each other"}
	}
	for i, p := range parts {
		if p.Size == nil {
			sizes[i] = (whole - sum) / open
		}
	}
	return sizes, nil
}

func partTexts(parts []Part) string {
	texts := make([]string, len(parts))
	for i, p := range parts {
		texts[i] = p.To
		if p.Size != nil {
			texts[i] += " (" + asExpr(p.Size).String() + ")"
		}
		if len(p.Then) > 0 {
			texts[i] += " " + on(p.Then).String()
		}
	}
	return strings.Join(texts, "; ")
}

// Deal is Split for an axis whose elements belong to the parts in turn.
func Deal(p Pattern, axis int, parts ...Part) Rule { return rule(p, deal{axis, parts}) }

type deal split

func (d deal) apply(b *Build, it Item) ([]Item, error) {
	out := make([]Item, len(d.parts))
	for i, part := range d.parts {
		v, err := on{Every(d.axis, int64(i), int64(len(d.parts)))}.run(b, it)
		if err != nil {
			return nil, err
		}
		if out[i], err = b.piece(part, it, v); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (d deal) String() string {
	return fmt.Sprintf("deal axis %d to %s", d.axis, partTexts(d.parts))
}

// movesBlocks marks a rule in code as one that moves blocks too.
func movesBlocks(r Rule) Rule {
	r.Blocks = true
	return r
}

// Code runs a function for what no operation expresses; doc is what the printed rules say.
func Code(p Pattern, doc string, f func(b *Build, it Item) ([]Item, error)) Rule {
	return rule(p, code{doc, f})
}

type code struct {
	doc string
	f   func(b *Build, it Item) ([]Item, error)
}

func (c code) apply(b *Build, it Item) ([]Item, error) { return c.f(b, it) }
func (c code) String() string                          { return "code: " + c.doc }

// dims prints a shape.
func dims(shape []int64) string {
	texts := make([]string, len(shape))
	for i, d := range shape {
		texts[i] = fmt.Sprint(d)
	}
	return "[" + strings.Join(texts, " ") + "]"
}
