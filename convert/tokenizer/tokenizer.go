// Package tokenizer turns text into token ids exactly as Hugging Face's tokenizers 0.22 and transformers 4.57 do.
//
// A text goes through the stages that a tokenizer.json describes, in this order:
//
//	added tokens that are looked for in the text as it is      added.go, automaton.go
//	normalizer                                                 normalize.go, normalform.go, charsmap.go
//	added tokens that are looked for in normalized text
//	pre-tokenizer: words                                       pretokenize.go, bytelevel.go, package onig
//	model: ids                                                 bpe.go, merge.go, unigram.go, model.go
//	post-processor                                             post.go
//
// Conversion needs the engine because the reference names a pre-tokenizer by the ids that a fixed text gets, and because
// a wrong name is seen only by comparing ids.
//
// Held by tests, not by the compiler: equality of every id of the conformance corpus (TestConformance), of every code
// point's treatment (package ucd), and work that is linear in the text (TestLinear).
package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"quern/convert/fault"
)

// Tokenizer is a loaded tokenizer. It is safe for concurrent use.
type Tokenizer struct {
	// Notes say what was changed on the way from the files to this tokenizer, in the order in which it happened:
	// AutoTokenizer's classes replace parts of a tokenizer.json.
	Notes []string
	// Class is the class that AutoTokenizer takes for a folder, without the endings Fast and Tokenizer; empty without a folder.
	Class string

	kind       string
	model      model
	added      *added
	normalizer normalizer
	splitters  []splitter
	frames     []frame
	decoder    decoder
	fit        fit
	tracked    bool
	raw        Structure
	caches     sync.Pool
}

// Structure is the description of the stages, as JSON; a member is nil where the file has null or nothing.
type Structure struct {
	Normalizer, PreTokenizer, PostProcessor, Decoder, Truncation, Padding json.RawMessage
}

// definition is a tokenizer.json taken apart, before the parts are made.
type definition struct {
	Structure
	added []AddedToken
	model modelFile
}

// Load reads a tokenizer.json. A file that is damaged or contradicts itself is a *fault.Invalid, one that uses what the
// library has not a *fault.Unsupported.
func Load(data []byte) (*Tokenizer, error) {
	d, err := readDefinition(data)
	if err != nil {
		return nil, err
	}
	m, err := d.model.build()
	if err != nil {
		return nil, err
	}
	return d.assemble(m)
}

// readDefinition takes a file apart in one pass; of a member that stands twice the last one counts.
func readDefinition(data []byte) (*definition, error) {
	if len(data) > maxFile {
		return nil, &fault.Invalid{On: "tokenizer.json", Says: fmt.Sprintf("holds %d bytes, at most %d are read", len(data), maxFile)}
	}
	d := &definition{}
	var addedRaw json.RawMessage
	hasModel := false
	w := newWalker(data)
	w.object(func(key string) {
		switch key {
		case "version":
			if v := string(w.text()); w.err == nil && v != "1.0" {
				w.err = &fault.Unsupported{On: "tokenizer.json", Says: fmt.Sprintf("version %q, 1.0 is known", v)}
			}
		case "truncation":
			d.Truncation = w.optional()
		case "padding":
			d.Padding = w.optional()
		case "added_tokens":
			addedRaw = w.raw()
		case "normalizer":
			d.Normalizer = w.optional()
		case "pre_tokenizer":
			d.PreTokenizer = w.optional()
		case "post_processor":
			d.PostProcessor = w.optional()
		case "decoder":
			d.Decoder = w.optional()
		case "model":
			hasModel = true
			d.model = modelFile{}
			d.model.read(w)
		default:
			w.fail("%.40q is no member that the library knows", key)
		}
	})
	w.end()
	if w.err != nil {
		return nil, asFault("tokenizer.json", w.err)
	}
	if !hasModel {
		return nil, missing("tokenizer.json", "model")
	}
	if string(addedRaw) == "null" {
		return nil, missing("tokenizer.json", "a list of added_tokens")
	}
	if addedRaw != nil {
		var err error
		if d.added, err = parseAdded(addedRaw); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// optional is raw, with nil for null.
func (w *walker) optional() json.RawMessage {
	r := w.raw()
	if string(r) == "null" {
		return nil
	}
	return r
}

// assemble makes the stages around a model.
func (d *definition) assemble(m model) (*Tokenizer, error) {
	t := &Tokenizer{kind: d.model.kind, model: m, raw: d.Structure}
	t.caches.New = func() any { return newCache() }
	var err error
	if t.normalizer, err = parseNormalizer(d.Normalizer, 0); err != nil {
		return nil, err
	}
	if t.splitters, err = parseSplitters(d.PreTokenizer, 0, nil); err != nil {
		return nil, err
	}
	if t.frames, err = parsePost(d.PostProcessor, 0); err != nil {
		return nil, err
	}
	if t.decoder, err = parseDecoder(d.Decoder, 0); err != nil {
		return nil, err
	}
	if t.fit, err = parseFit(d.Truncation, d.Padding); err != nil {
		return nil, err
	}
	if t.added, err = newAdded(d.added, m, t.normalizer); err != nil {
		return nil, err
	}
	t.connect()
	return t, nil
}

// connect sets what the stages have to know of one another.
func (t *Tokenizer) connect() {
	for i, s := range t.splitters {
		switch s := s.(type) {
		case metaspace:
			t.tracked = t.tracked || s.scheme == "first"
		case byteSplitter:
			if m, ok := t.model.(*bpe); ok && i == len(t.splitters)-1 {
				s.raw, m.raw = true, true
				t.splitters[i] = s
			}
		}
	}
}

// Encode gives the ids of a text; special: with the ids that the post-processor sets around it. What is not UTF-8 counts
// as U+FFFD. The error is a *fault.Invalid: a text for which the vocabulary has no token, or on which a pattern of the
// file takes too many steps.
func (t *Tokenizer) Encode(text string, special bool) ([]int32, error) {
	if len(text) > maxGrown {
		return nil, &fault.Invalid{On: "text", Says: fmt.Sprintf("holds %d bytes, at most %d are encoded", len(text), maxGrown)}
	}
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "\uFFFD")
	}
	ids, err := t.body(text)
	if err != nil {
		return nil, err
	}
	return t.finish(ids, special)
}

// body gives the ids of a text alone.
func (t *Tokenizer) body(text string) ([]int32, error) {
	pieces, err := t.words(text)
	if err != nil {
		return nil, err
	}
	c := t.caches.Get().(*cache)
	defer t.caches.Put(c)
	ids := make([]int32, 0, len(pieces)+len(text)/8)
	for i := range pieces {
		if pieces[i].id >= 0 {
			ids = append(ids, pieces[i].id)
			continue
		}
		if ids, err = t.model.encode(pieces[i].text, ids, c); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// words cuts a text into added tokens and words.
func (t *Tokenizer) words(text string) ([]span, error) {
	if text == "" {
		return nil, nil
	}
	pieces, err := t.added.extract(&t.added.plain, span{text: text, tracked: t.tracked, id: -1}, nil)
	if err != nil {
		return nil, err
	}
	var next []span
	for _, p := range pieces {
		if p.id >= 0 {
			next = append(next, p)
			continue
		}
		if t.normalizer != nil {
			if err := t.normalizer.normalize(&p); err != nil {
				return nil, err
			}
		}
		if next, err = t.added.extract(&t.added.normal, p, next); err != nil {
			return nil, err
		}
	}
	pieces = next
	var scratch []match
	for _, s := range t.splitters {
		out := make([]span, 0, len(pieces)+8)
		for _, p := range pieces {
			if p.id >= 0 {
				out = append(out, p)
				continue
			}
			if out, err = s.split(p, out, &scratch); err != nil {
				return nil, err
			}
		}
		pieces = out
	}
	return pieces, nil
}

// finish sets the post-processor's ids around a text's.
func (t *Tokenizer) finish(ids []int32, special bool) ([]int32, error) {
	for _, f := range t.frames {
		var err error
		if ids, err = f.around(ids, special); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// EncodeFitted is Encode cut and padded as the file's "truncation" and "padding" ask, which nothing but the library
// itself does by default: AutoTokenizer ignores them.
func (t *Tokenizer) EncodeFitted(text string, special bool) ([]int32, error) {
	ids, err := t.Encode(text, false)
	if err != nil {
		return nil, err
	}
	extra := 0
	if special {
		for _, f := range t.frames {
			extra += f.added()
		}
	}
	if ids, err = t.fit.truncate(ids, extra); err != nil {
		return nil, err
	}
	if ids, err = t.finish(ids, special); err != nil {
		return nil, err
	}
	return t.fit.pad(ids), nil
}
