package arch

// Command-R, Command-R7B and North Mini (Cohere).
//
// Peculiar: logits are scaled; the first was trained on more context than max_position_embeddings says; biases of the others are
// all zero, and llama.cpp has no place for them; the one with experts carries prediction layers, which are always kept.
//
// Source: llama.cpp v0.5.0, conversion/command_r.py: CommandR2Model, Cohere2Model, Cohere2MoeModel.

import "quern/convert/vocab"

var (
	logitScale = Set("logit_scale", Cfg("logit_scale"))
	noScaling  = Set("rope.scaling.type", "none")
	noBiases   = DropZero("*.bias", "llama.cpp has no place for biases here")
)

var _ = Register(Arch{
	HF:     []string{"CohereForCausalLM"},
	GGUF:   "command-r",
	Config: Keys{Let("max_position_embeddings", CfgNull("model_max_length", "max_position_embeddings"))},
	Names:  TextNames,
	Keys:   TextKeys.Then(logitScale, noScaling),
	Vocab:  vocab.GPT2,
})

var _ = Register(Arch{
	HF:      []string{"Cohere2ForCausalLM"},
	GGUF:    "cohere2",
	Names:   TextNames,
	Tensors: Rules{noBiases},
	Keys: TextKeys.Then(
		logitScale,
		Set("attention.sliding_window", Cfg("sliding_window")),
		Set("vocab_size", Cfg("vocab_size")),
		Set("rope.dimension_count", Trunc(Mul(Cfg("rotary_pct"), FloorDiv(Cfg("hidden_size"), Cfg("num_attention_heads"))))),
		noScaling,
	),
	Vocab: vocab.GPT2,
})

var (
	northNext   = Or(Opt("num_nextn_predict_layers"), 0)
	northShared = CfgOr("num_shared_experts", 0)
	northDense  = Choose(Null(Opt("mlp_layer_types")), CfgOr("first_k_dense_replace", 0), Leading("mlp_layer_types", "dense"))
)

var _ = Register(Arch{
	HF:      []string{"Cohere2MoeForCausalLM"},
	GGUF:    "cohere2moe",
	NextN:   &NextN{Layers: northNext},
	Names:   TextNames,
	Tensors: Rules{noBiases, StackExperts("mlp.experts", Cfg("num_experts"), "down_proj", "gate_proj", "up_proj")},
	Keys: TextKeys.Then(
		logitScale,
		Set("attention.sliding_window", Cfg("sliding_window")),
		Set("attention.sliding_window_pattern", slidingLayers),
		Set("vocab_size", Cfg("vocab_size")),
		Set("expert_feed_forward_length", Cfg("intermediate_size")),
		Set("leading_dense_block_count", northDense),
		Set("expert_weights_norm", FlagOr("norm_topk_prob", false)),
	).Also(When(northShared,
		Fail(Not(Is(CfgOr("shared_expert_combination_strategy", "average"), "average")), "shared experts that are not averaged"),
		Set("expert_shared_count", northShared),
		Set("expert_shared_feed_forward_length", Mul(Cfg("intermediate_size"), northShared)),
	)).Then(
		Set("nextn_predict_layers", Or(northNext, Const(nil))),
		Set("rope.dimension_count", Cfg("head_dim")),
		noScaling,
	),
	Vocab: vocab.GPT2,
})
