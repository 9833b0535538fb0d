package arch

// Llama and the many families that are Llama with other numbers.
//
// Peculiar: query and key rows stand in the order of Hugging Face's rotary embedding and go back to pairs; Mixtral's experts
// are stacked as w1, w2, w3; llama3 rope scaling becomes a generated tensor; a tied model that stores lm_head keeps it.
// Llama 4 and the drafts for speculative decoding have files of their own.
//
// Source: llama.cpp v0.5.0, conversion/llama.py: LlamaModel, ArceeModel, LlamaEmbedNemotronModel, SmolLM3Model.

import "quern/convert/vocab"

// Heads of the query and of the key projections.
var (
	queryHeads = Cfg("n_heads", "num_attention_heads")
	keyHeads   = Else(Opt("n_kv_heads", "num_key_value_heads"), queryHeads)
)

// unpermute puts the rows of query and key projections into llama.cpp's order.
var unpermute = Rules{
	On("*q_proj.{weight|bias}", Rotary(queryHeads)),
	On("*k_proj.{weight|bias}", Rotary(keyHeads)),
}

// mixtralExperts stacks what Mixtral calls block_sparse_moe.
var mixtralExperts = Stack("model.layers.{b}.block_sparse_moe.experts.{x}.{w}.weight", Cfg("num_local_experts"),
	"layers.{b}.feed_forward.experts.{w}.weight", "w1", "w2", "w3")

// llamaRules are the rules that Llama's descendants start from; llamaPlain is the same for those whose rows stay.
var (
	llamaRules = Given(Class("LlamaModel"), Prefix("model.")).Also(unpermute).Then(mixtralExperts)
	llamaPlain = Given(Class("LlamaModel"), Prefix("model.")).Then(mixtralExperts)
)

// ropeDim is the key of most families with rotary positions over the whole head.
var ropeDim = Set("rope.dimension_count", HeadDim)

// llamaBase is what Llama and its own drafts share.
var llamaBase = Arch{
	GGUF: "llama",
	Config: When(Class("VLlama3ForCausalLM"),
		Let("num_attention_heads", CfgOr("num_attention_heads", 32)), // SmolVLM2 leaves it out
	).Then(Lift("transformer_layer_config")),
	Names:   Rules{Rename("*text_model.*", "text_model.=>")}.Also(TextNames),
	Extra:   []Generate{Llama3Freqs},
	Tensors: llamaRules,
	Keys:    TextKeys.Then(Set("vocab_size", Cfg("vocab_size")), ropeDim),
	Vocab:   vocab.Llama,
	// GLM-ASR is a Llama under GLM's tokenizer.
	VocabCases: []VocabCase{{If: RootClass("GlmasrModel"), Kind: vocab.GLMEdge}},
}

var llama = Register(Arch{
	Base: &llamaBase,
	HF: []string{"LLaMAForCausalLM", "LlamaForCausalLM", "MistralForCausalLM", "MixtralForCausalLM", "VLlama3ForCausalLM",
		"LlavaForConditionalGeneration", "VoxtralForConditionalGeneration", "IQuestCoderForCausalLM", "LlamaModel",
		"LlamaForCausalLMEagle3", "Eagle3LlamaForCausalLM", "Eagle3Speculator", "Eagle3DraftModel"},
	Switch: []Case{{If: All(Has("draft_vocab_size"), Is(Cfg("num_hidden_layers"), 1)), To: eagle3}},
})

var _ = Register(Arch{Base: llama, HF: []string{"ArceeForCausalLM"}, GGUF: "arcee", Keys: llama.Keys.Then(PoolingKey)})

var _ = Register(Arch{Base: llama, HF: []string{"LlamaBidirectionalModel"}, GGUF: "llama-embed"})

var _ = Register(Arch{Base: llama, HF: []string{"SmolLM3ForCausalLM"}, GGUF: "smollm3"})
