package arch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"quern/convert/fault"
	"quern/convert/gguf"
	"quern/convert/view"
)

// Build is one conversion in the making: tensors on their way through an entry's rules, then metadata.
type Build struct {
	*Env
	Outputs  []Output
	Dropped  []Dropped
	Warnings []string
	Adapters []Adapter // what the checkpoint carries beside the model

	Stored  *StoredType    // what general.file_type says where the checkpoint's own format decides; nil: the options do
	Scratch map[string]any // what an entry's code keeps from one tensor to the next

	names   *Names
	meta    metadata
	early   metadata
	groups  map[groupKey]*group
	dropped map[string]bool
	used    map[string]bool   // source tensors that reached an output or a group
	taken   map[string]string // GGUF name -> source
	unknown []unknown
	trial   bool // only whether it works is asked: the first unknown tensor ends it, and no time goes into what it may have meant
	fusions map[string]*fusion
	fusable map[string]int // block and suffix -> how many of query, key and value there are

	sourceNames []string        // of the checkpoint's tensors, after renames
	pending     map[string]Item // those that no Extra has taken
	quantized   quantization
	last        []func() error
	ctx         context.Context // of the planning, for the few small tensors that are read then
}

// Output is a tensor of the file and what it is made of.
type Output struct {
	Name   string
	Type   gguf.Type
	View   view.Tensor // shape outermost first; rows in any type that can be widened to Type
	Source string      // the last tensor of the checkpoint that went into it; empty for a generated one
	Role   string      // of tables/tensors.txt; empty where a rule gave a name of its own
	Raw    bool        // View yields the bytes of Type already
}

// Shape is the shape in elements, outermost first: the view's own unless it yields blocks.
func (o *Output) Shape() []int64 {
	if !o.Raw || !o.Type.Quantized() || len(o.View.Shape) == 0 {
		return o.View.Shape
	}
	shape := slices.Clone(o.View.Shape)
	shape[len(shape)-1] = o.View.RowBytes() / o.Type.BlockBytes() * o.Type.Block()
	return shape
}

// Dropped is a tensor of the checkpoint that goes nowhere.
type Dropped struct{ Name, Reason string }

type unknown struct{ source, name string }

// errNoPlace ends a trial. Nobody reads it: the search for the nearest known name would take most of a trial's time.
var errNoPlace = errors.New("no place for a tensor")

// Last runs f when all tensors of the checkpoint have been through the rules: for outputs that stand at the end.
func (b *Build) Last(f func() error) { b.last = append(b.last, f) }

// Ints reads a small tensor of integers while the file is planned.
func (b *Build) Ints(v view.Tensor) ([]int64, error) { return view.Ints(b.ctx, v) }

// Floats reads a small tensor while the file is planned.
func (b *Build) Floats(v view.Tensor) ([]float32, error) { return view.Floats(b.ctx, v) }

// New prepares a conversion: it takes over entries by configuration, applies Config steps, counts blocks and renames.
func New(ctx context.Context, e *Env) (*Build, error) {
	b := &Build{Env: e, ctx: ctx, dropped: map[string]bool{}, used: map[string]bool{}, taken: map[string]string{}, Scratch: map[string]any{}}
	if e.Arch.Projector() {
		if err := b.Env.towers(); err != nil {
			return nil, err
		}
	}
	for range len(entries) { // each entry hands over at most once
		if err := b.configure(); err != nil {
			return nil, err
		}
		next, err := b.handOver()
		if err != nil {
			return nil, err
		}
		if next == nil {
			break
		}
		b.Env.Arch = next
	}
	b.GGUF = b.Env.Arch.GGUF
	if err := b.allowed(); err != nil {
		return nil, err
	}
	if err := b.countBlocks(); err != nil {
		return nil, err
	}
	var err error
	b.names, err = newNames(b.GGUF, b.Blocks)
	return b, err
}

// allowed refuses options that the architecture does not have.
func (b *Build) allowed() error {
	a, o := b.Env.Arch, b.Options
	// A draft has no prediction layers of a trunk beside it: there is nothing to leave out, and the reference agrees.
	nothing := a.DSpark && !o.MTPOnly
	if !a.MTP && !nothing && (o.NoMTP || o.MTPOnly) {
		return &fault.Unsupported{On: b.HF, Says: "its multi-token prediction layers cannot be left out or taken alone"}
	}
	if o.DSpark && !a.DSpark {
		return &fault.Unsupported{On: b.HF, Says: "no DSpark draft can be taken out of this class of models", Next: "leave --dspark out"}
	}
	return nil
}

func (b *Build) configure() error {
	b.GGUF = b.Env.Arch.GGUF
	m := &Meta{Env: b.Env, b: b}
	if err := m.run(b.Env.Arch.Config); err != nil {
		return err
	}
	b.Env = m.Env
	return nil
}

func (b *Build) handOver() (*Arch, error) {
	for _, c := range b.Env.Arch.Switch {
		ok, err := b.Truth(c.If)
		if err != nil {
			return nil, err
		}
		if ok {
			return c.To, nil
		}
	}
	return nil, nil
}

// defaultBlocks are the keys of most families. Source: conversion/base.py, TextModel.
var defaultBlocks = Cfg("n_layers", "num_hidden_layers", "n_layer", "num_layers")

func (b *Build) countBlocks() error {
	x := b.Env.Arch.Blocks
	if x == nil {
		x = defaultBlocks
	}
	n, err := b.Int(x)
	if err != nil {
		return err
	}
	more, err := b.nextLayers()
	if err != nil {
		return err
	}
	if n < 0 || n > maxBlocks || more < 0 || more > maxBlocks {
		return &fault.Invalid{On: "config.json: " + x.String(), Says: fmt.Sprintf("%d layers, at most %d are converted", n+more, maxBlocks)}
	}
	b.Blocks = n + more
	return nil
}

// Convert takes the checkpoint's tensors through the rules. Order: generated tensors, then the checkpoint's.
func (b *Build) Convert() error {
	sources, err := b.sources()
	if err != nil {
		return err
	}
	b.pending = map[string]Item{}
	for _, it := range sources {
		b.sourceNames = append(b.sourceNames, it.Name)
		b.pending[it.Name] = it
	}
	if err := b.generate(); err != nil {
		return err
	}
	for _, it := range sources {
		if _, ok := b.pending[it.Name]; !ok {
			continue // code of an Extra has taken it
		}
		if hasSuffix(it.Name, ".attention.masked_bias", ".attention.bias", ".rotary_emb.inv_freq") {
			b.drop(it.Source, atRunTime)
			continue
		}
		it.From, it.Block = it.Name, blockOf(it.Name)
		if err := b.through(b.Env.Arch.Tensors, it); err != nil {
			return err
		}
	}
	for _, f := range b.last {
		if err := f(); err != nil {
			return err
		}
	}
	if err := b.unknownError(); err != nil {
		return err
	}
	return b.unfinished()
}

// Take removes a tensor of the checkpoint, by the name that rules see, from those that go through Tensors: for code that makes
// tensors of an Extra of it. ok is false where there is none.
func (b *Build) Take(name string) (it Item, ok bool) {
	if it, ok = b.pending[name]; ok {
		delete(b.pending, name)
		b.used[it.Source] = true
	}
	return it, ok
}

// SourceNames are the names of the checkpoint's tensors as rules see them, in order.
func (b *Build) SourceNames() []string { return b.sourceNames }

// sources renames and drops by the entry's Names. A name that two tensors get belongs to the later one, at the earlier
// one's place, as in the reference's dictionary.
func (b *Build) sources() ([]Item, error) {
	var out []Item
	at := map[string]int{}
	for _, t := range b.Env.Tensors {
		items, err := b.pass(b.Env.Arch.Names, Item{Name: t.Name, View: t, Source: t.Name, Block: blockOf(t.Name)})
		if err != nil {
			return nil, err
		}
		for _, it := range items {
			if i, twice := at[it.Name]; twice {
				b.drop(out[i].Source, "has the same name as "+it.Source)
				out[i] = it
				continue
			}
			at[it.Name] = len(out)
			out = append(out, it)
		}
	}
	return b.dequantize(out)
}

func (b *Build) generate() error {
	for _, g := range b.Env.Arch.Extra {
		ok, err := b.Truth(g.If)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		items, err := g.Make(b)
		if err != nil {
			return err
		}
		for _, it := range items {
			it.From, it.Block = it.Name, blockOf(it.Name)
			if err := b.through(b.Env.Arch.Tensors, it); err != nil {
				return err
			}
		}
	}
	return nil
}

// pass takes one tensor through a list of rules, each of which may make several.
func (b *Build) pass(rules Rules, it Item) ([]Item, error) {
	items := []Item{it}
	for i := range rules {
		r := &rules[i]
		var next []Item
		for _, it := range items {
			ok := r.matches(it.Name)
			if ok && r.If != nil {
				var err error
				if ok, err = b.blockEnv(it.Block).Truth(r.If); err != nil {
					return nil, err
				}
			}
			if !ok {
				next = append(next, it)
				continue
			}
			if it.Blocks != 0 && !r.movesBlocks() {
				return nil, &fault.Unsupported{On: it.Source, Says: fmt.Sprintf("%s blocks cannot take this rule: %s", it.Blocks, r.op)}
			}
			made, err := r.op.apply(b, it)
			if err != nil {
				return nil, err
			}
			next = append(next, made...)
		}
		if items = next; len(items) == 0 {
			break
		}
	}
	return items, nil
}

// blockEnv is the environment in which Block is the number of the block at hand.
func (b *Build) blockEnv(block int64) *Env {
	e := *b.Env
	e.block = block
	return &e
}

func (b *Build) through(rules Rules, it Item) error {
	b.used[it.Source] = true
	items, err := b.pass(rules, it)
	if err != nil {
		return err
	}
	for _, it := range items {
		if err := b.emit(it); err != nil {
			return err
		}
	}
	return nil
}

// emit names a tensor by its role, fuses it where that is asked for, and makes it an output.
func (b *Build) emit(it Item) error {
	id, name, ok := b.names.Map(it.Name, b.Env.Arch.Ends...)
	if !ok {
		id, ok = b.names.Own(it.Name)
		if name = it.Name; !ok && !it.Final {
			b.unknown = append(b.unknown, unknown{it.Source, it.Name})
			if b.trial {
				return errNoPlace
			}
			return nil
		}
	}
	it.Name = name
	id, fused, err := b.fuse(id, it)
	if err != nil {
		return err
	}
	for _, it := range fused {
		if err := b.output(id, it); err != nil {
			return err
		}
	}
	return nil
}

func (b *Build) output(id string, it Item) error {
	if first, twice := b.taken[it.Name]; twice {
		return &fault.Invalid{On: it.Source, Says: fmt.Sprintf("it would be %s, which %s is already", it.Name, first)}
	}
	b.taken[it.Name] = it.Source
	typ, err := b.outputType(it)
	if err != nil {
		return err
	}
	b.Outputs = append(b.Outputs, Output{Name: it.Name, Type: typ, View: it.View, Source: it.Source, Role: id})
	return nil
}

// Emit adds an output whose type is decided already; raw says that the view yields the bytes of that type.
func (b *Build) Emit(name string, typ gguf.Type, v view.Tensor, source string, raw bool) error {
	if first, twice := b.taken[name]; twice {
		return &fault.Invalid{On: source, Says: fmt.Sprintf("it would be %s, which %s is already", name, first)}
	}
	b.taken[name] = source
	b.used[source] = true
	id, _ := b.names.Own(name)
	b.Outputs = append(b.Outputs, Output{Name: name, Type: typ, View: v, Source: source, Role: id, Raw: raw})
	return nil
}

// atRunTime is the reason of buffers that old checkpoints carry along.
const atRunTime = "computed at run time"

func (b *Build) drop(source, reason string) {
	if source == "" || b.dropped[source] {
		return
	}
	b.dropped[source] = true
	b.Dropped = append(b.Dropped, Dropped{source, reason})
}

// maxShown bounds how many unknown tensors an error lists.
const maxShown = 3

func (b *Build) unknownError() error {
	if len(b.unknown) == 0 {
		return nil
	}
	var texts []string
	for _, u := range b.unknown[:min(len(b.unknown), maxShown)] {
		s := u.source
		if near := b.names.Nearest(u.name); near != "" {
			s += " (nearest known: " + near + ")"
		}
		texts = append(texts, s)
	}
	if n := len(b.unknown) - len(texts); n > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", n))
	}
	return &fault.Unsupported{On: b.GGUF, Says: fmt.Sprintf("no place for %d of %d tensors: %s", len(b.unknown), len(b.Env.Tensors), strings.Join(texts, ", ")),
		Next: "is the class name in config.json right? --as NAME converts a checkpoint as another class"}
}

// Early is the metadata that stands right after general.architecture; a file without tensors has the first part of it.
func (b *Build) Early(vocabOnly bool) ([]gguf.KV, error) {
	m := &Meta{Env: b.Env, b: b}
	keep := b.meta
	b.meta = b.early
	keys := b.Env.Arch.Opening
	if !vocabOnly {
		keys = keys.Also(b.Env.Arch.Early)
	}
	err := m.run(keys)
	b.early, b.meta = b.meta, keep
	return b.early.kvs, err
}

// Metadata is the architecture's metadata in order, after Early's.
func (b *Build) Metadata() ([]gguf.KV, error) {
	m := &Meta{Env: b.Env, b: b}
	if err := m.run(b.Env.Arch.Keys); err != nil {
		return nil, err
	}
	return b.meta.kvs, nil
}

// Steps makes metadata of a list of keys alone, such as VocabLate.
func (b *Build) Steps(keys Keys) ([]gguf.KV, error) {
	keep := b.meta
	b.meta = metadata{}
	err := (&Meta{Env: b.Env, b: b}).run(keys)
	kvs := b.meta.kvs
	b.meta = keep
	return kvs, err
}

// Mapped lists the tensors of the checkpoint that are part of an output, in the checkpoint's order.
func (b *Build) Mapped() []string {
	var out []string
	for i := range b.Env.Tensors {
		if n := b.Env.Tensors[i].Name; b.used[n] && !b.dropped[n] {
			out = append(out, n)
		}
	}
	return slices.Clip(out)
}

func hasSuffix(name string, ends ...string) bool {
	return slices.ContainsFunc(ends, func(e string) bool { return strings.HasSuffix(name, e) })
}

// StoredType is a file type that is not one of the options, such as that of repacked MXFP4 weights.
type StoredType struct {
	Number uint32 // general.file_type
	Label  string // in file names
}

// FileType is the number of general.file_type and the label in file names.
func (b *Build) FileType() (number uint32, label string) {
	if b.Stored != nil {
		return b.Stored.Number, b.Stored.Label
	}
	return b.Options.Type.Number(), b.Options.Type.Label()
}

// Warn tells the user something that does not stop the conversion.
func (b *Build) Warn(format string, args ...any) {
	b.Warnings = append(b.Warnings, fmt.Sprintf(format, args...))
}
