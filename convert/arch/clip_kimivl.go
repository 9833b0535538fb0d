package arch

// MoonViT: Kimi-VL, Kimi K2.5 and GLM-5V. Queries, keys and values are fused: Kimi-VL's are split, K2.5's stay fused with their
// rotary pairs in halves, by a fixed number of heads where the configuration has only vt_num_attention_heads.
//
// Source: llama.cpp v0.5.0, conversion/kimivl.py: KimiVLModel, KimiK25Model, Glm5vModel.

import "quern/convert/view"

var _ = Register(Arch{
	Base:   visionTower,
	HF:     []string{"KimiVLForConditionalGeneration"},
	Config: Keys{Let("image_size", 64*14)}, // fixed, positions are interpolated
	Names:  Rules{Only("*vision_tower*|*multi_modal_projector*")}.Also(ProjectorRest),
	Tensors: Rules{
		On("*pos_emb.weight*", flatRows),
		ThirdsOf("*wqkv*", "wqkv", "wq", "wk", "wv"),
	},
	Keys: visionTower.Keys.Then(
		Set("projector_type", "kimivl"),
		Set("use_gelu", true),
		Set("vision.projector.scale_factor", 2),
		Set("vision.attention.layer_norm_epsilon", CfgOr("layer_norm_eps", 1e-5)),
	),
})

var (
	kimiHeads = CfgOr("num_attention_heads", 16)
	kimiPatch = CfgOr("patch_size", 14)
	// kimiPairs orders the rows of each head, (n, row or column, pair), by row or column first.
	kimiPairs = View("row and column rotary pairs apart in "+kimiHeads.String()+" heads", func(b *Build, _ Item, v view.Tensor) (view.Tensor, error) {
		heads, err := b.Int(kimiHeads)
		if err != nil {
			return v, err
		}
		shape := v.Shape
		if v, err = view.Reshape(v, append([]int64{heads, -1, 2, 2}, shape[1:]...)...); err != nil {
			return v, err
		}
		axes := []int{0, 2, 1, 3, 4}
		if v, err = view.Permute(v, axes[:len(v.Shape)]...); err != nil {
			return v, err
		}
		return view.Reshape(v, shape...)
	})
)

var kimiK25 = Register(Arch{
	Base:   visionTower,
	HF:     []string{"KimiK25ForConditionalGeneration"},
	Config: Keys{Let("image_size", Mul(CfgOr("init_pos_emb_height", 64), kimiPatch))},
	Names:  Rules{Only("*vision_tower*|*mm_projector*")}.Also(ProjectorRest),
	Tensors: Rules{
		On("*wqkv*", Ranges(Part{Then: []Transform{kimiPairs}}, Part{Then: []Transform{kimiPairs}}, Part{})),
		On("*pos_emb.time_weight*", Squeeze(1)),
		Rename("*mm_projector.proj.0.*", ".proj.0.=>.proj.linear_1."),
		Rename("*mm_projector.proj.2.*", ".proj.2.=>.proj.linear_2."),
	},
	Keys: visionTower.Keys.Then(
		Set("projector_type", "kimik25"),
		Set("vision.pos_emb_height", CfgOr("init_pos_emb_height", 64)),
		Set("vision.pos_emb_width", CfgOr("init_pos_emb_width", 64)),
		Set("vision.pos_emb_time", CfgOr("init_pos_emb_time", 4)),
		Set("use_gelu", Is(CfgOr("projector_hidden_act", "gelu"), "gelu")),
		Set("vision.attention.layer_norm_epsilon", CfgOr("projector_ln_eps", 1e-5)),
		Set("vision.projector.scale_factor", At(CfgOr("merge_kernel_size", []any{int64(2), int64(2)}), 0)),
		Set("vision.image_min_pixels", Mul(8, kimiPatch, kimiPatch)),
		Set("vision.image_max_pixels", Mul(OfProcessor(CfgOr("in_patch_limit", 16384)), kimiPatch, kimiPatch)),
	),
})

var _ = Register(Arch{
	Base:    kimiK25,
	HF:      []string{"Glm5vForConditionalGeneration"},
	Tensors: Rules{Rename("mm_projector.linear_*", "mm_projector.linear_=>mm_projector.proj.linear_")}.Also(kimiK25.Tensors),
})
