package arch

// Step3-VL, whose projector is two strided convolutions and a matrix. llama.cpp knows the one published size.
//
// Source: llama.cpp v0.5.0, conversion/step3.py: Step3VLVisionModel.

import (
	"math"

	"quern/convert/gguf"
)

var stepMean, stepStd = []any{0.48145466, 0.4578275, 0.40821073}, []any{0.26862954, 0.26130258, 0.27577711} // CLIP's

var (
	stepStride = Trunc(OfRoot(CfgOr("understand_projector_stride", -1)))
	stepSizes  = [][2]any{{stepStride, 2}, {CfgOr("image_size", -1), 728}, {Else(Opt("hidden_size"), CfgOr("width", -1)), 1536},
		{Else(Opt("num_hidden_layers"), CfgOr("layers", -1)), 47}}
)

var _ = Register(Arch{
	Base: visionTower,
	HF:   []string{"StepVLForConditionalGeneration", "Step3p7ForConditionalGeneration"},
	Config: When(Not(Or(Opt("intermediate_size"), false)), Let("intermediate_size", stepInner)).Also(
		When(Null(OfProcessor(Opt("image_mean"))), LetProcessor("image_mean", stepMean)),
		When(Null(OfProcessor(Opt("image_std"))), LetProcessor("image_std", stepStd)),
	),
	Names: Rules{Drop("model.*|lm_head.*", notProjector)}.Also(ProjectorRest),
	Tensors: Rules{
		nameAs("vision_model.vit_downsampler1.{weight|bias}", "mm.0"),
		nameAs("vision_model.vit_downsampler2.{weight|bias}", "mm.1"),
		nameAs("vit_large_projector.weight", "mm.model.fc"),
		Drop("*", notProjector).Except("vision_model.*|mm.*"),
		Rename("vision_model.positional_embedding", "+.weight"),
		Rename("vision_model*.ls_*.gamma", ".gamma=>.weight"),
		Rename("vision_model*", "attn.in_proj_weight=>attn.in_proj.weight"),
		Rename("vision_model*", "attn.in_proj_bias=>attn.in_proj.bias"),
	},
	Force: append([]Force{
		{Match: "*.position_embd.*", Type: gguf.F32},
		{Match: "*mm.{0|1}.*weight", If: typeIs(F16), Type: gguf.F16},
		{Match: "*mm.{0|1}.*weight", Type: gguf.F32},
	}, PatchTypes...),
	Keys: visionTower.Keys.Also(stepChecks()).Then(
		Set("projector_type", "step3vl"),
		Set("vision.attention.layer_norm_epsilon", Mul(1.0, CfgOr("layer_norm_eps", 1e-5))),
		Set("vision.projector.scale_factor", Mul(stepStride, stepStride)),
		Set("vision.preproc_image_size", 3024),
	),
})

func stepChecks() Keys {
	var out Keys
	for _, s := range stepSizes {
		out = append(out, Fail(Not(Is(asExpr(s[0]), s[1])), "llama.cpp knows Step3-VL of another size only: "+asExpr(s[0]).String()+" is not "+asExpr(s[1]).String()))
	}
	return out
}

// stepInner is the width of the feed-forward layers, where only their ratio is stated.
var stepInner = Fn("round(width * mlp_ratio)", func(e *Env) (any, error) {
	width, err := e.Float(Or(Opt("hidden_size"), Cfg("width")))
	if err != nil {
		return nil, err
	}
	ratio, err := e.Float(CfgOr("mlp_ratio", 8960.0/1536))
	if err != nil || !(math.Abs(width*ratio) < 1<<31) {
		return nil, err
	}
	return int64(math.RoundToEven(width * ratio)), nil
})
