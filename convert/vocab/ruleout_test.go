package vocab

import (
	"errors"
	"testing"
)

// TestRuleOut holds our own engine to llama.cpp where a whole refusal rests on it: for a splitter that is nobody's, both see the same
// number of texts differ under each name, and the same text first.
func TestRuleOut(t *testing.T) {
	prover := newLive(t)
	folder, _ := recordedFolder(t, "adv-qwen3")
	edit(t, folder, splitAtVowels)
	_, err := Build(folder, GPT2, Input{Config: anySize, Arch: "x", Prover: prover})
	refused := (*UnknownPre)(nil)
	if !errors.As(err, &refused) {
		t.Fatalf("%v, want a refusal", err)
	}
	n := 0
	for _, c := range refused.Identity.Candidates {
		if c.Tried {
			continue // llama.cpp was asked
		}
		v, err := Build(folder, GPT2, Input{Config: anySize, Arch: "x", Prover: prover, Pre: c.Pre})
		if err != nil {
			t.Fatal(err)
		}
		if n++; len(v.Pre.Differs) != c.Differs || v.Pre.Differs[0].Text != c.First.Text {
			t.Errorf("%s: %d texts differ in our engine, %d in llama.cpp", c.Pre, c.Differs, len(v.Pre.Differs))
		}
	}
	if n == 0 {
		t.Error("no name was ruled out")
	}
	t.Logf("count: %d of %d names ruled out by our own engine, each as llama.cpp sees it", n, len(refused.Identity.Candidates))
}
