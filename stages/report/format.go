package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// none stands where nothing was measured.
const none = "–"

// bytesText counts in powers of ten, as shops and download pages do; memory of machines is in GiB, as theirs is sold.
func bytesText(n int64) string {
	switch f := float64(n); {
	case n == 0:
		return none
	case f < 1e6:
		return fmt.Sprintf("%.0f kB", f/1e3)
	case f < 1e8:
		return fmt.Sprintf("%.1f MB", f/1e6)
	case f < 1e9:
		return fmt.Sprintf("%.0f MB", f/1e6)
	}
	return fmt.Sprintf("%.2f GB", float64(n)/1e9)
}

// number has none for what is not finite: a broken file's perplexity is not a figure to draw.
func number(v float64, digits int) string {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return none
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}

func percent(v float64) string {
	if v == 0 {
		return none
	}
	return fmt.Sprintf("%.1f %%", 100*v)
}

// spread says of a single run that it is one: nought per cent would claim that it can be repeated.
func spread(v float64, runs int) string {
	switch runs {
	case 0:
		return none
	case 1:
		return "one run"
	}
	return fmt.Sprintf("± %.1f %%", 100*v)
}

// speedText keeps three digits of slow speeds and whole numbers of fast ones.
func speedText(v float64) string {
	switch {
	case v <= 0:
		return none
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return grouped(math.Round(v))
}

// grouped sets thousands apart by a thin space that does not break.
func grouped(v float64) string {
	s := strconv.FormatFloat(math.Round(v*1e6)/1e6, 'f', -1, 64)
	whole, rest, _ := strings.Cut(s, ".")
	if rest != "" {
		return s
	}
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "\u202f" + whole[i:]
	}
	return whole
}
