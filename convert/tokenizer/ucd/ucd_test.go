package ucd

import (
	"math/rand/v2"
	"testing"
	"unicode"
)

// TestRanges holds the algebra of sets against sets of single numbers.
func TestRanges(t *testing.T) {
	const top = 600
	rng := rand.New(rand.NewPCG(1, 2))
	random := func() (Ranges, [top]bool) {
		var r []Range
		var in [top]bool
		for range rng.IntN(12) {
			lo := rune(rng.IntN(top))
			hi := min(lo+rune(rng.IntN(60)), top-1)
			r = append(r, Range{lo, hi})
			for c := lo; c <= hi; c++ {
				in[c] = true
			}
		}
		return Of(r...), in
	}
	for range 500 {
		a, inA := random()
		b, inB := random()
		union, both, not, fast := Union(a, b), Intersect(a, b), a.Negate(), a.Compile()
		for c := range rune(top) {
			if a.Contains(c) != inA[c] || union.Contains(c) != (inA[c] || inB[c]) || both.Contains(c) != (inA[c] && inB[c]) || not.Contains(c) == inA[c] {
				t.Fatalf("U+%04X: %v and %v", c, a, b)
			}
			if fast.Contains(c) != inA[c] || c < 128 && fast.ASCII(byte(c)) != inA[c] {
				t.Fatalf("U+%04X: the fast form of %v differs", c, a)
			}
		}
		for i := 1; i < len(union); i++ {
			if union[i].Lo <= union[i-1].Hi+1 {
				t.Fatalf("%v overlaps or touches", union)
			}
		}
	}
}

// TestTables holds that the tables are there and are about the right things: where Go's older Unicode knows a letter, so
// do they. Every code point is compared with the library in package tokenizer.
func TestTables(t *testing.T) {
	for name, table := range map[string]*unicode.RangeTable{"L": unicode.L, "Lu": unicode.Lu, "Nd": unicode.Nd, "Han": unicode.Han, "White_Space": unicode.White_Space, "greek": unicode.Greek} {
		set, ok := Property(name)
		if !ok {
			t.Fatalf("property %s is missing", name)
		}
		for c := range rune(unicode.MaxRune) {
			if unicode.Is(table, c) && !set.Contains(c) {
				t.Errorf("U+%04X is not in %s", c, name)
			}
		}
	}
	for _, name := range []string{"onig:escw", "onig:classw", "onig:posixpunct", "rust:word", "rust:numeric", "rust:space", "rust:regexspace", "old:mn", "old:punctuation", "norm:mark",
		"bert:removed", "bert:space", "bert:chinese", "nmt:removed", "nmt:space", "gcb:joined", "gcb:prepend", "gcb:control", "onig:extendedpictographic"} {
		if set, ok := Named(name); !ok || len(set) == 0 {
			t.Errorf("%s is missing", name)
		}
	}
	if _, ok := Property("no such property"); ok {
		t.Error("a property that does not exist was found")
	}
	for name, size := range map[string]int{"lower": 1400, "nfd": 2000, "nfkd": 3500, "ccc": 700, "compose": 900, "fold": 2500, "multifold": 100} {
		if n := len(Map(name)); n < size {
			t.Errorf("map %s has %d entries, at least %d are expected", name, n, size)
		}
	}
	if Script('я') == Script('a') || Script('か') != Script('中') || Script(' ') != 0 {
		t.Error("scripts are not told apart as the library does")
	}
	if r, _ := Named("onig:classw"); r.Contains('½') {
		t.Error("[\\w] has a fraction")
	}
	if r, _ := Named("onig:escw"); !r.Contains('½') {
		t.Error("a lone \\w lacks the fraction that Oniguruma's table of Latin-1 has")
	}
}
