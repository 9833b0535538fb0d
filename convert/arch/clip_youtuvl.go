package arch

// Youtu-VL: a SigLIP 2 with window attention but in the layers that the configuration lists. What has no name in llama.cpp is left
// out.
//
// Source: llama.cpp v0.5.0, conversion/youtuvl.py: YoutuVLVisionModel.

var _ = Register(Arch{
	Base:   visionTower,
	HF:     []string{"YoutuVLForConditionalGeneration"},
	Config: Keys{Let("image_size", CfgOr("image_size", 560))},
	Names:  Rules{Drop("lm_head.*|model.layers.*|model.embed_tokens.*|model.norm.*", notProjector)}.Also(ProjectorRest),
	Tensors: Rules{
		Code("*", "left out without a name in llama.cpp", func(b *Build, it Item) ([]Item, error) {
			if _, _, ok := b.names.Map(it.Name); ok {
				return []Item{it}, nil
			}
			b.Warn("%s is left out: llama.cpp has no place for it", it.Source)
			b.drop(it.Source, "llama.cpp has no place for it")
			return nil, nil
		}),
	},
	Keys: visionTower.Keys.Then(
		Set("projector_type", "youtuvl"),
		Set("vision.attention.layer_norm_epsilon", CfgOr("layer_norm_eps", 1e-6)),
		Fail(Not(Is(youtuAct, "gelu", "gelu_pytorch_tanh", "gelu_fast", "gelu_new", "gelu_accurate", "silu")), "its hidden_act is neither silu nor a gelu"),
	).Also(
		When(Not(Is(youtuAct, "silu")), Set("use_gelu", true)),
		When(Is(youtuAct, "silu"), Set("use_silu", true)),
	).Then(
		Set("vision.spatial_merge_size", CfgOr("spatial_merge_size", 2)),
		Set("vision.window_size", Opt("window_size")),
		Set("vision.wa_layer_indexes", Cfg("fullatt_block_indexes")),
	),
})

var youtuAct = lower(CfgOr("hidden_act", "gelu_pytorch_tanh"))
