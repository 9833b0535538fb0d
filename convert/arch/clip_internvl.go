package arch

// InternVL 2.5 and 3, and Intern-S1, whose projector has other names. Scales of residuals and positions come without .weight.
//
// Source: llama.cpp v0.5.0, conversion/internvl.py: InternVisionModel.

import "quern/convert/gguf"

var _ = Register(Arch{
	Base: visionTower,
	HF:   []string{"InternVisionModel"},
	Names: Rules{
		Only("vision_model*|mlp*|model.vision_tower*|model.multi_modal_projector*"),
		Rename("model.multi_modal_projector.layer_norm.{weight|bias}", "model.multi_modal_projector.layer_norm=>mlp1.0"),
		Rename("model.multi_modal_projector.linear_1.{weight|bias}", "model.multi_modal_projector.linear_1=>mlp1.1"),
		Rename("model.multi_modal_projector.linear_2.{weight|bias}", "model.multi_modal_projector.linear_2=>mlp1.3"),
		Rename("vision_model*", "=>vision_tower."),
		Rename("*.ls*|*.lambda_*|*position_embedding*", "+.weight").Except("*.weight"),
	}.Also(ProjectorRest),
	Tensors: Rules{ThirdsOf("*.qkv.*", "attn.qkv", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")},
	Force:   append([]Force{{Match: "*.position_embd.*", Type: gguf.F32}}, PatchTypes...),
	Keys: Keys{
		Let("image_size", scalarOf(Cfg("image_size"))),
		Let("patch_size", scalarOf(Cfg("patch_size"))),
	}.Also(visionTower.Keys).Then(
		Set("projector_type", "internvl"),
		Set("vision.attention.layer_norm_epsilon", Cfg("layer_norm_eps")),
	).Also(ActKeys).Then(
		Set("vision.projector.scale_factor", Trunc(Div(1.0, OfRoot(Cfg("downsample_ratio"))))),
	).Also(
		When(Positive(OfRoot(CfgOr("min_dynamic_patch", 0))), Set("vision.preproc_min_tiles", OfRoot(Cfg("min_dynamic_patch")))),
		When(Positive(OfRoot(CfgOr("max_dynamic_patch", 0))), Set("vision.preproc_max_tiles", OfRoot(Cfg("max_dynamic_patch")))),
	),
})
