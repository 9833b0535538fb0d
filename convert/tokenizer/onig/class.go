package onig

import (
	"strings"

	"quern/convert/tokenizer/ucd"
)

// posix are the names between [: and :].
var posix = []string{"alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "xdigit", "word"}

// bracket reads a class after its opening bracket and applies (?i) to it.
func (p *parser) bracket() node {
	positive, negated := p.classBody()
	if !p.opt.ignoreCase {
		if negated {
			positive = positive.Negate()
		}
		return class(positive)
	}
	// Letters fold inside a negation; strings that fold to one character are added to positive classes only.
	positive = foldClass(positive)
	if negated {
		return class(positive.Negate())
	}
	alts := append([]node{class(positive)}, foldedStrings(positive)...)
	if len(alts) == 1 {
		return alts[0]
	}
	return alternation(alts)
}

// nested reads a class inside a class.
func (p *parser) nested() ucd.Ranges {
	s, negated := p.classBody()
	if negated {
		return s.Negate()
	}
	return s
}

// classBody reads up to the closing bracket: unions of members, cut with one another at each &&.
func (p *parser) classBody() (set ucd.Ranges, negated bool) {
	if p.depth++; p.depth > maxDepth {
		p.fail("classes nested more than 64 deep")
	}
	defer func() { p.depth-- }()
	negated = p.accept("^")
	var members []ucd.Range
	var cut ucd.Ranges
	cuts, first := false, true
	for p.err == nil {
		if !p.more() {
			p.fail("class without an end")
			break
		}
		switch {
		case p.at("]") && (!first || !strings.Contains(p.src[p.pos+1:], "]")):
			p.pos++
			set = ucd.Of(members...)
			if cuts {
				set = ucd.Intersect(cut, set)
			}
			return set, negated
		case p.accept("&&"):
			if set = ucd.Of(members...); cuts {
				set = ucd.Intersect(cut, set)
			}
			cut, cuts, members = set, true, nil
		default:
			members = p.member(members)
		}
		first = false
	}
	return nil, negated
}

// member reads one character, range, type, POSIX bracket or nested class.
func (p *parser) member(to []ucd.Range) []ucd.Range {
	if p.at("[:") {
		if s, ok := p.posixBracket(); ok {
			return append(to, s...)
		}
	}
	if p.accept("[") {
		return append(to, p.nested()...)
	}
	lo, set, ok := p.classChar()
	if !ok {
		return append(to, set...)
	}
	// "-" makes a range unless the class ends after it.
	if !p.at("-") || p.at("-]") || p.at("-[") || p.at("-&&") {
		return append(to, ucd.Range{Lo: lo, Hi: lo})
	}
	p.pos++
	hi, set, ok := p.classChar()
	switch {
	case !ok: // [a-\d]: the sign stands for itself
		return append(append(to, ucd.Range{Lo: lo, Hi: lo}, ucd.Range{Lo: '-', Hi: '-'}), set...)
	case lo > hi:
		p.fail("empty range in a class")
	}
	return append(to, ucd.Range{Lo: lo, Hi: hi})
}

// classChar reads one character, or a type (then ok is false).
func (p *parser) classChar() (r rune, set ucd.Ranges, ok bool) {
	if !p.accept(`\`) {
		return p.next(), nil, true
	}
	if s, ok := p.typeEscape("onig:class"); ok {
		return 0, s, false
	}
	switch {
	case p.accept("b"):
		return '\b', nil, true
	case p.at("R") || p.at("X"):
		p.fail("\\" + p.src[p.pos:p.pos+1] + " in a class")
	case p.more() && p.src[p.pos] >= '1' && p.src[p.pos] <= '7':
		return p.octal(3), nil, true
	}
	return p.charEscape(), nil, true
}

// posixBracket reads [:name:]; what looks like one but names no class is an ordinary class.
func (p *parser) posixBracket() (ucd.Ranges, bool) {
	rest := p.src[p.pos+2:]
	negative := strings.HasPrefix(rest, "^")
	rest = strings.TrimPrefix(rest, "^")
	for _, name := range posix {
		if strings.HasPrefix(rest, name+":]") {
			p.pos = len(p.src) - len(rest) + len(name) + 2
			s, _ := ucd.Named("onig:posix" + name)
			if negative {
				s = s.Negate()
			}
			return s, true
		}
	}
	return nil, false
}
