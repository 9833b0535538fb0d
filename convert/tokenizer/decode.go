package tokenizer

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// decoder turns tokens back into text, step by step; the results are joined at the end.
type decoder func(tokens []string) ([]string, error)

// decoderFile holds the members of every kind of decoder.
type decoderFile struct {
	component
	Decoders    []json.RawMessage `json:"decoders"`
	Suffix      *string           `json:"suffix"`
	Prefix      *string           `json:"prefix"`
	Cleanup     *bool             `json:"cleanup"`
	Replacement *string           `json:"replacement"`
	Scheme      *string           `json:"prepend_scheme"`
	AddPrefix   *bool             `json:"add_prefix_space"`
	Start       *int              `json:"start"`
	Stop        *int              `json:"stop"`
	Pad         *string           `json:"pad_token"`
	Delimiter   *string           `json:"word_delimiter_token"`
}

// parseDecoder reads the "decoder"; nil for null. Members are decoded before the kind is known, which costs nothing: they
// are few, and no two kinds use one name for different types.
func parseDecoder(raw json.RawMessage, depth int) (decoder, error) {
	var c decoderFile
	// Replace and WordPiece share names of members with other types: strings only, so one struct holds them all.
	kind, err := readComponent("decoder", raw, depth, &c)
	if err != nil || kind == "" {
		return nil, err
	}
	on := "decoder " + kind
	switch kind {
	case "Sequence":
		return parseDecoders(c.Decoders, depth)
	case "ByteLevel":
		return decodeByteLevel, nil
	case "ByteFallback":
		return decodeFallback, nil
	case "Fuse":
		return func(t []string) ([]string, error) { return []string{strings.Join(t, "")}, nil }, nil
	case "Metaspace":
		if c.Replacement == nil {
			return nil, missing(on, "replacement")
		}
		never := c.Scheme != nil && *c.Scheme == "never" || c.AddPrefix != nil && !*c.AddPrefix
		return decodeMetaspace(*c.Replacement, !never), nil
	case "BPEDecoder":
		if c.Suffix == nil {
			return nil, missing(on, "suffix")
		}
		return decodeBPE(*c.Suffix), nil
	case "WordPiece":
		if c.Prefix == nil || c.Cleanup == nil {
			return nil, missing(on, "prefix, cleanup")
		}
		return decodeWordPiece(*c.Prefix, *c.Cleanup), nil
	case "CTC":
		if c.Pad == nil || c.Delimiter == nil || c.Cleanup == nil {
			return nil, missing(on, "pad_token, word_delimiter_token, cleanup")
		}
		return decodeCTC(*c.Pad, *c.Delimiter, *c.Cleanup), nil
	case "Strip":
		if c.Content == nil || c.Start == nil || c.Stop == nil || utf8.RuneCountInString(*c.Content) != 1 || *c.Start < 0 || *c.Stop < 0 {
			return nil, missing(on, "content of one character, start, stop")
		}
		return decodeStrip(*c.Content, *c.Start, *c.Stop), nil
	case "Replace":
		p, err := c.pattern(on)
		if err != nil {
			return nil, err
		}
		if c.Content == nil {
			return nil, missing(on, "content")
		}
		return decodeReplace(p, *c.Content), nil
	}
	return nil, unknown("decoder", kind)
}

// parseDecoders runs steps one after another, each over the whole list of tokens.
func parseDecoders(raw []json.RawMessage, depth int) (decoder, error) {
	var steps []decoder
	for _, r := range raw {
		d, err := parseDecoder(r, depth+1)
		if err != nil {
			return nil, err
		}
		if d == nil {
			return nil, missing("decoder Sequence", "type")
		}
		steps = append(steps, d)
	}
	return func(t []string) ([]string, error) {
		var err error
		for _, d := range steps {
			if t, err = d(t); err != nil {
				return nil, err
			}
		}
		return t, nil
	}, nil
}

// decodeByteLevel takes a token as it stands if one of its characters spells no byte.
func decodeByteLevel(tokens []string) ([]string, error) {
	var out []byte
	for _, t := range tokens {
		n := len(out)
		for _, r := range t {
			b, ok := charBytes[r]
			if !ok {
				out = append(out[:n], t...)
				break
			}
			out = append(out, b)
		}
	}
	return []string{lossy(out)}, nil
}

// lossy reads UTF-8 as Rust does: every maximal part of a broken sequence becomes one U+FFFD.
func lossy(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var out strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r != utf8.RuneError || n > 1 {
			out.Write(b[:n])
			b = b[n:]
			continue
		}
		out.WriteRune(utf8.RuneError)
		b = b[broken(b):]
	}
	return out.String()
}

// broken is the length of the longest beginning of b that begins some character, at least 1.
func broken(b []byte) int {
	lo, hi, n := byte(0x80), byte(0xBF), 0
	switch c := b[0]; {
	case c >= 0xC2 && c <= 0xDF:
		n = 1
	case c >= 0xE0 && c <= 0xEF:
		n = 2
		if c == 0xE0 {
			lo = 0xA0
		} else if c == 0xED {
			hi = 0x9F
		}
	case c >= 0xF0 && c <= 0xF4:
		n = 3
		if c == 0xF0 {
			lo = 0x90
		} else if c == 0xF4 {
			hi = 0x8F
		}
	}
	i := 1
	for ; i <= n && i < len(b) && b[i] >= lo && b[i] <= hi; i++ {
		lo, hi = 0x80, 0xBF
	}
	return i
}

// decodeFallback joins <0xNN> tokens in a row to text. If they are not UTF-8 each of them becomes U+FFFD, even those that
// would have been good alone.
func decodeFallback(tokens []string) ([]string, error) {
	var out []string
	var run []byte
	flush := func() {
		if len(run) == 0 {
			return
		}
		if utf8.Valid(run) {
			out = append(out, string(run))
		} else {
			for range run {
				out = append(out, "\uFFFD")
			}
		}
		run = nil
	}
	for _, t := range tokens {
		if len(t) == 6 && strings.HasPrefix(t, "<0x") && t[5] == '>' {
			// Rust's parser takes a sign too: "<0x+A>" is byte 10.
			if v, err := strconv.ParseUint(strings.TrimPrefix(t[3:5], "+"), 16, 8); err == nil {
				run = append(run, byte(v))
				continue
			}
		}
		flush()
		out = append(out, t)
	}
	flush()
	return out, nil
}

// decodeMetaspace drops the mark at the beginning of the first token, if the pre-tokenizer sets one there.
func decodeMetaspace(mark string, prefix bool) decoder {
	return func(tokens []string) ([]string, error) {
		out := make([]string, len(tokens))
		for i, t := range tokens {
			blank := " "
			if i == 0 && prefix {
				blank = ""
			}
			out[i] = strings.ReplaceAll(t, mark, blank)
		}
		return out, nil
	}
}

// decodeBPE makes the suffix of a word a blank, except at the end.
func decodeBPE(suffix string) decoder {
	return func(tokens []string) ([]string, error) {
		out := make([]string, len(tokens))
		for i, t := range tokens {
			blank := " "
			if i == len(tokens)-1 {
				blank = ""
			}
			out[i] = strings.ReplaceAll(t, suffix, blank)
		}
		return out, nil
	}
}

// cleanups undo the blanks that word-piece tokenization sets, one after another.
// Source: tokenizers 0.22.2, decoders/wordpiece.rs.
var cleanups = [][2]string{{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"}, {" n't", "n't"}, {" 'm", "'m"},
	{" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}}

// cleanup goes over a token eleven times: later replacements see what earlier ones made.
func cleanup(s string) string {
	for _, c := range cleanups {
		s = strings.ReplaceAll(s, c[0], c[1])
	}
	return s
}

// decodeWordPiece sets a blank before every token that does not continue a word. Cleaning happens token by token, so it
// never joins two of them.
func decodeWordPiece(prefix string, clean bool) decoder {
	return func(tokens []string) ([]string, error) {
		out := make([]string, len(tokens))
		for i, t := range tokens {
			if i > 0 {
				if rest, ok := strings.CutPrefix(t, prefix); ok {
					t = rest
				} else {
					t = " " + t
				}
			}
			if clean {
				t = cleanup(t)
			}
			out[i] = t
		}
		return out, nil
	}
}

// decodeCTC drops repetitions first: a doubled letter needs a padding token between.
func decodeCTC(pad, delimiter string, clean bool) decoder {
	return func(tokens []string) ([]string, error) {
		var out []string
		for i, t := range tokens {
			if i > 0 && t == tokens[i-1] {
				continue
			}
			t = strings.ReplaceAll(t, pad, "")
			if clean {
				t = strings.ReplaceAll(cleanup(t), delimiter, " ")
			}
			if t != "" {
				out = append(out, t)
			}
		}
		return out, nil
	}
}

// decodeStrip takes up to start and stop characters off the ends of every token.
func decodeStrip(content string, start, stop int) decoder {
	return func(tokens []string) ([]string, error) {
		out := make([]string, len(tokens))
		for i, t := range tokens {
			for n := 0; n < start && strings.HasPrefix(t, content); n++ {
				t = t[len(content):]
			}
			for n := 0; n < stop && strings.HasSuffix(t, content); n++ {
				t = t[:len(t)-len(content)]
			}
			out[i] = t
		}
		return out, nil
	}
}

// decodeReplace works within tokens: a pattern never spans two.
func decodeReplace(p pattern, content string) decoder {
	return func(tokens []string) ([]string, error) {
		out := make([]string, len(tokens))
		for i, t := range tokens {
			m, err := p.cover(t, nil)
			if err != nil {
				return nil, err
			}
			var b strings.Builder
			for _, x := range m {
				if x.hit {
					b.WriteString(content)
				} else {
					b.WriteString(t[x.lo:x.hi])
				}
			}
			out[i] = b.String()
		}
		return out, nil
	}
}

// Decode turns ids back into text. Ids that no token has are left out; special: keep special tokens. Without a decoder
// the tokens are joined by blanks, as the library does.
func (t *Tokenizer) Decode(ids []int32, special bool) (string, error) {
	var tokens []string
	for _, id := range ids {
		text, ok := t.Token(id)
		if !ok || !special && t.added.special[text] {
			continue
		}
		tokens = append(tokens, text)
	}
	if t.decoder == nil {
		return strings.Join(tokens, " "), nil
	}
	out, err := t.decoder(tokens)
	if err != nil {
		return "", fmt.Errorf("decoding %d tokens: %w", len(tokens), err)
	}
	return strings.Join(out, ""), nil
}
