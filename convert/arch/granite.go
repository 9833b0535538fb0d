package arch

// Granite 3 and 4 (IBM), dense, with experts, and with sliding windows.
//
// Peculiar: four multipliers become scales, and one of 0 counts as none; head_dim is not looked at. Experts are stored stacked with
// gate and up in one matrix, and so is the shared expert. The hybrid with Mamba layers has a file of its own.

import "quern/convert/fault"

// nonZero is the value of a key unless it is zero.
func nonZero(key string) Expr { return Or(Opt(key), nil) }

var graniteScales = Keys{
	Set("attention.scale", nonZero("attention_multiplier")),
	Set("embedding_scale", nonZero("embedding_multiplier")),
	Set("residual_scale", nonZero("residual_multiplier")),
	Set("logit_scale", nonZero("logits_scaling")),
}

var noVision = Drop("encoder.*|*image_*|*layerwise_projectors*|*spatial_projectors*", "part of the vision tower")

var granite = Register(Arch{
	Base:   llama,
	HF:     []string{"GraniteForCausalLM"},
	GGUF:   "granite",
	Config: Keys{Let("head_dim", Const(nil)), Do("deepstack", refuseDeepstack)},
	Names:  Rules{noVision}.Also(llama.Names),
	Keys:   llama.Keys.Also(graniteScales),
})

// refuseDeepstack stops at text models that stand in a vision model whose layers take image features: they need keys of the
// projector.
func refuseDeepstack(m *Meta) error {
	if m.Config.True("spatial_target_layers") || m.Config.True("deepstack_layer_map") {
		return &fault.Unsupported{On: "config.json", Says: "the text model of a Granite 4 Vision checkpoint takes image features, which is not converted"}
	}
	return nil
}

// graniteExperts holds for Granites with experts; the same class without any is dense.
var graniteExperts = Or(Opt("num_local_experts"), false)

var graniteMoeRules = Rules{
	Split("*block_sparse_moe.input_linear.weight", -2, Part{To: "@ffn_gate_exp"}, Part{To: "@ffn_up_exp"}),
}.Also(
	Given(graniteExperts, Split("*shared_mlp.input_linear.weight", -2, Part{To: "@ffn_gate_shexp"}, Part{To: "@ffn_up_shexp"})),
	Given(Not(graniteExperts),
		Split("*shared_mlp.input_linear.weight", -2, Part{To: "@ffn_gate"}, Part{To: "@ffn_up"}),
		Rename("*shared_mlp.output_linear.weight", "@ffn_down")),
)

var _ = Register(Arch{
	Base:    granite,
	HF:      []string{"GraniteMoeForCausalLM", "GraniteMoeSharedForCausalLM"},
	GGUF:    "granitemoe",
	Tensors: graniteMoeRules.Also(llama.Tensors),
	Keys:    granite.Keys.Then(Set("expert_shared_feed_forward_length", nonZero("shared_intermediate_size"))),
})
