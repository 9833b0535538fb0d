package arch

// dots.ocr: its feed-forward names would be others' in the tables, so they are spelled as Qwen2.5-VL's.
//
// Source: llama.cpp v0.5.0, conversion/dotsocr.py: DotsOCRVisionModel.

var _ = Register(Arch{
	Base:   visionTower,
	HF:     []string{"DotsOCRForCausalLM"},
	Config: Keys{Let("image_size", 0)}, // any resolution
	Names: Rules{
		Only("vision_tower.*"),
		Rename("vision_tower.blocks.*.mlp.*", "vision_tower.blocks.=>visual.blocks."),
		Rename("visual.blocks.*.fc1*", ".fc1=>.gate_proj"),
		Rename("visual.blocks.*.fc2*", ".fc2=>.down_proj"),
		Rename("visual.blocks.*.fc3*", ".fc3=>.up_proj"),
	}.Also(ProjectorRest),
	Keys: visionTower.Keys.Then(
		Set("projector_type", "dots_ocr"),
		Set("vision.image_min_pixels", OfProcessor(Cfg("min_pixels"))),
		Set("vision.image_max_pixels", OfProcessor(Cfg("max_pixels"))),
		Set("vision.attention.layer_norm_epsilon", Cfg("rms_norm_eps")),
		Set("vision.projector.scale_factor", Cfg("spatial_merge_size")),
		Set("use_silu", true),
	),
})
