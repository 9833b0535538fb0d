package onig

import (
	"strings"
	"unicode/utf8"

	"quern/convert/tokenizer/ucd"
)

// controls are the escapes that stand for one character.
var controls = map[rune]rune{'t': '\t', 'v': '\v', 'n': '\n', 'r': '\r', 'f': '\f', 'a': '\a', 'e': 0x1B}

var anchors = map[rune]anchor{'b': wordEdge, 'B': notWordEdge, 'A': textBegin, 'Z': textEndLine, 'z': textEnd, 'G': searchBegin}

// escape reads what follows a backslash outside a class.
func (p *parser) escape() node {
	if s, ok := p.typeEscape("onig:esc"); ok {
		return class(s)
	}
	r := p.next()
	if a, ok := anchors[r]; ok {
		return a
	}
	switch {
	case r == 'K':
		return keep{}
	case r == 'R':
		return lineBreak()
	case r == 'N':
		return p.dot(false)
	case r == 'O':
		return p.dot(true)
	case r == 'k':
		return p.reference()
	case r >= '1' && r <= '9':
		p.pos--
		n, size := number(p.src[p.pos:])
		if n <= 9 || n <= len(p.names) {
			p.pos += size
			p.refs = max(p.refs, n)
			return backref(n)
		}
		return char(p.octal(3))
	case r == 'X' || r == 'y' || r == 'Y' || r == 'g':
		p.fail("\\" + string(r) + " is not supported")
		return nil
	}
	p.pos -= utf8.RuneLen(r)
	return char(p.charEscape())
}

// lineBreak is \R: it does not give back the line feed of a pair.
func lineBreak() node {
	single := ucd.Of(ucd.Range{Lo: '\n', Hi: '\r'}, ucd.Range{Lo: 0x85, Hi: 0x85}, ucd.Range{Lo: 0x2028, Hi: 0x2029})
	return atomic{alternation([]node{cat([]node{char('\r'), char('\n')}), class(single)})}
}

// reference reads \k<name> and \k<number>; of several groups of one name the last one counts.
func (p *parser) reference() node {
	end := byte('>')
	if !p.accept("<") {
		if !p.accept("'") {
			p.fail("\\k without a name")
		}
		end = '\''
	}
	name := p.name(end)
	if n, size := number(name); size == len(name) && n > 0 {
		p.refs = max(p.refs, n)
		return backref(n)
	}
	for i := len(p.names) - 1; i >= 0; i-- {
		if p.names[i] == name {
			return backref(i + 1)
		}
	}
	p.fail("back-reference to the unknown group " + name)
	return nil
}

// typeEscape reads \d \w \s \h, their negations and \p{...}, if that is what comes. family tells the sets that hold
// alone from those that hold in a class: a lone \w takes some of Latin-1 that [\w] does not.
func (p *parser) typeEscape(family string) (ucd.Ranges, bool) {
	if !p.more() {
		return nil, false
	}
	c := p.src[p.pos]
	switch c {
	case 'd', 'w', 's', 'h', 'D', 'W', 'S', 'H':
		p.pos++
		s, _ := ucd.Named(family + string(c|0x20))
		if c < 'a' {
			s = s.Negate()
		}
		return s, true
	case 'p', 'P':
		if p.pos+1 < len(p.src) {
			p.pos++
			return p.property(c == 'P'), true
		}
	}
	return nil, false
}

// property reads {Name}, {^Name} or one letter.
func (p *parser) property(negative bool) ucd.Ranges {
	name := ""
	if p.accept("{") {
		if p.accept("^") {
			negative = !negative
		}
		i := strings.IndexByte(p.src[p.pos:], '}')
		if i < 0 {
			p.fail("property without an end")
			return nil
		}
		name = p.src[p.pos : p.pos+i]
		p.pos += i + 1
	} else {
		name = string(p.next())
	}
	s, ok := ucd.Property(name)
	if !ok {
		p.fail("character property " + name + " is not known")
	}
	if negative {
		return s.Negate()
	}
	return s
}

// charEscape reads an escape that stands for one character, in or outside a class.
func (p *parser) charEscape() rune {
	r := p.next()
	if c, ok := controls[r]; ok {
		return c
	}
	switch r {
	case 'x':
		if p.accept("{") {
			v := p.digits(16, 8)
			if !p.accept("}") {
				p.fail("\\x{...} holds more than one hexadecimal number")
			}
			return p.code(v)
		}
		v := p.digits(16, 2)
		if v >= 0x80 {
			p.fail("\\xHH above 7F is a lone byte")
		}
		return p.code(v)
	case 'u':
		return p.code(p.digits(16, 4))
	case 'c':
		return p.next() & 0x1F
	case '0':
		return p.octal(2)
	}
	return r
}

// octal reads up to most octal digits.
func (p *parser) octal(most int) rune { return p.code(p.digits(8, most)) }

// digits reads up to most digits of a base; none at all are zero, as in Oniguruma.
func (p *parser) digits(base, most int) int {
	v := 0
	for i := 0; i < most && p.more(); i++ {
		d := strings.IndexByte("0123456789abcdef", p.src[p.pos]|0x20)
		if c := p.src[p.pos]; c < '0' || d < 0 || d >= base {
			break
		}
		v = v*base + d
		p.pos++
	}
	return v
}

// code refuses what is no code point: surrogates never occur in UTF-8.
func (p *parser) code(v int) rune {
	if v > utf8.MaxRune || v >= 0xD800 && v < 0xE000 {
		p.fail("escape is not a code point")
		return 0
	}
	return rune(v)
}
