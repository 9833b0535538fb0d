package arch

// Llama 4.
//
// Peculiar: query and key rows stay; gate and up of all experts are one tensor, transposed; intermediate_size is that of an
// expert, the dense layers' is intermediate_size_mlp.
//
// Source: llama.cpp v0.5.0, conversion/llama.py: Llama4Model.

import "quern/convert/vocab"

var _ = Register(Arch{
	Base: &llamaBase,
	HF:   []string{"Llama4ForConditionalGeneration", "Llama4ForCausalLM"},
	GGUF: "llama4",
	Config: Keys{
		Let("intermediate_size_moe", Cfg("intermediate_size")),
		Let("intermediate_size", CfgNull("intermediate_size_mlp")),
	},
	Tensors: Rules{
		On("*gate_up_proj*", Transposed),
		Split("*gate_up_proj*", -2, Part{To: "gate_up_proj=>gate_proj.weight"}, Part{To: "gate_up_proj=>up_proj.weight"}),
		On("*down_proj", Transposed),
		Rename("*down_proj", "+.weight"),
	}.Also(llamaPlain),
	Keys: llamaBase.Keys.Then(
		Set("interleave_moe_layer_step", Cfg("interleave_moe_layer_step")),
		Set("expert_feed_forward_length", Cfg("intermediate_size_moe")),
	).Also(When(Has("layer_types"), Set("attention.sliding_window", Choose(allFull, 0, nil)))), // MobileLLM has no windows
	Vocab:      vocab.GPT2,
	VocabCases: []VocabCase{},
})

// allFull holds where no layer has a window.
var allFull = Fn("all layer_types are full_attention", func(e *Env) (any, error) {
	v, err := LayersOf("layer_types", "full_attention").Eval(e)
	list, _ := v.([]bool)
	for _, full := range list {
		if !full {
			return false, err
		}
	}
	return err == nil, err
})
