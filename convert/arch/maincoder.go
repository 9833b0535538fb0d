package arch

// Maincoder: nothing but its rotary dimensions differs from the common keys.
//
// Source: llama.cpp v0.5.0, conversion/maincoder.py: MaincoderModel.

import "quern/convert/vocab"

var _ = Register(Arch{
	HF:    []string{"MaincoderForCausalLM"},
	GGUF:  "maincoder",
	Names: TextNames,
	Keys:  TextKeys.Then(Set("rope.dimension_count", Opt("head_dim"))),
	Vocab: vocab.GPT2,
})
