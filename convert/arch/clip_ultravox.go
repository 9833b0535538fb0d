package arch

// Whisper encoders: Qwen2-Audio, Ultravox, Voxtral, Audio Flamingo 3, MERaLiON 2 and GLM-ASR. Biases of the two convolutions get a
// dimension to be spread over time; the projector's names are set apart from those of a vision tower's.
//
// Source: llama.cpp v0.5.0, conversion/ultravox.py: WhisperEncoderModel, UltravoxWhisperEncoderModel, VoxtralWhisperEncoderModel,
// AudioFlamingo3WhisperEncoderModel, MERaLiONWhisperEncoderModel, GlmASRWhisperEncoderModel.

import (
	"quern/convert/gguf"
	"quern/convert/view"
)

var (
	whisperBiases = Rules{On("*conv{1|2}.bias*", Unsqueeze(-1))}
	whisperConfig = When(Not(Has("hidden_size", "intermediate_size")),
		Let("whisper", true), // the three belong together: the first would end the condition
	).Also(When(Is(Opt("whisper"), true),
		Let("hidden_size", Cfg("d_model")),
		Let("intermediate_size", Cfg("encoder_ffn_dim")),
		Let("num_attention_heads", Cfg("encoder_attention_heads")),
	))
	whisperForce = append([]Force{{From: "*.conv*.weight*", Type: gguf.F16}}, PatchTypes...)
)

// whisperKeys are those of a projector of this kind.
func whisperKeys(kind string, more ...Key) Keys {
	return audioTower.Keys.Then(
		Set("projector_type", kind),
		Set("audio.num_mel_bins", Cfg("num_mel_bins")),
		Set("audio.attention.layer_norm_epsilon", CfgOr("layer_norm_eps", 1e-5)),
	).Then(more...)
}

var whisper = Register(Arch{
	Base:    audioTower,
	HF:      []string{"Qwen2AudioForConditionalGeneration"},
	Config:  whisperConfig,
	Names:   Rules{Rename("multi_modal_projector*", "=>audio.")}.Also(ProjectorRest),
	Tensors: whisperBiases,
	Force:   whisperForce,
	Keys:    whisperKeys("qwen2a"),
})

var _ = Register(Arch{Base: whisper, HF: []string{"UltravoxModel"},
	Keys: whisperKeys("ultravox", Set("audio.projector.stack_factor", OfRoot(Cfg("stack_factor"))))})

var _ = Register(Arch{Base: whisper, HF: []string{"VoxtralForConditionalGeneration"},
	Keys: whisperKeys("voxtral", Set("audio.projector.stack_factor", 4))})

var _ = Register(Arch{Base: whisper, HF: []string{"AudioFlamingo3ForConditionalGeneration"},
	Force: append([]Force{{From: "*.conv*.weight*", Type: gguf.F32}}, PatchTypes...), // made in BF16, which F16 may not hold
	Keys:  whisperKeys("musicflamingo")})

var _ = Register(Arch{
	Base:  whisper,
	HF:    []string{"MERaLiON2ForConditionalGeneration"},
	Audio: Opt("speech_config"),
	Names: Rules{
		Drop("text_decoder.*", notProjector),
		Rename("speech_encoder.*", "speech_encoder.=>audio_tower."),
	}.Also(whisper.Names),
	Tensors: Rules{
		nameAs("ln_speech.*", "mm.a.norm_pre"),
		nameAs("speech_audio_adapter.*.mlp_adapter.0.*|speech_audio_adapter.mlp_adapter.0.*", "mm.a.mlp.0"),
		nameAs("speech_audio_adapter*.gate_proj.*", "mm.a.mlp.1"),
		nameAs("speech_audio_adapter*.pool_proj.*", "mm.a.mlp.2"),
		nameAs("speech_audio_adapter*.out_proj.*", "mm.a.mlp.3"),
		Drop("speech_audio_adapter.*", "not read by llama.cpp"),
	}.Also(whisperBiases),
	Keys: whisperKeys("meralion", Set("audio.projector.stack_factor", OfRoot(CfgOr("speech_mlp_scale_factor", 15)))),
})

var _ = Register(Arch{
	Base: whisper,
	HF:   []string{"GlmasrModel"},
	Names: Rules{
		Drop("model.*|lm_head.*", notProjector),
		Rename("audio_encoder.whisper.*", "audio_encoder.whisper.=>audio_tower."),
		Rename("*audio_encoder.{layer_norm|proj}.*", "audio_encoder.=>audio_encoder.adapting."),
		Rename("audio_encoder.adapting.*", "audio_encoder.adapting.=>audio.multi_modal_projector."),
		Rename("audio.multi_modal_projector.*", ".layer_norm.=>.ln_pre."),
		Rename("audio.multi_modal_projector.*", ".0.=>.linear_1."),
		Rename("audio.multi_modal_projector.*", ".2.=>.linear_2."),
	}.Also(ProjectorRest),
	Tensors: Rules{Code("audio_encoder.audio_bos_eos_token.*", "its rows are the begin and the end of sound", soundEnds)}.Also(whisperBiases),
	Keys:    whisperKeys("glma", Set("audio.projector.stack_factor", OfRoot(Cfg("merge_factor")))),
})

// soundEnds gives the two rows the names that a vision tower's begin and end have.
func soundEnds(_ *Build, it Item) ([]Item, error) {
	out := []Item{it, it}
	for i, name := range []string{"model.vision.boi", "model.vision.eoi"} {
		v, err := view.Index(it.View, 0, int64(i))
		if err != nil {
			return nil, err
		}
		out[i].Name, out[i].View = name, v
	}
	return out, nil
}
