package tokenizer

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"quern/convert/fault"
)

// convertSentencePiece makes of a SentencePiece model what transformers' converter for the class makes.
func (f *folder) convertSentencePiece(class tokenizerClass, m *SentencePiece) (*Tokenizer, error) {
	c := &spmConversion{folder: f, class: class, m: m, prefix: true}
	if class.slow == "Llama" || class.slow == "T5" { // the other slow classes do not know the option
		c.prefix = f.config.flag("add_prefix_space", true)
		if f.config["add_prefix_space"] != nil && !f.config.given("add_prefix_space") {
			c.prefix = class.slow != "T5" // null is passed on by the fast class and is false there; Llama's slow class has a default
		}
	}
	// Absent or null is the old behaviour, which transformers warns of and keeps.
	c.legacy = !f.config.given("legacy") || f.config.flag("legacy", true)
	for i, p := range m.Pieces {
		c.pieces = append(c.pieces, scoredPiece{p.Text, float64(p.Score)})
		if p.Type == PieceControl || p.Type == PieceUserDefined {
			special := p.Type == PieceControl || class.slow == "Gemma" && (p.Text == "<start_of_turn>" || p.Text == "<end_of_turn>")
			c.added = append(c.added, AddedToken{Content: p.Text, Special: special, Declared: int32(i)})
		}
	}
	c.unk = m.UnkID
	if err := c.family(); err != nil {
		return nil, err
	}
	return c.assemble()
}

// spmConversion is a conversion under way.
type spmConversion struct {
	*folder
	class    tokenizerClass
	m        *SentencePiece
	pieces   []scoredPiece
	added    []AddedToken
	unk      int32
	fallback bool
	legacy   bool
	prefix   bool
	parts
}

type scoredPiece struct {
	text  string
	score float64
}

// scheme is how Metaspace prepends.
func (c *spmConversion) scheme() string {
	switch {
	case !c.prefix:
		return "never"
	case c.class.slow == "Llama" || c.class.slow == "T5":
		if !c.legacy {
			return "first"
		}
	}
	return "always"
}

// metaspace is the pre-tokenizer and the decoder of most conversions.
func (c *spmConversion) metaspace(cut bool) j {
	return j{"type": "Metaspace", "replacement": lowerBlock, "prepend_scheme": c.scheme(), "split": cut}
}

// family sets what the class's converter does otherwise than the common one.
func (c *spmConversion) family() error {
	c.pre, c.parts.decoder = c.metaspace(true), c.metaspace(true)
	c.normalizer = c.chain(j{"type": "Strip", "strip_left": false, "strip_right": true}, replaceRegex(" {2,}", lowerBlock))
	switch c.class.slow {
	case "Llama", "CodeLlama":
		return c.llama()
	case "Gemma":
		return c.gemma()
	case "T5":
		n := 100
		_ = json.Unmarshal(c.config["extra_ids"], &n)
		// From the last to the first: <extra_id_0> has the highest id.
		for i := min(n, maxExtraIDs) - 1; i >= 0; i-- {
			c.pieces = append(c.pieces, scoredPiece{fmt.Sprintf("<extra_id_%d>", i), 0})
		}
		c.around[1] = []string{"</s>"}
	case "XLMRoberta":
		return c.xlmRoberta()
	case "BigBird":
		c.around = [2][]string{{"[CLS]"}, {"[SEP]"}}
	case "DebertaV2":
		c.debertaV2()
	case "Albert":
		c.albert()
	default:
		return &fault.Unsupported{On: "tokenizer", Says: fmt.Sprintf("class %sTokenizer cannot be read from a SentencePiece model alone", c.class.slow),
			Next: "save the tokenizer as tokenizer.json with transformers, and put it beside the weights"}
	}
	return nil
}

// chain is a sequence of normalizers that begins with the model's compiled one, if there is one.
func (c *spmConversion) chain(list ...any) j {
	if len(c.m.Charsmap) > 0 {
		list = slices.Insert(list, 0, any(j{"type": "Precompiled", "precompiled_charsmap": c.m.Charsmap}))
	}
	return sequence("normalizers", list...)
}

// byteDecoder is the decoder of the models with byte fallback.
func byteDecoder(strip bool) j {
	steps := []any{replaceText(lowerBlock, " "), j{"type": "ByteFallback"}, j{"type": "Fuse"}}
	if strip {
		steps = append(steps, j{"type": "Strip", "content": " ", "start": 1, "stop": 0})
	}
	return sequence("decoders", steps...)
}

// llama: with legacy every stretch between special tokens gets a mark of its own, without it only the beginning of the text.
func (c *spmConversion) llama() error {
	if len(c.pieces) < 3 {
		return &fault.Invalid{On: c.class.file, Says: fmt.Sprintf("has %d pieces, at least 3 are needed", len(c.pieces))}
	}
	for i := range 3 {
		c.pieces[i].score = 0
	}
	c.fallback, c.unk = true, 0
	c.parts.decoder = byteDecoder(c.prefix)
	if !c.legacy {
		c.normalizer, c.pre = nil, c.metaspace(false)
		return nil
	}
	c.pre = nil
	if c.normalizer = sequence("normalizers", replaceText(" ", lowerBlock)); c.prefix {
		c.normalizer = sequence("normalizers", j{"type": "Prepend", "prepend": lowerBlock}, replaceText(" ", lowerBlock))
	}
	return nil
}

// gemma: the first three pieces get the names of special tokens, and a vocabulary without a tab gets it in place of its byte.
func (c *spmConversion) gemma() error {
	if len(c.pieces) < 4 {
		return &fault.Invalid{On: c.class.file, Says: fmt.Sprintf("has %d pieces, at least 4 are needed", len(c.pieces))}
	}
	for i, role := range []int{4, 1, 0} {
		c.pieces[i] = scoredPiece{c.special(c.class, role), 0}
	}
	if !slices.ContainsFunc(c.pieces, func(p scoredPiece) bool { return p.text == "\t" }) {
		if i := slices.IndexFunc(c.pieces, func(p scoredPiece) bool { return p.text == "<0x09>" }); i >= 0 {
			c.pieces[i] = scoredPiece{"\t", 0}
		}
	}
	c.fallback, c.unk = true, 3
	c.normalizer = replaceText(" ", lowerBlock)
	c.pre = j{"type": "Split", "pattern": j{"String": " "}, "behavior": "MergedWithPrevious", "invert": false}
	c.parts.decoder = byteDecoder(false)
	return nil
}

// xlmRoberta: fairseq's four special tokens stand before the pieces, whose own three are left out.
func (c *spmConversion) xlmRoberta() error {
	if len(c.pieces) < 4 {
		return &fault.Invalid{On: c.class.file, Says: fmt.Sprintf("has %d pieces, at least 4 are needed", len(c.pieces))}
	}
	rest := c.pieces[3:]
	c.pieces = append([]scoredPiece{{"<s>", 0}, {"<pad>", 0}, {"</s>", 0}, {"<unk>", 0}}, rest...)
	c.pieces = append(c.pieces, scoredPiece{"<mask>", 0})
	c.unk = 3
	c.around = [2][]string{{"<s>"}, {"</s>"}}
	return nil
}

// debertaV2 keeps punctuation apart only if asked to.
func (c *spmConversion) debertaV2() {
	var list []any
	if c.config.flag("do_lower_case", false) {
		list = append(list, j{"type": "Lowercase"})
	}
	list = append(list, j{"type": "Strip", "strip_left": true, "strip_right": true})
	if len(c.m.Charsmap) > 0 {
		list = append(list, j{"type": "Precompiled", "precompiled_charsmap": c.m.Charsmap})
	}
	c.normalizer = sequence("normalizers", append(list, replaceRegex(" {2,}", " "))...)
	c.pre = sequence("pretokenizers", c.metaspace(true))
	if c.config.flag("split_by_punct", false) {
		c.pre = sequence("pretokenizers", j{"type": "Punctuation", "behavior": "Isolated"}, c.metaspace(true))
	}
	c.around = [2][]string{{"[CLS]"}, {"[SEP]"}}
}

// albert normalizes quotes, marks and case before the model's own normalization.
func (c *spmConversion) albert() {
	list := []any{replaceText("``", `"`), replaceText("''", `"`)}
	if !c.config.flag("keep_accents", false) {
		list = append(list, j{"type": "NFKD"}, j{"type": "StripAccents"})
	}
	if c.config.flag("do_lower_case", true) {
		list = append(list, j{"type": "Lowercase"})
	}
	if len(c.m.Charsmap) > 0 {
		list = append(list, j{"type": "Precompiled", "precompiled_charsmap": c.m.Charsmap})
	}
	c.normalizer = sequence("normalizers", append(list, replaceRegex(" {2,}", " "))...)
	for i, p := range c.pieces { // a number with a comma is made less likely than its parts
		r := []rune(p.text)
		if n := len(r); n >= 2 && r[n-1] == ',' && r[n-2] >= '0' && r[n-2] <= '9' {
			c.pieces[i].score -= 100
		}
	}
	c.around = [2][]string{{"[CLS]"}, {"[SEP]"}}
}

// assemble makes the model and the stages.
func (c *spmConversion) assemble() (*Tokenizer, error) {
	kind := map[int32]string{SPMUnigram: "Unigram", SPMBPE: "BPE"}[c.m.Kind]
	if kind == "" {
		return nil, &fault.Unsupported{On: c.class.file, Says: fmt.Sprintf("model type %d (1 unigram and 2 BPE are converted)", c.m.Kind)}
	}
	var m model
	var err error
	if kind == "Unigram" {
		m, err = c.unigram()
	} else {
		m, err = c.bpe()
	}
	if err != nil {
		return nil, err
	}
	d, err := c.definition(kind)
	if err != nil {
		return nil, err
	}
	d.added = c.added
	return d.assemble(m)
}

// unigram takes pieces and scores as they are.
func (c *spmConversion) unigram() (model, error) {
	s := &scored{table: newTable(len(c.pieces))}
	for i, p := range c.pieces {
		s.put([]byte(p.text), int32(i))
		s.list, s.scores = append(s.list, p.text), append(s.scores, p.score)
	}
	if c.unk < 0 || int(c.unk) >= len(s.list) {
		return nil, &fault.Invalid{On: c.class.file, Says: fmt.Sprintf("unk_id is %d, the vocabulary has %d tokens", c.unk, len(s.list))}
	}
	m := &unigram{scored: s, unk: c.unk, fallback: c.fallback}
	m.prepare()
	return m, nil
}

// bpe finds the merges, which the model does not store. Pieces that the converter renamed are looked for under their old
// names, as transformers does.
func (c *spmConversion) bpe() (model, error) {
	v := &vocabulary{table: newTable(len(c.pieces))}
	for i, p := range c.pieces {
		v.put([]byte(p.text), int32(i))
	}
	v.reverse()
	known := newTable(len(c.m.Pieces))
	for i, p := range c.m.Pieces {
		known.put([]byte(p.Text), int32(i))
	}
	if c.class.slow == "Gemma" {
		if _, ok := known.findString("\t"); !ok {
			if id, ok := known.findString("<0x09>"); ok {
				known.put([]byte("\t"), id)
			}
		}
	}
	unk := c.m.UnkPiece
	m := &bpe{vocabulary: v, unknown: &unk, fuse: true, fallback: c.fallback}
	return m, m.prepare(mergePairs(scoredMerges(c.pieces, known)))
}

// scoredMerges finds the merges of a model that has scores only: every way to cut a piece into two, the best-scored piece
// first, then longer left and right parts, then in the order of the vocabulary.
func scoredMerges(pieces []scoredPiece, known *table) [][2]string {
	type merge struct {
		left, right string
		score       float64
		l, r        int
	}
	last := map[string]int{} // a piece that stands twice counts once, at its first place with its last score
	for i, p := range pieces {
		last[p.text] = i
	}
	var all []merge
	for _, p := range pieces {
		if j, ok := last[p.text]; !ok {
			continue
		} else {
			p.score = pieces[j].score
		}
		delete(last, p.text)
		from := len(all)
		for cut := range p.text {
			if cut == 0 {
				continue
			}
			l, okL := known.findString(p.text[:cut])
			r, okR := known.findString(p.text[cut:])
			if okL && okR {
				all = append(all, merge{p.text[:cut], p.text[cut:], p.score, int(l), int(r)})
			}
		}
		slices.SortStableFunc(all[from:], func(a, b merge) int {
			if a.l != b.l {
				return a.l - b.l
			}
			return a.r - b.r
		})
	}
	slices.SortStableFunc(all, func(a, b merge) int {
		switch {
		case a.score != b.score && !math.IsNaN(a.score):
			if a.score > b.score {
				return -1
			}
			return 1
		case len(a.left) != len(b.left):
			return utf8.RuneCountInString(b.left) - utf8.RuneCountInString(a.left)
		}
		return utf8.RuneCountInString(b.right) - utf8.RuneCountInString(a.right)
	})
	out := make([][2]string, len(all))
	for i, m := range all {
		out[i] = [2]string{m.left, m.right}
	}
	return out
}

// mergePairs makes the JSON form of pairs.
func mergePairs(pairs [][2]string) []byte {
	var b strings.Builder
	b.WriteByte('[')
	for i, p := range pairs {
		if i > 0 {
			b.WriteByte(',')
		}
		raw, _ := json.Marshal(p)
		b.Write(raw)
	}
	b.WriteByte(']')
	return []byte(b.String())
}
