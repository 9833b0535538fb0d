package arch

// Hunyuan-VL and HunyuanOCR: the first position is that of a token that is never used, and the projector begins with convolutions,
// which llama.cpp wants in F16 or F32.
//
// Source: llama.cpp v0.5.0, conversion/hunyuan.py: HunyuanVLVisionModel.

import "quern/convert/gguf"

const hunyuanConvs = "mm.{0|2}.weight|*mm.{0|2}.*.weight"

var _ = Register(Arch{
	Base:    visionTower,
	HF:      []string{"HunYuanVLForConditionalGeneration"},
	Config:  Keys{Let("image_size", CfgOr("image_size", CfgOr("max_image_size", 2048)))},
	Names:   Rules{Only("vit.*")}.Also(ProjectorRest),
	Tensors: Rules{On("*position_embedding*", Keep(0, 1, nil))},
	Force:   append([]Force{{Match: hunyuanConvs, If: typeIs(F16), Type: gguf.F16}, {Match: hunyuanConvs, Type: gguf.F32}}, PatchTypes...),
	Keys: visionTower.Keys.Then(
		Set("projector_type", "hunyuanvl"),
		Set("use_gelu", true),
		Set("vision.attention.layer_norm_epsilon", CfgOr("rms_norm_eps", 1e-5)),
		Set("vision.spatial_merge_size", CfgOr("spatial_merge_size", 2)),
		Set("vision.image_min_pixels", Trunc(OfProcessor(Cfg("min_pixels")))),
		Set("vision.image_max_pixels", Trunc(OfProcessor(Cfg("max_pixels")))),
	),
})
