package arch

// MiniMax M3: positions in time, height and width turn parts of a head, whose pairs stand half a head apart in the checkpoint and
// half a part apart in the file. The convolution over patches has a picture for each frame.
//
// Source: llama.cpp v0.5.0, conversion/minimax.py: MiniMaxM3VisionModel.

import (
	"fmt"

	"quern/convert/fault"
	"quern/convert/view"
)

var _ = Register(Arch{
	Base:  visionTower,
	HF:    []string{"MiniMaxM3SparseForConditionalGeneration", "MiniMaxM3VLForConditionalGeneration"},
	Names: Rules{Only("{vision_tower|multi_modal_projector|patch_merge_mlp}.*")}.Also(ProjectorRest),
	Tensors: Rules{
		Code("vision_tower.vision_model.embeddings.patch_embedding.weight", "a convolution for each frame", eachFrame),
		Named,
		On("*.attn_{q|k}.*", minimaxPairs),
	},
	Keys: visionTower.Keys.Then(
		Set("projector_type", "minimax_m3"),
		Set("use_gelu", true),
		Set("vision.attention.layer_norm_epsilon", CfgOr("layer_norm_eps", 1e-5)),
		Set("vision.spatial_merge_size", Trunc(Else(In("img_token_compression_config", Opt("spatial_merge_size")), 2))),
	),
})

// eachFrame splits a convolution over pictures in time, of any length.
func eachFrame(_ *Build, it Item) ([]Item, error) {
	if len(it.View.Shape) != 5 || it.View.Shape[2] > maxSound {
		return nil, &fault.Unsupported{On: it.Source, Says: "shape " + dims(it.View.Shape) + " where a convolution over frames is needed"}
	}
	out := make([]Item, it.View.Shape[2])
	for i := range out {
		v, err := view.Index(it.View, 2, int64(i))
		if err != nil {
			return nil, err
		}
		out[i] = it
		out[i].View, out[i].Name, out[i].Final = v, "v.patch_embd.weight", true
		if i > 0 {
			out[i].Name = fmt.Sprintf("v.patch_embd.weight.%d", i)
		}
	}
	return out, nil
}

// minimaxPairs puts the two halves of each part of a head, [Ta Ha Wa Tb Hb Wb rest], side by side: [Ta Tb Ha Hb Wa Wb rest].
var minimaxPairs = View("the halves of time, height and width side by side", func(b *Build, it Item, v view.Tensor) (view.Tensor, error) {
	heads, err := b.Int(Cfg("num_attention_heads"))
	if err != nil {
		return v, err
	}
	if rows := v.Shape[0]; heads <= 0 || rows != heads*80 {
		return v, fmt.Errorf("%d rows for %d heads of 80", v.Shape[0], heads)
	}
	const head, third = 80, 13 // 3 x 2 x 13 rows of a head are turned
	var order []int64
	part := func(from, n int64) {
		for i := range n {
			order = append(order, from+i)
		}
	}
	for i := range int64(3) {
		part(i*third, third)
		part(3*third+i*third, third)
	}
	part(6*third, head-6*third)
	shape := v.Shape
	if v, err = view.Reshape(v, append([]int64{heads, head}, shape[1:]...)...); err != nil {
		return v, err
	}
	if v, err = view.Gather(v, 1, order); err != nil {
		return v, err
	}
	return view.Reshape(v, shape...)
})
