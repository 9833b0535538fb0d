package arch

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"quern/convert/dequant"
	"quern/convert/fault"
	"quern/convert/vocab"
)

// Arch is what a family declares about one architecture. Fields that stay empty are those of Base.
type Arch struct {
	Base *Arch    // the entry that this one extends
	HF   []string // class names in config.json; never inherited
	GGUF string   // general.architecture, which also names the set of roles in tables/roles.txt
	Note string   // what a user should know, such as why the reference cannot convert it; shown by `quern archs`

	Vision Expr // of a projector: where the vision tower's part of the configuration is; nil: as in most
	Audio  Expr // and the audio tower's

	Config  Keys       // Let and Fail steps that come before everything else
	Switch  []Case     // other entries that take over, by the configuration
	Blocks  Expr       // number of blocks; nil: as most families say it
	NextN   *NextN     // multi-token prediction layers after the last block
	Names   Rules      // over the names in the checkpoint: renames and drops, before any order is looked at
	Extra   []Generate // tensors that are not in the checkpoint; they come first
	Tensors Rules      // over the tensors in order
	Force   []Force    // types of tensors that the general rules do not give
	Ends    []string   // ends of tensor names that are tried beside .weight and .bias

	Dequantize func(*Build, *dequant.Set) (done bool, err error) // what the general reading of quantized weights does not do; done: nothing is left to it
	FP8AsQ8    bool                                              // eight-bit floats become Q8_0 without being asked for

	Opening Keys // keys that stand right after general.architecture: those that the reference sets before it reads anything
	Early   Keys // keys behind them: those that it sets while it reads tensors, so that a file without tensors has none
	Keys    Keys // the architecture's keys, general.file_type among them

	Vocab      vocab.Kind
	VocabFrom  VocabFrom                      // whose vocabulary it is
	VocabCases []VocabCase                    // other kinds, by the checkpoint
	VocabInput func(*Env, *vocab.Input) error // what the kind takes from the family beside the configuration
	VocabEarly Keys                           // keys before the vocabulary's own
	VocabLate  Keys                           // and after

	Odd    []string // roles whose shape is not what the general keys let expect
	Uneven bool     // blocks may lack main matrices that others have

	MTP     bool // --mtp and --no-mtp work
	Unfused bool // --fuse-qkv and --fuse-gate-up-exps join nothing: the reference names these tensors past the step that joins
	DSpark  bool // it is the draft that --dspark takes out of a checkpoint; never inherited
}

// Case hands a checkpoint over to another entry.
type Case struct {
	If Expr
	To *Arch
}

// VocabFrom says which model's tokenizer files are read.
type VocabFrom int

// A draft model has its target's vocabulary: read as this entry says, or as the target's own entry does.
const (
	FromCheckpoint VocabFrom = iota
	FromTarget
	AsTarget
)

// VocabCase is another kind of vocabulary where the condition holds.
type VocabCase struct {
	If   Expr
	Kind vocab.Kind
}

// Generate makes a tensor that the checkpoint does not have. A view without a reader writes none.
type Generate struct {
	Doc  string
	If   Expr
	Make func(*Build) ([]Item, error)
}

// registry is filled while the package is initialised and never changes afterwards.
var (
	registry   = map[string]*Arch{} // of text models
	projectors = map[string]*Arch{} // of their vision and audio parts
)

// Register completes an entry from its base and makes it known under its class names. A name that is registered twice, or
// a role, key or pattern that the tables do not know, is a mistake in the source: TestRegistry finds it.
func Register(a Arch) *Arch {
	if base := a.Base; base != nil {
		a = inherit(a, base)
	}
	names := registry
	if a.Projector() {
		names = projectors
	}
	for _, name := range a.HF {
		if names[name] != nil {
			duplicates = append(duplicates, name)
		}
		names[name] = &a
	}
	entries = append(entries, &a)
	return &a
}

var (
	entries    []*Arch  // in the order of registration, those without class names too
	duplicates []string // class names that were registered twice; must stay empty
)

// inherit fills the empty fields of an entry from its base.
func inherit(a Arch, base *Arch) Arch {
	or(&a.GGUF, base.GGUF)
	or(&a.Blocks, base.Blocks)
	or(&a.Vision, base.Vision)
	or(&a.Audio, base.Audio)
	or(&a.NextN, base.NextN)
	or(&a.Vocab, base.Vocab)
	or(&a.VocabFrom, base.VocabFrom)
	list(&a.Config, base.Config)
	list(&a.Switch, base.Switch)
	list(&a.Names, base.Names)
	list(&a.Extra, base.Extra)
	list(&a.Tensors, base.Tensors)
	list(&a.Force, base.Force)
	list(&a.Ends, base.Ends)
	list(&a.Opening, base.Opening)
	list(&a.Early, base.Early)
	list(&a.Keys, base.Keys)
	list(&a.VocabCases, base.VocabCases)
	list(&a.VocabEarly, base.VocabEarly)
	list(&a.VocabLate, base.VocabLate)
	list(&a.Odd, base.Odd)
	if a.VocabInput == nil {
		a.VocabInput = base.VocabInput
	}
	if a.Dequantize == nil {
		a.Dequantize = base.Dequantize
	}
	a.MTP = a.MTP || base.MTP
	a.FP8AsQ8 = a.FP8AsQ8 || base.FP8AsQ8
	a.Uneven = a.Uneven || base.Uneven
	a.Unfused = a.Unfused || base.Unfused
	return a
}

func or[T comparable](field *T, base T) {
	var zero T
	if *field == zero {
		*field = base
	}
}

// list inherits a list that is nil; an empty one, such as Rules{}, means none.
func list[S ~[]E, E any](field *S, base S) {
	if *field == nil {
		*field = base
	}
}

// Lookup finds the entry of a class name.
func Lookup(hf string) (*Arch, bool) {
	a, ok := registry[hf]
	return a, ok
}

// ClassNames lists every registered class name of text models, sorted.
func ClassNames() []string { return sortedNames(registry) }

func sortedNames(m map[string]*Arch) []string { return slices.Sorted(maps.Keys(m)) }

// Find gives the entries whose class name or GGUF name is name.
func Find(name string) []*Arch {
	var out []*Arch
	for _, a := range entries {
		if a.GGUF == name || slices.Contains(a.HF, name) {
			out = append(out, a)
		}
	}
	return out
}

// WriteRules prints an entry as a table that reads like its declaration.
func (a *Arch) WriteRules(w io.Writer) error {
	var s strings.Builder
	fmt.Fprintf(&s, "%s   %s\n", a.GGUF, strings.Join(a.HF, ", "))
	if a.Note != "" {
		fmt.Fprintf(&s, "  note    %s\n", a.Note)
	}
	section(&s, "config", a.Config)
	for _, c := range a.Switch {
		fmt.Fprintf(&s, "  switch  to %s if %s\n", c.To.GGUF, c.If)
	}
	section(&s, "names", a.Names)
	for _, g := range a.Extra {
		fmt.Fprintf(&s, "  extra   %s\n", g.Doc)
	}
	section(&s, "tensors", a.Tensors)
	for _, f := range a.Force {
		fmt.Fprintf(&s, "  type    %s\n", f)
	}
	section(&s, "opening", a.Opening)
	section(&s, "early", a.Early)
	section(&s, "keys", a.Keys)
	if a.Vocab != "" {
		fmt.Fprintf(&s, "  vocab   %s\n", a.Vocab)
	}
	for _, c := range a.VocabCases {
		fmt.Fprintf(&s, "  vocab   %s if %s\n", c.Kind, c.If)
	}
	section(&s, "vocab", a.VocabEarly.Then(a.VocabLate...))
	_, err := io.WriteString(w, s.String())
	return err
}

// String is the decision as `quern archs --rules` prints it.
func (f Force) String() string {
	s := f.Type.String()
	if f.Follow {
		s = "the file's"
	}
	if f.Match != "" {
		s = string(f.Match) + ": " + s
	}
	if f.From != "" {
		s = "from " + string(f.From) + ": " + s
	}
	if f.If != nil {
		s += "   if " + f.If.String()
	}
	return s
}

func section[T fmt.Stringer](s *strings.Builder, name string, steps []T) {
	for _, step := range steps {
		fmt.Fprintf(s, "  %-8s%s\n", name, step)
	}
}

// VocabKind is the kind of vocabulary of this checkpoint; with AsTarget that of the target's class.
func (b *Build) VocabKind() (vocab.Kind, error) {
	if b.Env.Arch.VocabFrom == AsTarget {
		return b.targetKind()
	}
	for _, c := range b.Env.Arch.VocabCases {
		if ok, err := b.Truth(c.If); ok || err != nil {
			return c.Kind, err
		}
	}
	return b.Env.Arch.Vocab, nil
}

func (b *Build) targetKind() (vocab.Kind, error) {
	name, err := b.Target.Config.Architecture()
	if err != nil {
		return "", err
	}
	a, ok := Lookup(name)
	if !ok {
		return "", &fault.Unsupported{On: name, Says: "quern does not convert the target's class of models, so not its vocabulary either"}
	}
	return a.Vocab, nil
}
