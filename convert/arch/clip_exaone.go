package arch

// EXAONE 4.5: a tower like Qwen2.5-VL's with grouped heads, whose query, key and value stay in one tensor.
//
// Source: llama.cpp v0.5.0, conversion/exaone.py: Exaone4_5VisionModel.

var _ = Register(Arch{
	Base:    qwen2vlVision,
	HF:      []string{"Exaone4_5_ForConditionalGeneration"},
	Names:   Rules{Rename("*model.visual.*", "model.visual.=>visual.")}.Also(qwen2vlVision.Names),
	Tensors: Rules{frames("*patch_embed.proj.weight*")},
	Keys: visionTower.Keys.Then(
		Set("projector_type", "exaone4_5"),
		Set("use_silu", true),
		Set("vision.image_min_pixels", OfProcessor(Cfg("min_pixels"))),
		Set("vision.image_max_pixels", OfProcessor(Cfg("max_pixels"))),
		Set("vision.attention.head_count_kv", Opt("num_key_value_heads")),
		Set("vision.attention.layer_norm_epsilon", CfgOr("rms_norm_eps", OfRoot(CfgOr("rms_norm_eps", 1e-6)))),
		Set("vision.window_size", Opt("window_size")),
	).Also(When(Opt("fullatt_block_indexes"), Set("vision.n_wa_pattern", fullAttentionEvery(Cfg("fullatt_block_indexes"))))),
})
