package onig

import (
	"quern/convert/fault"
	"quern/convert/tokenizer/ucd"
)

// maxProgram bounds the instructions of a pattern after its counted groups are written out.
const maxProgram = 1 << 16

type op uint8

const (
	opMatch   op = iota
	opMatchAt    // the end of a look-behind, which has to be where it was asked from
	opChar       // r
	opSet        // set
	opLoop       // set{lo,hi}, gives characters back
	opLazy       // set{lo,hi}?, takes more on demand
	opRun        // set{lo,hi}+, gives nothing back
	opAlt        // one of alts, in order
	opJump       // to
	opSave       // position to register n
	opCheck      // leave the loop for to if nothing was read since register n was saved
	opAnchor     // anchor n
	opLook       // body in sub: ahead
	opBehind     // body in sub: behind, lo..hi characters
	opAtomic     // body in sub
	opBackref    // group n
	opKeep
)

type inst struct {
	op       op
	negative bool
	r        rune
	n        int // register, anchor, group
	lo, hi   int
	to       int // jump target; for opLook, opBehind and opAtomic what follows the body
	memo     int // number among the points of choice, -1 where failing there depends on more than the position
	set      *ucd.Set
	next     *ucd.Set // what has to follow a loop, nil if anything may
	alts     []branch
}

type branch struct {
	to    int
	first *ucd.Set // what it can begin with, nil if it can be empty
}

// Regexp is a compiled pattern. It is safe for concurrent use.
type Regexp struct {
	prog      []inst
	first     *ucd.Set // what a match can begin with, nil if it can be empty
	registers int
	memos     int
	memoable  bool // whether failing depends on instruction and position alone
	pattern   string
}

// Compile translates a pattern in Oniguruma's default syntax. What the syntax has and this package has not (subexpression
// calls, absent operators, conditionals, callouts, text segments) is a *fault.Unsupported.
func Compile(pattern string) (*Regexp, error) {
	tree, err := parse(pattern)
	if err != nil {
		return nil, err
	}
	c := &compiler{re: &Regexp{memoable: true, pattern: pattern}, sets: map[string]*ucd.Set{}}
	c.groups = 2 // registers 0 and 1: where \K moved the beginning, whether it did
	c.count(tree)
	c.re.registers = c.groups
	c.node(tree)
	c.emit(inst{op: opMatch})
	if c.tooLong {
		return nil, &fault.Unsupported{On: "regular expression " + pattern[:min(len(pattern), 80)], Says: "needs more than 65536 instructions"}
	}
	if s, empty := first(tree); !empty {
		c.re.first = c.set(s)
	}
	return c.re, nil
}

// Literal matches a text as it stands.
func Literal(text string) *Regexp {
	c := &compiler{re: &Regexp{memoable: true, pattern: text}, sets: map[string]*ucd.Set{}}
	for i, r := range text {
		c.emit(inst{op: opChar, r: r})
		if i == 0 {
			c.re.first = c.set(ucd.Ranges{{Lo: r, Hi: r}})
		}
	}
	c.emit(inst{op: opMatch})
	c.re.registers = 2
	return c.re
}

type compiler struct {
	re      *Regexp
	groups  int // registers so far; capturing group g has 2g and 2g+1
	sets    map[string]*ucd.Set
	tooLong bool
}

// count reserves the registers of capturing groups, so that those of loops come after them.
func (c *compiler) count(n node) {
	switch n := n.(type) {
	case capture:
		c.groups = max(c.groups, n.number*2+2)
		c.count(n.body)
	case group:
		c.count(n.body)
	case atomic:
		c.count(n.body)
	case look:
		c.count(n.body)
	case repeat:
		c.count(n.body)
	case seq:
		for _, x := range n {
			c.count(x)
		}
	case alt:
		for _, x := range n {
			c.count(x)
		}
	}
}

// set compiles a class once: \s, \p{L} and their like stand in a pattern many times.
func (c *compiler) set(r ucd.Ranges) *ucd.Set {
	key := make([]byte, 0, len(r)*6)
	for _, x := range r {
		key = append(key, byte(x.Lo), byte(x.Lo>>8), byte(x.Lo>>16), byte(x.Hi), byte(x.Hi>>8), byte(x.Hi>>16))
	}
	s, ok := c.sets[string(key)]
	if !ok {
		s = r.Compile()
		c.sets[string(key)] = s
	}
	return s
}

// emit adds an instruction. Past the bound it adds nothing and the pattern is refused in the end, so that counted groups
// cannot fill the memory.
func (c *compiler) emit(i inst) int {
	if len(c.re.prog) >= maxProgram {
		c.tooLong = true
		return 0
	}
	c.re.prog = append(c.re.prog, i)
	return len(c.re.prog) - 1
}

// here is the number of the next instruction.
func (c *compiler) here() int { return len(c.re.prog) }

// memo numbers a point of choice.
func (c *compiler) memo() int {
	c.re.memos++
	return c.re.memos - 1
}

// node emits the instructions of a node.
func (c *compiler) node(n node) {
	switch n := n.(type) {
	case char:
		c.emit(inst{op: opChar, r: rune(n)})
	case class:
		c.emit(inst{op: opSet, set: c.set(ucd.Ranges(n))})
	case group:
		c.node(n.body)
	case seq:
		c.sequence(n)
	case alt:
		c.alternatives(n)
	case repeat:
		c.repeat(n, nil)
	case capture:
		c.emit(inst{op: opSave, n: n.number * 2})
		c.node(n.body)
		c.emit(inst{op: opSave, n: n.number*2 + 1})
	case atomic:
		c.sub(inst{op: opAtomic}, n.body)
	case look:
		i := inst{op: opLook, negative: n.negative}
		if n.behind {
			i.op = opBehind
			i.lo, i.hi = lengths(n.body)
		}
		c.sub(i, n.body)
	case anchor:
		c.re.memoable = c.re.memoable && n != searchBegin
		c.emit(inst{op: opAnchor, n: int(n)})
	case backref:
		c.re.memoable = false
		c.emit(inst{op: opBackref, n: int(n)})
	case keep:
		c.emit(inst{op: opKeep})
	}
}

// sub emits a body that is run by itself.
func (c *compiler) sub(i inst, body node) {
	at := c.emit(i)
	c.node(body)
	end := inst{op: opMatch}
	if i.op == opBehind {
		end.op = opMatchAt
	}
	c.emit(end)
	if !c.tooLong {
		c.re.prog[at].to = c.here()
	}
}

// sequence emits items one after another.
func (c *compiler) sequence(items seq) {
	for i, n := range items {
		if r, ok := n.(repeat); ok {
			// What must follow a loop tells where giving characters back is of use.
			if s, empty := first(items[i+1:]); !empty {
				c.repeat(r, s)
				continue
			}
		}
		c.node(n)
	}
}

// alternatives emits one choice over all of them: what an alternative can begin with decides most choices without trying.
func (c *compiler) alternatives(alts alt) {
	at := c.emit(inst{op: opAlt, memo: c.memo()})
	var ends []int
	var branches []branch
	for i, n := range alts {
		b := branch{to: c.here()}
		if s, empty := first(n); !empty {
			b.first = c.set(s)
		}
		branches = append(branches, b)
		c.node(n)
		if i < len(alts)-1 {
			ends = append(ends, c.emit(inst{op: opJump}))
		}
	}
	if c.tooLong {
		return
	}
	c.re.prog[at].alts = branches
	for _, e := range ends {
		c.re.prog[e].to = c.here()
	}
}

// repeat emits a quantified node; next is what has to follow, nil if that is not known.
func (c *compiler) repeat(r repeat, next ucd.Ranges) {
	if s, ok := asSet(r.body); ok {
		c.loop(r, s, next)
		return
	}
	if r.possessive {
		r.possessive = false
		c.sub(inst{op: opAtomic}, r)
		return
	}
	for i := 0; i < r.lo && !c.tooLong; i++ {
		c.node(r.body)
	}
	if r.hi == unlimited {
		c.star(r)
		return
	}
	// x{0,n} is (x(x(...)?)?)?: every way out leads to the end.
	var exits []int
	for i := r.lo; i < r.hi && !c.tooLong; i++ {
		exits = append(exits, c.choice(r.lazy))
		c.node(r.body)
	}
	for _, e := range exits {
		c.leave(e, r.lazy)
	}
}

// choice emits "go on, or leave"; leave fills in where leaving leads.
func (c *compiler) choice(lazy bool) int {
	at := c.emit(inst{op: opAlt, memo: c.memo(), alts: make([]branch, 2)})
	if !c.tooLong {
		in := 0
		if lazy {
			in = 1
		}
		c.re.prog[at].alts[in].to = c.here()
	}
	return at
}

// leave lets the choice at lead to the next instruction when the loop is left.
func (c *compiler) leave(at int, lazy bool) {
	if c.tooLong {
		return
	}
	out := 1
	if lazy {
		out = 0
	}
	c.re.prog[at].alts[out].to = c.here()
}

// star emits a group that is repeated without a bound. A body that can be empty is left when it reads nothing.
func (c *compiler) star(r repeat) {
	least, _ := lengths(r.body)
	top := c.choice(r.lazy)
	check := -1
	if least == 0 {
		c.re.memoable = false
		slot := c.re.registers
		c.re.registers++
		c.emit(inst{op: opSave, n: slot})
		c.node(r.body)
		check = c.emit(inst{op: opCheck, n: slot})
	} else {
		c.node(r.body)
	}
	c.emit(inst{op: opJump, to: top})
	if check >= 0 && !c.tooLong {
		c.re.prog[check].to = c.here()
	}
	c.leave(top, r.lazy)
}

// loop emits a repeated class as one instruction. Where what follows can never begin inside the loop, giving characters
// back is of no use, and the loop becomes possessive.
func (c *compiler) loop(r repeat, s, next ucd.Ranges) {
	i := inst{op: opLoop, set: c.set(s), lo: r.lo, hi: r.hi, memo: -1}
	switch {
	case r.possessive:
		i.op = opRun
	case r.lazy:
		i.op = opLazy
	case next != nil && len(ucd.Intersect(s, next)) == 0:
		i.op = opRun // a character that the loop took can never begin what follows
	case next != nil:
		i.next = c.set(next)
	}
	if r.hi == unlimited {
		i.memo = c.memo()
	}
	c.emit(i)
}
