package arch

// LFM2-VL: patches of 16 x 16 pixels are stored as rows, and the layers behind the one whose features are taken are not counted.
//
// Source: llama.cpp v0.5.0, conversion/lfm2.py: LFM2VLModel.

var _ = Register(Arch{
	Base:   visionTower,
	HF:     []string{"Lfm2VlForConditionalGeneration"},
	Config: Keys{Let("image_size", 256)}, // any resolution
	Names: Rules{
		Rename("*model.vision_tower.*", "model.vision_tower.=>vision_tower."),
		Rename("*model.multi_modal_projector.*", "model.multi_modal_projector.=>multi_modal_projector."),
	}.Also(ProjectorRest),
	Tensors: Rules{On("*patch_embedding.weight*", Unfold(16, 16, 3), Permute(0, 3, 1, 2))},
	Keys: visionTower.Keys.Then(
		Set("projector_type", "lfm2"),
		Set("vision.attention.layer_norm_epsilon", Cfg("layer_norm_eps")),
		Set("vision.projector.scale_factor", OfRoot(CfgOr("downsample_factor", 2))),
		Set("use_gelu", true),
		Set("vision.block_count", Add(Cfg(layerKeys...), OfRoot(CfgOr("vision_feature_layer", -1)), 1)),
	),
})
