package tokenizer

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"quern/convert/fault"
)

// lowerBlock stands for a blank inside pieces.
const lowerBlock = "\u2581"

// spmEncoder is what encoding needs of a model: SentencePiece's own algorithms, which are not those of the tokenizers
// library. Source: sentencepiece 0.2, normalizer.cc, bpe_model.cc, unigram_model.cc.
type spmEncoder struct {
	m        *SentencePiece
	charsmap *Charsmap
	pieces   *table // normal, user-defined and unused pieces
	reserved map[string]int32
	unk      int32
	user     *trie // user-defined pieces, nil if there are none
	trie     *trie // of pieces, for the unigram model
	least    float32
	bytes    [256]int32
}

// Check tells whether SentencePiece would load the model: it refuses one with an empty or doubled piece, with no unknown
// piece, or with byte fallback and fewer than 256 byte pieces.
func (m *SentencePiece) Check() error {
	m.once.Do(func() { m.err = m.prepare() })
	return m.err
}

// prepare builds the tables of the encoder and makes the checks of ModelInterface::InitializePieces.
func (m *SentencePiece) prepare() error {
	e := &spmEncoder{m: m, pieces: newTable(len(m.Pieces)), reserved: map[string]int32{}, unk: -1, least: math.MaxFloat32}
	invalid := func(format string, args ...any) error {
		return &fault.Invalid{On: "sentencepiece model", Says: fmt.Sprintf(format, args...)}
	}
	users := newTable(0)
	for b := range e.bytes {
		e.bytes[b] = -1
	}
	for i, p := range m.Pieces {
		id := int32(i)
		normal := p.Type == PieceNormal || p.Type == PieceUserDefined || p.Type == PieceUnused
		_, reserved := e.reserved[p.Text]
		_, known := e.pieces.findString(p.Text)
		taken := normal && known || !normal && reserved
		if m.Kind == SPMBPE { // which looks both kinds of pieces up by their text
			taken = known || reserved
		}
		switch {
		case p.Text == "":
			return invalid("piece %d is empty", i)
		case taken:
			return invalid("piece %d, %.40q, is there twice", i, p.Text)
		case normal:
			e.pieces.put([]byte(p.Text), id)
		default:
			e.reserved[p.Text] = id
		}
		switch p.Type {
		case PieceNormal:
			e.least = min(e.least, p.Score)
		case PieceUserDefined:
			users.put([]byte(p.Text), id)
		case PieceUnknown:
			if e.unk >= 0 {
				return invalid("pieces %d and %d are both the unknown one", e.unk, i)
			}
			e.unk = id
		case PieceByte:
			var b byte
			if n, err := fmt.Sscanf(p.Text, "<0x%02X>", &b); n != 1 || err != nil || !m.ByteFallback {
				return invalid("byte piece %d, %.40q, is not valid here", i, p.Text)
			}
			e.bytes[b] = id
		}
	}
	if e.unk < 0 {
		return invalid("no piece is the unknown one")
	}
	if m.ByteFallback && slices.Contains(e.bytes[:], -1) {
		return invalid("byte fallback is on, but not all 256 byte pieces are there")
	}
	if users.len() > 0 {
		e.user = newTrie(users)
	}
	if m.Kind == SPMUnigram {
		e.trie = newTrie(e.pieces)
	}
	if len(m.Charsmap) > 0 {
		var err error
		if e.charsmap, err = NewCharsmap(m.Charsmap); err != nil {
			return err
		}
	}
	m.encoder = e
	return nil
}

// Encode gives the ids that the sentencepiece library gives, without begin and end of sentence.
func (m *SentencePiece) Encode(text string) ([]int32, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	e := m.encoder
	text = e.normalize(text)
	if text == "" {
		return nil, nil
	}
	switch m.Kind {
	case SPMUnigram:
		return e.unigram(text)
	case SPMBPE:
		return e.bpe(text), nil
	case SPMChar:
		var ids []int32
		unknown := false
		for text != "" {
			n, _ := e.prefix(text)
			ids, unknown = e.emit(ids, e.id(text[:n]), text[:n], unknown)
			text = text[n:]
		}
		return ids, nil
	}
	return nil, &fault.Unsupported{On: "sentencepiece model", Says: fmt.Sprintf("model type %d (1 unigram, 2 BPE and 4 characters are)", m.Kind)}
}

// prefix is the length of the longest user-defined piece that text begins with, else of its first character.
func (e *spmEncoder) prefix(text string) (n int, user bool) {
	if e.user != nil {
		for node, i := int32(0), 0; i < len(text); i++ {
			if node = e.user.next(node, text[i]); node < 0 {
				break
			}
			if e.user.value(node) >= 0 {
				n, user = i+1, true
			}
		}
		if user {
			return n, true
		}
	}
	_, n = utf8.DecodeRuneInString(text)
	return n, false
}

// step normalizes the beginning of text: what it becomes, and how much of it that is.
func (e *spmEncoder) step(text string) (string, int) {
	n, user := e.prefix(text)
	if user {
		return text[:n], n
	}
	if e.charsmap != nil {
		if n, with, ok := e.charsmap.Longest(text); ok {
			return with, n
		}
	}
	return text[:n], n
}

// normalize makes the text that pieces are looked for in. Source: sentencepiece 0.2, normalizer.cc, Normalizer::Normalize.
func (e *spmEncoder) normalize(text string) string {
	m := e.m
	text = strings.ToValidUTF8(text, "\uFFFD")
	for m.RemoveExtraWhitespaces && text != "" {
		s, n := e.step(text)
		if s != " " {
			break
		}
		text = text[n:]
	}
	if text == "" {
		return ""
	}
	blank := " "
	if m.EscapeWhitespaces {
		blank = lowerBlock
	}
	var out strings.Builder
	out.Grow(len(text) + len(text)/4)
	if m.AddDummyPrefix && !m.WhitespaceAsSuffix {
		out.WriteString(blank)
	}
	afterBlank := m.RemoveExtraWhitespaces
	for text != "" {
		s, n := e.step(text)
		text = text[n:]
		if afterBlank {
			s = strings.TrimLeft(s, " ")
		}
		if s != "" {
			out.WriteString(strings.ReplaceAll(s, " ", blank))
			afterBlank = strings.HasSuffix(s, " ")
		}
		afterBlank = afterBlank && m.RemoveExtraWhitespaces
	}
	s := out.String()
	for m.RemoveExtraWhitespaces && strings.HasSuffix(s, blank) {
		s = strings.TrimSuffix(s, blank)
	}
	if m.AddDummyPrefix && m.WhitespaceAsSuffix {
		s += blank
	}
	return s
}

// id is a piece's id; what is no piece is the unknown one.
func (e *spmEncoder) id(piece string) int32 {
	if id, ok := e.reserved[piece]; ok {
		return id
	}
	if id, ok := e.pieces.findString(piece); ok {
		return id
	}
	return e.unk
}

// emit adds a piece: unknown ones as their bytes, or one id for several in a row. A piece that is unused and was made of
// no others is unknown.
func (e *spmEncoder) emit(ids []int32, id int32, piece string, unknown bool) ([]int32, bool) {
	if e.m.Pieces[id].Type == PieceUnused {
		id = e.unk
	}
	switch {
	case id != e.unk:
		return append(ids, id), false
	case e.m.ByteFallback:
		for i := range len(piece) {
			ids = append(ids, e.bytes[piece[i]])
		}
	case !unknown:
		ids = append(ids, id)
	}
	return ids, true
}

// userDefinedScore makes a user-defined piece worth more than what it could be cut into. Source: measured with
// sentencepiece 0.2.3; versions up to 0.2.0 went by the best score of the model.
func userDefinedScore(bytes int) float32 { return float32(0.1*float64(bytes) - 0.1) }

// unigram is the way of the greatest sum of scores, added in single precision as the library does.
func (e *spmEncoder) unigram(text string) ([]int32, error) {
	type node struct {
		score    float32
		from, id int32
	}
	best := make([]node, len(text)+1)
	for i := range best {
		best[i].from = -1
	}
	reach := func(at, from int, id int32, score float32) {
		if n := &best[at]; n.from < 0 || score > n.score {
			*n = node{score, int32(from), id}
		}
	}
	budget := searchBudget * (len(text) + 64)
	for at, r := range text {
		size, single := utf8.RuneLen(r), false
		base := best[at].score
		for n, i := int32(0), at; i < len(text); i++ {
			if n = e.trie.next(n, text[i]); n < 0 {
				break
			}
			budget--
			id := e.trie.value(n)
			if id < 0 || e.m.Pieces[id].Type == PieceUnused {
				continue
			}
			score := e.m.Pieces[id].Score
			if e.m.Pieces[id].Type == PieceUserDefined {
				score = userDefinedScore(i + 1 - at)
			}
			reach(i+1, at, id, score+base)
			single = single || i+1-at == size
		}
		if budget < 0 {
			return nil, &fault.Invalid{On: "text", Says: fmt.Sprintf("%d bytes take more than %d steps", len(text), searchBudget*(len(text)+64))}
		}
		if !single {
			reach(at+size, at, e.unk, e.least-unknownPenalty+base)
		}
	}
	var cuts []int
	for at := len(text); at > 0; at = int(best[at].from) {
		cuts = append(cuts, at)
	}
	var ids []int32
	unknown := false
	for i := len(cuts) - 1; i >= 0; i-- {
		n := best[cuts[i]]
		ids, unknown = e.emit(ids, n.id, text[n.from:cuts[i]], unknown)
	}
	return ids, nil
}
