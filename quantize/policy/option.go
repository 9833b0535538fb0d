package policy

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/dlclark/regexp2/v2"

	"quern/convert/gguf"
)

// TensorType is one --tensor-type: every tensor whose name the pattern finds gets the type.
type TensorType struct {
	Pattern string // lower-cased, as the reference does before it compiles it
	Type    gguf.Type
	search  *regexp2.Regexp
}

// ParseTensorType reads PATTERN=TYPE. The pattern is an ECMAScript regular expression as std::regex has it, searched anywhere.
func ParseTensorType(s string) (TensorType, error) {
	fail := func(says string) (TensorType, error) {
		return TensorType{}, &OptionError{Option: "--tensor-type", Value: s, Says: says, Next: "such as --tensor-type 'ffn_down=q6_K'"}
	}
	pattern, name, ok := strings.Cut(s, "=")
	switch {
	case !ok:
		return fail("is not PATTERN=TYPE")
	case pattern == "":
		return fail("has no pattern before the =")
	case name == "":
		return fail("has no type after the =")
	}
	t, err := ParseType("--tensor-type", name)
	if err != nil {
		return TensorType{}, err
	}
	tt, err := NewTensorType(lowerASCII(pattern), t)
	if err != nil {
		return fail(err.Error())
	}
	return tt, nil
}

// NewTensorType compiles the pattern as it is.
func NewTensorType(pattern string, t gguf.Type) (TensorType, error) {
	translated, err := ecmaScript(pattern)
	if err != nil {
		return TensorType{}, err
	}
	// the standard library's expressions lack look-ahead and back references, which std::regex has
	search, err := regexp2.Compile(translated, regexp2.ECMAScript)
	if err != nil {
		return TensorType{}, fmt.Errorf("not a regular expression: %w", err)
	}
	return TensorType{Pattern: pattern, Type: t, search: search}, nil
}

// ParseTensorTypes reads a --tensor-type-file: what --tensor-type takes, separated by white space.
func ParseTensorTypes(text string) ([]TensorType, error) {
	var all []TensorType
	for _, word := range strings.Fields(text) {
		t, err := ParseTensorType(word)
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return all, nil
}

// ParseLayers reads --prune-layers: layer numbers separated by commas.
func ParseLayers(s string) ([]int, error) {
	var all []int
	for _, word := range strings.Split(s, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n < 0 {
			return nil, &OptionError{Option: "--prune-layers", Value: s, Says: fmt.Sprintf("%q is no layer's number", word), Next: "such as --prune-layers 3,4"}
		}
		all = append(all, n)
	}
	return all, nil
}

// ParseType reads the name of a tensor type in any case, for the option named.
func ParseType(option, name string) (gguf.Type, error) {
	if t, ok := gguf.ParseType(name); ok {
		return t, nil
	}
	next := "such as q4_K, q6_K, q8_0, bf16"
	if _, err := ParseFileType(name); err == nil {
		next = "that is a type of files; a tensor's are " + next
	}
	return 0, &OptionError{Option: option, Value: name, Says: "is no tensor type of llama.cpp", Next: next}
}

// match is the first pattern that finds name, or nil.
func match(all []TensorType, name string) *TensorType {
	for i := range all {
		// a TensorType that was not parsed matches nothing; an error of the search is a pattern that backtracks without end
		if all[i].search == nil {
			continue
		}
		if ok, err := all[i].search.MatchString(name); err == nil && ok {
			return &all[i]
		}
	}
	return nil
}

// lowerASCII lowers as C's tolower does in its default locale.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// posixClasses are the named classes that std::regex knows inside brackets and ECMAScript does not.
var posixClasses = map[string]string{
	"alpha": "a-zA-Z", "digit": "0-9", "alnum": "a-zA-Z0-9", "upper": "A-Z", "lower": "a-z", "space": `\s`, "blank": ` \t`,
	"punct": `!-/:-@\[-` + "`" + `{-~`, "xdigit": "0-9a-fA-F", "cntrl": `\x00-\x1f\x7f`, "print": " -~", "graph": "!-~", "w": `\w`, "d": `\d`, "s": `\s`,
}

// ecmaScript turns a std::regex pattern into one for regexp2: named classes are spelled out, and the groups that
// std::regex refuses are refused.
func ecmaScript(pattern string) (string, error) {
	var b strings.Builder
	for i, bracket := 0, false; i < len(pattern); i++ {
		rest := pattern[i:]
		switch {
		case pattern[i] == '\\' && i+1 < len(pattern):
			b.WriteByte(pattern[i])
			i++
		case bracket && strings.HasPrefix(rest, "[:"):
			name, _, ok := strings.Cut(rest[2:], ":]")
			class := posixClasses[name]
			if !ok || class == "" {
				return "", fmt.Errorf("not a regular expression: %q is no class of characters", rest)
			}
			b.WriteString(class)
			i += len("[:") + len(name) + len(":]") - 1
			continue
		case bracket:
			bracket = pattern[i] != ']'
		case pattern[i] == '[':
			bracket = true
		case strings.HasPrefix(rest, "(?") && !strings.HasPrefix(rest, "(?:") && !strings.HasPrefix(rest, "(?=") && !strings.HasPrefix(rest, "(?!"):
			return "", fmt.Errorf("not a regular expression: a group that starts with %q", rest[:min(len(rest), 3)])
		}
		b.WriteByte(pattern[i])
	}
	return b.String(), nil
}
