package onig

import (
	"strings"
	"unicode/utf8"

	"quern/convert/fault"
	"quern/convert/tokenizer/ucd"
)

// Bounds of a pattern. The longest splitter in use has 900 characters and repeats a class 512 times.
const (
	maxPattern = 1 << 16 // bytes
	maxDepth   = 64      // groups inside groups
	maxRepeat  = 100_000 // Oniguruma's own bound of {n,m}
)

// options are those that can be switched inside a pattern.
type options struct{ ignoreCase, dotAll, extended bool }

// parser reads Oniguruma's default syntax (doc/RE of version 6.9.10) by recursive descent.
type parser struct {
	src   string
	pos   int
	depth int
	opt   options
	names []string // of the capturing groups, by number less one
	named bool     // plain groups capture nothing once a group has a name
	refs  int      // highest group referred to by number
	err   error
}

// parse checks the bounds of a pattern and reads it.
func parse(pattern string) (node, error) {
	p := &parser{src: pattern}
	switch {
	case len(pattern) > maxPattern:
		p.fail("pattern is longer than 65536 bytes")
	case !utf8.ValidString(pattern):
		p.fail("pattern is not UTF-8")
	}
	p.named = hasNames(pattern)
	n := p.alternatives()
	if p.err == nil && p.pos < len(p.src) {
		p.fail("unmatched )")
	}
	if p.refs > len(p.names) {
		p.fail("back-reference to a group that does not exist")
	}
	if p.err != nil {
		return nil, p.err
	}
	return n, nil
}

// hasNames looks for a named group ahead: with one, plain groups do not capture (doc/RE, section 10).
func hasNames(s string) bool {
	for i := strings.Index(s, "(?"); i >= 0 && i+3 < len(s); {
		if s[i+2] == '\'' || s[i+2] == '<' && s[i+3] != '=' && s[i+3] != '!' {
			return true
		}
		j := strings.Index(s[i+2:], "(?")
		if j < 0 {
			break
		}
		i += 2 + j
	}
	return false
}

// fail keeps the first error and moves to the end, where every rule of the grammar comes to rest.
func (p *parser) fail(says string) {
	shown := p.src
	if len(shown) > 80 {
		shown = strings.ToValidUTF8(shown[:80], "") + "..."
	}
	if p.err == nil {
		p.err = &fault.Unsupported{On: "regular expression " + shown, Says: says, Next: "report the tokenizer, so that the construct can be added"}
	}
	p.pos = len(p.src)
}

// more tells whether anything is left; after an error nothing is.
func (p *parser) more() bool { return p.err == nil && p.pos < len(p.src) }

// at looks whether s comes next.
func (p *parser) at(s string) bool { return p.err == nil && strings.HasPrefix(p.src[p.pos:], s) }

// accept reads s if it comes next.
func (p *parser) accept(s string) bool {
	if !p.at(s) {
		return false
	}
	p.pos += len(s)
	return true
}

// next reads one character, which has to be there.
func (p *parser) next() rune {
	if !p.more() {
		p.fail("pattern ends too early")
		return utf8.RuneError
	}
	r, n := utf8.DecodeRuneInString(p.src[p.pos:])
	p.pos += n
	return r
}

// alternatives reads up to the ) that closes the group, or to the end.
func (p *parser) alternatives() node {
	if p.depth++; p.depth > maxDepth {
		p.fail("groups nested more than 64 deep")
	}
	defer func() { p.depth-- }()
	alts := []node{p.sequence()}
	for p.accept("|") {
		alts = append(alts, p.sequence())
	}
	if len(alts) == 1 {
		return alts[0]
	}
	return alternation(alts)
}

// sequence reads up to the next alternative. Under (?i) letters in a row are kept together, because they may fold to one
// character; a quantified letter stands alone.
func (p *parser) sequence() node {
	var items []node
	var word []rune // letters in a row under (?i), which may fold together
	flush := func() {
		if len(word) > 0 {
			items = append(items, foldString(word))
			word = nil
		}
	}
	for p.more() && !p.at("|") && !p.at(")") {
		if p.opt.extended && p.skipBlank() {
			continue
		}
		start := p.pos
		atom := p.atom()
		if atom == nil {
			continue
		}
		quantified := p.quantifies()
		if c, ok := atom.(char); ok && p.opt.ignoreCase && !quantified {
			word = append(word, rune(c))
			continue
		}
		flush()
		if c, ok := atom.(char); ok && p.opt.ignoreCase {
			atom = foldString([]rune{rune(c)})
		}
		items = append(items, p.quantified(atom, p.src[start]))
	}
	flush()
	return cat(items)
}

// skipBlank skips a blank or a comment of the extended form.
func (p *parser) skipBlank() bool {
	switch c := p.src[p.pos]; c {
	case ' ', '\t', '\n', '\r', '\f', '\v':
		p.pos++
	case '#':
		if i := strings.IndexByte(p.src[p.pos:], '\n'); i >= 0 {
			p.pos += i + 1
		} else {
			p.pos = len(p.src)
		}
	default:
		return false
	}
	return true
}

// atom reads one thing that a quantifier may follow; nil for a comment or a switched option.
func (p *parser) atom() node {
	switch r := p.next(); r {
	case '(':
		return p.group()
	case '[':
		return p.bracket()
	case '.':
		return p.dot(p.opt.dotAll)
	case '^':
		return anchor(lineBegin)
	case '$':
		return anchor(lineEnd)
	case '\\':
		return p.escape()
	case '*', '+', '?':
		p.fail("nothing to repeat")
		return nil
	default:
		return char(r)
	}
}

// dot is any character, with all a line feed too.
func (p *parser) dot(all bool) node {
	if all {
		return class(ucd.Ranges{{Lo: 0, Hi: utf8.MaxRune}})
	}
	return class(ucd.Ranges{{Lo: '\n', Hi: '\n'}}.Negate())
}

// group reads what follows an opening parenthesis.
func (p *parser) group() node {
	if !p.accept("?") {
		if p.named {
			return p.closed(p.alternatives())
		}
		return p.capture("")
	}
	switch r := p.next(); r {
	case ':':
		return p.scoped(p.opt)
	case '#':
		if i := strings.IndexByte(p.src[p.pos:], ')'); i >= 0 {
			p.pos += i + 1
			return nil
		}
		p.fail("comment without an end")
		return nil
	case '=', '!':
		return look{body: p.scoped(p.opt), negative: r == '!'}
	case '>':
		return atomic{p.scoped(p.opt)}
	case '<':
		if p.accept("=") {
			return look{body: p.scoped(p.opt), behind: true}
		}
		if p.accept("!") {
			return look{body: p.scoped(p.opt), behind: true, negative: true}
		}
		return p.capture(p.name('>'))
	case '\'':
		return p.capture(p.name('\''))
	}
	p.pos--
	return p.switched()
}

// name reads a group's name up to end.
func (p *parser) name(end byte) string {
	i := strings.IndexByte(p.src[p.pos:], end)
	if i <= 0 {
		p.fail("group name without an end")
		return ""
	}
	name := p.src[p.pos : p.pos+i]
	p.pos += i + 1
	return name
}

// capture reads a capturing group. Its number is taken before its inside is read.
func (p *parser) capture(name string) node {
	p.names = append(p.names, name)
	n := len(p.names)
	return capture{p.scoped(p.opt), n}
}

// scoped reads a group's inside under opt; options switched in it end with it.
func (p *parser) scoped(opt options) node {
	saved := p.opt
	p.opt = opt
	n := p.alternatives()
	p.opt = saved
	return p.closed(n)
}

// closed asks for the closing parenthesis.
func (p *parser) closed(n node) node {
	if !p.accept(")") {
		p.fail("group without an end")
	}
	return group{n}
}

// switched reads (?imx-imx) and (?imx-imx:...).
func (p *parser) switched() node {
	opt, on := p.opt, true
	for p.err == nil {
		switch r := p.next(); r {
		case '-':
			on = false
		case 'i':
			opt.ignoreCase = on
		case 'm':
			opt.dotAll = on
		case 'x':
			opt.extended = on
		case ':':
			return p.scoped(opt)
		case ')':
			// An isolated option reaches to the end of the group, over the alternatives too.
			saved := p.opt
			p.opt = opt
			n := p.alternatives()
			p.opt = saved
			return group{n}
		default:
			p.fail("group (?" + string(r) + "...) is not supported")
		}
	}
	return nil
}

// quantifies tells whether a quantifier follows.
func (p *parser) quantifies() bool {
	if !p.more() {
		return false
	}
	switch p.src[p.pos] {
	case '*', '+', '?':
		return true
	case '{':
		_, _, n := p.interval()
		return n > 0 && p.err == nil
	}
	return false
}

// quantified applies all quantifiers that follow. first is the byte that began the atom.
func (p *parser) quantified(atom node, first byte) node {
	for p.quantifies() {
		if _, ok := atom.(anchor); ok && first != '(' {
			p.fail("an anchor is repeated")
			return atom
		}
		lo, hi, size := 0, unlimited, 1
		fixed := false
		switch p.src[p.pos] {
		case '+':
			lo = 1
		case '?':
			hi = 1
		case '{':
			lo, hi, size = p.interval()
			fixed = true
		}
		p.pos += size
		r := repeat{body: atom, lo: lo, hi: hi}
		if fixed && hi != unlimited && lo > hi {
			r.lo, r.hi, r.possessive = hi, lo, true
		}
		switch {
		case fixed && lo == hi: // a{n}? makes the whole optional
		case p.accept("?"):
			r.lazy = true
		case !fixed && p.accept("+"):
			r.possessive = true
		}
		atom = r
	}
	return atom
}

// interval looks at {n}, {n,}, {,m}, {n,m}; size 0: it is none, and the brace stands for itself.
func (p *parser) interval() (lo, hi, size int) {
	s := p.src[p.pos+1:]
	lo, n := number(s)
	i := n
	hi = lo
	if i < len(s) && s[i] == ',' {
		var m int
		hi, m = number(s[i+1:])
		if m == 0 {
			if n == 0 {
				return 0, 0, 0
			}
			hi = unlimited
		}
		i += 1 + m
	} else if n == 0 {
		return 0, 0, 0
	}
	if i >= len(s) || s[i] != '}' {
		return 0, 0, 0
	}
	if lo > maxRepeat || hi > maxRepeat {
		p.fail("repeats more than 100000 times")
	}
	return lo, hi, i + 2
}

// number reads a decimal number; it stops growing past the bound, so that it cannot overflow.
func number(s string) (v, n int) {
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		if v <= maxRepeat {
			v = v*10 + int(s[n]-'0')
		}
		n++
	}
	return v, n
}
