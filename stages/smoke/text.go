package smoke

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"quern/quantize/llamacpp"
)

const (
	prompt    = "In the morning, when the sun had come up over the trees,"
	question  = "Write two sentences about a river."
	generated = 64 // tokens
)

// checkTokens compares llama.cpp's ids with those of the checkpoint's own tokenizer, and takes the judged text there and
// back again.
func (t *run) checkTokens() error {
	if t.model.Vocab.Kind == "none" || t.model.Vocab.Kind == "" {
		t.skip(nameTokens, "the file has no vocabulary")
		return nil
	}
	ids, err := t.judged()
	if err != nil {
		return err
	}
	texts, err := t.references()
	if err != nil {
		return err
	}
	compared := 0
	for _, e := range texts {
		got, err := t.child.Tokenize(t.ctx, llamacpp.TokenizeArgs{Slot: t.model.Slot, Text: []byte(e.Text), Special: e.Special, Parse: e.Parse})
		if err != nil {
			return err
		}
		if at := differs(got, e.IDs); at >= 0 {
			t.fail(nameTokens, fmt.Sprintf("%s: token %d is %s, the checkpoint's tokenizer says %s", quote(e.Text), at, idAt(got, at), idAt(e.IDs, at)), "all ids equal, there and back again",
				"the pre-tokenizer, the vocabulary or the added tokens differ from the checkpoint's: `quern tokenize` shows where")
			return nil
		}
		compared += len(e.IDs)
	}
	back, err := t.comesBack(ids)
	if err != nil {
		return err
	}
	value, score := fmt.Sprintf("%d tokens of %d bytes decode to the same text: %t", len(ids), len(t.o.Text), back), len(ids)
	if compared > 0 && back {
		value, score = fmt.Sprintf("%d ids of %d texts are the checkpoint's", compared, len(texts)), compared
		if len(texts) > len(t.o.Encoded) {
			value = fmt.Sprintf("%d ids of %d texts and a chat are the checkpoint's", compared, len(t.o.Encoded))
		}
	}
	t.judge(back, Check{Name: nameTokens, Value: value, Limit: "all ids equal, there and back again", Next: "the vocabulary, its kind or the kinds of its tokens are not the checkpoint's", Score: float64(score)})
	return nil
}

// references are the texts whose ids are known, and a chat as the checkpoint's template writes it.
func (t *run) references() ([]Encoded, error) {
	if t.o.Encode == nil {
		return t.o.Encoded, nil
	}
	chat, err := t.child.Prompt(t.ctx, llamacpp.PromptArgs{Slot: t.model.Slot, User: question})
	if err != nil || chat == "" {
		return t.o.Encoded, err
	}
	ids, err := t.o.Encode(chat)
	if err != nil {
		return t.o.Encoded, nil // the engine does not read it, which plan has told
	}
	return append(slices.Clone(t.o.Encoded), Encoded{Text: chat, Parse: true, IDs: ids}), nil
}

// judged is the judged text as tokens.
func (t *run) judged() ([]int32, error) {
	if k := t.model.Vocab.Kind; t.tokens == nil && k != "none" && k != "" {
		ids, err := t.encode(t.o.Text, true)
		if err != nil {
			return nil, err
		}
		t.tokens = ids
	}
	return t.tokens, nil
}

// comesBack judges a vocabulary by itself: what is encoded must decode to the same text. WordPiece and Unigram lose case,
// spacing and rare characters by design, so there only an empty or a letter-by-letter answer is held against it.
func (t *run) comesBack(ids []int32) (bool, error) {
	text, err := t.child.Detokenize(t.ctx, llamacpp.DetokenizeArgs{Slot: t.model.Slot, Tokens: ids})
	if k := t.model.Vocab.Kind; k == "wpm" || k == "ugm" {
		return len(text) > 0 && len(ids) < len(t.o.Text), err
	}
	return squeeze(string(text)) == squeeze(t.o.Text), err
}

func (t *run) encode(text string, special bool) ([]int32, error) {
	return t.child.Tokenize(t.ctx, llamacpp.TokenizeArgs{Slot: t.model.Slot, Text: []byte(text), Special: special})
}

// fit cuts a text to what the model has learned positions for, less what is to come after it.
func (t *run) fit(ids []int32, after int) []int32 {
	if t.model.Positions == 0 {
		return ids
	}
	return ids[:min(len(ids), max(1, t.model.Positions-after))]
}

// squeeze drops white space: decoders may add or take a blank at the ends.
func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }

func differs(a, b []int32) int {
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			return i
		}
	}
	return -1
}

func idAt(ids []int32, i int) string {
	if i >= len(ids) {
		return "missing"
	}
	return fmt.Sprint(ids[i])
}

func quote(s string) string {
	const most = 40
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return fmt.Sprintf("%q", s)
}

// checkGeneration continues a plain prompt, and the model's own chat prompt where llama.cpp can render it, and judges
// logits, repetition and bytes.
func (t *run) checkGeneration() error {
	plain, err := t.encode(prompt, true)
	if err != nil {
		return err
	}
	if len(plain) == 0 {
		plain = []int32{max(0, t.model.Vocab.BOS)}
	}
	texts := [][]int32{plain}
	if chat, err := t.child.Prompt(t.ctx, llamacpp.PromptArgs{Slot: t.model.Slot, User: question}); err != nil {
		return err
	} else if chat != "" {
		ids, err := t.child.Tokenize(t.ctx, llamacpp.TokenizeArgs{Slot: t.model.Slot, Text: []byte(chat), Special: !strings.HasPrefix(chat, t.beginning()), Parse: true})
		if err != nil {
			return err
		}
		texts = append(texts, ids)
	}
	var runs []*llamacpp.Generation
	for _, ids := range texts {
		ids = t.fit(ids, generated+1)
		o := t.o.Context
		o.Context = len(ids) + generated + 1
		g, err := t.child.Generate(t.ctx, llamacpp.GenerateArgs{ContextOptions: o, Slot: t.model.Slot, Tokens: ids, N: generated})
		if err != nil {
			return err
		}
		runs = append(runs, g)
	}
	t.r.Text = strings.ToValidUTF8(string(runs[0].Text), "\uFFFD")
	t.shifts = runs[0].Shifts
	t.judgeLogits(runs)
	t.judgeRepetition(runs)
	t.judgeUTF8(runs)
	return nil
}

// beginning is the text of the BOS token, which some templates write themselves.
func (t *run) beginning() string {
	if t.model.Vocab.BOS < 0 {
		return "\x00"
	}
	b, err := t.child.Detokenize(t.ctx, llamacpp.DetokenizeArgs{Slot: t.model.Slot, Tokens: []int32{t.model.Vocab.BOS}, Render: true})
	if err != nil || len(b) == 0 {
		return "\x00"
	}
	return string(b)
}

func (t *run) judgeLogits(runs []*llamacpp.Generation) {
	var bad int64
	flat := 0
	low, high := runs[0].Lowest, runs[0].Highest
	for _, g := range runs {
		bad, flat = bad+g.NonFinite, flat+g.Flat
		low, high = min(low, g.Lowest), max(high, g.Highest)
	}
	t.judge(bad == 0 && flat == 0, Check{Name: nameLogits, Value: fmt.Sprintf("%d not finite, %d steps flat, from %.1f to %.1f", bad, flat, low, high), Limit: "all finite, none flat",
		Next: "a tensor holds NaN or zeros, or its scale is wrong: build the file again and compare its digest", Score: float64(bad)})
}

// longestRun is the longest stretch of one token, and the number of different tokens.
func longestRun(ids []int32) (longest, distinct int) {
	n := 0
	for i, id := range ids {
		if i > 0 && id == ids[i-1] {
			n++
		} else {
			n = 1
		}
		longest = max(longest, n)
	}
	sorted := slices.Clone(ids)
	slices.Sort(sorted)
	return longest, len(slices.Compact(sorted))
}

// judgeRepetition looks for "????" and "GGGG": one token over and over. A small model may repeat a phrase; no working
// model fills a quarter of its answer with one token in a row.
func (t *run) judgeRepetition(runs []*llamacpp.Generation) {
	worst, of, distinct := 0, 1, 0
	for _, g := range runs {
		n, d := longestRun(g.Tokens)
		if n*of >= worst*len(g.Tokens) {
			worst, of, distinct = n, len(g.Tokens), d
		}
	}
	ok := of < 8 || worst*4 <= of
	t.judge(ok, Check{Name: nameRepetition, Value: fmt.Sprintf("longest run of one token %d of %d, %d different", worst, of, distinct), Limit: "at most a quarter",
		Next: "the weights are scrambled: a wrong permutation, a wrong rope base or a wrong type of a tensor", Score: float64(worst)})
}

// judgeUTF8 holds the generated bytes to be text. The last character may be cut off by the end of the generation.
func (t *run) judgeUTF8(runs []*llamacpp.Generation) {
	for _, g := range runs {
		text := g.Text
		for cut := 0; cut < utf8.UTFMax-1 && len(text) > 0 && !utf8.Valid(text); cut++ {
			text = text[:len(text)-1]
		}
		if at := invalidAt(text); at >= 0 {
			t.fail(nameUTF8, fmt.Sprintf("byte %d of %d is no UTF-8: %q", at, len(g.Text), text[max(0, at-8):min(len(text), at+8)]), "all text", "the byte tokens of the vocabulary are wrong")
			return
		}
	}
	t.pass(nameUTF8, "all "+fmt.Sprint(len(runs))+" texts decode", "all text", 0)
}

func invalidAt(b []byte) int {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n < 2 {
			return i
		}
		i += n
	}
	return -1
}

// checkEnd asks whether a conversation can end: the token that the chat template writes after an answer, or the end of
// text where there is no template, is one at which llama.cpp stops.
func (t *run) checkEnd() error {
	v := t.model.Vocab
	const next = "tokenizer.ggml.eos_token_id or eot_token_id is missing or wrong"
	if len(v.Ends) == 0 {
		t.fail(nameEnd, "no token ends a generation", "at least one", next)
		return nil
	}
	for _, e := range v.Ends {
		if e.Plain && v.Kind != "rwkv" { // RWKV ends a turn with the ordinary token of an empty line
			t.fail(nameEnd, fmt.Sprintf("%s (id %d) ends a generation, and is ordinary text", quote(e.Text), e.ID), "end tokens are special tokens", next)
			return nil
		}
	}
	if t.model.Template == "" {
		t.pass(nameEnd, fmt.Sprintf("%s (id %d); no chat template", v.Ends[0].Text, v.Ends[0].ID), "at least one", float64(v.Ends[0].ID))
		return nil
	}
	for _, e := range v.Ends {
		if e.Text == "" || !strings.Contains(t.model.Template, e.Text) {
			continue
		}
		ids, err := t.child.Tokenize(t.ctx, llamacpp.TokenizeArgs{Slot: t.model.Slot, Text: []byte(e.Text), Parse: true})
		if err != nil {
			return err
		}
		if slices.Contains(ids, e.ID) && len(ids) <= 2 { // SentencePiece may put a blank before it
			t.pass(nameEnd, fmt.Sprintf("%s (id %d) ends the template's turns", e.Text, e.ID), "one token of the template ends a turn", float64(e.ID))
			return nil
		}
	}
	if strings.Contains(t.model.Template, "eos_token") && v.EOS >= 0 {
		t.pass(nameEnd, fmt.Sprintf("the template ends turns with eos_token (id %d)", v.EOS), "one token of the template ends a turn", float64(v.EOS))
		return nil
	}
	if strange, err := t.strangeMarkers(); err != nil || strange != "" {
		if err == nil {
			t.fail(nameEnd, "the chat template writes "+strange+", and no marker of it is a token of the vocabulary", "markers are single tokens", "the chat template is another model's")
		}
		return err
	}
	return t.endByGeneration(next)
}

// marker is what chat templates put around a turn.
var marker = regexp.MustCompile(`<\|[^|<>{}]{1,40}\|>`)

// strangeMarkers are the template's markers where none of them is a token; "" where one is, or there are none.
func (t *run) strangeMarkers() (string, error) {
	found := marker.FindAllString(t.model.Template, -1)
	slices.Sort(found)
	found = slices.Compact(found)
	for _, m := range found {
		ids, err := t.child.Tokenize(t.ctx, llamacpp.TokenizeArgs{Slot: t.model.Slot, Text: []byte(m), Parse: true})
		if err != nil || len(ids) <= 2 {
			return "", err
		}
	}
	return strings.Join(found[:min(3, len(found))], ", "), nil
}

// endByGeneration is for templates that name no end token: the model itself has to stop. One that writes a special token
// and is not stopped by it would never end; one that rambles on in plain text says nothing.
func (t *run) endByGeneration(next string) error {
	const patience = 256
	chat, err := t.child.Prompt(t.ctx, llamacpp.PromptArgs{Slot: t.model.Slot, User: question})
	if err != nil {
		return err
	}
	if chat == "" {
		t.skip(nameEnd, "the chat template names no end token, and llama.cpp cannot render it without its full engine")
		return nil
	}
	ids, err := t.child.Tokenize(t.ctx, llamacpp.TokenizeArgs{Slot: t.model.Slot, Text: []byte(chat), Special: true, Parse: true})
	if err != nil {
		return err
	}
	ids = t.fit(ids, patience+1)
	o := t.o.Context
	o.Context = len(ids) + patience + 1
	g, err := t.child.Generate(t.ctx, llamacpp.GenerateArgs{ContextOptions: o, Slot: t.model.Slot, Tokens: ids, N: patience})
	if err != nil {
		return err
	}
	if g.Ended {
		t.pass(nameEnd, fmt.Sprintf("an end token after %d tokens", len(g.Tokens)), fmt.Sprintf("within %d", patience), float64(len(g.Tokens)))
		return nil
	}
	plain, err := t.child.Detokenize(t.ctx, llamacpp.DetokenizeArgs{Slot: t.model.Slot, Tokens: g.Tokens})
	if err != nil {
		return err
	}
	if len(plain) < len(g.Text) {
		t.fail(nameEnd, "the answer has a special token at which llama.cpp does not stop: "+quote(string(g.Text)), fmt.Sprintf("an end within %d tokens", patience), next)
		return nil
	}
	t.skip(nameEnd, fmt.Sprintf("the chat template names no end token, and the model wrote %d tokens without one", patience))
	return nil
}
