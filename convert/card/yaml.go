package card

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"quern/convert/config"
)

// YAML as PyYAML's safe_load reads it, which is YAML 1.1: yes, no, on and off are booleans, 0777 is octal, 12:30:45
// counts sixties, dates are dates. Only the syntax comes from the library, every scalar is resolved here.
//
// The library's own reading is YAML 1.2 with exceptions, and differs in what cards are full of: it has `no` as a text
// and 12:30 as a text, and takes 1e3 for a number. Its syntax differs in three points that are checked here: it lets an anchor stand
// twice, a key be missing before a colon, and a second document follow.
//
// Values are those of config.Parse, and other for what GGUF cannot hold.

// other is a value that is neither text, number, list nor object: a date, bytes, a set. It holds the source text.
type other string

// maxNodes bounds what aliases can blow a small text up to.
const (
	maxNodes = 1 << 20
	maxNest  = 500
)

// The patterns are facts of YAML 1.1 as PyYAML has them (resolver.py); 1.1 wants a sign in an exponent and knows no 0o17.
// A plain scalar is resolved by the first that fits, after a look at its first character, as in PyYAML's resolver.
var (
	reBool      = regexp.MustCompile(`^(yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$`)
	reFloat     = regexp.MustCompile(`^([-+]?[0-9][0-9_]*\.[0-9_]*([eE][-+][0-9]+)?|\.[0-9][0-9_]*([eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$`)
	reInt       = regexp.MustCompile(`^([-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(:[0-5]?[0-9])+)$`)
	reNull      = regexp.MustCompile(`^(~|null|Null|NULL|)$`)
	reTimestamp = regexp.MustCompile(`^([0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{4}-[0-9][0-9]?-[0-9][0-9]?([Tt]|[ \t]+)[0-9][0-9]?:[0-9]{2}:[0-9]{2}(\.[0-9]*)?([ \t]*(Z|[-+][0-9][0-9]?(:[0-9]{2})?))?)$`)
)

var errNodes = errors.New("an alias inside itself, or too much of one place")

// reader turns nodes into values.
type reader struct{ nodes int }

// value counts every node that it visits, through aliases too: that is the bound on time and memory.
func (r *reader) value(n *yaml.Node, depth int) (any, error) {
	if r.nodes++; r.nodes > maxNodes || depth > maxNest {
		return nil, errNodes
	}
	if n.Style&yaml.TaggedStyle != 0 || n.Tag == "!" {
		return r.tagged(n, depth)
	}
	switch n.Kind {
	case yaml.AliasNode:
		return r.value(n.Alias, depth+1)
	case yaml.SequenceNode:
		return r.list(n, depth)
	case yaml.MappingNode:
		return r.object(n, depth)
	}
	if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return n.Value, nil
	}
	return plain(n.Value)
}

// list keeps nulls.
func (r *reader) list(n *yaml.Node, depth int) (any, error) {
	out := make([]any, 0, len(n.Content))
	for _, c := range n.Content {
		v, err := r.value(c, depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// object drops keys that are no text: nothing asks for the key 1 or true. They are still resolved, since a wrong one
// stops the reference.
func (r *reader) object(n *yaml.Node, depth int) (any, error) {
	pairs, err := r.flatten(n, depth)
	if err != nil {
		return nil, err
	}
	out := config.Object{}
	for _, p := range pairs {
		key, err := r.value(p.key, depth+1)
		if err != nil {
			return nil, err
		}
		v, err := r.value(p.value, depth+1)
		if err != nil {
			return nil, err
		}
		switch key := key.(type) {
		case string:
			out[key] = v
		case []any, config.Object:
			return nil, errors.New("a key that is a list or an object")
		}
	}
	return out, nil
}

type pair struct{ key, value *yaml.Node }

// flatten lists a mapping's pairs; what `<<` merges comes first, so that the mapping's own keys win.
func (r *reader) flatten(n *yaml.Node, depth int) ([]pair, error) {
	if r.nodes++; r.nodes > maxNodes || depth > maxNest {
		return nil, errNodes
	}
	var merged, own []pair
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if n.Style&yaml.FlowStyle == 0 && isPlain(k, "") && k.Tag == "!!null" {
			return nil, errors.New("a key is missing before a colon") // PyYAML wants one, the library does not
		}
		if !isMerge(k) {
			if isDefault(k) {
				k = &yaml.Node{Kind: yaml.ScalarNode, Style: yaml.DoubleQuotedStyle, Value: k.Value, Line: k.Line}
			}
			own = append(own, pair{k, v})
			continue
		}
		from, err := mergees(resolved(v))
		if err != nil {
			return nil, err
		}
		for _, m := range from {
			pairs, err := r.flatten(m, depth+1)
			if err != nil {
				return nil, err
			}
			if merged = append(merged, pairs...); len(merged) > maxNodes {
				return nil, errNodes
			}
		}
	}
	return append(merged, own...), nil
}

// mergees are the mappings that `<<` names, the first of a list last: it wins.
func mergees(v *yaml.Node) ([]*yaml.Node, error) {
	switch v.Kind {
	case yaml.MappingNode:
		return []*yaml.Node{v}, nil
	case yaml.SequenceNode:
		var out []*yaml.Node
		for _, c := range slices.Backward(v.Content) {
			if c = resolved(c); c.Kind != yaml.MappingNode {
				return nil, errors.New("<< wants mappings")
			}
			out = append(out, c)
		}
		return out, nil
	}
	return nil, errors.New("<< wants a mapping")
}

// resolved follows an alias; the library never leaves one open.
func resolved(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

// isPlain tells a scalar without quotes, tag or block style.
func isPlain(n *yaml.Node, text string) bool {
	return n.Kind == yaml.ScalarNode && n.Value == text && n.Style&^yaml.FlowStyle == 0
}

func isMerge(n *yaml.Node) bool   { return isPlain(n, "<<") }
func isDefault(n *yaml.Node) bool { return isPlain(n, "=") }

// tagged handles the tags that a writer put there himself.
func (r *reader) tagged(n *yaml.Node, depth int) (any, error) {
	// The node itself belongs to the tree and may be reached again by an alias.
	bare := *n
	bare.Style &^= yaml.TaggedStyle
	bare.Tag = ""
	tag := strings.TrimPrefix(n.Tag, "tag:yaml.org,2002:")
	tag = strings.TrimPrefix(tag, "!!")
	switch {
	case n.Kind == yaml.ScalarNode:
		return scalarAs(tag, n.Value)
	case n.Kind == yaml.SequenceNode && (tag == "seq" || tag == "!"), n.Kind == yaml.MappingNode && (tag == "map" || tag == "!"):
		return r.value(&bare, depth)
	case n.Kind == yaml.MappingNode && tag == "set":
		_, err := r.object(&bare, depth)
		return other("a set"), err
	case n.Kind == yaml.SequenceNode && (tag == "omap" || tag == "pairs"):
		v, err := r.list(&bare, depth)
		if err != nil {
			return nil, err
		}
		list := v.([]any)
		for i, e := range list {
			if o, ok := e.(config.Object); !ok || len(o) != 1 {
				return nil, errors.New("!!" + tag + " wants mappings of one key")
			}
			list[i] = other("a pair")
		}
		return list, nil
	}
	return nil, fmt.Errorf("the tag %q is unknown", n.Tag)
}

// scalarAs reads a scalar as its tag says, whatever it looks like.
func scalarAs(tag, s string) (any, error) {
	switch tag {
	case "str", "!":
		return s, nil
	case "null":
		return nil, nil
	case "bool":
		if b, ok := words[strings.ToLower(s)]; ok {
			return b, nil
		}
	case "int":
		return integer(s)
	case "float":
		return float(s)
	case "timestamp":
		return date(s)
	case "binary":
		return other("bytes"), nil
	}
	return nil, fmt.Errorf("%q does not fit its tag %q", s, tag)
}

var words = map[string]bool{"yes": true, "true": true, "on": true, "no": false, "false": false, "off": false}

// plain resolves a scalar without quotes.
func plain(s string) (any, error) {
	switch {
	case reBool.MatchString(s):
		return words[strings.ToLower(s)], nil
	case reFloat.MatchString(s):
		return float(s)
	case reInt.MatchString(s):
		return integer(s)
	case reNull.MatchString(s):
		return nil, nil
	case reTimestamp.MatchString(s):
		return date(s)
	case s == "<<" || s == "=":
		return nil, fmt.Errorf("%q alone means nothing here", s)
	}
	return s, nil
}

var errNumber = errors.New("not a number")

// integer reads the five notations of YAML 1.1; the pattern has already been matched, or a tag asks for it.
func integer(s string) (any, error) {
	digits := strings.ReplaceAll(s, "_", "")
	negative := strings.HasPrefix(digits, "-")
	if negative || strings.HasPrefix(digits, "+") {
		digits = digits[1:]
	}
	base := 10
	switch {
	case strings.HasPrefix(digits, "0b"):
		digits, base = digits[2:], 2
	case strings.HasPrefix(digits, "0x"):
		digits, base = digits[2:], 16
	case strings.HasPrefix(digits, "0"):
		base = 8
	}
	if len(digits) > 4300 { // Python's bound on the digits of an integer
		return nil, errNumber
	}
	sum := new(big.Int)
	for part := range strings.SplitSeq(digits, ":") {
		n, ok := new(big.Int).SetString(part, base)
		if !ok || part[0] == '-' || part[0] == '+' {
			return nil, errNumber
		}
		sum.Add(sum.Mul(sum, big.NewInt(60)), n)
	}
	if negative {
		sum.Neg(sum)
	}
	if sum.IsInt64() {
		return sum.Int64(), nil
	}
	return sum, nil
}

// float reads decimal and sexagesimal notation; 1e3 without a point is a text and does not come here.
func float(s string) (any, error) {
	text := strings.ToLower(strings.ReplaceAll(s, "_", ""))
	sign := 1.0
	if strings.HasPrefix(text, "-") {
		sign = -1
	}
	text = strings.TrimLeft(text, "+-")
	switch text {
	case ".inf":
		return math.Inf(int(sign)), nil
	case ".nan":
		return math.NaN(), nil
	}
	sum := 0.0
	for part := range strings.SplitSeq(text, ":") {
		f, err := strconv.ParseFloat(part, 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) || strings.ContainsAny(part, "xp") {
			return nil, errNumber
		}
		sum = float64(sum*60) + f
	}
	return sign * sum, nil
}

// date only has to be one: no key of a card may hold it.
func date(s string) (any, error) {
	day, _, _ := strings.Cut(strings.ToUpper(s), "T")
	day, _, _ = strings.Cut(day, " ")
	day, _, _ = strings.Cut(day, "\t")
	if _, err := time.Parse("2006-1-2", day); err != nil || strings.HasPrefix(day, "0000") {
		return nil, fmt.Errorf("%q is no date", s)
	}
	return other(s), nil
}
