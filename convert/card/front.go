package card

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"quern/convert/fault"
)

const readme = "README.md"

// maxCard bounds the model card; the longest on the Hub, with thousands of results in model-index, have some MB.
const maxCard = 16 << 20

// maxBlocks is how many keys of a broken card are tried one by one; real cards have some dozens.
const maxBlocks = 2000

// wholeBody is the longest front matter, and in a longer one the longest key, that is made into nodes at once.
const wholeBody = 1 << 20

// entry is a value of the front matter with the line of its key in README.md.
type entry struct {
	v    any
	line int
}

// front is the front matter of a model card.
type front map[string]entry

// problem is something in a card that the reference would stop at.
type problem struct {
	line int // in README.md, 0 when unknown
	key  string
	says string

	whole bool // of the front matter, whose keys are then read one by one
}

// where is file, line and key, as far as they are known.
func (p problem) where() string {
	on := readme
	if p.line > 0 {
		on += ":" + strconv.Itoa(p.line)
	}
	if p.key != "" {
		on += ": " + p.key
	}
	return on
}

// err is the problem as the reason to stop.
func (p problem) err() error {
	return &fault.Invalid{On: p.where(), Says: p.says, Next: "correct the model card, or convert without --strict to leave the key out"}
}

// readFront reads the front matter of a model card. What cannot be read is a problem and is left out, the other
// keys are kept: where the YAML is broken, every top-level key is read by itself.
// Source of the format: gguf-py/gguf/metadata.py, load_model_card.
//
// A body above wholeBody is read key by key from the start, and only the keys that matter: what is long in a card is
// model-index, and nodes cost a hundred times their text. all (for --strict) reads the whole in any case.
func readFront(data []byte, all bool) (front, []problem) {
	var problems []problem
	text := string(data)
	if !utf8.ValidString(text) {
		problems = append(problems, problem{says: "not UTF-8"})
		text = strings.ToValidUTF8(text, "\uFFFD")
	}
	lines := splitLines(text)
	if len(lines) == 0 || lines[0] != "---" {
		return nil, problems
	}
	lines = lines[1:]
	for i, l := range lines {
		if l == "---" {
			lines = lines[:i]
			break
		}
	}
	body := prepare(lines)
	if len(body) > wholeBody && !all {
		f, more := pieces(lines, wanted)
		return f, append(problems, more...)
	}
	pairs, err := parse(body)
	if err == nil {
		f, more := values(pairs, 1)
		return f, append(problems, more...)
	}
	line, says := place(err)
	problems = append(problems, problem{line: line, says: "the front matter is no YAML: " + says, whole: true})
	f, more := pieces(lines, func(string) bool { return true })
	return f, append(problems, more...)
}

// wanted are the keys of a card that this package looks at, and the merge key.
func wanted(name string) bool {
	return name == "<<" || slices.ContainsFunc(keys, func(k key) bool { return slices.Contains(k.card, name) })
}

// pieces reads every top-level key by itself. An anchor of another key is unknown then.
func pieces(lines []string, want func(key string) bool) (front, []problem) {
	f, tried := front{}, 0
	var problems []problem
	for _, b := range blocks(lines) {
		if !want(b.key) {
			continue
		}
		if tried++; tried > maxBlocks {
			break
		}
		body := prepare(lines[b.from:b.to])
		if len(body) > wholeBody {
			problems = append(problems, problem{line: b.from + 2, key: b.key, says: fmt.Sprintf("%d bytes, at most %d are read", len(body), wholeBody)})
			continue
		}
		pairs, err := parse(body)
		if err != nil {
			line, says := place(err)
			problems = append(problems, problem{line: max(line, 2) + b.from, key: b.key, says: "no YAML: " + says})
			continue
		}
		part, more := values(pairs, b.from+1)
		problems = append(problems, more...)
		for k, v := range part {
			f[k] = v
		}
	}
	return f, problems
}

// prepare is what the reference does to the text before it is YAML: `- no` is Norwegian, a tab is two spaces.
func prepare(lines []string) string {
	body := strings.Join(lines, "\n") + "\n"
	return strings.ReplaceAll(strings.ReplaceAll(body, "- no\n", "- \"no\"\n"), "\t", "  ")
}

// unseen tells whether a card seems to have front matter that does not count, as it is not on the first line.
func unseen(data []byte) bool {
	rest := bytes.TrimLeftFunc(bytes.TrimPrefix(data, []byte("\ufeff")), unicode.IsSpace)
	return len(rest) < len(data) && bytes.HasPrefix(rest, []byte("---\n"))
}

// splitLines is Python's splitlines: eleven characters and one pair end a line.
func splitLines(s string) []string {
	var lines []string
	start := 0
	for i, c := range s {
		if i < start {
			continue // the newline of a pair
		}
		switch c {
		case '\n', '\r', '\v', '\f', 0x1c, 0x1d, 0x1e, 0x85, 0x2028, 0x2029:
			lines = append(lines, s[start:i])
			start = i + utf8.RuneLen(c)
			if c == '\r' && strings.HasPrefix(s[start:], "\n") {
				start++
			}
		}
	}
	if start < len(s) {
		lines = append(lines, s[start:])
	}
	return lines
}

// parse reads one YAML document; its pairs are nil when it is no mapping.
func parse(body string) ([]pair, error) {
	if i := strings.IndexFunc(body, unprintable); i >= 0 {
		return nil, &yaml.LoadError{Message: fmt.Sprintf("the character %+q is not allowed", []rune(body[i:])[0]),
			Mark: yaml.Mark{Line: 1 + strings.Count(body[:i], "\n")}}
	}
	l, err := yaml.NewLoader(strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	var doc, more yaml.Node
	if err := l.Load(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	// safe_load wants exactly one document; the library would be content with the first.
	if err := l.Load(&more); err == nil {
		return nil, errors.New("a second document")
	} else if !errors.Is(err, io.EOF) {
		return nil, err
	}
	if err := anchors(&doc, map[string]bool{}); err != nil {
		return nil, err
	}
	root := &doc
	for root.Kind == yaml.DocumentNode && len(root.Content) > 0 {
		root = root.Content[0]
	}
	// Front matter that is a list or a text counts as none, but must still be sound.
	if root.Kind != yaml.MappingNode {
		_, err := new(reader).value(root, 0)
		return nil, err
	}
	if root.Style&yaml.TaggedStyle != 0 && root.Tag != "!!map" {
		_, err := new(reader).value(root, 0)
		return nil, err
	}
	return new(reader).flatten(root, 0)
}

// unprintable characters are none of YAML 1.1's.
func unprintable(c rune) bool {
	return c < 0x20 && c != '\t' && c != '\n' && c != '\r' || c > 0x7e && c < 0xa0 && c != 0x85 || c == 0xfffe || c == 0xffff
}

// anchors refuses a name that stands twice, as PyYAML does.
func anchors(n *yaml.Node, seen map[string]bool) error {
	if n.Kind == yaml.AliasNode {
		return nil
	}
	if n.Anchor != "" {
		if seen[n.Anchor] {
			return &yaml.LoadError{Message: fmt.Sprintf("the anchor %q stands twice", n.Anchor), Mark: yaml.Mark{Line: n.Line}}
		}
		seen[n.Anchor] = true
	}
	for _, c := range n.Content {
		if err := anchors(c, seen); err != nil {
			return err
		}
	}
	return nil
}

// values resolves the top-level keys; a value that is none is a problem of its key alone.
func values(pairs []pair, offset int) (front, []problem) {
	f, r := front{}, new(reader)
	var problems []problem
	for _, p := range pairs {
		line := p.key.Line + offset
		key, err := r.value(p.key, 0)
		name, _ := key.(string)
		var v any
		if err == nil {
			v, err = r.value(p.value, 0)
		}
		switch {
		case err != nil:
			problems = append(problems, problem{line: line, key: p.key.Value, says: err.Error()})
		case name != "":
			f[name] = entry{v, line}
		}
	}
	return f, problems
}

// place takes line and message out of the parser's error; the line is README.md's, in which the body starts at 2.
// Where a construct is not closed, the line on which it starts tells more than the one on which that shows.
func place(err error) (int, string) {
	var at *yaml.LoadError
	if !errors.As(err, &at) {
		return 0, strings.TrimPrefix(err.Error(), "yaml: ")
	}
	line := at.Mark.Line
	if at.ContextMark.Line > 0 && !strings.Contains(at.ContextMsg, "block") {
		line = at.ContextMark.Line
	}
	if line == 0 {
		return 0, at.Message
	}
	return line + 1, at.Message
}

// block is one top-level key with the lines up to the next.
type block struct {
	key      string
	from, to int // lines of the body
}

// reTop matches a key that stands at the left margin; list items there belong to the key above.
var reTop = regexp.MustCompile(`^(["']?)([^\s#\-"'][^:"']*)["']?\s*:(\s|$)`)

// blocks cuts a body at its top-level keys.
func blocks(lines []string) []block {
	var out []block
	for i, l := range lines {
		if m := reTop.FindStringSubmatch(l); m != nil {
			out = append(out, block{m[2], i, len(lines)})
			if n := len(out) - 2; n >= 0 {
				out[n].to = i
			}
		}
	}
	return out
}
