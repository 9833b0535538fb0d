package arch

// Llama 4: the projection is called linear_1 and is the only one.
//
// Source: llama.cpp v0.5.0, conversion/llama4.py: Llama4VisionModel.

var _ = Register(Arch{
	Base: visionTower,
	HF:   []string{"Llama4ForConditionalGeneration"},
	Names: Rules{
		Only("*multi_modal_projector*|*vision_model*"),
		Rename("*positional_embedding_vlm*", "+.weight").Except("*.weight*"),
	}.Also(ProjectorRest),
	Tensors: Rules{Rename("*multi_modal_projector.linear_1*", "mm.model.fc.weight")},
	Keys: visionTower.Keys.Then(
		Set("projector_type", "llama4"),
		Set("vision.attention.layer_norm_epsilon", Cfg("norm_eps")),
		Set("vision.projector.scale_factor", Trunc(Div(1.0, Cfg("pixel_shuffle_ratio")))),
		Fail(Not(Is(Cfg("hidden_act"), "gelu")), "its hidden_act is not gelu"),
		Set("use_gelu", true),
	),
})
