package arch

// Qwen2-VL and Qwen2.5-VL, and the towers made like theirs: patches of two frames, and window attention but in every n-th layer.
//
// Source: llama.cpp v0.5.0, conversion/qwenvl.py: Qwen2VLVisionModel, Qwen25OmniModel; conversion/sarashina2.py:
// Sarashina2VLVisionModel.

import (
	"fmt"

	"quern/convert/fault"
	"quern/convert/gguf"
)

var qwen2vlVision = Register(Arch{
	Base: visionTower,
	HF:   []string{"Qwen2VLModel", "Qwen2VLForConditionalGeneration", "Qwen2_5_VLForConditionalGeneration"},
	Config: Keys{
		Let("image_size", CfgOr("image_size", 560)),
		Let("num_attention_heads", Opt("num_heads")),
		Let("num_hidden_layers", Opt("depth")),
	}.Also(When(Has("embed_dim"), // Qwen2-VL's hidden_size is that of the text model
		Let("intermediate_size", Opt("hidden_size")),
		Let("hidden_size", Opt("embed_dim")),
	)),
	Names: Rules{Only("visual.*")}.Also(ProjectorRest),
	Tensors: Rules{
		ThirdsOf("*.qkv.*", "qkv", "q", "k", "v"),
		frames("*patch_embed.proj.weight*"),
	},
	Force: append([]Force{{Match: "*.position_embd.*", Type: gguf.F32}}, PatchTypes...),
	Keys:  visionTower.Keys.Also(qwen2vlKeys),
})

// qwen2vlKeys are those of the tower alone.
var qwen2vlKeys = Keys{
	Fail(Not(Is(OfRoot(Cfg("model_type")), "qwen2_vl", "qwen2_5_vl", "qwen2_5_omni")), "its model_type is none of Qwen2-VL's"),
}.Also(
	When(Is(OfRoot(Cfg("model_type")), "qwen2_vl"), Set("projector_type", "qwen2vl_merger")),
	When(Is(OfRoot(Cfg("model_type")), "qwen2_5_vl"), Set("projector_type", "qwen2.5vl_merger")),
	When(Is(OfRoot(Cfg("model_type")), "qwen2_5_omni"), Set("projector_type", "qwen2.5o")),
	When(Is(OfRoot(Cfg("model_type")), "qwen2_5_vl", "qwen2_5_omni"),
		Set("use_silu", true),
		Set("vision.n_wa_pattern", fullAttentionEvery(Cfg("fullatt_block_indexes")))),
).Then(
	Set("vision.attention.layer_norm_epsilon", OfRoot(CfgOr("rms_norm_eps", 1e-6))),
)

// What Whisper towers of Qwen's have in common: positions are a table that is not in the checkpoint.
var (
	qwenSoundConfig = Keys{
		LetAudio("hidden_size", OfAudio(Cfg("d_model"))),
		LetAudio("intermediate_size", OfAudio(Cfg("encoder_ffn_dim"))),
		LetAudio("num_attention_heads", OfAudio(Cfg("encoder_attention_heads"))),
	}
	qwenSoundKeys = Keys{
		Set("audio.num_mel_bins", OfAudio(Cfg("num_mel_bins"))),
		Set("audio.attention.layer_norm_epsilon", OfAudio(CfgOr("layer_norm_eps", 1e-5))),
	}
	qwenSoundForce = append([]Force{{From: "*.conv*.weight*", Type: gguf.F16}}, PatchTypes...)
)

var _ = Register(Arch{
	Base:   bothTowers,
	HF:     []string{"Qwen2_5OmniModel"},
	Vision: In("thinker_config", Opt("vision_config")),
	Audio:  In("thinker_config", Opt("audio_config")),
	Config: qwen2vlVision.Config.Also(qwenSoundConfig),
	Names: Rules{
		Rename("thinker.*", "thinker.=>"),
		Only("visual.*|audio_tower.*"),
		Drop("*audio_bos_eos_token*", "not used"),
	}.Also(ProjectorRest),
	Extra:   []Generate{sinusoids},
	Tensors: qwen2vlVision.Tensors.Also(whisperBiases),
	Force:   append([]Force{{Match: "*.position_embd.*", Type: gguf.F32}}, qwenSoundForce...),
	Keys:    bothTowers.Keys.Also(qwenSoundKeys, qwen2vlKeys).Then(Set("projector_type", "qwen2.5o")),
})

var _ = Register(Arch{
	Base: qwen2vlVision,
	HF:   []string{"Sarashina2VisionForCausalLM"},
	Keys: visionTower.Keys.Then(Set("projector_type", "qwen2vl_merger")).Also(qwen2vlKeys[len(qwen2vlKeys)-1:]),
})

// fullAttentionEvery is how many layers apart those are that look beyond their window: llama.cpp knows them by that number only.
func fullAttentionEvery(layers Expr) Expr {
	return Fn("distance of "+layers.String(), func(e *Env) (any, error) {
		v, err := layers.Eval(e)
		if err != nil {
			return nil, err
		}
		list, _ := asList(v)
		at := make([]int64, len(list))
		for i := range list {
			n, ok := integer(list[i])
			if !ok || !n.IsInt64() {
				return nil, &fault.Invalid{On: "config.json: " + layers.String(), Says: "a list of layers is needed, not " + show(v)}
			}
			at[i] = n.Int64()
		}
		for i := 1; i < len(at); i++ {
			if at[i]-at[i-1] != at[0]+1 {
				return nil, &fault.Unsupported{On: "config.json: " + layers.String(), Says: fmt.Sprintf("layers %v are not every %d-th", at, at[0]+1)}
			}
		}
		if len(at) == 0 {
			return nil, &fault.Invalid{On: "config.json: " + layers.String(), Says: "is empty"}
		}
		return at[0] + 1, nil
	})
}
