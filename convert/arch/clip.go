package arch

import (
	"fmt"
	"math"
	"strings"

	"quern/convert/fault"
	"quern/convert/gguf"
	"quern/convert/view"
)

// What nearly every projector shares. Source: conversion/base.py, MmprojModel.

// ProjectorRest leaves the text model out and evens a spelling out. A family's own Names come before it.
var ProjectorRest = Rules{
	Drop("*language_model.*", notProjector),
	Rename("*e_score_correction_bias", "e_score_correction_bias=>e_score_correction.bias"),
}

const notProjector = "not part of the projector"

// Only leaves out what matches none of the names.
func Only(p Pattern) Rule { return Drop("*", notProjector).Except(p) }

// layerKeys are what configurations call the number of a tower's layers.
var layerKeys = []string{"n_layers", "num_hidden_layers", "n_layer", "num_layers", "depth", "layers", "encoder_layers", "vt_num_hidden_layers"}

var visionKeys = visionKeysFor(TextWidth)

// visionKeysFor are the vision tower's keys beside a text model of the width.
func visionKeysFor(width Expr) Keys {
	return Keys{
		Set("has_vision_encoder", true),
		Set("vision.projection_dim", width),
		Set("vision.image_size", OfVision(Cfg("image_size"))),
		Set("vision.patch_size", OfVision(Cfg("patch_size"))),
		Set("vision.embedding_length", OfVision(Cfg("hidden_size", "width", "vt_hidden_size"))),
		Set("vision.feed_forward_length", OfVision(Cfg("intermediate_size", "vt_intermediate_size"))),
		Set("vision.block_count", OfVision(Cfg(layerKeys...))),
		Set("vision.attention.head_count", OfVision(Cfg("num_attention_heads", "num_heads", "heads", "vt_num_attention_heads"))),
		Set("vision.image_mean", OfProcessor(Cfg("image_mean"))),
		Set("vision.image_std", OfProcessor(Cfg("image_std"))),
	}
}

var audioKeys = Keys{
	Set("has_audio_encoder", true),
	Set("audio.projection_dim", TextWidth),
	Set("audio.embedding_length", OfAudio(Cfg("hidden_size"))),
	Set("audio.feed_forward_length", OfAudio(Cfg("intermediate_size"))),
	Set("audio.block_count", OfAudio(Cfg(layerKeys...))),
	Set("audio.attention.head_count", OfAudio(Cfg("num_attention_heads"))),
}

// PatchTypes keep the weights over patches out of every type but F16 and F32. A family's own Force comes before it.
var PatchTypes = []Force{
	{Match: patchWeights, If: typeIs(F16), Type: gguf.F16},
	{Match: patchWeights, Type: gguf.F32},
}

const patchWeights = "*.patch_embd.weight*|*.patch_merger.weight*"

func typeIs(t FileType) Expr {
	return Fn("the type is "+string(t), func(e *Env) (any, error) { return e.Options.Type == t, nil })
}

// The three kinds of projectors that entries extend: of one tower, or of both, whose layers are then counted together.
var (
	visionTower = Register(Arch{
		GGUF: clipArch, Blocks: Cfg(layerKeys...), Names: ProjectorRest, Tensors: Rules{}, Force: PatchTypes,
		Keys: Keys{FileTypeKey}.Also(visionKeys),
	})
	audioTower = Register(Arch{Base: visionTower, Keys: Keys{FileTypeKey}.Also(audioKeys)})
	bothTowers = Register(Arch{Base: visionTower, Blocks: Const(128), Keys: Keys{FileTypeKey}.Also(visionKeys, audioKeys)})
)

// nameAs gives tensors a name of the file's own; what stands behind their last dot stays.
func nameAs(p Pattern, base string) Rule {
	return Code(p, "name "+base, func(_ *Build, it Item) ([]Item, error) {
		it.Name = base + it.Name[strings.LastIndexByte(it.Name, '.'):]
		return []Item{it}, nil
	})
}

// ActKeys write which activation the tower has, by hidden_act; another than the two is refused.
var ActKeys = Keys{
	Fail(Not(Is(Cfg("hidden_act"), "silu", "gelu")), "its hidden_act is neither silu nor gelu"),
}.Also(
	When(Is(Cfg("hidden_act"), "silu"), Set("use_silu", true)),
	When(Is(Cfg("hidden_act"), "gelu"), Set("use_gelu", true)),
)

// ThirdsOf splits fused query, key and value tensors: from is the part of the name that makes way for the other three.
func ThirdsOf(p Pattern, from, q, k, v string) Rule {
	return Split(p, 0, Part{To: from + "=>" + q}, Part{To: from + "=>" + k}, Part{To: from + "=>" + v})
}

// scalarOf is a number, or the first of a list of them: some configurations give height and width.
func scalarOf(x Expr) Expr {
	first := At(x, 0)
	return Fn(x.String()+", the first of a list", func(e *Env) (any, error) {
		v, err := x.Eval(e)
		if _, ok := asList(v); ok && err == nil {
			return first.Eval(e)
		}
		return v, err
	})
}

// frames splits a convolution over pictures in time into one for each of the two of a patch. The second one's name has no
// role. Source: conversion/qwenvl.py, modify_tensors.
func frames(p Pattern) Rule {
	return Code(p, "two frames, v.patch_embd.weight and v.patch_embd.weight.1", func(b *Build, it Item) ([]Item, error) {
		if s := it.View.Shape; len(s) != 5 || s[2] != 2 {
			return nil, &fault.Unsupported{On: it.Source, Says: "shape " + dims(s) + " where a convolution over two frames is needed (temporal_patch_size 2)"}
		}
		out := []Item{it, it}
		for i := range out {
			v, err := view.Slice(it.View, 2, int64(i), int64(i)+1)
			if err == nil {
				v, err = view.Squeeze(v, 2)
			}
			if err != nil {
				return nil, err
			}
			out[i].View = v
		}
		out[0].Name, out[1].Name, out[1].Final = "v.patch_embd.weight", "v.patch_embd.weight.1", true
		return out, nil
	})
}

// flatRows merges the first two dimensions: a table of positions by row and column becomes one by number.
var flatRows = View("merge the first two dimensions", func(_ *Build, _ Item, v view.Tensor) (view.Tensor, error) {
	if len(v.Shape) < 3 {
		return v, fmt.Errorf("fewer than three dimensions")
	}
	return view.Reshape(v, append([]int64{v.Shape[0] * v.Shape[1]}, v.Shape[2:]...)...)
})

// mergeFactor is by how much pictures are shrunk between tower and projector where the processor says how many embeddings a
// picture has; nil for the usual 4. Source: conversion/gemma.py, Gemma3VisionModel.
var mergeFactor = Fn("(image_size // patch_size) // int(sqrt(image_seq_length else 256)) unless 4", func(e *Env) (any, error) {
	seq, err := e.Float(OfProcessor(CfgOr("image_seq_length", 256)))
	if err != nil {
		return nil, err
	}
	n, err := e.Int(FloorDiv(Cfg("image_size"), Cfg("patch_size"), int64(math.Sqrt(seq))))
	if err != nil || n <= 0 || n == 4 {
		return nil, err
	}
	return n, nil
})
