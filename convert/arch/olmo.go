package arch

// OLMo 1, 2 and 3, OLMoE, and Seed-OSS.
//
// Peculiar: OLMo 1 has norms without weights and may clamp query, key and value; OLMo 3 is written as olmo2, with its
// windows: where no layer_types say which layers have one, all but every fourth.
//
// Source: llama.cpp v0.5.0, conversion/olmo.py: OlmoModel, SeedOssModel, Olmo2Model, OlmoeModel.

import "quern/convert/vocab"

var _ = Register(Arch{
	HF:    []string{"OlmoForCausalLM", "OLMoForCausalLM"},
	GGUF:  "olmo",
	Names: TextNames,
	Tensors: Rules{
		On("*q_proj.weight", Rotary(Cfg("num_attention_heads"))),
		On("*k_proj.weight", Rotary(Else(Opt("num_key_value_heads"), Cfg("num_attention_heads")))),
	},
	Keys: TextKeys.Then(
		Set("attention.layer_norm_epsilon", 1e-5),
		Set("attention.clamp_kqv", Opt("clip_qkv")),
	),
	Vocab: vocab.GPT2,
})

var _ = Register(Arch{HF: []string{"SeedOssForCausalLM"}, GGUF: "seed_oss", Names: TextNames, Keys: TextKeys, Vocab: vocab.GPT2})

var _ = Register(Arch{
	HF:    []string{"Olmo2ForCausalLM", "Olmo3ForCausalLM"},
	GGUF:  "olmo2",
	Names: TextNames,
	Keys: TextKeys.Also(When(Has("sliding_window"),
		Set("attention.sliding_window", Cfg("sliding_window")),
		Set("attention.sliding_window_pattern", Choose(Has("layer_types"), slidingLayers, everyFourthFull)),
	)),
	Vocab: vocab.GPT2,
})

// slidingLayers tells for each layer whether it sees a window only.
var slidingLayers = LayersOf("layer_types", "sliding_attention")

var everyFourthFull = Fn("all layers but every fourth", func(e *Env) (any, error) {
	out := make([]bool, e.Blocks)
	for i := range out {
		out[i] = (i+1)%4 != 0
	}
	return out, nil
})

var _ = Register(Arch{
	HF:      []string{"OlmoeForCausalLM"},
	GGUF:    "olmoe",
	Names:   TextNames,
	Tensors: Rules{StackExperts("mlp.experts", Cfg("num_local_experts", "num_experts"), "down_proj", "gate_proj", "up_proj")},
	Keys:    TextKeys.Then(Set("attention.layer_norm_rms_epsilon", 1e-5)),
	Vocab:   vocab.GPT2,
})
