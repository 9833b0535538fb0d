package vocab

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"quern/convert/tokenizer"
)

// Spelling differs more than behaviour: "(?i:'s|'t)" and "'(?i:[st])" cut alike, as do a sequence of one and its member. A
// structure of unknown spelling is therefore run beside each known one, with a vocabulary of no use, over texts that were
// chosen to tell splitters apart. It takes one differing text to rule a name out.
// matching lists the names whose published tokenizers cut as this structure does, the likeliest first: those spelled
// alike; else those that cut no text of splitTexts otherwise; else, with no normalizer, the families of llama.cpp whose
// own expressions cut alike.
func (b *builder) matching(own structure) ([]string, error) {
	var out []string
	for _, p := range published {
		if p.shape.equal(own) {
			out = append(out, p.pre)
		}
	}
	if len(out) == 0 {
		var err error
		if out, err = alike(own); err != nil {
			return nil, err
		}
	}
	return b.preferred(out), nil
}

// alike compares by behaviour.
func alike(own structure) ([]string, error) {
	cut, ok, err := own.cutter()
	if !ok || err != nil {
		return nil, err
	}
	var out []string
	seen := map[int]bool{} // one name of a class is enough: the others encode alike
	for _, p := range published {
		if class := preTypes[p.pre].class; !seen[class] && p.shape.normalizer == own.normalizer && p.shape.merges == own.merges && sameCuts(cut, p.shape) {
			seen[class] = true
			out = append(out, p.pre)
		}
	}
	if len(out) > 0 || own.normalizer != "" {
		return out, nil
	}
	for _, name := range PreTokenizers() {
		t := preTypes[name]
		if t.merges != own.merges || name == "default" || seen[t.class] {
			continue
		}
		if s, ok := familyStructure(t.family); ok && sameCuts(cut, s) {
			seen[t.class] = true
			out = append(out, name)
		}
	}
	return out, nil
}

// familyStructure is llama.cpp's own expressions as a tokenizer.json would state them.
func familyStructure(family string) (structure, bool) {
	var s structure
	list, ok := familySplits[family]
	for _, re := range list {
		s.stages = append(s.stages, isolated(re))
	}
	s.stages = append(s.stages, byteStage)
	return s, ok
}

// sameCuts stops at the first text that is cut otherwise: most splitters part within a few texts.
func sameCuts(cut *tokenizer.Tokenizer, s structure) bool {
	other, ok, err := s.cutter()
	if !ok || err != nil {
		return false
	}
	for _, text := range splitTexts() {
		a, errA := cut.Words(text)
		b, errB := other.Words(text)
		if errA != nil || errB != nil || !slices.Equal(a, b) {
			return false
		}
	}
	return true
}

// cutter is a tokenizer with the structure's stages and a vocabulary of no use; false when a stage is none that
// byte-level tokenizers have.
func (s structure) cutter() (*tokenizer.Tokenizer, bool, error) {
	stages, ok := s.json()
	if !ok {
		return nil, false, nil
	}
	raw, err := json.Marshal(map[string]any{
		"version": "1.0", "pre_tokenizer": stages,
		"model": map[string]any{"type": "BPE", "vocab": map[string]int{}, "merges": []string{}},
	})
	if err != nil {
		return nil, false, err
	}
	t, err := tokenizer.Load(raw)
	return t, err == nil, err
}

// splitTexts tell splitters apart: the corpus, and every pair of characters that expressions treat otherwise, between
// letters and alone.
var splitTexts = sync.OnceValue(func() []string {
	var out []string
	for _, s := range samples() {
		out = append(out, s.text)
	}
	// A letter of each case and kind, marks, numbers of each kind, ASCII and other punctuation and symbols, blanks.
	chars := []string{"a", "Z", "\u01c5", "\u02b0", "\u5b57", "\u3042", "\u30a2", "\ud55c", "\u0e01", "\u0301", "\u0903", "\u20e3",
		"1", "\u0661", "\u00bd", "\u2164", "'", "\u2019", "!", "$", "_", "-", "/", "\u3002", "\u00a9", "\u20ac", "\U0001f600", "\u200d",
		" ", "\t", "\n", "\r", "\u00a0", "\u3000", "\u0085", "\x00"}
	for _, a := range chars {
		for _, b := range chars {
			out = append(out, a+b, "x"+a+b+"y", " "+a+a+b+b+" ")
		}
	}
	for _, s := range []string{"'s", "'T", "'re", "'VE", "'m", "'Ll", "'d", "'\u017f", "1234567", "12 345", "AbC dEF", "x  y", "x\r\n\r\ny", "a,b;c", "_a_", "  a", "a  "} {
		out = append(out, s, "it"+s+" was", strings.Repeat(s, 3))
	}
	return out
})

// preferred puts the names first whose flag for blanks before punctuation is the checkpoint's.
func (b *builder) preferred(names []string) []string {
	tc, err := readObject(b.src, "tokenizer_config.json")
	if err != nil {
		return names
	}
	clean, ok := tc["clean_up_tokenization_spaces"].(bool)
	if !ok {
		return names
	}
	slices.SortStableFunc(names, func(x, y string) int {
		return rank(preTypes[x].keep == clean) - rank(preTypes[y].keep == clean)
	})
	return names
}

// rank sorts what fits before what does not.
func rank(no bool) int {
	if no {
		return 1
	}
	return 0
}
