package arch

// GroveMoE: experts in pairs, with a smaller expert for each pair.
//
// Peculiar: the size of a pair, the scale and, without head_dim, the width of the smaller experts are fixed, as in the makers' code.
//
// Source: llama.cpp v0.5.0, conversion/grovemoe.py: GroveMoeModel.

import "quern/convert/vocab"

var groveExperts = Cfg("num_local_experts", "num_experts")

const grovePair = 2

var _ = Register(Arch{
	HF:    []string{"GroveMoeForCausalLM", "modeling_grove_moe.GroveMoeForCausalLM"},
	GGUF:  "grovemoe",
	Names: TextNames,
	Tensors: Rules{
		Drop("*.expert_bias", "not used by the model's own code"),
		StackExperts("mlp.chunk_experts", FloorDiv(groveExperts, grovePair), "down_proj", "gate_proj", "up_proj"),
		StackExperts("mlp.experts", groveExperts, "down_proj", "gate_proj", "up_proj"),
	},
	Keys: TextKeys.Then(
		Set("expert_feed_forward_length", Opt("moe_intermediate_size")),
		Set("expert_chunk_feed_forward_length", Or(Opt("head_dim"), 128)),
		Set("experts_per_group", grovePair),
		Set("expert_group_scale", 0.05),
	),
	Vocab: vocab.GPT2,
})
