package arch

// Ministral 3 and Mistral Small 3.1: Llama with YaRN and a temperature on attention.
//
// Peculiar: the class name is that of the multimodal checkpoint, and Mistral 4 has the same one: DeepSeek's attention with
// experts that are stacked already.
//
// Source: llama.cpp v0.5.0, conversion/mistral3.py: Mistral3Model.

// The last layers of Mistral 4 are ordinary ones, so none is dropped as a prediction layer.
var mistral4 = Register(Arch{
	Base:    deepseek2,
	GGUF:    "mistral4",
	Tensors: Rules{dropTiedHead, Rename("*.down_proj|*.gate_up_proj", "+.weight")}.Also(mlaSplit),
})

var _ = Register(Arch{
	Base:   llama,
	HF:     []string{"Mistral3ForConditionalGeneration", "Ministral3ForCausalLM"},
	GGUF:   "mistral3",
	Switch: []Case{{If: Is(Opt("model_type"), "mistral4"), To: mistral4}},
	Keys: llama.Keys.Also(When(Is(Opt("model_type"), "ministral3"),
		Fail(Not(Is(RopeAll(Opt("rope_type")), "yarn")), "ministral3 whose rope_type is not yarn"),
		Set("rope.scaling.yarn_log_multiplier", RopeAll(Cfg("mscale_all_dim"))),
		Set("attention.temperature_scale", RopeAll(Cfg("llama_4_scaling_beta"))),
	)),
})
