package arch

// Qwen 1, 2, 2.5 and 3 with their mixtures of experts, and what is built on them.
//
// Peculiar: embedding checkpoints leave "model." out of tensor names; experts come one by one or already stacked, with gate and
// up in one tensor; a Qwen 3 reranker is told by its names or its README and gets a classifier of two rows of the head.
// Qwen3-Next and later, and the drafts for speculative decoding, have files of their own.
//
// Source: llama.cpp v0.5.0, conversion/qwen.py: QwenModel, Qwen2Model, Qwen2MoeModel, Qwen3Model, Qwen3MoeModel, RND1Model.

import "quern/convert/vocab"

var _ = Register(Arch{
	HF:    []string{"QWenLMHeadModel"},
	GGUF:  "qwen",
	Names: TextNames,
	Keys:  TextKeys,
	Vocab: vocab.QwenRanks,
	Odd:   []string{"ffn_gate", "ffn_up", "ffn_down"}, // intermediate_size counts gate and up together
})

var qwen2 = Register(Arch{
	HF: []string{"Qwen2Model", "Qwen2ForCausalLM", "Qwen2AudioForConditionalGeneration", "KORMoForCausalLM",
		"AudioFlamingo3ForConditionalGeneration", "DotsOCRForCausalLM"},
	GGUF:    "qwen2",
	Names:   TextNames,
	Tensors: Given(Class("Qwen2Model"), Rename("*", "=>model.")),
	Keys:    TextKeys.Then(PoolingKey),
	Vocab:   vocab.SPMOrGPT2,
})

// stackedExperts takes apart what newer checkpoints store stacked: [experts, 2 x width, model] and [experts, model, width].
var stackedExperts = Rules{
	Rename("*mlp.experts.down_proj", "+.weight"),
	Split("*mlp.experts.gate_up_proj|*mlp.experts.gate_up_proj.weight", -2,
		Part{To: "gate_up_proj=>gate_proj"}, Part{To: "gate_up_proj=>up_proj"}),
	Rename("*mlp.experts.{gate|up}_proj", "+.weight"),
}

var qwen2moe = Register(Arch{
	HF:      []string{"Qwen2MoeForCausalLM"},
	GGUF:    "qwen2moe",
	Names:   TextNames,
	Tensors: stackedExperts.Then(StackExperts("mlp.experts", Cfg("num_local_experts", "num_experts"), "down_proj", "gate_proj", "up_proj")),
	Keys: TextKeys.Then(
		Set("expert_feed_forward_length", Opt("moe_intermediate_size")),
		Set("expert_shared_feed_forward_length", Opt("shared_expert_intermediate_size")),
	),
	Vocab: vocab.GPT2,
})

var qwen3 = Register(Arch{
	Base:       qwen2,
	HF:         []string{"Qwen3ForCausalLM", "Qwen3Model"},
	GGUF:       "qwen3",
	Tensors:    rerankRules,
	Keys:       qwen2.Keys.Also(rerankKeys),
	VocabCases: internS1,
})

var qwen3moe = Register(Arch{Base: qwen2moe, HF: []string{"Qwen3MoeForCausalLM"}, GGUF: "qwen3moe", VocabCases: internS1})

var _ = Register(Arch{
	Base: qwen2moe,
	HF:   []string{"RND1"},
	GGUF: "rnd1",
	Keys: qwen2moe.Keys.Then(
		Set("attention.causal", false),
		Set("tokenizer.ggml.mask_token_id", Opt("mask_token_id")),
	),
})

// internS1 is Intern-S1, whose root names another class than its text model.
var internS1 = []VocabCase{{If: RootClass("InternS1ForConditionalGeneration"), Kind: vocab.InternS1}}
