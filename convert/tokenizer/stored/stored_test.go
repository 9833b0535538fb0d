package stored

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"quern/convert/fault"
)

// TestGroupDigits holds the cuts of llama.cpp's own grouping, the forgotten beginning included.
func TestGroupDigits(t *testing.T) {
	for text, want := range map[string][]string{
		"":          nil,
		"ab":        {"ab"},
		"1234567":   {"1", "234", "567"},
		"12":        {"12"},
		"ab123":     {"ab123"},
		"ab1234cd":  {"ab1", "234", "cd"},
		"1٢3½4 56x": {"1٢", "3½4", " 56", "x"},
	} {
		if got, _ := groupDigits(text, nil); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestMissing holds that what llama.cpp would end the process for is an error here.
func TestMissing(t *testing.T) {
	d := &Definition{Model: "llama", Tokens: []string{"a"}, BOS: None, EOS: None, UNK: None, SEP: None, AddBOS: true}
	v, err := New(d)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Encode("a", true); err == nil || !strings.Contains(err.Error(), "names none") {
		t.Errorf("no bos: %v", err)
	}
	if _, err := v.Encode("b", false); err == nil || !strings.Contains(err.Error(), "0x62") {
		t.Errorf("no byte: %v", err)
	}
	if _, err := New(&Definition{Model: "magic"}); err == nil {
		t.Error("a model of no kind was taken")
	}
	if _, err := New(&Definition{Model: "gpt2", Tokens: []string{"a"}, BOS: 7}); err == nil {
		t.Error("a bos outside of the vocabulary was taken")
	}
}

func FuzzEncode(f *testing.F) {
	f.Add(uint8(0), "a b ab <s> \u2581a", "a b", "ab <s>a", uint8(255))
	f.Add(uint8(1), "Ġ a b ab Ġab", "a b\nĠ ab", "ab ab 123", uint8(0))
	f.Add(uint8(3), "[UNK] \u2581a b \u2581", "", "äb c", uint8(3))
	f.Add(uint8(4), "a b ab x", "", "abab y", uint8(7))
	f.Add(uint8(5), `\x61 \n ab \x6`, "", "a\nab", uint8(1))
	models := []string{"llama", "gpt2", "gemma4", "bert", "t5", "rwkv", "plamo2"}
	f.Fuzz(func(t *testing.T, model uint8, tokens, merges, text string, flags uint8) {
		if len(text) > 500 || len(tokens) > 5000 {
			return
		}
		flag := func(i int) bool { return flags>>i&1 != 0 }
		d := &Definition{Model: models[int(model)%len(models)], Tokens: strings.Split(tokens, " "), Merges: strings.Split(merges, "\n"), BOS: 0, EOS: 0, UNK: 0, SEP: 0,
			AddBOS: flag(0), AddEOS: flag(1), SpacePrefix: flag(2), EscapeSpaces: flag(3), RemoveExtraSpaces: flag(4), Lowercase: flag(5), StripAccents: flag(6), Raw: flag(7),
			Splits: []string{GroupDigits, `\p{L}+`}}
		for i := range d.Tokens {
			d.Types, d.Scores = append(d.Types, int32(i%7)), append(d.Scores, float32(len(d.Tokens[i])))
		}
		v, err := New(d)
		if err == nil {
			var ids []int32
			if ids, err = v.Encode(text, flag(0)); err == nil && slices.ContainsFunc(ids, func(id int32) bool { return id < 0 || int(id) >= len(d.Tokens) }) {
				t.Errorf("ids %v of %d tokens", ids, len(d.Tokens))
			}
		}
		var invalid *fault.Invalid
		var unsupported *fault.Unsupported
		if err != nil && !errors.As(err, &invalid) && !errors.As(err, &unsupported) {
			t.Errorf("%T %v", err, err)
		}
	})
}
