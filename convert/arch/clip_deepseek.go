package arch

// DeepSeek-OCR has two towers in a row, SAM and CLIP (OCR 2: a Qwen2 encoder), described by models' names under "width".
// DeepSeek V4's vision keys stand in the root of the configuration.
//
// Source: llama.cpp v0.5.0, conversion/deepseek.py: DeepseekOCRVisionModel, UnlimitedOCRVisionModel, DeepseekOCR2VisionModel,
// DeepseekV4FlashVisionModel.

import (
	"quern/convert/config"
	"quern/convert/fault"
	"quern/convert/gguf"
)

var deepseekOCRVision = Register(Arch{
	Base:   visionTower,
	HF:     []string{"DeepseekOCRForCausalLM"},
	Vision: Fn("vision_config with the towers under width", deepseekTowers),
	Names: Rules{
		Drop("lm_head.*|model.{embed_tokens|layers|norm}.*", notProjector),
		Rename("*pos_embed|*rel_pos_h|*rel_pos_w", "+.weight"),
	}.Also(ProjectorRest),
	Tensors: Rules{On("*view_seperator", Unsqueeze(0))},
	Force: append([]Force{
		{From: "*.embeddings.*|*pos_embed*|*.rel_pos_h*|*.rel_pos_w*|*.neck.*|*.net_*", Type: gguf.F32},
	}, PatchTypes...),
	Keys: deepseekKeys("deepseekocr", 9),
})

var _ = Register(Arch{Base: deepseekOCRVision, HF: []string{"UnlimitedOCRForCausalLM"}, Keys: deepseekKeys("deepseekocr", 32)})

var _ = Register(Arch{
	Base: deepseekOCRVision,
	HF:   []string{"DeepseekOCR2ForCausalLM"},
	Vision: Fn("vision_config with the towers under width, the second one Qwen2's", func(e *Env) (any, error) {
		v, err := deepseekTowers(e)
		if err != nil {
			return nil, err
		}
		o := v.(config.Object)
		width, _ := o.Object("width")
		inner, _ := width.Object("qwen2-0-5b")
		if o["hidden_size"] = inner["dim"]; inner["dim"] == nil {
			return nil, &fault.Invalid{On: "config.json: vision_config", Says: "no width.qwen2-0-5b.dim"}
		}
		if o.Null("layers") {
			o["layers"] = int64(24)
		}
		return o, nil
	}),
	// The encoder has the fixed shape of a small Qwen2.
	Keys: Keys{
		Let("patch_size", Else(Opt("patch_size"), 16)),
		Let("intermediate_size", Else(Opt("intermediate_size"), 4864)),
		Let("num_attention_heads", Else(Opt("num_attention_heads"), 14)),
	}.Also(deepseekKeys("deepseekocr2", 6)).Then(Set("vision.attention.head_count_kv", 2)),
})

func deepseekKeys(projector string, tiles int) Keys {
	return visionTower.Keys.Then(
		Set("projector_type", projector),
		Set("vision.attention.layer_norm_epsilon", CfgOr("layer_norm_eps", 1e-6)),
		Set("use_gelu", true),
		Set("vision.projector.scale_factor", mergeFactor),
		Set("vision.window_size", CfgOr("window_size", 14)),
		Set("vision.preproc_min_tiles", 2),
		Set("vision.preproc_max_tiles", tiles),
		Set("vision.sam.block_count", In("sam", Cfg("layers"))),
		Set("vision.sam.embedding_length", In("sam", Cfg("width"))),
		Set("vision.sam.head_count", In("sam", Cfg("heads"))),
	)
}

func deepseekTowers(e *Env) (any, error) {
	o, _ := e.Config.Object("vision_config")
	width, _ := o.Object("width")
	sam, ok := width.Object("sam_vit_b")
	if !ok {
		return nil, &fault.Invalid{On: "config.json: vision_config", Says: "no width.sam_vit_b, which describes the first tower"}
	}
	o = o.Merge(config.Object{"sam": sam})
	if clip, ok := width.Object("clip-l-14-224"); ok {
		o = o.Merge(clip)
	}
	if n, ok := o.Int("width"); ok {
		o["hidden_size"] = n
	}
	if n, ok := o.Int("heads"); ok {
		o["num_heads"], o["intermediate_size"] = n, 4*n
	}
	return o, nil
}

var _ = Register(Arch{
	Base: visionTower,
	HF:   []string{"DeepseekV4ForCausalLM"},
	Vision: Fn("vision_* of the root", func(e *Env) (any, error) {
		if !e.Config.True("vision_n_layers") {
			return nil, noTower("config.json", "no vision_n_layers")
		}
		o := config.Object{}
		for key, x := range map[string]Expr{
			"num_hidden_layers": Cfg("vision_n_layers"), "hidden_size": Cfg("vision_dim"), "num_attention_heads": Cfg("vision_n_heads"),
			"intermediate_size": Cfg("vision_inter_dim"), "patch_size": Cfg("vision_patch_size"),
			"image_size":       Mul(Cfg("vision_patch_size"), Cfg("vision_downsample_ratio"), 16),
			"downsample_ratio": Cfg("vision_downsample_ratio"), "min_pixels": Cfg("vision_min_pixels"),
		} {
			v, err := x.Eval(e)
			if err != nil {
				return nil, err
			}
			o[key] = v
		}
		return o, nil
	}),
	Config: Keys{ // it comes without a description of its preprocessing
		LetProcessor("image_mean", OfProcessor(CfgOr("image_mean", []any{0.5, 0.5, 0.5}))),
		LetProcessor("image_std", OfProcessor(CfgOr("image_std", []any{0.5, 0.5, 0.5}))),
	},
	Names: Rules{Only("vision.*|aligner.*|image_*")}.Also(ProjectorRest),
	Tensors: Rules{
		On("vision.patch_embed.proj.weight", Unfold(3, Cfg("patch_size"), Cfg("patch_size"))),
		Split("*.mlp.w1.*", 0, Part{To: "w1=>w1_gate"}, Part{To: "w1=>w1_up"}),
	},
	Keys: visionTower.Keys.Then(
		Set("projector_type", "deepseek4v"),
		Set("vision.attention.layer_norm_epsilon", 1e-6),
		Set("use_silu", true),
		Set("vision.projector.scale_factor", Cfg("downsample_ratio")),
		Set("vision.image_min_pixels", Cfg("min_pixels")),
		Fail(Not(Is(OfRoot(Cfg("vision_max_n_token")), 384)), "its vision_max_n_token is not 384, which llama.cpp counts on"),
		Fail(Not(Is(OfRoot(Cfg("vision_max_wh_ratio")), 8)), "its vision_max_wh_ratio is not 8, which llama.cpp counts on"),
	),
})
