package hfclient

import (
	"fmt"
	"sort"
	"strings"
)

const maxNearest = 3 // names shown in a hint

// nearest gives up to three of names that a mistyped want may have meant, the closest first.
func nearest(want string, names []string) []string {
	type scored struct {
		name string
		far  int
	}
	var close []scored
	for _, n := range names {
		if len(n) > maxRevision || len(want) > maxRevision {
			continue
		}
		far := editDistance(strings.ToLower(want), strings.ToLower(n))
		if far <= max(2, len(want)/3) || strings.HasPrefix(n, want) {
			close = append(close, scored{n, far})
		}
	}
	sort.SliceStable(close, func(i, j int) bool { return close[i].far < close[j].far })
	var out []string
	for _, s := range close[:min(len(close), maxNearest)] {
		out = append(out, s.name)
	}
	return out
}

// didYouMean is the sentence for a hint; all is listed when nothing is close and it is short.
func didYouMean(want string, names []string) string {
	if near := nearest(want, names); len(near) > 0 {
		return "did you mean " + quoted(near, " or ") + "?"
	}
	if len(names) == 0 {
		return ""
	}
	shown := names[:min(len(names), 8)]
	s := "there is " + quoted(shown, ", ")
	if len(names) > len(shown) {
		s += fmt.Sprintf(" and %d more", len(names)-len(shown))
	}
	return s
}

// quoted makes names of the network harmless on a terminal: %q escapes control characters.
func quoted(names []string, between string) string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = fmt.Sprintf("%q", n)
	}
	return strings.Join(q, between)
}

// editDistance counts insertions, deletions and replacements of bytes.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost = 1 + min(diagonal, row[j], row[j-1])
			}
			diagonal, row[j] = row[j], cost
		}
	}
	return row[len(b)]
}
