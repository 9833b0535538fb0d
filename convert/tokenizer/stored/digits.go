package stored

import (
	"unicode/utf8"

	"quern/convert/tokenizer/ucd"
)

// GroupDigits stands among expressions for the one cut that llama.cpp makes by hand: digits in groups of three, counted
// from the right.
const GroupDigits = "digits"

// groupDigits cuts behind each group. What stands before a number is cut off from it only where its first group is a
// short one: llama.cpp's code forgets the beginning otherwise.
func groupDigits(text string, to []string) ([]string, error) {
	number := ucd.Compiled("onig:n")
	done := 0
	for at := 0; at < len(text); {
		r, n := utf8.DecodeRuneInString(text[at:])
		if !number.Contains(r) {
			at += n
			continue
		}
		var ends []int
		for at < len(text) {
			if r, n = utf8.DecodeRuneInString(text[at:]); !number.Contains(r) {
				break
			}
			at += n
			ends = append(ends, at)
		}
		for i := (len(ends)-1)%3 + 1; i <= len(ends); i += 3 {
			to = append(to, text[done:ends[i-1]])
			done = ends[i-1]
		}
	}
	if done < len(text) {
		to = append(to, text[done:])
	}
	return to, nil
}
