package arch

// What conformer audio towers share (Gemma 3n, LFM2-Audio): batch norms are folded into a factor and a summand, convolutions over
// one channel lose that dimension. Source: conversion/gemma.py, ConformerAudioModel.

import (
	"fmt"

	"quern/convert/fault"
	"quern/convert/gguf"
	"quern/convert/safetensors"
	"quern/convert/view"
)

// conformerSound are the names of the audio parts.
const conformerSound = "*{audio|codebook|conformer|depth_embedding|depthformer|depth_linear}*"

// conformerForce keeps convolutions in F32.
var conformerForce = []Force{{From: "*{audio|codebook|conformer|depth_embedding|depthformer|depth_linear}*.conv*", Type: gguf.F32},
	{From: "*{audio|codebook|conformer|depth_embedding|depthformer|depth_linear}*_conv*.weight*", Type: gguf.F32}}

// conformerEnds are the limits that quantization-aware training left beside weights.
var conformerEnds = []string{".input_max", ".input_min", ".output_max", ".output_min"}

// conformerTensors see names that begin with "conformer.".
var conformerTensors = Rules{
	batchNorms("*batch_norm*", "conformer.layers.%d.conv.batch_norm.", append(batchNormParts, "num_batches_tracked")...),
	On("conformer.pre_encode.conv.*.bias", Unsqueeze(-1), Unsqueeze(-1)),
	On("*conv.depthwise_conv*.weight", Squeeze(1)),
	On("*conv.pointwise_conv*.weight", Squeeze(2)),
}

var batchNormParts = []string{"weight", "bias", "running_mean", "running_var"}

// batchNorms folds mean and variance of each layer's norm into weight and bias, once all parts have come.
func batchNorms(p Pattern, prefix string, parts ...string) Rule {
	return Code(p, "fold mean and variance into weight and bias", func(b *Build, it Item) ([]Item, error) {
		return foldBatchNorm(b, it, fmt.Sprintf(prefix, it.Block), parts)
	})
}

// foldBatchNorm waits for the parts of a layer's norm and makes two tensors of them, where the last one comes.
func foldBatchNorm(b *Build, it Item, prefix string, parts []string) ([]Item, error) {
	key := "batch norm " + prefix
	got, _ := b.Scratch[key].(map[string]Item)
	if got == nil {
		got = map[string]Item{}
		b.Scratch[key] = got
		b.Last(func() error {
			for _, part := range parts {
				if _, ok := got[prefix+part]; !ok {
					return &fault.Invalid{On: "checkpoint", Says: "no " + prefix + part}
				}
			}
			return nil
		})
	}
	got[it.Name] = it
	if len(got) < len(parts) {
		return nil, nil
	}
	in := func(part string) view.Tensor { return got[prefix+part].View }
	factor, err := batchNorm(in("weight"), in("running_var"))
	if err != nil {
		return nil, &fault.Invalid{On: it.Source, Says: "the norm cannot be folded", Err: err}
	}
	summand, err := batchNorm(in("weight"), in("running_var"), in("bias"), in("running_mean"))
	if err != nil {
		return nil, &fault.Invalid{On: it.Source, Says: "the norm cannot be folded", Err: err}
	}
	first, second := it, it
	first.Name, first.View = prefix+"weight", factor
	second.Name, second.View = prefix+"bias", summand
	return []Item{first, second}, nil
}

// batchNorm is weight / sqrt(variance + eps), or with bias and mean bias - mean * that, every step rounded to the type at hand.
func batchNorm(ts ...view.Tensor) (view.Tensor, error) {
	const eps = 1e-5
	half := true
	for i := range ts {
		var err error
		if ts[i], err = wide(ts[i]); err != nil {
			return view.Tensor{}, err
		}
		half = half && ts[i].DType == safetensors.F16
	}
	typ, root := safetensors.F32, torchSqrt
	if half {
		typ, root = safetensors.F16, halfSqrt
	}
	return view.Zip(typ, func(_ int64, dst []float32, in [][]float32) {
		round := func(v []float32) { view.Round(v, typ) }
		a := make([]float32, len(dst))
		for i := range a {
			a[i] = in[1][i] + float32(eps)
		}
		round(a)
		for i := range a {
			a[i] = root(a[i])
		}
		round(a)
		for i := range a {
			a[i] = in[0][i] / a[i]
		}
		round(a)
		if len(in) == 4 {
			for i := range a {
				a[i] = float32(in[3][i] * a[i])
			}
			round(a)
			for i := range a {
				a[i] = in[2][i] - a[i]
			}
		}
		copy(dst, a)
	}, ts...)
}
