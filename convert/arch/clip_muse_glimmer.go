package arch

// Muse Glimmer: the frames of a patch are added up to one convolution, rotary rows stand in halves, and the size of a picture is
// that of the learned positions.
//
// Source: llama.cpp v0.5.0, conversion/muse_glimmer.py: MuseGlimmerVisionModel.

import (
	"quern/convert/safetensors"
	"quern/convert/view"
)

var _ = Register(Arch{
	Base: visionTower,
	HF:   []string{"MuseGlimmerForConditionalGeneration"},
	Config: Keys{
		Let("image_size", Mul(Cfg("pos_emb_height"), Cfg("patch_size"), Cfg("merge_size"))),
	},
	Names: Rules{Only("model.{vision_tower|vision_adapter|vision_projection}.*")}.Also(ProjectorRest),
	Tensors: Rules{
		On("*.attn.{q_proj|k_proj}.*", Rotary(Trunc(Cfg("num_attention_heads")))),
		On("*patch_embedder.patch_embedding.weight",
			Unfold(Trunc(Cfg("patch_temporal")), 3, Trunc(Cfg("patch_size")), Trunc(Cfg("patch_size"))), addedUp),
		nameAs("model.vision_adapter.fc1.{weight|bias}", "mm.0"),
		nameAs("model.vision_adapter.fc2.{weight|bias}", "mm.1"),
		nameAs("model.vision_projection.{weight|bias}", "mm.2"),
	},
	Keys: visionTower.Keys.Then(
		Set("projector_type", "muse-glimmer"),
		Set("vision.attention.layer_norm_epsilon", Mul(1.0, Cfg("layer_norm_eps"))),
		Set("vision.spatial_merge_size", Trunc(Cfg("merge_size"))),
	),
})

// addedUp sums over the second dimension, in its order; a sum in half precision is rounded once, as torch does.
var addedUp = View("sum over the second dimension", func(_ *Build, _ Item, v view.Tensor) (view.Tensor, error) {
	half := v.DType == safetensors.F16
	parts, err := view.Split(v, 1, ones(v.Shape[1])...)
	if err != nil {
		return v, err
	}
	for i := range parts {
		if parts[i], err = view.Cast(parts[i], safetensors.F32); err != nil {
			return v, err
		}
	}
	sum, err := view.Zip(safetensors.F32, func(_ int64, dst []float32, in [][]float32) {
		copy(dst, in[0])
		for _, more := range in[1:] {
			for i, x := range more {
				dst[i] += x
			}
		}
	}, parts...)
	if err == nil && half {
		sum, err = view.Cast(sum, safetensors.F16)
	}
	if err != nil {
		return v, err
	}
	return view.Squeeze(sum, 1)
})

func ones(n int64) []int64 {
	out := make([]int64, n)
	for i := range out {
		out[i] = 1
	}
	return out
}
