package tokenizer

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"

	"quern/convert/fault"
)

// ParseTiktoken reads a tiktoken rank file: a base64 token, a blank and its rank on each line. The tokens are given by
// rank; a rank that no line has is nil.
func ParseTiktoken(data []byte) ([][]byte, error) {
	var out [][]byte
	for n, line := range bytes.Split(data, []byte("\n")) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		token64, rankText, ok := bytes.Cut(line, []byte(" "))
		rank, err := strconv.ParseUint(string(bytes.TrimSpace(rankText)), 10, 32)
		if !ok || err != nil {
			return nil, &fault.Invalid{On: "tiktoken file", Says: fmt.Sprintf("line %d is not a token and a rank", n+1), Err: err}
		}
		if rank > maxID {
			return nil, tooHigh("tiktoken file", uint32(min(rank, math.MaxUint32)))
		}
		token, err := base64.StdEncoding.DecodeString(string(token64))
		if err != nil {
			return nil, &fault.Invalid{On: "tiktoken file", Says: fmt.Sprintf("line %d has a token that is not base64", n+1), Err: err}
		}
		for len(out) <= int(rank) {
			out = append(out, nil)
		}
		out[rank] = token
	}
	if len(out) == 0 {
		return nil, &fault.Invalid{On: "tiktoken file", Says: "has no tokens"}
	}
	return out, nil
}

// RankMerges are the merges that give the same words as ranks do: every way to cut a token into two tokens, by the rank
// of the token, then of its parts. Tokens are spelled by byte characters. Source: transformers 4.57.6, TikTokenConverter.
func RankMerges(tokens [][]byte) [][2]string {
	known := newTable(len(tokens))
	for i, t := range tokens {
		if len(t) > 0 {
			known.put(t, int32(i))
		}
	}
	type cut struct{ at, l, r int }
	var out [][2]string
	var cuts []cut
	for _, t := range tokens {
		cuts = cuts[:0]
		for i := 1; i < len(t); i++ {
			l, okL := known.find(t[:i])
			r, okR := known.find(t[i:])
			if okL && okR {
				cuts = append(cuts, cut{i, int(l), int(r)})
			}
		}
		slices.SortStableFunc(cuts, func(a, b cut) int {
			if a.l != b.l {
				return a.l - b.l
			}
			return a.r - b.r
		})
		for _, c := range cuts {
			out = append(out, [2]string{ByteChars(t[:c.at]), ByteChars(t[c.at:])})
		}
	}
	return out
}

// ByteChars spells bytes as byte-level vocabularies do.
func ByteChars(b []byte) string { return string(appendByteChars(nil, string(b))) }

// Ranks describes a tokenizer by ranks: tiktoken's own kind.
type Ranks struct {
	Tokens  [][]byte // by rank; nil: there is none
	First   int32    // id of rank 0
	Pattern string   // by which a text is cut into words
	Special []AddedToken
}

// NewRanks makes a tokenizer that merges by rank, as the tiktoken library does: a word that is a token is one token. The
// ids of special tokens are those declared; they are cut out of texts.
func NewRanks(r Ranks) (*Tokenizer, error) {
	v := &vocabulary{table: newTable(len(r.Tokens) + len(r.Special))}
	for i, t := range r.Tokens {
		if len(t) > 0 {
			v.put(appendByteChars(nil, string(t)), r.First+int32(i))
		}
	}
	merges := RankMerges(r.Tokens)
	for _, s := range r.Special {
		if s.Declared < 0 || s.Declared > maxID {
			return nil, tooHigh("special tokens", uint32(s.Declared))
		}
		v.put([]byte(s.Content), s.Declared)
	}
	v.reverse()
	d, err := parts{pre: splitAndBytes(r.Pattern, false), decoder: byteLevel(true, true)}.definition("BPE")
	if err != nil {
		return nil, err
	}
	d.added = r.Special
	m := &bpe{vocabulary: v, whole: true}
	if err := m.prepare(mergePairs(merges)); err != nil {
		return nil, err
	}
	return d.assemble(m)
}

// Tekken is Mistral's tekken.json.
type Tekken struct {
	Config struct {
		Pattern     string `json:"pattern"`
		Version     string `json:"version"`
		VocabSize   int    `json:"default_vocab_size"`
		NumSpecial  int    `json:"default_num_special_tokens"`
		NumVocabRaw int    `json:"num_vocab_tokens"`
	} `json:"config"`
	Vocab []struct {
		Rank  int     `json:"rank"`
		Bytes []byte  `json:"token_bytes"`
		Str   *string `json:"token_str"`
	} `json:"vocab"`
	Special []struct {
		Rank    int    `json:"rank"`
		Str     string `json:"token_str"`
		Control bool   `json:"is_control"`
	} `json:"special_tokens"`
}

// ParseTekken reads a tekken.json.
func ParseTekken(data []byte) (*Tekken, error) {
	if len(data) > maxFile {
		return nil, &fault.Invalid{On: "tekken.json", Says: fmt.Sprintf("holds %d bytes, at most %d are read", len(data), maxFile)}
	}
	t := &Tekken{}
	if err := json.Unmarshal(data, t); err != nil {
		return nil, &fault.Invalid{On: "tekken.json", Says: "cannot be read", Err: err}
	}
	if n := t.Config.NumSpecial; n < 0 || n > maxID || t.Config.VocabSize < n || t.Config.VocabSize > maxID {
		return nil, &fault.Invalid{On: "tekken.json", Says: fmt.Sprintf("has %d tokens, %d of them special", t.Config.VocabSize, n)}
	}
	return t, nil
}

// tekkenSpecial are the special tokens of files of before they were listed in them. Source: mistral-common 1.13.1, tekken.py.
var tekkenSpecial = [...]string{"<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]",
	"[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]", "[SYSTEM_PROMPT]",
	"[/SYSTEM_PROMPT]", "[TOOL_CONTENT]"}

// Specials are the texts of the special tokens by id. Places that the file leaves empty are <SPECIAL_n>.
func (t *Tekken) Specials() []string {
	names := make([]string, t.Config.NumSpecial)
	for i := range names {
		if names[i] = fmt.Sprintf("<SPECIAL_%d>", i); t.Special == nil && i < len(tekkenSpecial) {
			names[i] = tekkenSpecial[i]
		}
	}
	for _, s := range t.Special {
		if s.Rank >= 0 && s.Rank < len(names) {
			names[s.Rank] = s.Str
		}
	}
	return names
}

// Tokenizer makes a tokenizer with the ids that Mistral's own library gives: special tokens first, then ranks.
func (t *Tekken) Tokenizer() (*Tokenizer, error) {
	r := Ranks{First: int32(t.Config.NumSpecial), Pattern: t.Config.Pattern}
	for i, v := range t.Vocab {
		if i >= t.Config.VocabSize-t.Config.NumSpecial {
			break
		}
		r.Tokens = append(r.Tokens, v.Bytes)
	}
	for i, name := range t.Specials() {
		r.Special = append(r.Special, AddedToken{Content: name, Special: true, Declared: int32(i)})
	}
	return NewRanks(r)
}

// convertTekken makes of a tekken.json what AutoTokenizer makes of it: ranks from 0 on, over the special tokens' ids.
func convertTekken(data []byte) (*Tokenizer, error) {
	t, err := ParseTekken(data)
	if err != nil {
		return nil, err
	}
	r := Ranks{Pattern: t.Config.Pattern}
	for _, v := range t.Vocab {
		r.Tokens = append(r.Tokens, v.Bytes)
	}
	for i, s := range t.Special {
		r.Special = append(r.Special, AddedToken{Content: s.Str, Special: s.Control, Normalized: !s.Control, Declared: int32(i)})
	}
	return NewRanks(r)
}
