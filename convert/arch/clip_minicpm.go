package arch

// MiniCPM-V 4.6: a SigLIP with a merger inside the tower, behind a layer that the configuration names; without it where pictures
// are shrunk by 4 only. What the file calls the size of a picture is that of a slice.
//
// Source: llama.cpp v0.5.0, conversion/minicpm.py: MiniCPMV4_6VisionModel.

var miniScale = OfProcessor(CfgOr("downsample_mode", "16x"))

var _ = Register(Arch{
	Base: visionTower,
	HF:   []string{"MiniCPMV4_6ForConditionalGeneration"},
	Config: Keys{
		Fail(Not(Is(miniScale, "4x", "16x")), "its downsample_mode is neither 4x nor 16x"),
	}.Also(When(Not(Null(OfProcessor(Opt("scale_resolution")))), Let("image_size", Trunc(OfProcessor(Cfg("scale_resolution")))))),
	Names:   Rules{Drop("lm_head.*|mtp*", notProjector)}.Also(ProjectorRest),
	Tensors: Given(Is(miniScale, "4x"), Drop("*.vit_merger.*", "pictures are shrunk by 4 only")),
	Keys: visionTower.Keys.Then(
		Set("projector_type", "minicpmv4_6"),
		Set("vision.projector.scale_factor", Choose(Is(miniScale, "4x"), 2, 4)),
		Set("vision.wa_layer_indexes", listOf(Trunc(Else(OfRoot(Opt("insert_layer_id")), CfgOr("insert_layer_id", 6))))),
		Set("use_gelu", true),
		Set("vision.attention.layer_norm_epsilon", CfgOr("layer_norm_eps", 1e-6)),
	),
})

// listOf is a list of one.
func listOf(x Expr) Expr {
	return Fn("["+x.String()+"]", func(e *Env) (any, error) {
		v, err := x.Eval(e)
		return []any{v}, err
	})
}
