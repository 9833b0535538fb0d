package arch

// openPangu Embedded: states no size of a head; lm_head of a tied model is left out.
//
// Source: llama.cpp v0.5.0, conversion/pangu.py: PanguEmbeddedModel.

import "quern/convert/vocab"

var _ = Register(Arch{
	HF:      []string{"PanguEmbeddedForCausalLM"},
	GGUF:    "pangu-embedded",
	Names:   TextNames,
	Tensors: Rules{dropPlainHead},
	Keys: TextKeys.Then(Set("vocab_size", Cfg("vocab_size")), ropeDim).Also(When(Null(Opt("head_dim")),
		Set("attention.key_length", HeadDim),
		Set("attention.value_length", HeadDim),
	)),
	Vocab: vocab.SpacePrefix,
})
