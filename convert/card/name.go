package card

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// modelID is what the name of a repo or folder tells.
// Source: gguf-py/gguf/metadata.py, get_model_id_components.
type modelID struct {
	full, org                          string // the whole name, and what stands before the slash
	hasOrg                             bool   // there is a slash, whatever stands before it
	basename, finetune, version, label string
}

// How a name is read: every part between hyphens is annotated by its looks alone; the parts at the start that look like
// nothing, or like versions, are the base name; parts that look like nothing after that are finetunes; versions at the
// end of the base name belong to the version after all. So Llama-3-8B-Instruct-v2 has the base Llama-3, the size 8B,
// the finetune Instruct and the version v2, and phi-2 has the base phi and the version 2.

// tag says what a part of a name is; a part can be several things until the end.
type tag uint8

const (
	tagBase tag = 1 << iota
	tagSize
	tagFinetune
	tagVersion
	tagType
)

// Python's \d is any decimal digit and \w any letter or number, hence the classes. A part has no newline.
var (
	reVersion  = regexp.MustCompile(`(?i)^(v|iter)?\p{Nd}+([.]\p{Nd}+)*$`)
	reType     = regexp.MustCompile(`(?i)^(i?q\p{Nd}(_[\p{L}\p{N}_])*|b?fp?(16|32))$`)
	reSize     = regexp.MustCompile(`(?i)^(([A]|\p{Nd}+[x])?\p{Nd}+([._]\p{Nd}+)?[KMBT]\p{Nd}?|small|mini|medium|large|x?xl)$`)
	reFinetune = regexp.MustCompile(`(?i)^(chat|instruct|vision|lora)$`)
	reNoTitle  = regexp.MustCompile(`^(v\p{Nd}+(\.\p{Nd}+)*|\p{Nd}.*)$`)
)

// part is what stands between two hyphens.
type part struct {
	text string
	tags tag
}

// parseID takes a name apart. total decides whether a size in the name is the model's: a label far from it is a
// context length, say.
func parseID(id string, total int64) modelID {
	// A sentence is a name and nothing else.
	if strings.Contains(id, " ") {
		return modelID{full: id}
	}
	m := modelID{full: id}
	if org, name, ok := strings.Cut(id, "/"); ok {
		m.org, m.full, m.hasOrg = org, name, true
	}
	if strings.HasPrefix(m.org, ".") {
		m.org, m.hasOrg = "", false // part of a path
	}
	var parts []part
	for s := range strings.SplitSeq(m.full, "-") {
		if s != "" {
			parts = append(parts, annotate(s, len(parts) > 0, total))
		}
	}
	wordSizes(parts)
	findBase(parts)
	m.basename = pick(parts, func(t tag) bool { return t&tagBase != 0 }, false)
	m.label = pick(parts, func(t tag) bool { return t&tagSize != 0 }, true)
	m.finetune = pick(parts, func(t tag) bool { return t&tagFinetune != 0 }, false)
	m.version = pick(parts, func(t tag) bool { return t&tagVersion != 0 && t&tagBase == 0 }, false)
	if m.label == "" && m.finetune == "" && m.version == "" {
		m.basename = "" // too ambiguous
	}
	return m
}

// annotate says what a part alone tells; sizes and finetunes are never first.
func annotate(s string, later bool, total int64) part {
	switch {
	case reVersion.MatchString(s):
		return part{s, tagVersion}
	case reType.MatchString(s):
		return part{strings.ToUpper(s), tagType}
	case later && reSize.MatchString(s):
		return sizePart(s, total)
	case later && reFinetune.MatchString(s):
		if total < 0 && strings.EqualFold(s, "lora") {
			return part{s, tagType}
		}
		return part{s, tagFinetune}
	}
	return part{text: s}
}

// sizePart normalizes 7b to 7B and 7b1 to 7.1B, and tells a size from a context length.
func sizePart(s string, total int64) part {
	r := []rune(strings.ReplaceAll(s, "_", "."))
	// bloom-7b1 means 7.1 billion.
	if n := len(r); isDigit(r[n-1]) {
		r = slices.Concat(r[:n-2], []rune{'.', r[n-1], r[n-2]})
	}
	unit := &r[len(r)-1]
	if len(r) > 1 && isDigit(r[len(r)-2]) && strings.ContainsRune("kmbt", *unit) {
		*unit = unicode.ToUpper(*unit)
	}
	// A3B and 8x7B are no numbers and pass as they are. An adapter may be far smaller than its base's label, a whole
	// model may not differ by more than seven eighths.
	number, err := strconv.ParseFloat(decimal(r[:len(r)-1]), 64)
	if total != 0 && err == nil {
		label := float64(number * math.Pow(1000, float64(strings.IndexRune(" KMBT", *unit))))
		if total < 0 && label < math.Floor(-float64(total)/8) || total > 0 && math.Abs(label-float64(total)) > float64(sevenEighths(total)) {
			*unit = unicode.ToLower(*unit)
			return part{string(r), tagFinetune}
		}
	}
	return part{string(r), tagSize}
}

// sevenEighths is 7*n // 8 without overflow.
func sevenEighths(n int64) int64 { return n/8*7 + n%8*7/8 }

// decimal spells digits of any script as 0 to 9, as Python's float reads them.
func decimal(r []rune) string {
	out := slices.Clone(r)
	for i, c := range out {
		if c > unicode.MaxASCII && isDigit(c) {
			zero := c
			for isDigit(zero-1) && c-zero < 9 {
				zero--
			}
			out[i] = '0' + c - zero
		}
	}
	return string(out)
}

// wordSizes: small, large and the like are no size where a number says it.
func wordSizes(parts []part) {
	if !slices.ContainsFunc(parts, func(p part) bool { return p.tags&tagSize != 0 && strings.ContainsFunc(p.text, isDigit) }) {
		return
	}
	for i, p := range parts {
		if !strings.ContainsFunc(p.text, func(c rune) bool { return !unicode.IsLetter(c) }) {
			parts[i].tags &^= tagSize
		}
	}
}

// findBase: the base name is the start of the name, up to what is known as something else; what is nothing after
// it is a finetune.
func findBase(parts []part) {
	start := true
	for i, p := range parts {
		first, _ := firstRune(p.text)
		if start && (p.tags == 0 && unicode.IsLetter(first) || p.tags&tagVersion != 0) {
			parts[i].tags |= tagBase
			continue
		}
		start = false
		if p.tags == 0 {
			parts[i].tags = tagFinetune
		}
	}
	for i := range slices.Backward(parts) {
		if t := parts[i].tags; t&tagBase == 0 || t == tagBase {
			return
		}
		parts[i].tags &^= tagBase
	}
}

// pick joins the parts of one kind again; once leaves out repetitions.
func pick(parts []part, want func(tag) bool, once bool) string {
	var out []string
	for _, p := range parts {
		if want(p.tags) && !(once && slices.Contains(out, p.text)) {
			out = append(out, p.text)
		}
	}
	return strings.Join(out, "-")
}

// title turns an id into words with capitals, except where a word has capitals or is a version.
// Source: gguf-py/gguf/metadata.py, id_to_title.
func title(id string) string {
	words := strings.FieldsFunc(strings.ReplaceAll(id, "-", " "), isSpace)
	for i, w := range words {
		if isLower(w) && !reNoTitle.MatchString(w) {
			words[i] = capitals(w)
		}
	}
	return strings.Join(words, " ")
}

// capitals is Python's title() of a word in lower case: a letter after anything that is no letter becomes a
// capital, also inside a word (c4ai is C4Ai). Some letters become two (ß is Ss).
func capitals(w string) string {
	var b strings.Builder
	after := false
	for _, c := range w {
		if s := string(c); cased(c) && !after {
			b.WriteString(cases.Title(language.Und, cases.NoLower).String(s))
		} else {
			b.WriteRune(c)
		}
		after = cased(c)
	}
	return b.String()
}

// lowerCase is the Unicode property, which has more than the category: ª and ⁿ are lower case.
func lowerCase(c rune) bool { return unicode.In(c, unicode.Ll, unicode.Other_Lowercase) }

// cased is what title and islower call a letter; 模 is none.
func cased(c rune) bool {
	return lowerCase(c) || unicode.In(c, unicode.Lu, unicode.Lt, unicode.Other_Uppercase)
}

// isLower is Python's islower: some letter has a case, and every such letter is lower.
func isLower(w string) bool {
	return strings.ContainsFunc(w, cased) && !strings.ContainsFunc(w, func(c rune) bool { return cased(c) && !lowerCase(c) })
}

// isDigit is isdecimal: digits of every script, no ² and no Ⅷ.
func isDigit(c rune) bool { return unicode.Is(unicode.Nd, c) }

// isSpace is Python's, with the separators of ASCII.
func isSpace(c rune) bool { return unicode.IsSpace(c) || c >= 0x1c && c <= 0x1f }

func firstRune(s string) (rune, bool) {
	for _, c := range s {
		return c, true
	}
	return 0, false
}
