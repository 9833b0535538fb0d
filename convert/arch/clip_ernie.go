package arch

// PaddleOCR-VL's tower, a SigLIP for pictures of any size: image_size is the root of the most pixels.
//
// Source: llama.cpp v0.5.0, conversion/ernie.py: PaddleOCRVisionModel.

import "math"

var _ = Register(Arch{
	Base: visionTower,
	HF:   []string{"PaddleOCRVisionModel"},
	Config: Keys{Let("image_size", Fn("int(sqrt(max_pixels))", func(e *Env) (any, error) {
		n, err := e.Float(OfProcessor(Cfg("max_pixels")))
		return int64(math.Sqrt(n)), err
	}))},
	Names: Rules{
		Only("*vision_model*|*mlp_AR*"),
		Rename("*visual.*", "visual.=>model."),
		Drop("*packing_position_embedding*", "not used"),
		Drop("*vision_model.head*", "llama.cpp takes no embedding of a whole picture"),
	}.Also(ProjectorRest),
	Keys: visionTower.Keys.Then(
		Set("projector_type", "paddleocr"),
		Set("vision.image_max_pixels", OfProcessor(Cfg("max_pixels"))),
		Set("vision.image_min_pixels", OfProcessor(Cfg("min_pixels"))),
		Set("use_gelu", true),
		Set("vision.attention.layer_norm_epsilon", CfgOr("rms_norm_eps", 1e-6)),
	),
})
