package arch

// Gemma 3n: a MobileNet for pictures, whose blocks are numbered twice and keep timm's names, and a conformer for sound. Numbers that
// a MobileNet does not have are made up, as the reference does; it takes no mean and deviation of pictures.
//
// Source: llama.cpp v0.5.0, conversion/gemma.py: Gemma3nVisionAudioModel.

import (
	"strings"

	"quern/convert/fault"
	"quern/convert/gguf"
)

var _ = Register(Arch{
	Base: bothTowers,
	HF:   []string{"Gemma3nForConditionalGeneration"},
	Config: Keys{
		Let("n_layers", 128),
		Let("intermediate_size", Mul(CfgOr("intermediate_size", 2048), 4)),
		Let("num_attention_heads", CfgOr("num_attention_heads", 8)),
		LetProcessor("image_mean", []any{0.0, 0.0, 0.0}),
		LetProcessor("image_std", []any{1.0, 1.0, 1.0}),
		Let("image_size", Choose(OfProcessor(Has("size")), OfProcessor(In("size", Cfg("height"))), 768)),
		Let("patch_size", FloorDiv(Cfg("image_size"), OfProcessor(CfgOr("image_seq_length", 256)))),
		LetAudio("n_layers", OfAudio(Cfg("conf_num_hidden_layers"))),
		LetAudio("num_attention_heads", OfAudio(Cfg("conf_num_attention_heads"))),
		LetAudio("intermediate_size", OfAudio(CfgOr("intermediate_size", 6144))),
	},
	Tensors: Rules{
		Rename(conformerSound, "model.audio_tower.conformer.=>conformer.layers."),
		Rename("model.audio_tower.subsample_conv_projection.conv_#.norm.*", "model.audio_tower.subsample_conv_projection.conv_=>conformer.subsample_conv_projection.layer"),
	}.Also(conformerTensors).Then(
		Only(conformerSound+"|model.embed_vision.*|model.vision_tower.*|a.*"),
		Code("model.vision_tower.timm_model.blocks.*", "name v.blk.<stage>.<block>.<timm's>", mobileNetBlock),
		On("model.vision_tower.timm_model.conv_stem.conv.bias", Unsqueeze(0), Unsqueeze(-1), Unsqueeze(-1)),
	),
	Force: append(append([]Force{
		{From: "*input_projection*|*input_proj*", Type: gguf.F16},
		{From: "*.embeddings.*|*stem*", Type: gguf.F32},
	}, conformerForce...), PatchTypes...),
	Ends: conformerEnds,
	Keys: bothTowers.Keys.Then(
		Set("vision.projector_type", "gemma3nv"),
		Set("vision.attention.layer_norm_epsilon", CfgOr("layer_norm_eps", 1e-6)),
		Set("audio.projector_type", "gemma3na"),
		Set("audio.num_mel_bins", OfAudio(Cfg("input_feat_size"))),
		Set("audio.attention.layer_norm_epsilon", 1e-5),
	),
})

// mobileNetParts are what a block of MobileNet v5 may have, of one kind or another.
const mobileNetParts Pattern = "{conv_exp|bn1|conv_pwl|bn2|norm}.weight|{dw_start|dw_mid|pw_exp|pw_proj}.{conv|bn}.weight|layer_scale.gamma|" +
	"attn.{query|key|value|output}.proj.weight|attn.{key|value}.{down_conv|norm}.weight"

func mobileNetBlock(_ *Build, it Item) ([]Item, error) {
	rest := strings.TrimPrefix(it.Name, "model.vision_tower.timm_model.blocks.")
	parts := strings.SplitN(rest, ".", 3)
	if len(parts) != 3 || !mobileNetParts.Match(parts[2]) {
		return nil, &fault.Unsupported{On: it.Source, Says: "is no part of a MobileNet block that llama.cpp knows"}
	}
	it.Name, it.Final = "v.blk."+rest, true
	return []Item{it}, nil
}
