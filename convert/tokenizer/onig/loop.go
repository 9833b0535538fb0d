package onig

import "unicode/utf8"

// loop runs a greedy or possessive loop over one class.
func (m *matcher) loop(in *inst, pc, pos int) (int, bool) {
	least, count := pos, 0
	hi := in.hi
	if hi == unlimited {
		hi = len(m.text)
	}
	text, set := m.text, in.set
	remember := m.seen != nil && in.memo >= 0 && m.depth == 1
	begin := pos
	if remember && in.lo == 0 && m.visited(in.memo, pos) {
		return pos, false
	}
	for count < hi && pos < len(text) {
		size := 1
		if c := text[pos]; c < utf8.RuneSelf {
			if !set.ASCII(c) {
				break
			}
		} else {
			var r rune
			if r, size = utf8.DecodeRuneInString(text[pos:]); !set.Contains(r) {
				break
			}
		}
		// Where this loop has been before, everything from there on has failed.
		if remember && count+1 >= in.lo && m.visited(in.memo, pos+size) {
			if count+1 == in.lo || in.op == opRun {
				m.charge(pos - begin)
				return pos, false
			}
			break
		}
		pos += size
		if count++; count == in.lo {
			least = pos
		}
	}
	m.charge(pos - begin)
	if count < in.lo {
		return pos, false
	}
	if in.op == opLoop && pos > least {
		m.push(giveUp, pc+1, pos, least)
	}
	return pos, true
}

// lazy runs a loop that takes no more than it has to; taken is what it has already.
func (m *matcher) lazy(in *inst, pc, pos, taken int) (int, int, bool) {
	for ; taken < in.lo; taken++ {
		r, n := m.at(pos)
		if n == 0 || !in.set.Contains(r) {
			return 0, 0, false
		}
		pos += n
	}
	if m.visited(in.memo, pos) {
		return 0, 0, false
	}
	if in.hi == unlimited || taken < in.hi {
		m.push(takeOne, pc, pos, taken)
	}
	return pc + 1, pos, true
}

// choose goes into the first alternative from i on that can begin here and leaves the rest open.
func (m *matcher) choose(in *inst, pc, pos, i int) (int, bool) {
	r, size := m.at(pos)
	for ; i < len(in.alts); i++ {
		if s := in.alts[i].first; s != nil && (size == 0 || !s.Contains(r)) {
			continue
		}
		if i+1 < len(in.alts) {
			m.push(another, pc, pos, i+1)
		}
		return in.alts[i].to, true
	}
	return pc, false
}

// back takes up the last choice left open above base.
func (m *matcher) back(base int) (pc, pos int, ok bool) {
	for len(m.stack) > base {
		top := len(m.stack) - 1
		f := m.stack[top]
		m.stack = m.stack[:top]
		pc, pos = int(f.pc), int(f.pos)
		switch f.kind {
		case restore:
			m.regs[f.aux] = f.pos
		case giveUp:
			if pos, ok = m.giveBack(&m.re.prog[pc-1], pos, int(f.aux)); ok {
				if pos > int(f.aux) {
					m.push(giveUp, pc, pos, int(f.aux))
				}
				return pc, pos, true
			}
		case takeOne:
			in := &m.re.prog[pc]
			if r, n := m.at(pos); n > 0 && in.set.Contains(r) {
				if pc, pos, ok = m.lazy(in, pc, pos+n, int(f.aux)+1); ok {
					return pc, pos, true
				}
			}
		case another:
			if pc, ok = m.choose(&m.re.prog[pc], pc, pos, int(f.aux)); ok {
				return pc, pos, true
			}
		}
	}
	return 0, 0, false
}

// giveBack moves a greedy loop back, by one character or to the nearest one that can begin what follows.
func (m *matcher) giveBack(in *inst, pos, least int) (int, bool) {
	from := pos
	for pos > least {
		size := 1
		if m.text[pos-1] >= utf8.RuneSelf {
			_, size = utf8.DecodeLastRuneInString(m.text[:pos])
		}
		pos -= size
		if in.next == nil {
			break
		}
		if r, n := m.at(pos); n > 0 && in.next.Contains(r) {
			break
		}
		if pos <= least {
			m.charge(from - pos)
			return pos, false
		}
	}
	m.charge(from - pos)
	return pos, from > least
}
