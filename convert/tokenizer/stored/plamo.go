package stored

import (
	"math"
	"strings"
	"unicode/utf8"

	"quern/convert/fault"
)

// plamo finds the cheapest tokens from the end of a text on, in whole numbers: scores in ten-thousandths.
type plamo struct {
	*Vocabulary
	tokens prefixes
	bytes  [256]int32
}

// Costs of a character without a token, and of a token that is never taken.
const (
	plamoUnknown = -10_000_000
	plamoNever   = -20_000_000
)

func newPlamo(v *Vocabulary) (*plamo, error) {
	m := &plamo{Vocabulary: v, tokens: prefixes{}}
	for b := range m.bytes {
		id := v.id(hexByte(byte(b)))
		if id < 0 || v.def.typ(int(id)) != Byte {
			return nil, &fault.Invalid{On: "vocabulary", Says: "has no token " + hexByte(byte(b))}
		}
		m.bytes[b] = id
	}
	for t, id := range v.ids {
		if v.def.typ(int(id)) != Byte {
			m.tokens.add(t, id)
		}
	}
	return m, nil
}

// cost is a token's score as a whole number.
func (m *plamo) cost(id int32) int64 {
	s := float64(m.def.score(id))
	if math.IsInf(s, 0) || math.IsNaN(s) {
		return plamoNever
	}
	return int64(int32(math.Round(s * 1e4)))
}

func (m *plamo) encode(text string, _ bool, to []int32) ([]int32, error) {
	text = strings.TrimPrefix(text, "\ufeff")
	type step struct {
		cost int64
		size int
		id   int32
	}
	best := make([]step, len(text)+1)
	for at := len(text); at > 0; {
		_, n := utf8.DecodeLastRuneInString(text[:at])
		at -= n
		b := step{best[at+n].cost - plamoUnknown, n, None}
		m.tokens.each(text[at:], func(size int, id int32) {
			// Of equals the longest token counts, and a character without a token only where it is the cheaper way.
			if c := m.cost(id); c > plamoNever && best[at+size].cost-c <= b.cost {
				b = step{best[at+size].cost - c, size, id}
			}
		})
		best[at] = b
	}
	for at := 0; at < len(text); at += best[at].size {
		if id := best[at].id; id >= 0 {
			to = append(to, id)
			continue
		}
		for i := range best[at].size {
			to = append(to, m.bytes[text[at+i]])
		}
	}
	return to, nil
}
