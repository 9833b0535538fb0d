package tokenizer

import (
	"encoding/json"
	"fmt"
	"slices"
	"unicode/utf8"

	"quern/convert/fault"
)

// The library reads a component by its "type" where it knows the name, and else as the first kind whose members fit: files
// exist that name no type, or one of long ago. Members that a kind does not have may hold anything.
// Source: tokenizers 0.22.2, the Deserialize of each wrapper.

// member is what a kind of component asks of one of its members.
type member struct {
	name  string
	fits  func(json.RawMessage) bool
	given memberNeed
}

// memberNeed says whether a member may be missing or null.
type memberNeed uint8

const (
	required memberNeed = iota // has to be there and to fit
	default_                   // may be missing
	nullable                   // may be missing or null
)

// kindSchema is one kind of component.
type kindSchema struct {
	kind    string
	named   bool // "type" has to be the kind's name even where members decide
	members []member
}

// partSchema is one part of a tokenizer.json: its kinds in the order in which they are tried.
type partSchema struct {
	byName []string // types by which the kind is chosen, without trying others
	kinds  []kindSchema
}

// partSchemas are the parts of a tokenizer.json that are made of components.
var partSchemas = map[string]*partSchema{
	"normalizer": {
		byName: []string{"Bert", "Strip", "StripAccents", "NFC", "NFD", "NFKC", "NFKD", "Sequence", "Lowercase", "Nmt", "Precompiled", "Replace", "Prepend", "ByteLevel"},
		kinds: []kindSchema{
			{"Bert", false, []member{{"clean_text", isBool, required}, {"handle_chinese_chars", isBool, required}, {"strip_accents", isBool, nullable}, {"lowercase", isBool, required}}},
			{"Strip", false, []member{{"strip_left", isBool, required}, {"strip_right", isBool, required}}},
			{"StripAccents", true, nil}, {"NFC", true, nil}, {"NFD", true, nil}, {"NFKC", true, nil}, {"NFKD", true, nil},
			{"Sequence", false, []member{{"normalizers", isList, required}}},
			{"Lowercase", true, nil}, {"Nmt", true, nil},
			{"Precompiled", true, []member{{"precompiled_charsmap", isString, required}}},
			{"Replace", false, []member{{"pattern", isPattern, required}, {"content", isString, required}}},
			{"Prepend", false, []member{{"prepend", isString, required}}},
			{"ByteLevel", true, nil},
		},
	},
	"pre_tokenizer": {
		byName: []string{"BertPreTokenizer", "ByteLevel", "Metaspace", "Whitespace", "Sequence", "Split", "Punctuation", "WhitespaceSplit", "Digits", "UnicodeScripts", "FixedLength"},
		kinds: []kindSchema{
			{"BertPreTokenizer", true, nil}, byteLevelSchema,
			{"CharDelimiterSplit", true, []member{{"delimiter", isChar, required}}},
			metaspaceSchema,
			{"Whitespace", true, nil},
			{"Sequence", true, []member{{"pretokenizers", isList, required}}},
			{"Split", true, []member{{"pattern", isPattern, required}, {"behavior", isBehavior, required}, {"invert", isBool, required}}},
			{"Punctuation", true, []member{{"behavior", isBehavior, default_}}},
			{"WhitespaceSplit", true, nil},
			{"Digits", true, []member{{"individual_digits", isBool, required}}},
			{"UnicodeScripts", true, nil},
			{"FixedLength", true, []member{{"length", isSize, default_}}},
		},
	},
	"post_processor": {
		kinds: []kindSchema{
			{"RobertaProcessing", false, []member{{"sep", isTagged, required}, {"cls", isTagged, required}, {"trim_offsets", isBool, required}, {"add_prefix_space", isBool, required}}},
			{"BertProcessing", false, []member{{"sep", isTagged, required}, {"cls", isTagged, required}}},
			byteLevelSchema,
			{"TemplateProcessing", false, []member{{"single", isTemplate, required}, {"pair", isTemplate, required}, {"special_tokens", isSpecials, required}}},
			{"Sequence", true, []member{{"processors", isList, required}}},
		},
	},
	"decoder": {
		byName: []string{"BPEDecoder", "ByteLevel", "WordPiece", "Metaspace", "CTC", "Sequence", "Replace", "Fuse", "Strip", "ByteFallback"},
		kinds: []kindSchema{
			{"BPEDecoder", false, []member{{"suffix", isString, required}}},
			byteLevelSchema,
			{"WordPiece", false, []member{{"prefix", isString, required}, {"cleanup", isBool, required}}},
			metaspaceSchema,
			{"CTC", false, []member{{"pad_token", isString, required}, {"word_delimiter_token", isString, required}, {"cleanup", isBool, required}}},
			{"Sequence", true, []member{{"decoders", isList, required}}},
			{"Replace", false, []member{{"pattern", isPattern, required}, {"content", isString, required}}},
			{"Fuse", true, nil},
			{"Strip", false, []member{{"content", isChar, required}, {"start", isSize, required}, {"stop", isSize, required}}},
			{"ByteFallback", true, nil},
		},
	},
}

var (
	byteLevelSchema = kindSchema{"ByteLevel", true, []member{{"add_prefix_space", isBool, required}, {"trim_offsets", isBool, required}, {"use_regex", isBool, default_}}}
	metaspaceSchema = kindSchema{"Metaspace", true, []member{{"replacement", isChar, required}, {"add_prefix_space", isBool, nullable}, {"prepend_scheme", isScheme, default_},
		{"split", isBool, nullable}, {"str_rep", isString, nullable}}}
)

// check names the first member that does not fit; "" when all do.
func (k *kindSchema) check(o object) string {
	for _, m := range k.members {
		raw, ok := o[m.name]
		switch {
		case !ok && m.given != required, ok && m.given == nullable && string(raw) == "null", ok && m.fits(raw):
		default:
			return m.name
		}
	}
	return ""
}

// kindOf tells which kind of component the library takes o for.
func (p *partSchema) kindOf(part string, o object) (*kindSchema, error) {
	name, _ := o.text("type")
	if i := slices.IndexFunc(p.kinds, func(k kindSchema) bool { return k.kind == name }); i >= 0 && slices.Contains(p.byName, name) {
		if bad := p.kinds[i].check(o); bad != "" {
			return nil, unfit(part+" "+name, bad, o)
		}
		return &p.kinds[i], nil
	}
	near, member := "", ""
	for i := range p.kinds {
		k := &p.kinds[i]
		if k.named && k.kind != name {
			continue
		}
		bad := k.check(o)
		if bad == "" {
			return k, nil
		}
		if k.kind == name {
			near, member = k.kind, bad
		}
	}
	switch {
	case near != "":
		return nil, unfit(part+" "+near, member, o)
	case name == "":
		return nil, missing(part, "type")
	}
	return nil, unknown(part, name)
}

// unfit refuses a component for a member that is not there or not what it has to be.
func unfit(on, name string, o object) error {
	raw, ok := o[name]
	if !ok {
		return missing(on, name)
	}
	return &fault.Invalid{On: on, Says: fmt.Sprintf("%s is %.60s, which is not what it takes", name, raw)}
}

// fitted is the component as JSON of its kind's members alone.
func (k *kindSchema) fitted(o object) (json.RawMessage, error) {
	out := object{"type": json.RawMessage(`"` + k.kind + `"`)}
	for _, m := range k.members {
		if raw, ok := o[m.name]; ok {
			out[m.name] = raw
		}
	}
	return json.Marshal(out)
}

func isBool(raw json.RawMessage) bool { return string(raw) == "true" || string(raw) == "false" }

func isString(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '"' }

func isList(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '[' }

func isChar(raw json.RawMessage) bool {
	var s string
	return isString(raw) && json.Unmarshal(raw, &s) == nil && utf8.RuneCountInString(s) == 1
}

func isSize(raw json.RawMessage) bool {
	var n uint64
	return string(raw) != "null" && json.Unmarshal(raw, &n) == nil
}

func isID(raw json.RawMessage) bool {
	var n uint32
	return string(raw) != "null" && json.Unmarshal(raw, &n) == nil
}

// variant is the name of an enumeration's value: a text, or the only member of an object, with what it holds.
func variant(raw json.RawMessage) (name string, holds json.RawMessage, ok bool) {
	if isString(raw) {
		return name, nil, json.Unmarshal(raw, &name) == nil
	}
	o := object{}
	if json.Unmarshal(raw, &o) != nil || len(o) != 1 {
		return "", nil, false
	}
	for name, holds = range o {
	}
	return name, holds, true
}

func isPattern(raw json.RawMessage) bool {
	name, holds, ok := variant(raw)
	return ok && (name == "String" || name == "Regex") && isString(holds)
}

// isUnit tells a value of an enumeration that holds nothing.
func isUnit(raw json.RawMessage, names ...string) bool {
	name, holds, ok := variant(raw)
	return ok && holds == nil && slices.Contains(names, name)
}

func isBehavior(raw json.RawMessage) bool {
	return isUnit(raw, "Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")
}

func isScheme(raw json.RawMessage) bool { return isUnit(raw, "first", "never", "always") }

// isTagged is ["text", id].
func isTagged(raw json.RawMessage) bool {
	list, ok := listOf(raw, func(json.RawMessage) bool { return true })
	return ok && len(list) == 2 && isString(list[0]) && isID(list[1])
}

// listOf takes a list apart whose elements all fit.
func listOf(raw json.RawMessage, fits func(json.RawMessage) bool) ([]json.RawMessage, bool) {
	var list []json.RawMessage
	if !isList(raw) || json.Unmarshal(raw, &list) != nil {
		return nil, false
	}
	for _, r := range list {
		if !fits(r) {
			return nil, false
		}
	}
	return list, true
}

func isTemplate(raw json.RawMessage) bool {
	_, ok := listOf(raw, func(raw json.RawMessage) bool {
		name, holds, ok := variant(raw)
		o := object{}
		if !ok || json.Unmarshal(holds, &o) != nil || !isID(o["type_id"]) {
			return false
		}
		return name == "Sequence" && isUnit(o["id"], "A", "B") || name == "SpecialToken" && isString(o["id"])
	})
	return ok
}

func isSpecials(raw json.RawMessage) bool {
	var all map[string]object
	if len(raw) == 0 || raw[0] != '{' || json.Unmarshal(raw, &all) != nil {
		return false
	}
	for _, o := range all {
		_, ids := listOf(o["ids"], isID)
		_, tokens := listOf(o["tokens"], isString)
		if !ids || !tokens || !isString(o["id"]) {
			return false
		}
	}
	return true
}
