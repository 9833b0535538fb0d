package arch

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"quern/convert/fault"
	"quern/convert/view"
)

// Stack makes one tensor of the experts' tensors, for each word of words and in their order, once the last one has come.
//
// members is a name in which {b} stands for the block, {x} for the expert's number and {w} for the word; into likewise,
// without {x}. It may also be as in Rename for a role: "@ffn_{w}_exp" takes the word as it is.
// Without words the members differ by {x} alone. Words may be written "w1:gate", which stands for w1 in members and gate in into.
//
// Source: each family of conversion/*.py; the order of the words differs between them, and with it the file.
func Stack(members string, experts any, into string, words ...string) Rule {
	return gatherRule(members, experts, into, words)
}

// StackExperts is Stack for the names that most families use: <dir>.<expert>.<word>.weight becomes <dir>.<word>.weight.
func StackExperts(dir string, experts any, words ...string) Rule {
	return Stack("model.layers.{b}."+dir+".{x}.{w}.weight", experts, "model.layers.{b}."+dir+".{w}.weight", words...)
}

// Concat joins tensors along the first axis, in the order of words, once the last one has come. members names {b} and {w}.
func Concat(members, into string, words ...string) Rule { return gatherRule(members, nil, into, words) }

// Experts is the number of experts of most families.
var Experts = Cfg("num_local_experts", "num_experts", "n_routed_experts")

func gatherRule(members string, experts any, into string, words []string) Rule {
	g := &gather{members: members, into: into}
	if experts != nil {
		g.experts = asExpr(experts)
	}
	if len(words) == 0 {
		words = []string{""}
	}
	for _, w := range words {
		from, to, ok := strings.Cut(w, ":")
		if !ok {
			to = from
		}
		g.words, g.outs = append(g.words, from), append(g.outs, to)
	}
	p := strings.NewReplacer("{b}", "#", "{x}", "#", "{w}", "{"+strings.Join(g.words, "|")+"}").Replace(members)
	return rule(Pattern(p), g)
}

// gather waits for the members of a group: the tensors whose names differ in expert and word only.
type gather struct {
	members string
	into    string
	experts Expr // nil: concatenation
	words   []string
	outs    []string
}

func (g *gather) String() string {
	if g.experts == nil {
		return fmt.Sprintf("concat %s into %s", strings.Join(g.words, ", "), g.into)
	}
	return fmt.Sprintf("stack %s experts, %s, into %s", g.experts, strings.Join(g.words, ", "), g.into)
}

// place is where a member stands in its group.
type place struct {
	word   int
	expert int64
}

// group is what has come of one.
type group struct {
	g       *gather
	key     string // the block's number
	items   map[place]Item
	experts int64 // 1 for a concatenation
}

func (g *gather) apply(b *Build, it Item) ([]Item, error) {
	block, at, ok := g.parse(it.Name)
	if !ok {
		return nil, &fault.Unsupported{On: it.Source, Says: "its name does not fit " + g.members}
	}
	grp := b.group(g, block)
	if grp.items == nil {
		grp.items, grp.experts = map[place]Item{}, 1
		if g.experts != nil {
			n, err := b.blockEnv(it.Block).Int(g.experts)
			if err != nil {
				return nil, err
			}
			grp.experts = n
		}
	}
	if at.expert >= grp.experts {
		return nil, &fault.Invalid{On: it.Source, Says: fmt.Sprintf("expert %d where the configuration has %d", at.expert, grp.experts)}
	}
	if old, twice := grp.items[at]; twice {
		return nil, &fault.Invalid{On: it.Source, Says: "stands for the same expert as " + old.Source}
	}
	grp.items[at] = it
	if int64(len(grp.items))%int64(len(g.words)) != 0 || int64(len(grp.items))/int64(len(g.words)) < grp.experts {
		return nil, nil
	}
	delete(b.groups, groupKey{g, block})
	return grp.emit(b, it)
}

// parse reads block, expert and word out of a member's name.
func (g *gather) parse(name string) (block string, at place, ok bool) {
	pattern, rest := g.members, name
	for pattern != "" {
		switch {
		case strings.HasPrefix(pattern, "{b}"), strings.HasPrefix(pattern, "{x}"):
			n := digits(rest)
			if n == 0 {
				return "", at, false
			}
			if pattern[1] == 'b' {
				block = rest[:n]
			} else if x, err := strconv.ParseInt(rest[:n], 10, 64); err == nil && strconv.FormatInt(x, 10) == rest[:n] {
				at.expert = x
			} else {
				return "", at, false
			}
			pattern, rest = pattern[3:], rest[n:]
		case strings.HasPrefix(pattern, "{w}"):
			at.word = g.word(rest, pattern[3:])
			if at.word < 0 {
				return "", at, false
			}
			pattern, rest = pattern[3:], rest[len(g.words[at.word]):]
		case rest != "" && pattern[0] == rest[0]:
			pattern, rest = pattern[1:], rest[1:]
		default:
			return "", at, false
		}
	}
	return block, at, rest == ""
}

// word is the longest word that name begins with and after which the pattern's next letter stands, or -1.
func (g *gather) word(name, after string) int {
	best := -1
	for i, w := range g.words {
		tail, ok := strings.CutPrefix(name, w)
		fits := ok && (after == "" && tail == "" || after != "" && (after[0] == '{' || tail != "" && tail[0] == after[0]))
		if fits && (best < 0 || len(w) > len(g.words[best])) {
			best = i
		}
	}
	return best
}

// emit makes the joined tensors. They come with the last member: its source and its block.
func (grp *group) emit(b *Build, last Item) ([]Item, error) {
	g := grp.g
	if g.experts == nil {
		members := make([]view.Tensor, len(g.words))
		for w := range g.words {
			members[w] = grp.items[place{w, 0}].View
		}
		return grp.join(b, last, "", func() (view.Tensor, error) { return concat(members) })
	}
	var out []Item
	for w := range g.words {
		members := make([]view.Tensor, grp.experts)
		for x := range members {
			members[x] = grp.items[place{w, int64(x)}].View
		}
		piece, err := grp.join(b, last, g.outs[w], func() (view.Tensor, error) { return stack(members) })
		if err != nil {
			return nil, err
		}
		out = append(out, piece...)
	}
	return out, nil
}

func (grp *group) join(b *Build, last Item, word string, make func() (view.Tensor, error)) ([]Item, error) {
	v, err := make()
	if err != nil {
		return nil, &fault.Invalid{On: last.Source, Says: "cannot be joined with the other members of " + grp.g.members, Err: err}
	}
	to := strings.NewReplacer("{b}", grp.key, "{w}", word).Replace(grp.g.into)
	piece := last
	piece.View = v
	piece.Name, err = b.renamed(to, last)
	return []Item{piece}, err
}

// missing names a member that has not come.
func (grp *group) missing() string {
	for x := int64(0); x < grp.experts; x++ {
		for w, word := range grp.g.words {
			if _, ok := grp.items[place{w, x}]; !ok {
				return strings.NewReplacer("{b}", grp.key, "{x}", strconv.FormatInt(x, 10), "{w}", word).Replace(grp.g.members)
			}
		}
	}
	return ""
}

// groupKey tells apart the groups of one conversion.
type groupKey struct {
	g     *gather
	block string
}

func (b *Build) group(g *gather, block string) *group {
	key := groupKey{g, block}
	if b.groups == nil {
		b.groups = map[groupKey]*group{}
	}
	if b.groups[key] == nil {
		b.groups[key] = &group{g: g, key: block}
	}
	return b.groups[key]
}

// unfinished is the error for groups that never became complete, nil if there are none.
func (b *Build) unfinished() error {
	var missing []string
	for _, grp := range b.groups {
		missing = append(missing, fmt.Sprintf("%s (%d of %d are there)", grp.missing(), len(grp.items), grp.experts*int64(len(grp.g.words))))
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return &fault.Invalid{On: "checkpoint", Says: fmt.Sprintf("%d groups of tensors are incomplete; the first lacks %s", len(missing), missing[0]),
		Next: "compare the number of experts in config.json with the tensors, or download the missing part"}
}
