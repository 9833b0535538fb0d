package arch

// Gemma 3: a SigLIP tower, whose embeddings stay F32, and one projection, which llama.cpp wants in F16 whatever the file's type
// is. The checkpoint has the projector's norm without its 1.
//
// Source: llama.cpp v0.5.0, conversion/gemma.py: Gemma3VisionModel.

import "quern/convert/gguf"

var _ = Register(Arch{
	Base: visionTower,
	HF:   []string{"Gemma3ForConditionalGeneration"},
	Names: Rules{
		Drop("*vision_model.head.*", "llama.cpp takes no embedding of a whole picture"),
		Only("{multi_modal_projector|vision_tower|multimodal_projector|vision_model}.*"),
		Rename("*", "_weight=>.weight"),
	}.Also(ProjectorRest),
	Tensors: Rules{On("*soft_emb_norm.weight*", Plus(1))},
	Force: append([]Force{
		{From: "*input_projection*", Type: gguf.F16},
		{From: "*.embeddings.*", Type: gguf.F32},
	}, PatchTypes...),
	Keys: visionTower.Keys.Then(
		Set("projector_type", "gemma3"),
		Set("vision.attention.layer_norm_epsilon", CfgOr("layer_norm_eps", 1e-6)),
		Set("use_gelu", true),
		Set("vision.projector.scale_factor", mergeFactor),
	),
})
