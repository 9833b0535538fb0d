package arch

// Nemotron Nano V2 VL: a RADIO tower, whose configuration lacks all sizes, and a Parakeet conformer for sound where there is a
// sound_config. Positions are shrunk to the fixed size of pictures while the file is made.
//
// Source: llama.cpp v0.5.0, conversion/nemotron.py: NemotronNanoV2VLModel.

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"quern/convert/config"
	"quern/convert/fault"
	"quern/convert/gguf"
	"quern/convert/safetensors"
	"quern/convert/view"
)

// radioSizes are those of RADIO v2.5-h. Source: conversion/nemotron.py, NemotronNanoV2VLModel.
var radioSizes = config.Object{"hidden_size": int64(1280), "intermediate_size": int64(5120), "num_hidden_layers": int64(32), "num_attention_heads": int64(16)}

var (
	radioConfig = Fn("vision_config with RADIO's sizes", func(e *Env) (any, error) {
		o, ok := e.Config.Object("vision_config")
		if !ok {
			return nil, nil
		}
		size, found := e.value("force_image_size")
		if !found {
			size = int64(512)
		}
		return o.Merge(radioSizes).Merge(config.Object{"image_size": size}), nil
	})
	hears     = Not(Null(OfRoot(Opt("sound_config"))))
	radioKeys = When(hears,
		Set("audio.num_mel_bins", OfAudio(Cfg("num_mel_bins"))),
		Set("audio.attention.layer_norm_epsilon", 1e-5),
		Set("audio.subsampling_factor", OfAudio(Cfg("subsampling_factor"))),
		Set("audio.conv_kernel_size", OfAudio(Cfg("conv_kernel_size"))),
		Set("audio.projector_type", "parakeet"),
		Set("vision.projector_type", "nemotron_v2_vl"),
	).Also(When(Not(hears), Set("projector_type", "nemotron_v2_vl")))
)

var _ = Register(Arch{
	Base:   visionTower,
	HF:     []string{"NemotronH_Nano_VL_V2", "RADIOModel"},
	Vision: radioConfig,
	Audio:  Opt("sound_config"),
	Config: When(Not(OfProcessor(Has("image_mean"))), LetProcessor("image_mean", []any{0.485, 0.456, 0.406})).Also(
		When(Not(OfProcessor(Has("image_std"))), LetProcessor("image_std", []any{0.229, 0.224, 0.225}))),
	Names: ProjectorRest.Also(Rules{
		Drop("*input_conditioner*|*radio_model.model.patch_generator.video_embedder*", "llama.cpp takes pictures, prepared, and no videos"),
		Only("{vision_model.radio_model.model|mlp1|sound_encoder|sound_projection}.*"),
		Rename("*patch_generator.pos_embed*", "+.weight").Except("*.weight"),
		Drop("*conv.norm*num_batches*", "for training"),
	}),
	Tensors: Rules{
		On("*patch_generator.pos_embed*", radioPositions),
		On("*patch_generator.embedder*", Reshape(Cfg("hidden_size"), 3, Cfg("patch_size"), Cfg("patch_size"))),
		On("*depthwise_conv.weight*", Unsqueeze(-1), Permute(3, 1, 0, 2)),
		On("*pointwise_conv*.weight", squeezeOne(2)),
		On("*subsampling.layers*.bias|*pointwise_conv*.bias", asColumn),
	},
	Force: append([]Force{
		{From: "*sound_encoder*", Match: "*bias*|*norm*|*conv*weight*", Type: gguf.F32},
		{Match: "mm.a.*bias*|mm.a.*norm*|mm.a.*conv*weight*", Type: gguf.F32},
	}, PatchTypes...),
	Keys: radioKeys.Also(visionTower.Keys, When(hears, audioKeys...)).Then(
		Set("vision.attention.layer_norm_epsilon", 1e-6),
		Set("use_gelu", true),
		Set("vision.projector.scale_factor", Trunc(Div(1.0, OfRoot(CfgOr("downsample_ratio", 0.5))))),
	),
})

// asColumn makes four dimensions of a row: 1, n, 1, 1.
var asColumn = View("a row as 1, n, 1, 1", func(_ *Build, _ Item, v view.Tensor) (view.Tensor, error) {
	if len(v.Shape) != 1 {
		return v, nil
	}
	return view.Reshape(v, 1, -1, 1, 1)
})

// radioPositions shrinks a square of positions, [1, side x side, width], by bilinear interpolation between corners.
var radioPositions = View("shrunk to the size of pictures", func(b *Build, _ Item, v view.Tensor) (view.Tensor, error) {
	width, err := b.Int(Cfg("hidden_size"))
	if err != nil {
		return v, err
	}
	size, err := b.Int(FloorDiv(Cfg("image_size"), Cfg("patch_size")))
	if err != nil {
		return v, err
	}
	if len(v.Shape) != 3 || v.Shape[0] != 1 || v.Shape[2] != width {
		return v, fmt.Errorf("shape %s, want 1, positions, %d", dims(v.Shape), width)
	}
	side := int64(math.Sqrt(float64(v.Shape[1])))
	if side == size {
		return v, nil
	}
	if size < 2 || size > 4096 || side < 2 || side*side != v.Shape[1] {
		return v, &fault.Unsupported{On: v.Name, Says: fmt.Sprintf("%d positions for pictures of %d patches a side", v.Shape[1], size)}
	}
	if v, err = view.Cast(v, safetensors.F32); err != nil {
		return v, err
	}
	out := v
	out.Shape = []int64{1, size * size, width}
	out.Reader = &resized{from: v, side: side, size: size, width: width}
	return out, nil
})

// resized reads rows of a square of positions that was made smaller or larger.
type resized struct {
	from              view.Tensor
	side, size, width int64
}

// ReadRows interpolates as torch does for channels that stand together: its order of fused additions is in the bits.
// Source: PyTorch 2.6, aten UpSampleKernel.cpp, cpu_upsample_linear_channels_last.
func (r *resized) ReadRows(ctx context.Context, dst []byte, lo, hi int64) error {
	row := make([]byte, 4*4*r.width)
	for ; lo < hi; lo++ {
		top, down := r.place(lo / r.size)
		left, right := r.place(lo % r.size)
		corners := [4]int64{top.at*r.side + left.at, top.at*r.side + right.at, down.at*r.side + left.at, down.at*r.side + right.at}
		weights := [4]float32{top.weight * left.weight, top.weight * right.weight, down.weight * left.weight, down.weight * right.weight}
		for i, c := range corners {
			if err := r.from.ReadRows(ctx, row[int64(i)*4*r.width:int64(i+1)*4*r.width], c, c+1); err != nil {
				return err
			}
		}
		for x := range r.width {
			value := func(i int64) float32 {
				return math.Float32frombits(binary.LittleEndian.Uint32(row[4*(i*r.width+x):]))
			}
			sum := float32(weights[2] * value(2))
			for _, i := range []int64{3, 1, 0} {
				sum = float32(float64(float64(weights[i])*float64(value(i))) + float64(sum)) // one rounding, as a fused step has
			}
			binary.LittleEndian.PutUint32(dst[4*x:], math.Float32bits(sum))
		}
		dst = dst[4*r.width:]
	}
	return nil
}

// corner is a position of the square with the weight that it has.
type corner struct {
	at     int64
	weight float32
}

func (r *resized) place(i int64) (first, second corner) {
	scale := float32(r.side-1) / float32(r.size-1)
	x := float32(scale * float32(i))
	at := min(int64(x), r.side-1)
	part := min(max(x-float32(at), 0), 1)
	return corner{at, 1 - part}, corner{min(at+1, r.side-1), part}
}
