package gguf

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// SplitName is the name of part no (from 1) of count for a file of the given name: name-00001-of-00003.gguf.
// A trailing ".gguf" of name is dropped first, as gguf-py does with the path's suffix.
func SplitName(name string, no, count int) string {
	return fmt.Sprintf("%s-%05d-of-%05d.gguf", strings.TrimSuffix(name, ".gguf"), no, count)
}

// The numbers have exactly five digits: llama.cpp builds the other parts' names with the same format and looks them up.
var splitPattern = regexp.MustCompile(`^(.+)-(\d{5})-of-(\d{5})\.gguf$`)

// ParseSplitName takes a part's name apart: the stem before the numbers, the part (from 1) and how many there are.
func ParseSplitName(name string) (stem string, no, count int, ok bool) {
	m := splitPattern.FindStringSubmatch(name)
	if m == nil {
		return "", 0, 0, false
	}
	no, _ = strconv.Atoi(m[2])
	count, _ = strconv.Atoi(m[3])
	return m[1], no, count, no >= 1 && no <= count
}
