package vocab

import "quern/convert/config"

// The reference reads from the post-processor which special tokens stand around a text. Its reading is rough (it
// looks at the first and last item of a template only); what it concludes is written to the file, so ours is the same.

// frame follows SpecialVocab's reading of post_processor. config is tokenizer_config.json and is completed here with
// the tokens that the post-processor shows; it may be nil, then nothing is completed.
func (s *specials) frame(post any, tc config.Object) {
	f := framer{s: s, tc: tc}
	f.bos, f.cls, f.eos, f.sep = tc["bos_token"], tc["cls_token"], tc["eos_token"], tc["sep_token"]
	if !config.Truth(f.bos) && config.Truth(f.cls) && len(tc) > 0 {
		f.bos = f.cls
		f.complete("bos", f.cls)
	}
	if !config.Truth(f.eos) && config.Truth(f.sep) && len(tc) > 0 {
		f.eos = f.sep
		f.complete("eos", f.sep)
	}
	if !config.Truth(post) {
		return
	}
	list, ok := member(post, "processors").([]any)
	if !ok {
		list = []any{post}
	}
	for _, p := range list {
		switch member(p, "type") {
		case "RobertaProcessing":
			f.roberta(p)
		case "TemplateProcessing":
			f.template(p)
		}
	}
}

// framer holds what is known of the four framing tokens while processors are read: text, or the object that
// tokenizer_config.json spells a token with (which then equals no text).
type framer struct {
	s                  *specials
	tc                 config.Object
	bos, cls, eos, sep any
}

// complete sets a token in tokenizer_config.json as if it had been there: its id is looked up like the others' later.
func (f *framer) complete(typ string, v any) {
	if len(f.tc) > 0 {
		f.tc[typ+"_token"] = v
	}
}

// roberta sets all three flags whatever the processor's own tokens are.
func (f *framer) roberta(p any) {
	for _, typ := range []string{"bos", "eos", "sep"} {
		f.s.adds.set(typ, true)
	}
	first := func(key string, otherwise any) any {
		if l, ok := member(p, key).([]any); ok && len(l) > 0 {
			return l[0]
		}
		return otherwise
	}
	if !config.Truth(f.cls) && len(f.tc) > 0 {
		f.cls = first("cls", f.bos)
		f.complete("cls", f.cls)
	}
	if !config.Truth(f.sep) && len(f.tc) > 0 {
		f.sep = first("sep", f.eos)
		f.complete("sep", f.sep)
	}
}

// same is Python's == between a text and whatever JSON gave.
func same(v any, text string) bool { t, ok := v.(string); return ok && t == text }

// items is a JSON list; nil for anything else.
func items(v any) []any { l, _ := v.([]any); return l }

// specialID is the text of a template's special token; empty for a sequence.
func specialID(item any) string { t, _ := member(item, "SpecialToken", "id").(string); return t }

// template reads a TemplateProcessing: only its first and last items count, and only from two items on.
func (f *framer) template(p any) {
	single, pair := items(member(p, "single")), items(member(p, "pair"))
	first, last := "", ""
	if len(single) > 1 {
		if first = specialID(single[0]); first != "" {
			f.leading(first)
		}
		if last = specialID(single[len(single)-1]); last != "" {
			f.trailing(last)
		}
	}
	if len(pair) > 0 {
		f.separator(pair, first, last)
	}
}

// leading decides add_bos_token. An unknown first token becomes bos and cls where these are not named; where they are, the
// flag is cleared.
func (f *framer) leading(first string) {
	known := func() bool { return same(f.bos, first) || same(f.cls, first) }
	if len(f.tc) == 0 {
		f.bos = first
	} else if !known() {
		if !config.Truth(f.bos) {
			f.bos = first
			f.complete("bos", first)
		}
		if !config.Truth(f.cls) {
			f.cls = first
			f.complete("cls", first)
		}
	}
	f.s.adds.set("bos", known())
}

// trailing decides add_eos_token. Another last token than eos takes its place, and the old one is kept as eot or eom.
func (f *framer) trailing(last string) {
	if len(f.tc) == 0 {
		f.eos = last
	} else if !same(f.eos, last) {
		f.demote()
		f.eos = last
		f.complete("eos", last)
	}
	f.s.adds.set("eos", same(f.eos, last))
}

// demote keeps the end token that the template replaces as end of turn, or end of message.
func (f *framer) demote() {
	for _, typ := range []string{"eot", "eom"} {
		taken := false
		for _, t := range f.s.opt.types {
			taken = taken || t == typ
		}
		if !taken {
			f.s.opt.types = append(append([]string{}, f.s.opt.types...), typ)
			f.complete(typ, f.eos)
			return
		}
	}
}

// separator reads what stands between the two texts of a pair: A [sep] [eos] B.
func (f *framer) separator(pair []any, first, last string) {
	if first != "" && specialID(pair[0]) == first {
		pair = pair[1:]
	}
	if last != "" && len(pair) > 0 && specialID(pair[len(pair)-1]) == last {
		pair = pair[:len(pair)-1]
	}
	if len(pair) < 3 || member(pair[0], "Sequence", "id") != "A" || member(pair[len(pair)-1], "Sequence", "id") != "B" {
		return
	}
	pair = pair[1 : len(pair)-1]
	between := func(item any) bool {
		id := specialID(item)
		return id != "" && (same(f.sep, id) || same(f.eos, id))
	}
	add := between(pair[0]) && last == ""
	if len(pair) == 2 && between(pair[1]) {
		add = true
	}
	f.s.adds.set("sep", add)
	if add && !config.Truth(f.sep) {
		f.complete("sep", f.eos)
	}
}
