package arch

// SmolVLM and Idefics 3. SmolVLM 2 leaves sizes out of its configuration that are transformers' own.
//
// Source: llama.cpp v0.5.0, conversion/smolvlm.py: SmolVLMModel.

import "quern/convert/gguf"

var _ = Register(Arch{
	Base: visionTower,
	HF:   []string{"Idefics3ForConditionalGeneration", "SmolVLMForConditionalGeneration"},
	Config: When(Is(Cfg("model_type"), "smolvlm_vision"),
		Let("hidden_size", CfgOr("hidden_size", 1152)),
		Let("num_attention_heads", CfgOr("num_attention_heads", 16)),
		Let("intermediate_size", CfgOr("intermediate_size", 3072)),
	),
	Names: Rules{Only("*vision_tower*|*vision_model*|*model.connector*")}.Also(ProjectorRest),
	Force: append([]Force{{From: "*.embeddings.*", Type: gguf.F32}}, PatchTypes...),
	Keys: visionTower.Keys.Then(
		Set("projector_type", "idefics3"),
		Set("vision.attention.layer_norm_epsilon", CfgOr("layer_norm_eps", 1e-5)),
		Set("vision.projector.scale_factor", OfRoot(CfgOr("scale_factor", 2))),
		Set("use_gelu", true),
		Let("preproc", OfProcessor(In("size", Opt("longest_edge")))),
		Set("vision.preproc_image_size", Else(Opt("preproc"), Cfg("image_size"))),
	),
})
