package arch

// Nemotron and Minitron (NVIDIA).
//
// Peculiar: norms are stored as their difference from 1; positions are rotary over a part of each head; both kinds of epsilon are
// written.
//
// Source: llama.cpp v0.5.0, conversion/nemotron.py: NemotronModel.

import "quern/convert/vocab"

var nemotronFactor = Or(Opt("factor"), RopeAll(Opt("factor")))

var _ = Register(Arch{
	HF:      []string{"NemotronForCausalLM"},
	GGUF:    "nemotron",
	Names:   TextNames,
	Tensors: Rules{normPlusOne},
	Keys: TextKeys.Then(
		Set("vocab_size", Cfg("vocab_size")),
		Set("attention.layer_norm_epsilon", Cfg("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "norm_eps")),
		Set("rope.dimension_count", FloorDiv(Trunc(Mul(RopeAll(Cfg("partial_rotary_factor")), Cfg("hidden_size", "n_embd"))),
			Cfg("num_attention_heads", "n_head"))),
		Set("rope.scaling.type", Choose(Null(nemotronFactor), "none", "linear")),
		Set("rope.scaling.factor", nemotronFactor),
	),
	Vocab: vocab.Minitron,
})
