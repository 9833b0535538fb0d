package arch

import (
	"strings"
)

// Pattern matches whole tensor names. * stands for any text, # for a number between dots, {a|b} for one of some texts,
// and a | outside of braces separates whole patterns.
//
//	"*.q_proj.weight"        ends with it
//	"*experts*"              contains it
//	"model.layers.#.*"       a tensor of a block
//	"*.{q|k}_proj.{weight|bias}"
type Pattern string

// Match tells whether the pattern matches the whole name.
func (p Pattern) Match(name string) bool {
	for _, one := range p.alternatives() {
		if glob(one, name) {
			return true
		}
	}
	return false
}

// alternatives are the patterns between the bars that stand outside of braces, with braces expanded.
func (p Pattern) alternatives() []string {
	var out []string
	depth, from := 0, 0
	for i := range len(p) {
		switch p[i] {
		case '{':
			depth++
		case '}':
			depth--
		case '|':
			if depth == 0 {
				out = append(out, expand(string(p[from:i]))...)
				from = i + 1
			}
		}
	}
	return append(out, expand(string(p[from:]))...)
}

// expand writes a pattern out for each text in its first pair of braces, and so on.
func expand(p string) []string {
	before, rest, ok := strings.Cut(p, "{")
	if !ok {
		return []string{p}
	}
	inside, after, ok := strings.Cut(rest, "}")
	if !ok {
		return []string{p}
	}
	var out []string
	for _, tail := range expand(after) {
		for word := range strings.SplitSeq(inside, "|") {
			out = append(out, before+word+tail)
		}
	}
	return out
}

// glob matches with backtracking over one star at a time: the time is at most the product of the lengths.
func glob(p, s string) bool {
	star, back := -1, 0
	i, j := 0, 0
	for j < len(s) || i < len(p) {
		switch {
		case i < len(p) && p[i] == '*':
			star, back = i, j
			i++
			continue
		case i < len(p) && p[i] == '#' && j < len(s) && digits(s[j:]) > 0:
			j += digits(s[j:])
			i++
			continue
		case i < len(p) && j < len(s) && p[i] == s[j] && p[i] != '#':
			i++
			j++
			continue
		}
		if star < 0 || back >= len(s) {
			return false
		}
		back++
		i, j = star+1, back
	}
	return true
}

// digits is the number of leading digits.
func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}
