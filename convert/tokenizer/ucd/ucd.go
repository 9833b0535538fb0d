// Package ucd knows each code point as the Hugging Face tokenizers library does.
//
// The library is built from parts that carry different versions of Unicode: Oniguruma 16.0, an old table of general
// categories, another for normal forms, Rust's own. The tables here were measured by running tokenizers 0.22.2 over
// every code point (tables.py), so neither a new version of Go nor of x/text changes what a tokenizer does.
package ucd

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/binary"
	"io"
	"strings"
	"sync"
	"unicode/utf8"
)

//go:embed tables.bin.gz
var packed []byte

type tables struct {
	sets  []Ranges
	names map[string]int
	maps  map[string][]byte
}

var load = sync.OnceValue(func() *tables {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return &tables{}
	}
	data, err := io.ReadAll(z)
	if err != nil {
		return &tables{}
	}
	r := &reader{data}
	t := &tables{names: map[string]int{}, maps: map[string][]byte{}}
	for range r.uint() {
		t.sets = append(t.sets, r.ranges())
	}
	for range r.uint() {
		name := string(r.bytes())
		t.names[name] = r.uint()
	}
	for range r.uint() {
		name := string(r.bytes())
		t.maps[name] = r.bytes()
	}
	return t
})

// reader takes the packed tables apart. They are part of the program and covered by tests, so it does not check bounds.
type reader struct{ b []byte }

// uint reads a number of seven bits a byte.
func (r *reader) uint() int {
	v, n := binary.Uvarint(r.b)
	r.b = r.b[n:]
	return int(v)
}

// bytes reads a length and as many bytes.
func (r *reader) bytes() []byte {
	n := r.uint()
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

// ranges reads a set: each range by its distance from the one before and by its length.
func (r *reader) ranges() Ranges {
	out, at := make(Ranges, r.uint()), 0
	for i := range out {
		lo := at + r.uint()
		hi := lo + r.uint()
		out[i] = Range{rune(lo), rune(hi)}
		at = hi + 1
	}
	return out
}

// Named is a measured set: "onig:<property>", "rust:<predicate>", "bert:<step>", "nmt:<step>", "old:<category>" or
// "norm:mark"; names are lower case without spaces, hyphens and underscores.
func Named(name string) (Ranges, bool) {
	t := load()
	i, ok := t.names[name]
	if !ok {
		return nil, false
	}
	return t.sets[i], true
}

// Property is an Oniguruma property by any of its names, however it is spelled.
func Property(name string) (Ranges, bool) {
	return Named("onig:" + strings.Map(func(r rune) rune {
		switch {
		case r == ' ' || r == '-' || r == '_':
			return -1
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return r
	}, name))
}

var compiled sync.Map // name -> *Set

// Compiled is the fast form of a measured set, made once. An unknown name is an empty set.
func Compiled(name string) *Set {
	if s, ok := compiled.Load(name); ok {
		return s.(*Set)
	}
	r, _ := Named(name)
	s, _ := compiled.LoadOrStore(name, r.Compile())
	return s.(*Set)
}

// Map is a measured mapping from single code points to strings: "lower", "nfd", "nfkd" (where it is not nfd's),
// "ccc" (one rune: the class), "compose" (the two runes that compose), "fold" (the others of the class), "multifold".
func Map(name string) map[rune]string {
	if m, ok := decoded.Load(name); ok {
		return m.(map[rune]string)
	}
	r := &reader{load().maps[name]}
	n := r.uint()
	m, at := make(map[rune]string, n), 0
	for range n {
		at += r.uint()
		var s []byte
		for range r.uint() {
			z := r.uint()
			s = utf8.AppendRune(s, rune(at+(z>>1^-(z&1))))
		}
		m[rune(at)] = string(s)
	}
	d, _ := decoded.LoadOrStore(name, m)
	return d.(map[rune]string)
}

var decoded sync.Map // name -> map[rune]string

var scriptRuns = sync.OnceValues(func() (ends []rune, script []int) {
	r := &reader{load().maps["scripts"]}
	at := 0
	for range r.uint() {
		at += r.uint()
		ends, script = append(ends, rune(at)), append(script, r.uint())
	}
	return ends, script
})

// Script numbers the script of r as the pre-tokenizer UnicodeScripts sees it: Han with the kana, 0 for the blank and
// what has no script.
func Script(r rune) int {
	ends, script := scriptRuns()
	lo, hi := 0, len(ends)
	for lo < hi {
		if m := (lo + hi) / 2; ends[m] <= r {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return script[lo]
}
