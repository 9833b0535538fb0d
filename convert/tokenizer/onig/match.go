package onig

import (
	"fmt"
	"sync"
	"unicode/utf8"

	"quern/convert/fault"
	"quern/convert/tokenizer/ucd"
)

// Bounds of a search. Work is counted in instructions and characters looked at, so the same text always ends the same way.
const (
	freeSteps  = 32      // a character, before places that failed are remembered
	stepBudget = 4096    // a character, before the search is given up
	baseBudget = 1 << 22 // steps that any text may take
	maxStack   = 1 << 24 // points of choice left open at once
	maxMemo    = 1 << 31 // bits of remembered places
)

type frameKind uint8

const (
	giveUp  frameKind = iota // a greedy loop gives a character back, down to aux
	takeOne                  // a lazy loop takes one more; it has taken aux
	another                  // the next alternative, aux
	restore                  // register aux gets its old value back
)

type frame struct {
	kind     frameKind
	pc       int32
	pos, aux int32
}

// matcher is the state of one search over one text.
type matcher struct {
	re    *Regexp
	text  string
	start int // where the current search began, for \G
	want  int // where the body of the innermost look-behind has to end
	regs  []int32
	stack []frame
	depth int // bodies being run by themselves
	steps int
	limit int
	seen  []uint64 // by memo*(len+1)+pos, once the text has proved hard
	spent bool     // the budget or the stack is used up
}

var matchers = sync.Pool{New: func() any { return new(matcher) }}

// Each calls f with the byte offsets of every match from left to right, as the library's iterator over Oniguruma does:
// an empty match is not accepted where the last one ended. text has to be UTF-8. The error says that the budget of steps
// is used up: the pattern backtracks too much on this text.
func (re *Regexp) Each(text string, f func(lo, hi int)) error {
	m := matchers.Get().(*matcher)
	defer matchers.Put(m)
	m.reset(re, text)
	at, last := 0, -1
	for at <= len(text) {
		lo, hi, ok := m.search(at)
		if m.spent {
			return &fault.Invalid{On: "text", Says: fmt.Sprintf("regular expression %.80s takes more than %d steps on %d bytes", re.pattern, m.limit, len(text))}
		}
		if !ok {
			return nil
		}
		if lo == hi && hi == last {
			if at >= len(text) {
				return nil
			}
			_, n := utf8.DecodeRuneInString(text[at:])
			at += n
			continue
		}
		at, last = hi, hi
		f(lo, hi)
	}
	return nil
}

// reset readies a pooled matcher for a text; its stack and registers keep their memory.
func (m *matcher) reset(re *Regexp, text string) {
	m.re, m.text, m.seen, m.spent, m.steps, m.depth = re, text, nil, false, 0, 0
	m.stack = m.stack[:0]
	m.limit = baseBudget + stepBudget*len(text)
	if cap(m.regs) < re.registers {
		m.regs = make([]int32, re.registers)
	}
	m.regs = m.regs[:re.registers]
	for i := range m.regs {
		m.regs[i] = -1
	}
}

// search finds the leftmost match that begins at from or later.
func (m *matcher) search(from int) (lo, hi int, ok bool) {
	m.start = from
	for at := from; at <= len(m.text); {
		size := 1
		if at < len(m.text) {
			c := m.text[at]
			var in bool
			if c < utf8.RuneSelf {
				in = m.re.first == nil || m.re.first.ASCII(c)
			} else {
				var r rune
				r, size = utf8.DecodeRuneInString(m.text[at:])
				in = m.re.first == nil || m.re.first.Contains(r)
			}
			if !in {
				at += size
				continue
			}
		} else if m.re.first != nil {
			return 0, 0, false
		}
		if len(m.regs) > 2 {
			for i := range m.regs {
				m.regs[i] = -1
			}
		} else {
			m.regs[0] = -1
		}
		end, ok := m.run(0, at)
		if m.spent {
			return 0, 0, false
		}
		if ok {
			m.forget(end)
			if k := int(m.regs[0]); k >= 0 {
				return k, end, true
			}
			return at, end, true
		}
		at += size
	}
	return 0, 0, false
}

// forget clears what is remembered of the place where a match ended: everything after it has really failed, but there
// the match was found with choices still open.
func (m *matcher) forget(end int) {
	if m.seen == nil {
		return
	}
	for memo := range m.re.memos {
		bit := memo*(len(m.text)+1) + end
		m.seen[bit>>6] &^= 1 << (bit & 63)
	}
}

// visited tells whether the choice was tried at this place before, and so has failed, and notes it.
func (m *matcher) visited(memo, pos int) bool {
	if m.seen == nil || m.depth > 1 || memo < 0 {
		return false
	}
	bit := memo*(len(m.text)+1) + pos
	w, b := &m.seen[bit>>6], uint64(1)<<(bit&63)
	if *w&b != 0 {
		return true
	}
	*w |= b
	return false
}

// charge counts work. Past the free steps places that fail are remembered, which makes the search linear; past the
// budget it ends.
func (m *matcher) charge(n int) {
	m.steps += n
	if m.seen == nil && m.re.memoable && m.steps > freeSteps*len(m.text)+4096 {
		if bits := m.re.memos * (len(m.text) + 1); bits <= maxMemo {
			m.seen = make([]uint64, bits>>6+1)
		}
	}
	if m.steps > m.limit || len(m.stack) > maxStack {
		m.spent = true
	}
}

// push leaves a choice open.
func (m *matcher) push(k frameKind, pc, pos, aux int) {
	m.stack = append(m.stack, frame{k, int32(pc), int32(pos), int32(aux)})
}

// set changes a register, and remembers how to change it back.
func (m *matcher) set(reg, pos int) {
	m.push(restore, 0, int(m.regs[reg]), reg)
	m.regs[reg] = int32(pos)
}

// at decodes the character at pos; size 0 at the end.
func (m *matcher) at(pos int) (r rune, size int) {
	if pos >= len(m.text) {
		return -1, 0
	}
	if c := m.text[pos]; c < utf8.RuneSelf {
		return rune(c), 1
	}
	return utf8.DecodeRuneInString(m.text[pos:])
}

// run executes from pc until opMatch and gives the position reached. Choices opened inside are closed when it returns.
func (m *matcher) run(pc, pos int) (end int, ok bool) {
	base := len(m.stack)
	m.depth++
	for {
		m.charge(1)
		if m.spent {
			m.stack = m.stack[:base]
			m.depth--
			return 0, false
		}
		in := &m.re.prog[pc]
		ok := true
		switch in.op {
		case opMatch:
			m.close(base)
			m.depth--
			return pos, true
		case opMatchAt:
			if ok = pos == m.want; ok {
				m.close(base)
				m.depth--
				return pos, true
			}
		case opChar:
			r, n := m.at(pos)
			if ok = r == in.r; ok {
				pos += n
			}
		case opSet:
			r, n := m.at(pos)
			if ok = n > 0 && in.set.Contains(r); ok {
				pos += n
			}
		case opLoop, opRun:
			pos, ok = m.loop(in, pc, pos)
		case opAlt:
			if ok = !m.visited(in.memo, pos); ok {
				pc, ok = m.choose(in, pc, pos, 0)
				if ok {
					continue
				}
			}
		case opJump:
			pc = in.to
			continue
		case opCheck:
			if int(m.regs[in.n]) == pos {
				pc = in.to
				continue
			}
		default:
			pc, pos, ok = m.rare(in, pc, pos)
			if ok {
				continue
			}
		}
		if ok {
			pc++
			continue
		}
		if pc, pos, ok = m.back(base); !ok {
			m.depth--
			return 0, false
		}
	}
}

// close drops the choices above base and keeps the registers as they are: they go back only if what is outside fails.
func (m *matcher) close(base int) {
	kept := base
	for _, f := range m.stack[base:] {
		if f.kind == restore && m.depth > 1 {
			m.stack[kept] = f
			kept++
		}
	}
	m.stack = m.stack[:kept]
}

// rare executes the instructions that few patterns have; it gives where to go on.
func (m *matcher) rare(in *inst, pc, pos int) (int, int, bool) {
	switch in.op {
	case opLazy:
		return m.lazy(in, pc, pos, 0)
	case opSave:
		m.set(in.n, pos)
	case opKeep:
		m.set(0, pos)
	case opAnchor:
		return pc + 1, pos, m.holds(anchor(in.n), pos)
	case opLook:
		base := len(m.stack)
		_, ok := m.run(pc+1, pos)
		if ok == in.negative {
			m.undo(base)
			return 0, 0, false
		}
		if in.negative {
			m.undo(base)
		}
		return in.to, pos, true
	case opBehind:
		return in.to, pos, m.behind(in, pc, pos) != in.negative
	case opAtomic:
		end, ok := m.run(pc+1, pos)
		return in.to, end, ok
	case opBackref:
		lo, hi := m.regs[in.n*2], m.regs[in.n*2+1]
		if lo < 0 || hi < lo || len(m.text)-pos < int(hi-lo) || m.text[pos:pos+int(hi-lo)] != m.text[lo:hi] {
			return 0, 0, false
		}
		pos += int(hi - lo)
	}
	return pc + 1, pos, true
}

// undo gives the registers changed above base their old values back.
func (m *matcher) undo(base int) {
	for len(m.stack) > base {
		f := m.stack[len(m.stack)-1]
		m.stack = m.stack[:len(m.stack)-1]
		if f.kind == restore {
			m.regs[f.aux] = f.pos
		}
	}
}

// behind tries the body at every beginning from which it could end at pos, the nearest first.
func (m *matcher) behind(in *inst, pc, pos int) bool {
	at := pos
	for n := 0; in.hi == unlimited || n <= in.hi; n++ {
		if n >= in.lo {
			base, outer := len(m.stack), m.want
			m.want = pos
			_, ok := m.run(pc+1, at)
			m.want = outer
			if ok {
				return true
			}
			m.undo(base)
		}
		if at == 0 || m.spent {
			break
		}
		_, size := utf8.DecodeLastRuneInString(m.text[:at])
		at -= size
	}
	return false
}

// holds tells whether an anchor matches at pos. ^ does not match after a line feed that ends the text, $ does before and
// after it. Source: Oniguruma 6.9.10, regexec.c, BEGIN_LINE and END_LINE.
func (m *matcher) holds(a anchor, pos int) bool {
	n := len(m.text)
	switch a {
	case lineBegin:
		return pos == 0 || m.text[pos-1] == '\n' && pos < n
	case lineEnd:
		return pos == n || m.text[pos] == '\n'
	case textBegin:
		return pos == 0
	case textEnd:
		return pos == n
	case textEndLine:
		return pos == n || pos == n-1 && m.text[pos] == '\n'
	case searchBegin:
		return pos == m.start
	}
	words := ucd.Compiled("onig:escw")
	before, after := false, false
	if pos > 0 {
		r, _ := utf8.DecodeLastRuneInString(m.text[:pos])
		before = words.Contains(r)
	}
	if r, size := m.at(pos); size > 0 {
		after = words.Contains(r)
	}
	return (before != after) == (a == wordEdge)
}
