package arch

// Gemma 4: a tower for pictures and, in the small ones, a conformer for sound. Weights of its linear layers stand under "linear.",
// beside the limits of quantization-aware training. The unified one has no towers at all, only embeddings of patches, whose
// columns are turned from pixel by pixel to colour by colour.
//
// Source: llama.cpp v0.5.0, conversion/gemma.py: Gemma4VisionAudioModel, Gemma4UnifiedVisionAudioModel.

import (
	"fmt"
	"math"

	"quern/convert/gguf"
	"quern/convert/view"
)

const gemma4Sound = "*audio_tower*|*embed_audio*"

// gemma4Hears holds where the checkpoint has an audio tower.
var gemma4Hears = Fn("audio_config is not empty", func(e *Env) (any, error) { return len(e.audioTower()) > 0, nil })

var gemma4Vision = Register(Arch{
	Base: bothTowers,
	HF:   []string{"Gemma4ForConditionalGeneration"},
	Config: Keys{Let("image_size", 224)}.Also( // any resolution
		When(gemma4Hears, LetAudio("feat_in", OfAudio(CfgOr("input_feat_size", 128)))),
		When(OfAudio(Has("hidden_size")), LetAudio("intermediate_size", OfAudio(Mul(Cfg("hidden_size"), 4)))),
	),
	Tensors: Rules{
		On("*", View("a number as a vector of one", func(_ *Build, _ Item, v view.Tensor) (view.Tensor, error) {
			if len(v.Shape) > 0 {
				return v, nil
			}
			return view.Reshape(v, 1)
		})),
		Rename(gemma4Sound, ".linear.=>."),
		Rename("*.linear.weight", ".linear.weight=>.weight"),
		Rename("*model.audio_tower.*", "model.audio_tower.=>conformer."),
		Rename("{*audio_tower|*embed_audio|conformer.}*{per_dim_key_scale|per_dim_scale}", "+.weight"),
		On("{*audio_tower|*embed_audio|conformer.}*{per_dim_key_scale|per_dim_scale}.weight", softplus),
		On("{*audio_tower|*embed_audio|conformer.}*lconv1d.depthwise_conv1d*.weight", Squeeze(1)),
		Rename("*model.vision_tower.encoder.*", "model.vision_tower.encoder.=>vision_model.model."),
		Rename("*{layer_scalar|position_embedding_table}", "+.weight"),
		On("*patch_embedder.input_proj.weight", gemma4Patches, Permute(0, 3, 1, 2)),
	},
	Force: append([]Force{
		{From: "*{audio_tower|embed_audio}*.conv*|*{audio_tower|embed_audio}*_conv*.weight*", Type: gguf.F32},
		{From: "*position_embedding_table*", Type: gguf.F32},
	}, PatchTypes...),
	Ends: conformerEnds,
	Keys: Keys{FileTypeKey}.Also(visionKeys, When(gemma4Hears, audioKeys...)).Then(
		Set("vision.projector_type", "gemma4v"),
		Set("vision.attention.layer_norm_epsilon", CfgOr("layer_norm_eps", 1e-6)),
	).Also(When(gemma4Hears,
		Set("audio.projector_type", "gemma4a"),
		Set("audio.num_mel_bins", OfAudio(Cfg("feat_in"))),
		Set("audio.attention.layer_norm_epsilon", OfAudio(CfgOr("layer_norm_eps", 1e-6))),
	)),
})

// gemma4Patches gives rows of a patch's pixels their height, width and colour.
var gemma4Patches = View("rows to squares of pixels in three colours", func(_ *Build, _ Item, v view.Tensor) (view.Tensor, error) {
	if len(v.Shape) != 2 {
		return v, fmt.Errorf("two dimensions are needed")
	}
	side := int64(math.Sqrt(float64(v.Shape[1] / 3)))
	return view.Reshape(v, v.Shape[0], side, side, 3)
})

var _ = Register(Arch{
	Base: gemma4Vision,
	HF:   []string{"Gemma4UnifiedForConditionalGeneration"},
	Config: gemma4Vision.Config.Then(
		Let("hidden_size", Cfg("mm_embed_dim")),
		LetAudio("hidden_size", OfAudio(Cfg("audio_embed_dim"))),
		Let("intermediate_size", 0), Let("num_layers", 0), Let("num_attention_heads", 0),
		LetAudio("intermediate_size", 0), LetAudio("num_layers", 0), LetAudio("num_attention_heads", 0),
	),
	Tensors: Rules{
		On("*pos_embedding", Permute(1, 0, 2)),
		Rename("*pos_embedding", "+.weight"),
		Rename("*.pos_norm.*", ".pos_norm.=>.patch_ln3."),
		On("*patch_dense.weight*", byColour(1)),
		On("*patch_ln1.{weight|bias}*", byColour(0)),
	}.Also(gemma4Vision.Tensors),
	Keys: gemma4Vision.Keys.Then(
		Set("vision.projector_type", "gemma4uv"),
		Set("audio.projector_type", "gemma4ua"),
	),
})

// byColour orders an axis of pixels, each with its three colours, by colour first.
func byColour(axis int) Transform {
	side := Choose(Has("model_patch_size"), Cfg("model_patch_size"), Mul(Cfg("patch_size"), Cfg("pooling_kernel_size")))
	return View(fmt.Sprintf("axis %d by colour, row, column", axis), func(b *Build, _ Item, v view.Tensor) (view.Tensor, error) {
		p, err := b.Int(side)
		if err != nil {
			return v, err
		}
		if p <= 0 || axis >= len(v.Shape) || v.Shape[axis]/p/p != 3 || v.Shape[axis] != 3*p*p {
			return v, fmt.Errorf("patches have %d x %d pixels of three colours", p, p)
		}
		index := make([]int64, 0, v.Shape[axis])
		for colour := range int64(3) {
			for pixel := range p * p {
				index = append(index, 3*pixel+colour)
			}
		}
		return view.Gather(v, axis, index)
	})
}

var softplus = plain("softplus", func(v view.Tensor) (view.Tensor, error) {
	v, err := wide(v)
	if err != nil {
		return v, err
	}
	return view.Softplus(v)
})
